"""Exact search by inner product: int8 codes in norm order decide what cannot be among the k best.

Items lie in blocks of 16, eight to a shelf, ordered by norm and, among like norms, by direction.
Their codes lie as

    shelf, group of 4 dimensions, item, dimension

With primes for what the codes stand for, and the dimensions split into a head (the segments summed so
far) and the rest,

    q.x <= q'.x' + |q - q'|_head |x|_head + |q'|_head |x - x'|_head + |q|_rest |x|_rest

in integers for 16 items at once. After the first segment the last product is summed with the others: its
factors are codes too, rounded up, in `tails` more groups of 4 that follow the first segment's. What lies
above the k-th best score by this bound is scored in float32 by `dot`, always summed in the same order;
nothing else can be among the answers.
"""

from __future__ import annotations

import numpy as np

from segue.kernels import simd
from segue.kernels.axes import turn
from segue.kernels.compile import bare, inline, kernel, pasted
from segue.kernels.topk import empty_heap, sink, sort_heap, worse

BLOCKS = 8  # to a shelf
SHELF = BLOCKS * simd.LANES
AHEAD = 1  # shelves, which are asked for ahead of their use, where one query reads them
LINE = SHELF * 4  # bytes of a group of 4 dimensions
INVERSE, NORM, CEILING, OFFSET, RADIUS, BOUNDS = 0, 1, 2, 3, 4, 5  # columns of the table of shelves
LOWEST, HIGHEST = np.int32(-(2**31)), np.int32(2**31 - 1)
TINY = 1e-37  # more than underflow can change a sum


@bare
def dot(Q, q, X, i):
    """The inner product of two rows as every answer states it: always summed in the same order."""
    total = np.float32(0)
    for j in range(Q.shape[1]):
        total += Q[q, j] * X[i, j]
    return total


@bare
def nearness(Q, q, X, i):
    """The negative euclidean distance of two rows, from the differences themselves."""
    total = np.float32(0)
    for j in range(Q.shape[1]):
        apart = Q[q, j] - X[i, j]
        total += apart * apart
    return -np.sqrt(total)


@bare
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


@pasted
def encode(turned, cuts, tails, widest, top, halves, codes, inverses, corrections, parts):
    """Queries (m, d) to codes (m, 4 groups) int8, and what the bounds need of them.

    parts[q, s] holds |q - q'|, |q'| up to the segment s, and |q| beyond it. Where sums are kept as
    two int16, the step is so wide that no segment's sum leaves them: `widest[s]` is the largest norm of
    the items' codes in each half. Codes of tails follow the first segment's, and negative ones come last.
    """
    d, segments, groups = turned.shape[1], len(cuts) - 1, cuts[-1] + tails
    spread = 2 * np.sqrt(np.float64(max(1, tails)))
    for q in range(len(turned)):
        square, step = 0.0, 0.0
        for j in range(d):
            square += np.float64(turned[q, j]) * turned[q, j]
            step = max(step, np.float64(abs(turned[q, j])) / top)
        tail = length(turned, q, min(d, 4 * cuts[1]), d) * (1 + 1e-9) if tails else 0.0
        step = max(step, tail / (spread * top))
        for s in range(segments):
            if halves:
                largest = max(widest[s, 0], widest[s, 1], np.float32(1))
                room = 32767.0 / largest - np.sqrt(np.float64(cuts[s + 1] - cuts[s] + 2 * tails))
                own = length(turned, q, 4 * cuts[s], min(d, 4 * cuts[s + 1]))
                step = max(step, (np.sqrt(own * own + tail * tail / 2) if s < 2 else own) / room)
        step = step if step > 0 else 1.0
        for g in range(4 * tails):
            codes[q, 4 * cuts[1] + g] = np.int64(np.ceil(tail / (spread * step) * (1 - 1e-12)))
            codes[q, 4 * groups + g] = -codes[q, 4 * cuts[1] + g]
        inverses[q] = 1 / step
        error, known, seen = 0.0, 0.0, 0.0
        for s in range(segments):
            low = high = np.int64(0)
            for j in range(4 * cuts[s], 4 * cuts[s + 1]):
                value = np.float64(turned[q, j]) if j < d else 0.0
                code = np.int64(np.rint(value / step))
                codes[q, j + (4 * tails if s else 0)] = code
                seen += value * value
                error += (value - code * step) ** 2
                known += (code * step) ** 2
                if j & 2:
                    high += code
                else:
                    low += code
            corrections[q, s] = packed(-128 * low, -128 * high) if halves else -128 * (low + high)
            parts[q, s, 0], parts[q, s, 1] = np.sqrt(error), np.sqrt(known)
            parts[q, s, 2] = np.sqrt(max(square - seen, 0.0)) if 0 < s < segments - 1 else 0.0


