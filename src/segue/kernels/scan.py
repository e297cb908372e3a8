"""Exact search by inner product: int8 codes in norm order decide what cannot be among the k best.

Items lie in blocks of 16, sixteen to a shelf, ordered by norm and, among like norms, by direction.
Their codes lie as

    shelf, line, item, four bytes

A segment of the dimensions begins with a line of what its sums start from: the negative sums of an item's
codes, as two int16, which make up for the codes of queries having no sign. A line of codes for each 4
dimensions follows. With primes for what the codes stand for, and the dimensions split into a head (the
segments summed so far) and the rest,

    q.x <= q'.x' + |q - q'|_head |x|_head + |q'|_head |x - x'|_head + |q|_rest |x|_rest

in integers for 16 items at once. After the first segment the last product is summed with the others: the rest
is divided into parts, whose lengths are codes too, rounded up, in `tails` more lines that follow the first
segment's. What lies above the k-th best score by this bound is scored in float32 by `dot`, always summed in
the same order; nothing else can be among the answers.
"""

from __future__ import annotations

import numpy as np

from segue.kernels import simd
from segue.kernels.axes import rotate
from segue.kernels.compile import inline, kernel, njit_inlined, njit_noref
from segue.kernels.topk import empty_heap, sink, sort_heap, worse

BLOCKS = 16  # to a shelf
TILE = BLOCKS * simd.LANES
AHEAD = 1  # shelves, which are asked for ahead of their use
TOGETHER = 64  # queries that go along the shelves together
ROW_BYTES = TILE * 4  # bytes of a line
INVERSE, NORM, CEILING, OFFSET, RADIUS, BOUNDS = 0, 1, 2, 3, 4, 5  # columns of the table of shelves
LOWEST, HIGHEST = np.int32(-(2**31)), np.int32(2**31 - 1)
HELD = 1024  # items that may wait to be scored
TINY = 1e-37  # more than underflow can change a sum


@njit_noref
def dot(Q, q, X, i):
    """The inner product of two rows as every answer states it: always summed in the same order."""
    total = np.float32(0)
    for j in range(Q.shape[1]):
        total += Q[q, j] * X[i, j]
    return total


@njit_noref
def nearness(Q, q, X, i):
    """The negative euclidean distance of two rows, from the differences themselves."""
    total = np.float32(0)
    for j in range(Q.shape[1]):
        apart = Q[q, j] - X[i, j]
        total += apart * apart
    return -np.sqrt(total)


@njit_noref
def may_get(i, q, allow, indptr, excluded):
    """Whether query q may get the item i: its bit of `allow` (0, 1 or q rows) is set, its row lacks it."""
    if len(allow) and not allow[min(q, len(allow) - 1), i]:
        return False
    low, high = indptr[q], indptr[q + 1]
    while low < high:
        middle = (low + high) >> 1
        if excluded[middle] < i:
            low = middle + 1
        else:
            high = middle
    return low == indptr[q + 1] or excluded[low] != i


