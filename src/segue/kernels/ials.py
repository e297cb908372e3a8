"""Least squares for one side of iALS while the other side stands still.

For a row with the items S the kernels minimise over x

    sum_{i in S} c_i (1 - x.y_i)^2  +  a0 sum_i (x.y_i)^2  +  lam |x - p|^2,     lam = reg (|S| + a0 n)^nu

whose normal equations are (a0 Y'Y + lam I + sum c_i y_i y_i') x = sum c_i y_i + lam p. P holds the rows'
centres p, or has no rows, where they are zero. The caller turns both sides to the eigenvectors of Y'Y, so
that its part is a diagonal, g = a0 * eigenvalues: it costs d instead of d^2 a row, and m = g + lam
preconditions the rest, which has rank |S|.
"""

from __future__ import annotations

import numpy as np

from segue.kernels.compile import inline, kernel, njit_noref
from segue.kernels.simd import maximum, minimum, prefetch

LEAST = np.float32(1e-30)  # products below are taken for zero
ROOM = 256  # items of a row that are kept gathered; a longer row gathers them anew in each pass
AHEAD = 16  # items between the one whose vector is copied and the one whose vector is asked for
LINE = 16  # float32 in a cache line


@inline
def penalty(seen, n, a0, reg, nu):
    size = np.float64(seen) + a0 * n
    return maximum(np.float32(reg * (size if nu == 1 else size**nu)), np.float32(1e-8))


@njit_noref
def gather(Y, indices, weights, lo, hi, Z, w):
    """Copy the vectors and weights of the items [lo, hi), filled up with zeros to a multiple of four.

    What comes after them in `indices`, which is the next row's, is already asked for.
    """
    d = Z.shape[1]
    last = len(indices) - 1
    for z in range(lo, hi):
        ahead = np.int64(indices[minimum(z + AHEAD, last)]) * d
        for j in range(0, d, LINE):
            prefetch(Y, ahead + j)
        i = indices[z]
        w[z - lo] = weights[z]
        for j in range(d):
            Z[z - lo, j] = Y[i, j]
    for z in range(hi - lo, (hi - lo + 3) & ~3):
        w[z] = 0
        for j in range(d):
            Z[z, j] = 0


@njit_noref
def add_products(Z, w, count, target, sign, p, out):
    """out += sum w_i (target + sign z_i.p) z_i over the gathered items, four at a time."""
    for z in range(0, count, 4):
        s0 = s1 = s2 = s3 = np.float32(0)
        for j in range(len(p)):
            q = p[j]
            s0 += Z[z, j] * q
            s1 += Z[z + 1, j] * q
            s2 += Z[z + 2, j] * q
            s3 += Z[z + 3, j] * q
        s0 = w[z] * (target + sign * s0)
        s1 = w[z + 1] * (target + sign * s1)
        s2 = w[z + 2] * (target + sign * s2)
        s3 = w[z + 3] * (target + sign * s3)
        for j in range(len(p)):
            out[j] += (s0 * Z[z, j] + s1 * Z[z + 1, j]) + (s2 * Z[z + 2, j] + s3 * Z[z + 3, j])


@njit_noref
def add_seen(Y, indices, weights, lo, hi, Z, w, fresh, target, sign, p, out):
    """`add_products` over the items [lo, hi); if they fit the buffer, it is filled only while `fresh`."""
    room = len(Z)
    for first in range(lo, hi, room):
        last = minimum(hi, first + room)
        if fresh or hi - lo > room:
            gather(Y, indices, weights, first, last, Z, w)
        add_products(Z, w, last - first, target, sign, p, out)


