"""Exact selection: from approximate scores with a known error to the k best by the true score."""

from __future__ import annotations

import numpy as np

from segue.kernels.compile import kernel
from segue.kernels.topk import empty_heap, replace_worst, sort_heap, worse


@kernel
def dot(a, b):
    """The inner product as every answer states it: always summed in the same order."""
    total = np.float32(0)
    for j in range(len(a)):
        total += a[j] * b[j]
    return total


@kernel
def nearness(a, b):
    """The negative euclidean distance, from the differences themselves."""
    total = np.float32(0)
    for j in range(len(a)):
        apart = a[j] - b[j]
        total += apart * apart
    return -np.sqrt(total)


@kernel
def select(
    approximate,
    slack,
    queries,
    vectors,
    is_distance,
    allow,
    indptr,
    excluded,
    start,
    stop,
    ids,
    scores,
    examined,
):
    """For the queries [start, stop): the k best items by their true score, then by the lower id.

    The true score is `dot`, or `nearness` where `is_distance`. `approximate` (q, n) orders the items
    as the true score does but for an error of at most `slack` (q,), so what lies within twice the
    slack of the k-th best is scored anew. `allow` (0, 1 or q rows of n) and the CSR rows of
    `excluded` say what is eligible; `approximate` is overwritten with -inf where it is not.
    """
    for q in range(start, stop):
        row, best, found = approximate[q], scores[q], ids[q]
        forbid(row, allow, q, excluded[indptr[q] : indptr[q + 1]])
        empty_heap(best, found)
        for i in range(len(row)):
            if row[i] > best[0]:
                replace_worst(best, found, row[i], i)
        floor = best[0] - 2 * slack[q]
        empty_heap(best, found)
        count = 0
        for i in range(len(row)):
            if row[i] >= floor and row[i] > -np.inf:
                score = nearness(queries[q], vectors[i]) if is_distance else dot(queries[q], vectors[i])
                count += 1
                if worse(best[0], found[0], score, i):
                    replace_worst(best, found, score, i)
        sort_heap(best, found)
        examined[q] = count


@kernel
def forbid(row, allow, q, excluded):
    """Overwrite the scores of what is not eligible with -inf."""
    if len(allow):
        allowed = allow[min(q, len(allow) - 1)]
        for i in range(len(row)):
            if not allowed[i]:
                row[i] = -np.inf
    for z in range(len(excluded)):
        row[excluded[z]] = -np.inf
