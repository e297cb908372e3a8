"""The k best of many scores: a bounded heap whose root is the worst kept, ordered by score, then by id."""

from __future__ import annotations

import numpy as np

from segue.kernels.compile import inline, njit_noref


@inline
def worse(score, i, other, j):
    """Whether (score, i) stands behind (other, j): a lower score, or the same score and a higher id."""
    return score < other or (score == other and i > j)


@njit_noref
def sink(scores, ids, first, size, score, i):
    """Put (score, i) in the place of the root of the heap at [first, first + size); let it sink.

    No views are made: counting references to them would cost more than the rest.
    """
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        c = first + child
        if child + 1 < size and worse(scores[c + 1], ids[c + 1], scores[c], ids[c]):
            c += 1
        if not worse(scores[c], ids[c], score, i):
            break
        scores[first + place], ids[first + place] = scores[c], ids[c]
        place = c - first
    scores[first + place], ids[first + place] = score, i


@njit_noref
def empty_heap(scores, ids, first, size):
    """Fill a heap with what is worse than anything: score -inf; the ids only keep the order total."""
    for place in range(first, first + size):
        scores[place] = -np.inf
        ids[place] = np.iinfo(np.int32).max


@njit_noref
def sort_heap(scores, ids, first, size):
    """Turn a heap into a list, best first, in place; what was never filled gets the id -1."""
    for last in range(first + size - 1, first, -1):
        score, i = scores[last], ids[last]
        scores[last], ids[last] = scores[first], ids[first]
        sink(scores, ids, first, last - first, score, i)
    for place in range(first, first + size):
        if scores[place] == -np.inf:
            ids[place] = -1