@inline
def packed(low, high):
    """Two int16, which may wrap around, side by side in an int32."""
    return ((high & 0xFFFF) << 16) | (low & 0xFFFF)


@bare
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
        parts[q, s, 0] * table[b, column]
        + parts[q, s, 1] * table[b, column + 1]
        + parts[q, s, 2] * table[b, column + 2]
    )
    lacking = (goal - slack - open_ * (1 + 1e-6)) * (inverse * table[b, INVERSE])
    return np.int32(min(max(np.floor(lacking - 1 - 1e-6 * abs(lacking)), -2147483648.0), 2147483647.0))


@kernel
def search(
    form, codes, order, vectors, table, means, cuts, widest, axes, centre, rounding, top, halves, is_distance,
    queries, allow, indptr, excluded, start, stop, ids, scores, examined,
):  # fmt: skip
    """The k best items for the queries [start, stop), into their rows of ids, scores and examined.

    Each query begins with the shelf whose mean suits it best, so that it soon knows what to ask for.
    Then shelves are the outer loop, so that each is read once for all of these queries; a query that
    no later shelf can serve drops out.
    """
    count, d, k = stop - start, queries.shape[1], len(scores) // len(examined)
    turned = np.empty((count, d), np.float32)
    lay_out(queries, start, stop, centre, axes, turned)
    sizes, seeds = np.empty(count, np.float64), np.empty(count, np.int64)
    for q in range(count):
        sizes[q] = length(turned, q, 0, d)
        empty_heap(scores, ids, (start + q) * k, k)
        examined[start + q] = 0
    nearest = np.empty((len(means), count), np.float32)
    turn(means, turned, 0, len(means), nearest)
    best_shelves(nearest, table, seeds)
    tails = len(codes) // (len(table) * LINE) - cuts[-1]
    codes_of, inverses = np.empty((count, 4 * (cuts[-1] + 2 * tails)), np.int8), np.empty(count, np.float64)
    corrections = np.empty((count, len(cuts) - 1), np.int64)
    parts = np.empty((count, len(cuts) - 1, 3), np.float64)
    encode(turned, cuts, tails, widest, top, halves, codes_of, inverses, corrections, parts)
    walk(
        form, codes, order, vectors, table, cuts, rounding, is_distance,
        queries, allow, indptr, excluded, start, ids, scores, examined,
        codes_of.view(np.int32), corrections, parts, inverses,
        sizes, np.empty(count, np.float64), np.empty(count, np.int64), seeds, nearest,
        np.empty(SHELF + simd.LANES, np.int32), np.empty(BLOCKS + 1, np.int64),
        np.empty(BLOCKS + 1, np.uint32),
    )  # fmt: skip
    for q in range(start, stop):
        sort_heap(scores, ids, q * k, k)


@pasted
def best_shelves(nearest, table, seeds):
    """The shelf with the highest mean score (shelves, queries) for each query."""
    for q in range(len(seeds)):
        seeds[q] = 0
    for b in range(1, len(nearest)):
        for q in range(len(seeds)):
            best = seeds[q]
            if nearest[b, q] - table[b, OFFSET] > nearest[best, q] - table[best, OFFSET]:
                seeds[q] = b


