"""Products of tall matrices of vectors with small square ones, tiles of rows at a time."""

from __future__ import annotations

import numpy as np

from segue.kernels.compile import kernel, njit_noref
from segue.kernels.simd import minimum

TILE = 4


@kernel
def gram(Y, start, stop, out):
    """out = Y'Y over the rows [start, stop): the lower triangle, mirrored."""
    d = Y.shape[1]
    for j in range(d):
        for l in range(d):  # noqa: E741
            out[j, l] = 0
    u = start
    while u + TILE <= stop:
        for j in range(d):
            a, b, c, e = Y[u, j], Y[u + 1, j], Y[u + 2, j], Y[u + 3, j]
            for l in range(j + 1):  # noqa: E741
                out[j, l] += (a * Y[u, l] + b * Y[u + 1, l]) + (c * Y[u + 2, l] + e * Y[u + 3, l])
        u += TILE
    while u < stop:
        for j in range(d):
            for l in range(j + 1):  # noqa: E741
                out[j, l] += Y[u, j] * Y[u, l]
        u += 1
    for j in range(d):
        for l in range(j):  # noqa: E741
            out[l, j] = out[j, l]


@kernel
def rotate(X, turned, start, stop, out):
    """out[u] = X[u] Q for the rows [start, stop), where `turned` is Q transposed; `out` may be X."""
    d, width = turned.shape
    P = np.empty((TILE, width), np.float32)
    for first in range(start, stop, TILE):
        filled = minimum(TILE, stop - first)
        for t in range(filled):
            for l in range(width):  # noqa: E741
                P[t, l] = X[first + t, l]
        j = np.int64(0)
        while j + 2 <= d:
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = np.float32(0)
            for l in range(width):  # noqa: E741
                g, h = turned[j, l], turned[j + 1, l]
                p0, p1, p2, p3 = P[0, l], P[1, l], P[2, l], P[3, l]
                a0 += g * p0
                a1 += g * p1
                a2 += g * p2
                a3 += g * p3
                b0 += h * p0
                b1 += h * p1
                b2 += h * p2
                b3 += h * p3
            store(out, first, filled, j, a0, a1, a2, a3)
            store(out, first, filled, j + 1, b0, b1, b2, b3)
            j += 2
        if j < d:
            a0 = a1 = a2 = a3 = np.float32(0)
            for l in range(width):  # noqa: E741
                g = turned[j, l]
                a0 += g * P[0, l]
                a1 += g * P[1, l]
                a2 += g * P[2, l]
                a3 += g * P[3, l]
            store(out, first, filled, j, a0, a1, a2, a3)


@njit_noref
def store(out, first, filled, j, a, b, c, d):
    """Put the column j of a tile, as far as it is filled, into its rows."""
    out[first, j] = a
    if filled > 1:
        out[first + 1, j] = b
    if filled > 2:
        out[first + 2, j] = c
    if filled > 3:
        out[first + 3, j] = d
