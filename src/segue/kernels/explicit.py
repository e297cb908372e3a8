"""Least squares for one side of a biased factorisation of ratings while the other side stands still.

A row is [x, b]: its factors and its bias. For a row with the ratings r_i of the rows [y_i, b_i] in S

    sum_{i in S} (r_i - mean - b_i - b - x.y_i)^2  +  reg |S|^nu |x|^2  +  bias_reg b^2

is least squares in [x, b] with the features [y_i, 1] and the targets r_i - mean - b_i.
"""

from __future__ import annotations

import numpy as np

from segue.kernels.compile import kernel
from segue.kernels.ials import factorise, substitute


@kernel
def solve_ratings(X, Y, indptr, indices, ratings, mean, reg, nu, bias_reg, start, stop):
    """Solve the rows [start, stop) of X (n, d + 1) exactly; a row without ratings becomes zero."""
    d = Y.shape[1] - 1
    A, y = np.empty((d + 1, d + 1), np.float32), np.empty(d + 1, np.float32)
    for u in range(start, stop):
        lo, hi = indptr[u], indptr[u + 1]
        x = X[u]
        for j in range(d + 1):
            x[j] = 0
            for l in range(j + 1):  # noqa: E741
                A[j, l] = 0
        if lo == hi:
            continue
        for z in range(lo, hi):
            i = indices[z]
            for j in range(d):
                y[j] = Y[i, j]
            y[d] = 1
            target = ratings[z] - mean - Y[i, d]
            for j in range(d + 1):
                x[j] += target * y[j]
                for l in range(j + 1):  # noqa: E741
                    A[j, l] += y[j] * y[l]
        lam = reg * np.float32(hi - lo) ** nu
        for j in range(d):
            A[j, j] += lam
        A[d, d] += bias_reg
        factorise(A)
        substitute(A, x)