@njit_inlined
def encode(turned, cuts, tails, widest, top, halves, codes, inverses, parts):
    """Queries (m, d) to codes (m, 4 groups) uint8, and what the bounds need of them.

    top + 1 is added to codes, so that none is negative. parts[s, :, q] holds |q - q'|, |q'| up to the
    segment s, and |q| beyond it. Where sums are kept as two int16, the step is so wide that no segment's
    sum leaves them: `widest[s]` is the largest norm of the items' codes in each half. Codes of tails follow
    the first segment's, and negative ones come last.
    """
    d, segments, groups = turned.shape[1], len(cuts) - 1, cuts[-1] + tails
    for q in range(len(turned)):
        square, step = 0.0, 0.0
        for j in range(d):
            square += np.float64(turned[q, j]) * turned[q, j]
            step = max(step, np.float64(abs(turned[q, j])) / top)
        for part in range(4 * tails):
            step = max(step, tail_length(turned, q, cuts, tails, part) / top)
        for s in range(segments if halves else 0):
            largest = max(widest[s, 0], widest[s, 1], np.float32(1))
            room = 32767.0 / largest - np.sqrt(np.float64(cuts[s + 1] - cuts[s] + 2 * tails))
            own = length(turned, q, 4 * cuts[s], min(d, 4 * cuts[s + 1]))
            beyond = length(turned, q, min(d, 4 * cuts[1]), d) * (1 + 1e-9) if tails and s < 2 else 0.0
            step = max(step, np.sqrt(own * own + beyond * beyond) / room)
        step = step if step > 0 else 1.0
        for part in range(4 * tails):
            code = np.int64(np.ceil(tail_length(turned, q, cuts, tails, part) / step * (1 - 1e-12)))
            codes[q, 4 * cuts[1] + part] = top + 1 + code
            codes[q, 4 * groups + part] = top + 1 - code
        inverses[q] = 1 / step
        error, known, seen = 0.0, 0.0, 0.0
        for s in range(segments):
            for j in range(4 * cuts[s], 4 * cuts[s + 1]):
                value = np.float64(turned[q, j]) if j < d else 0.0
                code = np.int64(np.rint(value / step))
                codes[q, j + (4 * tails if s else 0)] = top + 1 + code
                seen += value * value
                error += (value - code * step) ** 2
                known += (code * step) ** 2
            parts[s, 0, q], parts[s, 1, q] = np.sqrt(error), np.sqrt(known)
            parts[s, 2, q] = np.sqrt(max(square - seen, 0.0)) if 0 < s < segments - 1 else 0.0


@njit_noref
def tail_length(X, u, cuts, tails, part):
    """The length, rounded up, of one of the 4 tails parts of a row beyond the first segment."""
    d, first = X.shape[1], min(X.shape[1], 4 * cuts[1])
    start, stop = first + (d - first) * part // (4 * tails), first + (d - first) * (part + 1) // (4 * tails)
    return length(X, u, start, stop) * (1 + 1e-9)


@njit_noref
def length(X, u, start, stop):
    """The length of a part of a row."""
    total = 0.0
    for j in range(start, stop):
        total += np.float64(X[u, j]) * X[u, j]
    return np.sqrt(total)


@inline
def rounding_of(size, norm, rounding, is_distance):
    """How far float32 sums can be off."""
    return rounding * ((size + norm) ** 2 if is_distance else size * norm) + TINY


@inline
def goal_of(worst, size, is_distance):
    """What q.x - offset must reach, given the worst score that is kept."""
    if is_distance and worst > -np.inf:
        return 0.5 * (size * size - np.float64(worst) * worst)
    return np.float64(worst)


@inline
def lowest_sum(goal, slack, parts, q, table, b, s, inverse):
    """The largest integer sum up to the segment s that rules an item of shelf b out.

    inverse: 1 / what a code of 1 stands for in the query.
    """
    column = BOUNDS + 3 * s
    open_ = (
        parts[s, 0, q] * table[b, column]
        + parts[s, 1, q] * table[b, column + 1]
        + parts[s, 2, q] * table[b, column + 2]
    )
    lacking = (goal - slack - open_ * (1 + 1e-6)) * (inverse * table[b, INVERSE])
    return np.int32(min(max(np.floor(lacking - 1 - 1e-6 * abs(lacking)), -2147483648.0), 2147483647.0))


