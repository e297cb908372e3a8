"""The k best of many scores: a bounded heap whose root is the worst kept, ordered by score, then by id."""

from __future__ import annotations

import numpy as np

from segue.kernels.compile import inline, kernel


@inline
def worse(score, i, other, j):
    """Whether (score, i) stands behind (other, j): a lower score, or the same score and a higher id."""
    return score < other or (score == other and i > j)


@kernel
def replace_worst(scores, ids, score, i):
    """Put (score, i) in the place of the root of the heap, and let it sink to where it belongs."""
    place, size = 0, len(scores)
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and worse(scores[child + 1], ids[child + 1], scores[child], ids[child]):
            child += 1
        if not worse(scores[child], ids[child], score, i):
            break
        scores[place], ids[place] = scores[child], ids[child]
        place = child
    scores[place], ids[place] = score, i


@kernel
def empty_heap(scores, ids):
    """Fill a heap with what is worse than anything: score -inf; the ids only keep the order total."""
    for place in range(len(scores)):
        scores[place] = -np.inf
        ids[place] = np.iinfo(np.int32).max


@kernel
def sort_heap(scores, ids):
    """Turn a heap into a list, best first, in place; what was never filled gets the id -1."""
    for size in range(len(scores), 1, -1):
        score, i = scores[size - 1], ids[size - 1]
        scores[size - 1], ids[size - 1] = scores[0], ids[0]
        replace_worst(scores[: size - 1], ids[: size - 1], score, i)
    for place in range(len(scores)):
        if scores[place] == -np.inf:
            ids[place] = -1
