"""Codes of queries: vectors rounded to integers, with what the bounds need to know of the rounding."""

from __future__ import annotations

import numpy as np

from segue.kernels import simd
from segue.kernels.axes import rotate
from segue.kernels.compile import inline, njit_inlined, njit_noref
from segue.kernels.scores import norm
from segue.kernels.simd import maximum, minimum


@njit_noref
def encode(X, cuts, norm_rows, widest, top, int16_accumulate, codes, inverses, parts):
    """Encode queries X (m, d) as codes (m, 4 (groups + 2 norm_rows)) uint8, which are words of int32.

    A code q' = rint(q / step) is stored as q' + top + 1, so that none is negative. parts[s, :, q] becomes
    |q - q'| and |q'| up to segment s, and |q| beyond it. With int16 sums, step is large enough that no
    segment's sum overflows; widest[s]: the largest norm of the items' codes in each half. The codes of the
    residual norms follow the first segment's, and the same codes negated come last.
    """
    d, segments, groups = X.shape[1], len(cuts) - 1, cuts[-1] + norm_rows
    row_bytes = 4 * (groups + norm_rows)
    for q in range(len(X)):
        square, step = 0.0, 0.0
        for j in range(d):
            square += np.float64(X[q, j]) * X[q, j]
            step = maximum(step, np.float64(abs(X[q, j])) / top)
        for part in range(4 * norm_rows):
            step = maximum(step, residual_norm(X, q, cuts, norm_rows, part) / top)
        for s in range(segments if int16_accumulate else 0):
            largest = maximum(maximum(widest[s, 0], widest[s, 1]), np.float32(1))
            room = 32767.0 / largest - np.sqrt(np.float64(cuts[s + 1] - cuts[s] + 2 * norm_rows))
            own = norm(X, q, 4 * cuts[s], minimum(d, 4 * cuts[s + 1]))
            beyond = 0.0
            if norm_rows and s < 2:
                beyond = norm(X, q, minimum(d, 4 * cuts[1]), d) * (1 + 1e-9)
            step = maximum(step, np.sqrt(own * own + beyond * beyond) / room)
        step = step if step > 0 else 1.0
        row = q * row_bytes
        for part in range(4 * norm_rows):
            residual = residual_norm(X, q, cuts, norm_rows, part)
            code = np.int64(np.ceil(residual / step * (1 - 1e-12)))
            simd.store_byte(codes, row + 4 * cuts[1] + part, top + 1 + code)
            simd.store_byte(codes, row + 4 * groups + part, top + 1 - code)
        inverses[q] = 1 / step
        error, known, summed = 0.0, 0.0, 0.0
        for s in range(segments):
            for j in range(4 * cuts[s], 4 * cuts[s + 1]):
                value = np.float64(X[q, j]) if j < d else 0.0
                code = np.int64(np.rint(value / step))
                simd.store_byte(codes, row + j + (4 * norm_rows if s else 0), top + 1 + code)
                summed += value * value
                error += (value - code * step) * (value - code * step)
                known += (code * step) * (code * step)
            parts[s, 0, q], parts[s, 1, q] = np.sqrt(error), np.sqrt(known)
            parts[s, 2, q] = np.sqrt(maximum(square - summed, 0.0)) if 0 < s < segments - 1 else 0.0


@njit_noref
def residual_norm(X, u, cuts, norm_rows, part):
    """Return the norm, rounded up, of one of the 4 norm_rows parts of X[u] beyond the first segment."""
    d, first = X.shape[1], minimum(X.shape[1], 4 * cuts[1])
    parts = 4 * norm_rows
    start, stop = first + (d - first) * part // parts, first + (d - first) * (part + 1) // parts
    return norm(X, u, start, stop) * (1 + 1e-9)


@njit_inlined
def to_axes(X, start, stop, center, axes, out):
    """Write (X[start:stop] - center) · axes', where the axes are the rows of (d, d); either may be empty."""
    d = X.shape[1]
    for u in range(start, stop):
        for j in range(d):
            out[u - start, j] = X[u, j]
        if len(center):
            for j in range(d):
                out[u - start, j] -= center[j]
    if len(axes):
        rotate(simd.constant(out), axes, np.int64(0), stop - start, out)


@inline
def count_code(code, j, sums, squares):
    """Add the code of dimension j to its half: the even or the odd pairs of dimensions."""
    half = (j >> 1) & 1
    sums[half] += code
    squares[half] += code * code


@inline
def store_start(codes, at, sums):
    """Store what an item's sums of a segment start from: minus its two sums of codes, as int16."""
    for half in range(2):
        codes[at + 2 * half] = np.int8(-sums[half])
        codes[at + 2 * half + 1] = np.int8(-sums[half] >> 8)


@inline
def round_up(value):
    """Return a float32 that is no less than the value."""
    return np.float32(value * (1 + 1e-6))