@kernel
def search(
    form, codes, order, vectors, table, means, cuts, widest, axes, centre, rounding, top, halves, is_distance,
    queries, allow, indptr, excluded, start, stop, ids, scores, examined,
):  # fmt: skip
    """The k best items for the queries [start, stop), into their rows of ids, scores and examined.

    Each begins with the shelf whose mean suits it best, so that it soon knows what to ask for. Then
    shelves are the outer loop, so that each is read once for the queries that go along them together.
    """
    for first in range(start, stop, TOGETHER):
        last = min(stop, first + TOGETHER)
        count, d, k = last - first, queries.shape[1], len(scores) // len(examined)
        turned = np.empty((count, d), np.float32)
        lay_out(queries, first, last, centre, axes, turned)
        sizes, seeds = np.empty(count, np.float64), np.empty(count, np.int32)
        for q in range(count):
            sizes[q] = length(turned, q, 0, d)
            empty_heap(scores, ids, (first + q) * k, k)
            examined[first + q] = 0
        nearest = np.empty((len(means), count), np.float32)
        rotate(means, turned, 0, len(means), nearest)
        best_shelves(nearest, table, np.empty(count, np.float32), seeds)
        tails = len(codes) // (len(table) * ROW_BYTES) - cuts[-1] - len(cuts) + 1
        codes_of = np.empty((count, 4 * (cuts[-1] + 2 * tails)), np.uint8)
        inverses, parts = np.empty(count, np.float64), np.empty((len(cuts) - 1, 3, count), np.float64)
        encode(turned, cuts, tails, widest, top, halves, codes_of, inverses, parts)
        walk(
            form, codes, order, vectors, table, cuts, rounding, is_distance,
            queries, allow, indptr, excluded, first, ids, scores, examined,
            codes_of.view(np.int32), parts, inverses,
            sizes, np.empty(count, np.float64), np.empty(count, np.int32), seeds, nearest,
            np.empty(TILE + simd.LANES, np.int32), np.empty(BLOCKS + 1, np.int64),
            np.empty(BLOCKS + 1, np.uint32), np.empty((HELD, 3), np.int32),
        )  # fmt: skip
        for q in range(first, last):
            sort_heap(scores, ids, q * k, k)


@njit_inlined
def best_shelves(nearest, table, best, seeds):
    """The shelf with the highest mean score (shelves, queries) for each query, and that score."""
    for q in range(len(seeds)):
        best[q], seeds[q] = nearest[0, q] - table[0, OFFSET], 0
    for b in range(1, len(nearest)):
        offset = table[b, OFFSET]
        for q in range(len(seeds)):
            score = nearest[b, q] - offset
            seeds[q] = np.int32(b) if score > best[q] else seeds[q]
            best[q] = max(best[q], score)


