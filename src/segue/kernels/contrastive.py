"""The steps of a contrastive loss: smoothing over the graph, unit vectors, exponentials, Adam."""

from __future__ import annotations

import numpy as np

from segue.kernels.compile import kernel
from segue.kernels.simd import prefetch

AHEAD = 16  # neighbours between the one whose vector is added and the one whose vector is asked for
LINE = 16  # float32 in a cache line
LOG2E = np.float32(1.4426950408889634)


@kernel
def add_neighbours(indptr, indices, weights, X, start, stop, out):
    """out_u = sum_i w_ui x_i for the rows [start, stop) of a CSR matrix w, four neighbours at a time."""
    d = X.shape[1]
    last = len(indices) - 1
    for u in range(start, stop):
        row = out[u]
        for j in range(d):
            row[j] = 0
        lo, hi = indptr[u], indptr[u + 1]
        fours = lo + ((hi - lo) & ~3)
        for z in range(lo, fours, 4):
            for s in range(4):
                ahead = np.int64(indices[min(z + s + AHEAD, last)]) * d
                for j in range(0, d, LINE):
                    prefetch(X, ahead + j)
            a, b, c, e = X[indices[z]], X[indices[z + 1]], X[indices[z + 2]], X[indices[z + 3]]
            wa, wb, wc, we = weights[z], weights[z + 1], weights[z + 2], weights[z + 3]
            for j in range(d):
                row[j] += (wa * a[j] + wb * b[j]) + (wc * c[j] + we * e[j])
        for z in range(fours, hi):
            a, wa = X[indices[z]], weights[z]
            for j in range(d):
                row[j] += wa * a[j]


@kernel
def normalise(X, start, stop, unit, inverse):
    """unit_r = x_r / |x_r| and inverse_r = 1 / |x_r|; zero for a row of zeros."""
    for r in range(start, stop):
        squares = np.float32(0)
        for j in range(X.shape[1]):
            squares += X[r, j] * X[r, j]
        inverse[r] = np.float32(1) / np.sqrt(squares) if squares > 0 else np.float32(0)
        for j in range(X.shape[1]):
            unit[r, j] = X[r, j] * inverse[r]


@kernel
def normalise_back(G, unit, inverse, start, stop):
    """Turn gradients by the unit vectors, in place, into gradients by the vectors: (g - (g.n) n) / |x|."""
    for r in range(start, stop):
        along = np.float32(0)
        for j in range(G.shape[1]):
            along += G[r, j] * unit[r, j]
        for j in range(G.shape[1]):
            G[r, j] = (G[r, j] - along * unit[r, j]) * inverse[r]


@kernel
def exponentials(S, scale, shift, sums):
    """Overwrite S with exp(scale S + shift) and sum its rows.

    2^n is made of the exponent's bits, 2^f by a polynomial for f within a half of zero. The error is 4e-6
    of the value; what is below 2^-126 becomes 2^-126.
    """
    for r in range(len(S)):
        total = np.float32(0)
        for j in range(S.shape[1]):
            y = max((S[r, j] * scale + shift) * LOG2E, np.float32(-126))
            n = np.floor(y + np.float32(0.5))
            f = y - n
            p = np.float32(1.33336e-3)
            p = p * f + np.float32(9.61812e-3)
            p = p * f + np.float32(5.55041e-2)
            p = p * f + np.float32(2.402265e-1)
            p = p * f + np.float32(6.931472e-1)
            p = p * f + np.float32(1)
            value = p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
            S[r, j] = value
            total += value
        sums[r] = total


@kernel
def adam(P, G, M, V, rate, unbias_m, unbias_v, start, stop):
    """One step of Adam (Kingma & Ba 2015) with beta .9 and .999 for the rows [start, stop)."""
    for r in range(start, stop):
        for j in range(P.shape[1]):
            g = G[r, j]
            m = np.float32(0.9) * M[r, j] + np.float32(0.1) * g
            v = np.float32(0.999) * V[r, j] + np.float32(0.001) * g * g
            M[r, j], V[r, j] = m, v
            P[r, j] -= rate * (m * unbias_m) / (np.sqrt(v * unbias_v) + np.float32(1e-8))