@kernel
def solve_cg(X, Y, P, g, indptr, indices, weights, a0, reg, nu, steps, tolerance, start, stop):
    """Improve the rows [start, stop) of X by up to `steps` of preconditioned conjugate gradients."""
    n, d = Y.shape
    zero, one = np.float32(0), np.float32(1)
    Z, w = np.empty((ROOM, d), np.float32), np.empty(ROOM, np.float32)
    m, inverse = np.empty(d, np.float32), np.empty(d, np.float32)
    r, p, Ap = np.empty(d, np.float32), np.empty(d, np.float32), np.empty(d, np.float32)
    for u in range(start, stop):
        lo, hi = indptr[u], indptr[u + 1]
        x = X[u]
        if lo == hi:
            for j in range(d):
                x[j] = 0
            continue
        lam = penalty(hi - lo, n, a0, reg, nu)
        for j in range(d):
            m[j] = g[j] + lam
            inverse[j] = one / m[j]
            r[j] = -m[j] * x[j]
            if len(P):
                r[j] += lam * P[u, j]
        add_seen(Y, indices, weights, lo, hi, Z, w, np.int64(1), one, -one, x, r)
        rz = zero
        for j in range(d):
            p[j] = r[j] * inverse[j]
            rz += r[j] * p[j]
        enough = tolerance * rz
        for _ in range(steps):
            if rz <= enough:
                break
            for j in range(d):
                Ap[j] = m[j] * p[j]
            add_seen(Y, indices, weights, lo, hi, Z, w, np.int64(0), zero, one, p, Ap)
            rz = advance(inverse, x, Ap, r, p, rz)


@njit_noref
def advance(inverse, x, Ap, r, p, rz):
    """One step of x along p, and the next direction; returns the new r.(r/m)."""
    pAp = np.float32(0)
    for j in range(len(x)):
        pAp += p[j] * Ap[j]
    if pAp < LEAST or rz < LEAST:  # so short that squares vanish: x is as good as it gets
        return np.float32(0)
    a = rz / pAp
    after = np.float32(0)
    for j in range(len(x)):
        x[j] += a * p[j]
        r[j] -= a * Ap[j]
        after += r[j] * r[j] * inverse[j]
    b = after / rz
    for j in range(len(x)):
        p[j] = r[j] * inverse[j] + b * p[j]
    return after


@kernel
def solve_cholesky(X, Y, P, g, indptr, indices, weights, a0, reg, nu, start, stop):
    """Solve the rows [start, stop) of X exactly, each by one Cholesky factorisation A = L L'."""
    n, d = Y.shape
    A = np.empty((d, d), np.float32)
    for u in range(start, stop):
        x = X[u]
        lo, hi = indptr[u], indptr[u + 1]
        for j in range(d):
            x[j] = 0
            for l in range(d):  # noqa: E741
                A[j, l] = 0
        if lo == hi:
            continue
        lam = penalty(hi - lo, n, a0, reg, nu)
        for j in range(d):
            A[j, j] = g[j] + lam
            if len(P):
                x[j] = lam * P[u, j]
        for z in range(lo, hi):
            y, c = Y[indices[z]], weights[z]
            for j in range(d):
                s = c * y[j]
                x[j] += s
                for l in range(j + 1):  # noqa: E741
                    A[j, l] += s * y[l]
        factorise(A)
        substitute(A, x)


@inline
def dot(a, b):
    total = np.float32(0)
    for j in range(len(a)):
        total += a[j] * b[j]
    return total


@njit_noref
def factorise(A):
    """Overwrite the lower triangle of a positive definite A with its Cholesky factor L."""
    for j in range(len(A)):
        for l in range(j):  # noqa: E741
            A[j, l] = (A[j, l] - dot(A[j, :l], A[l, :l])) / A[l, l]
        A[j, j] = np.sqrt(maximum(A[j, j] - dot(A[j, :j], A[j, :j]), np.float32(1e-20)))


@njit_noref
def substitute(L, x):
    """Solve L L' x = b in place: forwards with L, then backwards with its transpose."""
    d = len(x)
    for j in range(d):
        x[j] = (x[j] - dot(L[j, :j], x[:j])) / L[j, j]
    for j in range(d - 1, -1, -1):
        x[j] /= L[j, j]
        for l in range(j):  # noqa: E741
            x[l] -= L[j, l] * x[j]
