"""The layout of items for the scan: their order and their codes."""

from __future__ import annotations

import numpy as np

from segue.kernels.codes import count_code, residual_norm, round_up, store_start
from segue.kernels.compile import kernel, njit_noref
from segue.kernels.scan import BOUNDS, INVERSE, NORM, RADIUS, ROW_BYTES, TILE
from segue.kernels.simd import maximum, minimum

ITERATIONS, SAMPLE = 3, 1000  # power iterations for the direction of a split; most rows they use


@kernel
def group_by_direction(X, order, start, stop, leaf):
    """Reorder order[start:stop] so that each run of `leaf` items has similar directions.

    Recursively splits the items at the median along their direction of largest variance.
    """
    d = X.shape[1]
    along = np.empty(stop - start, np.float32)
    mean, axis, other = np.empty(d, np.float32), np.empty(d, np.float32), np.empty(d, np.float32)
    lows, highs = np.empty(64, np.int64), np.empty(64, np.int64)
    lows[0], highs[0], pending = start, stop, 1
    while pending:
        pending -= 1
        low, high = lows[pending], highs[pending]
        if high - low <= leaf:
            continue
        widest_direction(X, order, low, high, mean, axis, other)
        for z in range(low, high):
            i = np.int64(order[z])
            total = np.float32(0)
            for j in range(d):
                total += X[i, j] * axis[j]
            along[z - start] = total
        middle = low + (((high - low) // leaf + 1) // 2) * leaf
        if middle >= high:
            middle = low + leaf
        part_at(along, start, order, low, high, middle)
        lows[pending], highs[pending] = low, middle
        lows[pending + 1], highs[pending + 1] = middle, high
        pending += 2


@njit_noref
def widest_direction(X, order, low, high, mean, axis, other):
    """Write an estimate of the first principal axis of order[low:high] to `axis`, and their mean to `mean`.

    Power iteration starts from the row farthest from the mean and uses at most SAMPLE rows.
    """
    d = len(mean)
    step = 1 + (high - low - 1) // SAMPLE
    for j in range(d):
        mean[j] = 0
    count = np.float32(0)
    for z in range(low, high, step):
        i = np.int64(order[z])
        count += np.float32(1)
        for j in range(d):
            mean[j] += X[i, j]
    for j in range(d):
        mean[j] /= count
    farthest = np.float32(-1)
    for z in range(low, high, step):
        i = np.int64(order[z])
        total = np.float32(0)
        for j in range(d):
            total += (X[i, j] - mean[j]) * (X[i, j] - mean[j])
        if total > farthest:
            farthest = total
            for j in range(d):
                axis[j] = X[i, j] - mean[j]
    for _ in range(ITERATIONS):
        shift = size = np.float32(0)
        for j in range(d):
            shift += axis[j] * mean[j]
            other[j] = 0
        for z in range(low, high, step):
            i = np.int64(order[z])
            total = np.float32(0)
            for j in range(d):
                total += X[i, j] * axis[j]
            total -= shift
            for j in range(d):
                other[j] += total * (X[i, j] - mean[j])
        for j in range(d):
            size = maximum(size, abs(other[j]))
        if size == 0:
            return
        for j in range(d):
            axis[j] = other[j] / size


@njit_noref
def part_at(along, start, order, low, high, place):
    """Partition order[low:high] at `place` by quickselect: no value before it exceeds a value after it.

    along[z - start] is the value of order[z].
    """
    high -= 1
    while low < high:
        pivot = along[((low + high) >> 1) - start]
        i, j = low, high
        while i <= j:
            while along[i - start] < pivot:
                i += 1
            while along[j - start] > pivot:
                j -= 1
            if i <= j:
                along[i - start], along[j - start] = along[j - start], along[i - start]
                order[i], order[j] = order[j], order[i]
                i += 1
                j -= 1
        if place <= j:
            high = j
        elif place >= i:
            low = i
        else:
            return


@kernel
def pack(X, order, cuts, norm_rows, start, stop, codes, table, means, widest):
    """Encode the tiles [start, stop) of X (n, d), given in the scan's axes, in the layout of `kernels.scan`.

    Also writes each tile's mean and its row of the table: 1 / the unit of its codes, the largest |x|, two
    zeros, the largest distance from the mean, and for each segment the largest |x| and |x - x'| up to it
    and |x| beyond it. widest[s]: the largest norms of codes in a segment's even and odd pairs of dimensions.
    """
    d = X.shape[1]
    sums, squares = np.empty(2, np.int64), np.empty(2, np.int64)
    for b in range(start, stop):
        first, last = b * TILE, minimum((b + 1) * TILE, len(X))
        step = np.float32(0)
        for z in range(first, last):
            i = np.int64(order[z])
            for j in range(d):
                step = maximum(step, abs(X[i, j]))
            for part in range(4 * norm_rows):  # the code is rounded up, to at most 127
                step = maximum(step, np.float32(residual_norm(X, i, cuts, norm_rows, part) * (127 / 126)))
        inverse = np.float32(127 / step) if step > 1e-35 else np.float32(1)
        for column in range(table.shape[1]):
            table[b, column] = 0
        table[b, INVERSE] = inverse
        for j in range(d):
            means[b, j] = 0
        for z in range(first, last):
            i = np.int64(order[z])
            for j in range(d):
                means[b, j] += X[i, j] / np.float32(last - first)
        for z in range(first, last):
            i = np.int64(order[z])
            square = 0.0
            for j in range(d):
                deviation = np.float64(X[i, j]) - means[b, j]
                square += deviation * deviation
            table[b, RADIUS] = maximum(table[b, RADIUS], round_up(np.sqrt(square)))
        for place in range(TILE):
            real, unit = first + place < last, 1 / np.float64(inverse)
            pack_item(X, order, cuts, norm_rows, b, place, real, unit, codes, table, widest, sums, squares)


@njit_noref
def pack_item(X, order, cuts, norm_rows, b, place, real, unit, codes, table, widest, sums, squares):
    """Encode one item of a tile; `real` is False for the padding of the last tile.

    sums, squares: scratch space (2,) for the codes in a segment's even and odd pairs of dimensions.
    """
    d, segments, lines = X.shape[1], len(cuts) - 1, cuts[-1] + norm_rows + len(cuts) - 1
    i = np.int64(order[b * TILE + place]) if real else np.int64(0)
    first = (b * lines * TILE + place) * 4
    head_square = error = square = 0.0
    if real:
        for j in range(d):
            square += np.float64(X[i, j]) * X[i, j]
        table[b, NORM] = maximum(table[b, NORM], round_up(np.sqrt(square)))
    for s in range(segments):
        for half in range(2):
            sums[half] = squares[half] = 0
        for part in range(4 * norm_rows if s < 2 else 0):
            norm_code = np.int64(np.ceil(residual_norm(X, i, cuts, norm_rows, part) / unit)) if real else 0
            codes[first + (cuts[1] + 1 + part // 4) * ROW_BYTES + (part & 3)] = norm_code
            count_code(norm_code, part, sums, squares)
        begin = cuts[s] + s + (norm_rows if s else 0)
        for j in range(4 * cuts[s], 4 * cuts[s + 1]):
            value = np.float64(X[i, j]) if real and j < d else 0.0
            code = np.int64(minimum(maximum(np.rint(value / unit), -127.0), 127.0))
            codes[first + (begin + 1 + j // 4 - cuts[s]) * ROW_BYTES + (j & 3)] = code
            count_code(code, j, sums, squares)
            head_square += value * value
            error += (value - code * unit) * (value - code * unit)
        store_start(codes, first + begin * ROW_BYTES, sums)
        for half in range(2):
            widest[s, half] = maximum(widest[s, half], round_up(np.sqrt(np.float64(squares[half]))))
        if real:
            column = BOUNDS + 3 * s
            table[b, column] = maximum(table[b, column], round_up(np.sqrt(head_square)))
            table[b, column + 1] = maximum(table[b, column + 1], round_up(np.sqrt(error)))
            if 0 < s < segments - 1:
                table[b, column + 2] = maximum(
                    table[b, column + 2], round_up(np.sqrt(maximum(square - head_square, 0.0)))
                )
