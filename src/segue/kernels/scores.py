"""Scores of single items in float32: what every index returns, whichever items it examines."""

from __future__ import annotations

import numpy as np

from segue.kernels.compile import inline, njit_noref
from segue.kernels.simd import minimum

TINY = 1e-37  # more than underflow can change a sum


@njit_noref
def dot(Q, q, X, i):
    """Return Q[q]·X[i]; every index sums in this order, so that equal items get equal scores."""
    total = np.float32(0)
    for j in range(Q.shape[1]):
        total += Q[q, j] * X[i, j]
    return total


@njit_noref
def negative_distance(Q, q, X, i):
    """Return -|Q[q] - X[i]|, summed from the differences."""
    total = np.float32(0)
    for j in range(Q.shape[1]):
        difference = Q[q, j] - X[i, j]
        total += difference * difference
    return -np.sqrt(total)


@njit_noref
def norm(X, u, start, stop):
    """Return |X[u, start:stop]| in float64."""
    total = 0.0
    for j in range(start, stop):
        total += np.float64(X[u, j]) * X[u, j]
    return np.sqrt(total)


@njit_noref
def is_allowed(i, q, allow, indptr, exclude):
    """Return whether query q may receive item i.

    allow: 0, 1 or q rows of bool; with none, every item is allowed. exclude[indptr[q]:indptr[q + 1]]: the
    excluded items of query q in ascending order.
    """
    if len(allow) and not allow[minimum(q, len(allow) - 1), i]:
        return False
    low, high = indptr[q], indptr[q + 1]
    while low < high:
        middle = (low + high) >> 1
        if exclude[middle] < i:
            low = middle + 1
        else:
            high = middle
    return low == indptr[q + 1] or exclude[low] != i


@inline
def rounding_error(query_norm, item_norm, rounding, is_distance):
    """Return a bound on the error of a float32 score."""
    size = query_norm + item_norm
    return rounding * (size * size if is_distance else query_norm * item_norm) + TINY


@inline
def target_of(worst, query_norm, is_distance):
    """Return the least q·x - |x|²/2 (distance) or q·x that beats the worst kept score."""
    if is_distance and worst > -np.inf:
        return 0.5 * (query_norm * query_norm - np.float64(worst) * worst)
    return np.float64(worst)