@njit_inlined
def walk(
    form, codes, order, vectors, table, cuts, rounding, is_distance,
    queries, allow, indptr, excluded, start, ids, scores, examined,
    words, parts, inverses,
    sizes, goals, bars, seeds, nearest, partial, places, bits, waiting,
):  # fmt: skip
    """Visit each query's best shelf, then all shelves, from the longest vectors to the shortest.

    A block whose items may be among the answers after the first segment is summed on, segment by
    segment, while any may; what remains waits in `waiting` and is scored when the queries have all been
    at the shelf, by when it is in the cache.
    """
    count, lines, segments = len(sizes), len(codes) // (len(table) * ROW_BYTES), len(cuts) - 1
    tails = lines - cuts[-1] - segments
    width, wide = cuts[1] + tails, cuts[-1] + 2 * tails
    share = -(-(lines if count > 1 else width + 1) * ROW_BYTES // (64 * count)) * 64
    k, d, last = len(scores) // len(examined), vectors.shape[1], segments - 1
    for q in range(count):
        goals[q], bars[q] = -np.inf, LOWEST
    for step in range(-1, len(table)):
        if step >= 0 and not set_bars(
            bars, goals, sizes, inverses, parts, table, nearest, step, rounding, is_distance
        ):
            break
        held = np.int64(0)
        for q in range(count):
            for line in range(q * share, (q + 1) * share, 64):
                simd.prefetch(codes, (step + AHEAD) * ROW_BYTES * lines + line)
            if bars[q] == HIGHEST or step == seeds[q]:
                continue
            b, least = step if step >= 0 else seeds[q], bars[q]
            noted = np.int64(0)
            for block in range(0, BLOCKS, 4):
                at = b * ROW_BYTES * lines + block * 64
                A = simd.start(form, codes, at)
                B = simd.start(form, codes, at + 64)
                C = simd.start(form, codes, at + 128)
                D = simd.start(form, codes, at + 192)
                at += ROW_BYTES
                for g in range(width):
                    A = simd.multiply(form, A, codes, at + g * ROW_BYTES, words, q * wide + g)
                    B = simd.multiply(form, B, codes, at + g * ROW_BYTES + 64, words, q * wide + g)
                    C = simd.multiply(form, C, codes, at + g * ROW_BYTES + 128, words, q * wide + g)
                    D = simd.multiply(form, D, codes, at + g * ROW_BYTES + 192, words, q * wide + g)
                sums_a, sums_b = simd.total(form, A), simd.total(form, B)
                sums_c, sums_d = simd.total(form, C), simd.total(form, D)
                largest = simd.larger(simd.larger(sums_a, sums_b), simd.larger(sums_c, sums_d))
                if simd.above(largest, least):
                    noted = note(partial, places, bits, noted, sums_a, block, simd.above(sums_a, least))
                    noted = note(partial, places, bits, noted, sums_b, block + 1, simd.above(sums_b, least))
                    noted = note(partial, places, bits, noted, sums_c, block + 2, simd.above(sums_c, least))
                    noted = note(partial, places, bits, noted, sums_d, block + 3, simd.above(sums_d, least))
            for s in range(1, segments):
                if noted == 0:
                    break
                bars[q] = bar_after(s, q, goals, sizes, parts, table, b, inverses, rounding, is_distance)
                left, noted = noted, np.int64(0)
                for p in range(left):
                    block, first = places[p], q * wide + cuts[s] + tails
                    at = (b * lines + cuts[s] + tails + s) * ROW_BYTES + block * 64
                    more = simd.start(form, codes, at)
                    for g in range(tails if s == 1 else 0):
                        tail, opposite = at + (g - tails) * ROW_BYTES, (q + 1) * wide - tails + g
                        more = simd.multiply(form, more, codes, tail, words, opposite)
                    for g in range(cuts[s + 1] - cuts[s]):
                        more = simd.multiply(form, more, codes, at + (g + 1) * ROW_BYTES, words, first + g)
                    sums = simd.plus(simd.load_sums(partial, p * simd.LANES), simd.total(form, more))
                    noted = note(partial, places, bits, noted, sums, block, simd.above(sums, bars[q]))
            if noted == 0:
                continue
            preferred = bar_of(partial, noted, k) if goals[q] == -np.inf else bars[q]
            while True:
                bar = max(bars[q], preferred)
                for p in range(noted):
                    alive = bits[p] & simd.above(simd.load_sums(partial, p * simd.LANES), bar)
                    bits[p] ^= alive
                    place = b * TILE + places[p] * simd.LANES
                    while alive:
                        lane = simd.first_bit(alive)
                        alive &= alive - np.uint32(1)
                        item = order[place + lane]
                        if item >= 0:
                            for line in range(0, min(d, 64), 16):
                                simd.prefetch(vectors, item * d + line)
                            waiting[held, 0], waiting[held, 1] = q, item
                            waiting[held, 2] = partial[p * simd.LANES + lane]
                            held += 1
                if step < 0 or preferred != bars[q] or held + TILE > len(waiting):
                    score_waiting(
                        waiting, held, vectors, queries, allow, indptr, excluded, start, k, ids, scores,
                        examined, goals, bars, sizes, parts, table, b, last, inverses, rounding, is_distance,
                    )  # fmt: skip
                    held = np.int64(0)
                if preferred <= bars[q]:
                    break
                preferred = bars[q]
        score_waiting(
            waiting, held, vectors, queries, allow, indptr, excluded, start, k, ids, scores, examined,
            goals, bars, sizes, parts, table, max(step, 0), last, inverses, rounding, is_distance,
        )  # fmt: skip


@inline
def set_bars(bars, goals, sizes, inverses, parts, table, nearest, b, rounding, is_distance):
    """For each query, the sum over the first segment that items of shelf b must exceed, HIGHEST if none can.

    Returns whether there may be something for any query, here or later.
    """
    norm, radius = np.float64(table[b, NORM]), np.float64(table[b, RADIUS])
    ceiling, coming = np.float64(table[b, CEILING]), np.int64(0)
    for q in range(len(bars)):
        size, goal = sizes[q], goals[q] + table[b, OFFSET]
        slack = rounding_of(size, ceiling, rounding, is_distance)
        coming += np.int64(is_distance or size * ceiling + slack >= goal)
        reach = min(size * norm, np.float64(nearest[b, q]) + size * radius + slack)
        bar = lowest_sum(goal, slack, parts, q, table, b, 0, inverses[q])
        bars[q] = HIGHEST if reach + slack < goal else bar
    return coming > 0


@inline
def bar_after(s, q, goals, sizes, parts, table, b, inverses, rounding, is_distance):
    """The sum up to the segment s that an item of shelf b must exceed."""
    slack = rounding_of(sizes[q], np.float64(table[b, CEILING]), rounding, is_distance)
    return lowest_sum(goals[q] + table[b, OFFSET], slack, parts, q, table, b, s, inverses[q])


@inline
def score_waiting(
    waiting, held, vectors, queries, allow, indptr, excluded, start, k, ids, scores, examined,
    goals, bars, sizes, parts, table, b, last, inverses, rounding, is_distance,
):  # fmt: skip
    """Score in float32 what the codes of shelf b leave, unless a better k-th score rules it out by now."""
    for z in range(held):
        q, item = np.int64(waiting[z, 0]), np.int64(waiting[z, 1])
        row = start + q
        if waiting[z, 2] > bars[q] and may_get(item, row, allow, indptr, excluded):
            examined[row] += 1
            score = nearness(queries, row, vectors, item) if is_distance else dot(queries, row, vectors, item)
            if worse(scores[row * k], ids[row * k], score, item):
                sink(scores, ids, row * k, k, score, item)
                goals[q] = goal_of(scores[row * k], sizes[q], is_distance)
                bars[q] = bar_after(last, q, goals, sizes, parts, table, b, inverses, rounding, is_distance)


@inline
def note(partial, places, bits, place, sums, block, alive):
    """Keep a block's sums if any of its items is alive."""
    simd.store_sums(partial, place * simd.LANES, sums)
    places[place], bits[place] = block, np.int32(alive)
    return place + (1 if alive else 0)


@njit_noref
def bar_of(partial, blocks, k):
    """A sum that at least k items of some blocks exceed, and not many more."""
    low = high = np.int64(partial[0])
    for place in range(blocks * simd.LANES):
        low, high = min(low, np.int64(partial[place])), max(high, np.int64(partial[place]))
    low -= 1
    while high - low > 1:
        middle = (low + high) >> 1
        count = count_above(partial, blocks, np.int32(middle))
        if count < k:
            high = middle
        else:
            low = middle
            if count < k + k // 4 + 3:
                break
    return np.int32(low)


@njit_noref
def count_above(sums, blocks, edge):
    """How many sums of some blocks exceed an edge."""
    count = np.int64(0)
    for place in range(0, blocks * simd.LANES, simd.LANES):
        count += simd.ones(np.uint64(simd.above(simd.load_sums(sums, place), edge)))
    return count


@njit_inlined
def lay_out(X, start, stop, centre, axes, out):
    """out = (X[start:stop] - centre) in the given axes, the rows of (d, d); either may be empty."""
    d = X.shape[1]
    for u in range(start, stop):
        for j in range(d):
            out[u - start, j] = X[u, j]
        if len(centre):
            for j in range(d):
                out[u - start, j] -= centre[j]
    if len(axes):
        rotate(out, axes, 0, stop - start, out)
