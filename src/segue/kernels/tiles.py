"""How items are laid out for the scan: their order, the dimensions summed first, their codes."""

from __future__ import annotations

import numpy as np

from segue.kernels.codes import count_code, residual_norm, round_up, store_start
from segue.kernels.compile import kernel, njit_noref
from segue.kernels.scan import BOUNDS, INVERSE, NORM, RADIUS, ROW_BYTES, TILE
from segue.kernels.simd import maximum, minimum

TURNS, DRAWN = 3, 1000  # power iterations for the direction of a cut, and rows that they look at


@kernel
def group_by_direction(X, order, start, stop, leaf):
    """Reorder order[start:stop] so that items of like direction come together, `leaf` at a time.

    Halves are cut at the median along the direction in which they spread most, and halved again.
    """
    d = X.shape[1]
    along = np.empty(stop - start, np.float32)
    mean, axis, other = np.empty(d, np.float32), np.empty(d, np.float32), np.empty(d, np.float32)
    lows, highs = np.empty(64, np.int64), np.empty(64, np.int64)
    lows[0], highs[0], waiting = start, stop, 1
    while waiting:
        waiting -= 1
        low, high = lows[waiting], highs[waiting]
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
        lows[waiting], highs[waiting] = low, middle
        lows[waiting + 1], highs[waiting + 1] = middle, high
        waiting += 2


@njit_noref
def widest_direction(X, order, low, high, mean, axis, other):
    """An estimate of the first principal axis of some rows, from the row that is farthest from their mean.

    Of more than DRAWN rows, as many are looked at.
    """
    d = len(mean)
    step = 1 + (high - low - 1) // DRAWN
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
    for _ in range(TURNS):
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
    """Reorder [low, high) so that what stands before `place` lies no farther along than what stands after it.

    along[z - start] belongs to order[z].
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
def pack(X, order, cuts, tails, start, stop, codes, table, means, widest):
    """Encode the shelves [start, stop) of X (n, d), which is in the scan's axes, as `kernels.scan` says.

    A shelf's mean, and its row of the table: 1 / the unit of its codes, the largest |x|, two zeros, the
    largest distance from the mean, and for each segment the largest |x|, |x - x'| up to it, and |x| beyond
    it. widest[s]: the largest norm of codes in a segment's even and odd pairs of dimensions.
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
            for part in range(4 * tails):  # which is rounded up, to 127 at most
                step = maximum(step, np.float32(residual_norm(X, i, cuts, tails, part) * (127 / 126)))
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
            pack_item(X, order, cuts, tails, b, place, real, unit, codes, table, widest, sums, squares)


@njit_noref
def pack_item(X, order, cuts, tails, b, place, real, unit, codes, table, widest, sums, squares):
    """Encode one item of a shelf, or the emptiness that fills up the last one.

    sums, squares: room for those of the codes in a segment's even and odd pairs of dimensions.
    """
    d, segments, lines = X.shape[1], len(cuts) - 1, cuts[-1] + tails + len(cuts) - 1
    i = np.int64(order[b * TILE + place]) if real else np.int64(0)
    first = (b * lines * TILE + place) * 4
    seen = error = square = 0.0
    if real:
        for j in range(d):
            square += np.float64(X[i, j]) * X[i, j]
        table[b, NORM] = maximum(table[b, NORM], round_up(np.sqrt(square)))
    for s in range(segments):
        for half in range(2):
            sums[half] = squares[half] = 0
        for part in range(4 * tails if s < 2 else 0):
            tail = np.int64(np.ceil(residual_norm(X, i, cuts, tails, part) / unit)) if real else 0
            codes[first + (cuts[1] + 1 + part // 4) * ROW_BYTES + (part & 3)] = tail
            count_code(tail, part, sums, squares)
        begin = cuts[s] + s + (tails if s else 0)
        for j in range(4 * cuts[s], 4 * cuts[s + 1]):
            value = np.float64(X[i, j]) if real and j < d else 0.0
            code = np.int64(minimum(maximum(np.rint(value / unit), -127.0), 127.0))
            codes[first + (begin + 1 + j // 4 - cuts[s]) * ROW_BYTES + (j & 3)] = code
            count_code(code, j, sums, squares)
            seen += value * value
            error += (value - code * unit) * (value - code * unit)
        store_start(codes, first + begin * ROW_BYTES, sums)
        for half in range(2):
            widest[s, half] = maximum(widest[s, half], round_up(np.sqrt(np.float64(squares[half]))))
        if real:
            column = BOUNDS + 3 * s
            table[b, column] = maximum(table[b, column], round_up(np.sqrt(seen)))
            table[b, column + 1] = maximum(table[b, column + 1], round_up(np.sqrt(error)))
            if 0 < s < segments - 1:
                table[b, column + 2] = maximum(
                    table[b, column + 2], round_up(np.sqrt(maximum(square - seen, 0.0)))
                )