@pasted
def walk(
    form, codes, order, vectors, table, cuts, rounding, is_distance,
    queries, allow, indptr, excluded, start, ids, scores, examined,
    words, corrections, parts, inverses,
    sizes, goals, active, seeds, nearest, partial, places, bits,
):  # fmt: skip
    """Visit each query's best shelf, then all shelves, from the longest vectors to the shortest.

    A block whose items may be among the answers after the first segment is summed on, segment by
    segment, while any may; what remains is scored.
    """
    left, groups, segments = len(active), len(codes) // (len(table) * LINE), len(cuts) - 1
    tails = groups - cuts[-1]
    width, wide = cuts[1] + tails, groups + tails
    for q in range(left):
        active[q], goals[q] = q, -np.inf
    k, d = len(scores) // len(examined), vectors.shape[1]
    for step in range(-1, len(table)):
        kept = 0
        for a in range(left):
            q = active[a]
            b = seeds[q] if step < 0 else step
            size = sizes[q]
            slack = rounding_of(size, np.float64(table[b, CEILING]), rounding, is_distance)
            goal = goals[q] + table[b, OFFSET]
            if not is_distance and size * table[b, CEILING] + slack < goal:
                continue
            active[kept] = q
            kept += 1
            reach = min(size * table[b, NORM], nearest[b, q] + size * table[b, RADIUS] + slack)
            if step == seeds[q] or reach + slack < goal:
                continue
            if left == 1:
                for line in range(0, width * LINE, 64):
                    simd.prefetch(codes, (b + AHEAD) * LINE * groups + line)
            least = lowest_sum(goal, slack, parts, q, table, b, 0, inverses[q])
            noted = 0
            for block in range(0, BLOCKS, 4):
                at = b * LINE * groups + block * 64
                A = simd.start(form, corrections[q, 0])
                B = simd.start(form, corrections[q, 0])
                C = simd.start(form, corrections[q, 0])
                D = simd.start(form, corrections[q, 0])
                for g in range(width):
                    A = simd.multiply(form, A, codes, at + g * LINE, words, q * wide + g)
                    B = simd.multiply(form, B, codes, at + g * LINE + 64, words, q * wide + g)
                    C = simd.multiply(form, C, codes, at + g * LINE + 128, words, q * wide + g)
                    D = simd.multiply(form, D, codes, at + g * LINE + 192, words, q * wide + g)
                sums_a, sums_b = simd.total(form, A), simd.total(form, B)
                sums_c, sums_d = simd.total(form, C), simd.total(form, D)
                largest = simd.larger(simd.larger(sums_a, sums_b), simd.larger(sums_c, sums_d))
                if simd.above(largest, least):
                    noted = note(partial, places, bits, noted, sums_a, block, simd.above(sums_a, least))
                    noted = note(partial, places, bits, noted, sums_b, block + 1, simd.above(sums_b, least))
                    noted = note(partial, places, bits, noted, sums_c, block + 2, simd.above(sums_c, least))
                    noted = note(partial, places, bits, noted, sums_d, block + 3, simd.above(sums_d, least))
            bar = least
            for s in range(1, segments):
                if noted == 0:
                    break
                bar = lowest_sum(goal, slack, parts, q, table, b, s, inverses[q])
                waiting, noted = noted, 0
                for p in range(waiting):
                    block = places[p]
                    at = b * LINE * groups + block * 64
                    more = simd.start(form, corrections[q, s])
                    for g in range(tails if s == 1 else 0):
                        more = simd.multiply(
                            form, more, codes, at + (cuts[1] + g) * LINE, words, q * wide + groups + g
                        )
                    for g in range(cuts[s] + tails, cuts[s + 1] + tails):
                        more = simd.multiply(form, more, codes, at + g * LINE, words, q * wide + g)
                    sums = simd.plus(simd.load_sums(partial, p * simd.LANES), simd.total(form, more))
                    noted = note(partial, places, bits, noted, sums, block, simd.above(sums, bar))
            if noted == 0:
                continue
            items = 0
            for p in range(noted):
                places[p] = b * SHELF + places[p] * simd.LANES
                alive = bits[p]
                while alive:
                    item = order[places[p] + simd.first_bit(alive)]
                    alive &= alive - np.uint32(1)
                    items += 1
                    for line in range(0, min(d, 64), 16):
                        simd.prefetch(vectors, item * d + line)
            row = start + q
            preferred = bar_for(partial, noted, k) if goal == -np.inf and items > k else bar
            for _ in range(1 if preferred == bar else 2):
                for p in range(noted):
                    alive = bits[p] & simd.above(simd.load_sums(partial, p * simd.LANES), max(bar, preferred))
                    bits[p] ^= alive
                    while alive:
                        item = order[places[p] + simd.first_bit(alive)]
                        alive &= alive - np.uint32(1)
                        if item >= 0 and may_get(item, row, allow, indptr, excluded):
                            examined[row] += 1
                            score = dot(queries, row, vectors, item)
                            if is_distance:
                                score = nearness(queries, row, vectors, item)
                            if worse(scores[row * k], ids[row * k], score, item):
                                sink(scores, ids, row * k, k, score, item)
                                goals[q] = goal_of(scores[row * k], size, is_distance)
                                goal = goals[q] + table[b, OFFSET]
                                bar = lowest_sum(goal, slack, parts, q, table, b, segments - 1, inverses[q])
                preferred = bar
        left = kept
        if left == 0:
            break


@inline
def note(partial, places, bits, place, sums, block, alive):
    """Keep a block's sums if any of its items is alive."""
    simd.store_sums(partial, place * simd.LANES, sums)
    places[place], bits[place] = block, np.int32(alive)
    return place + (1 if alive else 0)


@bare
def bar_for(partial, stop, k):
    """A sum that at least k items exceed, and not many more."""
    low, high = np.int64(LOWEST), np.int64(HIGHEST)
    for _ in range(32):
        middle = (low + high) >> 1
        count = 0
        for place in range(stop * simd.LANES):
            count += partial[place] > middle
        if count < k:
            high = middle
        else:
            low = middle
            if count < k + k // 2 + 8:
                break
    return np.int32(low)


@pasted
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
        turn(out, axes, 0, stop - start, out)
