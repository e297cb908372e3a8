"""Search that scores every vector it may return: by measures that are no inner products, or among few."""

from __future__ import annotations

import numpy as np

from segue.kernels import simd
from segue.kernels.compile import kernel, njit_noref
from segue.kernels.scores import dot, is_allowed, negative_distance
from segue.kernels.topk import empty_heap, sink, sort_heap, worse

BLOCK = 256  # vectors that all queries are compared with before the next
STRIDE = 32  # dimensions after which a distance is compared with the worst kept


@njit_noref
def manhattan(Q, q, X, i, worst):
    """The negative sum of absolute differences of two rows; -inf as soon as it is below `worst`."""
    total = np.float32(0)
    for first in range(0, Q.shape[1], STRIDE):
        for j in range(first, min(first + STRIDE, Q.shape[1])):
            total += abs(Q[q, j] - X[i, j])
        if -total < worst:
            return np.float32(-np.inf)
    return -total


@njit_noref
def hamming(Q, q, X, i):
    """The negative number of bits in which two rows of uint64 differ."""
    total = 0
    for j in range(Q.shape[1]):
        total += simd.ones(Q[q, j] ^ X[i, j])
    return np.float32(-total)


@kernel
def search_manhattan(queries, vectors, allow, indptr, excluded, start, stop, ids, scores, examined):
    """The k nearest by the sum of absolute differences, for the queries [start, stop)."""
    k = len(scores) // len(examined)
    begin(start, stop, k, ids, scores, examined)
    for first in range(0, len(vectors), BLOCK):
        for q in range(start, stop):
            for i in range(first, min(first + BLOCK, len(vectors))):
                score = manhattan(queries, q, vectors, i, scores[q * k])
                offer(q, i, score, k, allow, indptr, excluded, ids, scores, examined)
    end(start, stop, k, ids, scores)


@kernel
def search_hamming(queries, vectors, allow, indptr, excluded, start, stop, ids, scores, examined):
    """The k nearest by the number of differing bits, for the queries [start, stop)."""
    k = len(scores) // len(examined)
    begin(start, stop, k, ids, scores, examined)
    for first in range(0, len(vectors), BLOCK):
        for q in range(start, stop):
            for i in range(first, min(first + BLOCK, len(vectors))):
                score = hamming(queries, q, vectors, i)
                offer(q, i, score, k, allow, indptr, excluded, ids, scores, examined)
    end(start, stop, k, ids, scores)


@kernel
def search_members(
    is_distance, vectors, members, bounds, queries, indptr, excluded, start, stop, ids, scores, examined
):  # fmt: skip
    """The k best among a query's members by inner product or nearness.

    The members of query q are members[bounds[q]:bounds[q + 1]]; one list serves all if bounds has length 2.
    """
    k = len(scores) // len(examined)
    everything = np.empty((0, 0), np.bool_)
    begin(start, stop, k, ids, scores, examined)
    for q in range(start, stop):
        row = q if len(bounds) > 2 else 0
        for place in range(bounds[row], bounds[row + 1]):
            i = members[place]
            score = negative_distance(queries, q, vectors, i) if is_distance else dot(queries, q, vectors, i)
            offer(q, i, score, k, everything, indptr, excluded, ids, scores, examined)
    end(start, stop, k, ids, scores)


@kernel
def begin(start, stop, k, ids, scores, examined):
    """Empty the answers of some queries."""
    for q in range(start, stop):
        empty_heap(scores, ids, q * k, k)
        examined[q] = 0


@njit_noref
def offer(q, i, score, k, allow, indptr, excluded, ids, scores, examined):
    """Keep what is among the k best so far and may be got."""
    examined[q] += 1
    if worse(scores[q * k], ids[q * k], score, i) and is_allowed(i, q, allow, indptr, excluded):
        sink(scores, ids, q * k, k, score, i)


@kernel
def end(start, stop, k, ids, scores):
    """Bring the answers of some queries into order."""
    for q in range(start, stop):
        sort_heap(scores, ids, q * k, k)
