"""Search among partitions: codes of centroids choose them, codes of their items rule most of these out.

Codes and bounds are those of `kernels.scan`, but each partition begins with a block of 16 items of its own:

    partition, segment (the first, the rest), block, line, item, four bytes

A query's partitions are visited in rounds: the best, then some more, then all others, so that it soon
knows what to ask for. Within a round partitions are the outer loop, so that each is read once for all
queries that visit it.
"""

from __future__ import annotations

import numpy as np

from segue.kernels import simd
from segue.kernels.codes import count_code, encode, round_up, store_start, to_axes
from segue.kernels.compile import inline, kernel, njit_inlined, njit_noref
from segue.kernels.scan import BOUNDS, INVERSE, LOWEST, NORM, count_above, keep_block, kth_sum, lowest_sum
from segue.kernels.scores import dot, is_allowed, negative_distance, norm, rounding_error, target_of
from segue.kernels.tiles import part_at
from segue.kernels.topk import empty_heap, sink, sort_heap, worse

BLOCK = simd.LANES * 4  # bytes of a block's line
ROUNDS = 3
MOST = 1e30  # of a scale: an offset of zero must stay zero


@kernel
def pack(X, order, bounds, cuts, start, stop, codes, table, halves, widest):
    """Encode the partitions [start, stop) of X (n, d), which is in the scan's axes.

    Partition p has the blocks bounds[p] to bounds[p + 1], and items as `order` says. Its row of the
    table is that of a shelf in `kernels.scan`. halves: |x|² / 2 of each place.
    """
    d, sums, squares = X.shape[1], np.empty(2, np.int64), np.empty(2, np.int64)
    for p in range(start, stop):
        first, last = bounds[p] * simd.LANES, bounds[p + 1] * simd.LANES
        step = np.float32(0)
        for z in range(first, last):
            i = order[z]
            for j in range(d if i >= 0 else 0):
                step = max(step, abs(X[i, j]))
        inverse = np.float32(127 / step) if step > 1e-35 else np.float32(1)
        for column in range(table.shape[1]):
            table[p, column] = 0
        table[p, INVERSE] = inverse
        for z in range(first, last):
            unit = 1 / np.float64(inverse)
            pack_item(X, order, bounds, cuts, p, z, unit, codes, table, halves, widest, sums, squares)


@njit_noref
def pack_item(X, order, bounds, cuts, p, z, unit, codes, table, halves, widest, sums, squares):
    """Encode one item of a partition, or the emptiness that fills up its last block."""
    d, segments, i = X.shape[1], len(cuts) - 1, order[z]
    block, lane = z // simd.LANES, z % simd.LANES
    square = norm(X, i, 0, d) ** 2 if i >= 0 else 0.0
    halves[z] = np.float32(square / 2)
    table[p, NORM] = max(table[p, NORM], round_up(np.sqrt(square)))
    seen = error = 0.0
    for s in range(segments):
        at = place_of(bounds[p], bounds[p + 1], block - bounds[p], cuts, s) + 4 * lane
        for half in range(2):
            sums[half] = squares[half] = 0
        for j in range(4 * cuts[s], 4 * cuts[s + 1]):
            value = np.float64(X[i, j]) if i >= 0 and j < d else 0.0
            code = np.int64(min(max(np.rint(value / unit), -127.0), 127.0))
            codes[at + (1 + j // 4 - cuts[s]) * BLOCK + (j & 3)] = code
            count_code(code, j, sums, squares)
            seen += value * value
            error += (value - code * unit) ** 2
        store_start(codes, at, sums)
        for half in range(2):
            widest[s, half] = max(widest[s, half], round_up(np.sqrt(np.float64(squares[half]))))
        column = BOUNDS + 3 * s
        table[p, column] = max(table[p, column], round_up(np.sqrt(seen)))
        table[p, column + 1] = max(table[p, column + 1], round_up(np.sqrt(error)))
        if s < segments - 1:
            table[p, column + 2] = max(table[p, column + 2], round_up(np.sqrt(max(square - seen, 0.0))))


@inline
def place_of(first, last, block, cuts, s):
    """Where a segment of a block begins, among the codes of a partition of the blocks [first, last)."""
    if s == 0:
        return (first * (cuts[-1] + len(cuts) - 1) + block * (cuts[1] + 1)) * BLOCK
    rest = cuts[-1] - cuts[1] + len(cuts) - 2
    begin = first * rest + last * (cuts[1] + 1)
    return (begin + block * rest + cuts[s] - cuts[1] + s - 1) * BLOCK


@njit_noref
def score_centroids(form, codes, cuts, offsets, scale, words, q, sums):
    """sums = codes of query q · codes of all centroids, minus their offsets in the same unit.

    Their blocks are a multiple of four.
    """
    blocks, scale = len(offsets) // simd.LANES, np.float32(min(scale, MOST))
    for s in range(len(cuts) - 1):
        stride = place_of(0, blocks, 1, cuts, s) - place_of(0, blocks, 0, cuts, s)
        for block in range(0, blocks, 4):
            at = place_of(0, blocks, block, cuts, s)
            A = simd.start(form, codes, at)
            B = simd.start(form, codes, at + stride)
            C = simd.start(form, codes, at + 2 * stride)
            D = simd.start(form, codes, at + 3 * stride)
            for g in range(cuts[s], cuts[s + 1]):
                at += BLOCK
                A = simd.multiply(form, A, codes, at, words, q * cuts[-1] + g)
                B = simd.multiply(form, B, codes, at + stride, words, q * cuts[-1] + g)
                C = simd.multiply(form, C, codes, at + 2 * stride, words, q * cuts[-1] + g)
                D = simd.multiply(form, D, codes, at + 3 * stride, words, q * cuts[-1] + g)
            add(form, A, s, offsets, scale, block, sums)
            add(form, B, s, offsets, scale, block + 1, sums)
            add(form, C, s, offsets, scale, block + 2, sums)
            add(form, D, s, offsets, scale, block + 3, sums)


@inline
def add(form, part, s, offsets, scale, block, sums):
    """Keep a segment's sums of a block: minus the offsets for the first, added for the others."""
    place = block * simd.LANES
    if s == 0:
        simd.store_sums(sums, place, simd.less(simd.total(form, part), offsets, place, scale))
    else:
        simd.store_sums(sums, place, simd.plus(simd.load_sums(sums, place), simd.total(form, part)))


@kernel
def assign(form, codes, cuts, offsets, unit, widest, top, halves, X, start, stop, nearest):
    """The nearest centroid, by codes, of the rows [start, stop) of X; of equals, the first."""
    count, d = stop - start, X.shape[1]
    rows = np.empty((count, d), np.float32)
    for u in range(count):
        for j in range(d):
            rows[u, j] = X[start + u, j]
    words, inverses = np.empty(count * cuts[-1], np.int32), np.empty(count, np.float64)
    parts = np.empty((len(cuts) - 1, 3, count), np.float64)
    encode(rows, cuts, 0, widest, top, halves, words, inverses, parts)
    sums = np.empty(len(offsets), np.int32)
    for u in range(count):
        score_centroids(form, codes, cuts, offsets, inverses[u] * unit, words, u, sums)
        best = LOWEST
        for p in range(len(sums)):
            best = max(best, sums[p])
        for p in range(len(sums)):
            if sums[p] == best:
                nearest[start + u] = p
                break


@kernel
def average(X, order, bounds, start, stop, means, spreads):
    """The means of the rows of X in the partitions [start, stop), and their deviation from them.

    Partition p has the rows order[bounds[p]:bounds[p + 1]]. spreads: the root of the mean square of a
    dimension's distance from the mean, and the largest of all its dimensions.
    """
    d = X.shape[1]
    total = np.empty(d, np.float64)
    for p in range(start, stop):
        members = max(1, bounds[p + 1] - bounds[p])
        for j in range(d):
            total[j] = 0
        for z in range(bounds[p], bounds[p + 1]):
            i = order[z]
            for j in range(d):
                total[j] += np.float64(X[i, j])
        for j in range(d):
            means[p, j] = np.float32(total[j] / members)
        square = 0.0
        for z in range(bounds[p], bounds[p + 1]):
            i = order[z]
            for j in range(d):
                square += np.float64(X[i, j] - means[p, j]) ** 2
        spreads[p] = np.float32(np.sqrt(square / (members * d)))


@njit_noref
def choose(sums, P, wanted, along, order):
    """Put the `wanted` best partitions, the best first, then the next few, at the front of `order`."""
    least, most = sums[0], sums[0]
    total = square = np.float32(0)
    for p in range(P):
        least, most = min(least, sums[p]), max(most, sums[p])
        total += np.float32(sums[p])
        square += np.float32(sums[p]) * np.float32(sums[p])
    mean = np.float64(total) / P
    spread = np.sqrt(max(np.float64(square) / P - mean * mean, 0.0))
    step = np.int64(spread * 0.1) + 1
    guess = np.int64(mean + spread * tail(wanted / P))
    for p in range(P, len(sums)):
        sums[p] = LOWEST
    low, high = np.int64(least) - 1, np.int64(most)
    while high - low > 1:
        middle = guess if low < guess < high else (low + high) >> 1
        count = count_above(sums, len(sums) // simd.LANES, np.int32(middle))
        if count < wanted:
            high, guess = middle, middle - step
        else:
            low, guess = middle, middle + step
            if count <= wanted + wanted // 4 + 4:
                break
        step *= 2
    found, edge = 0, np.int32(low)
    for place in range(0, len(sums), simd.LANES):
        bits = simd.above(simd.load_sums(sums, place), edge)
        while bits:
            p = place + simd.first_bit(bits)
            bits &= bits - 1
            order[found], along[found] = p, -np.float32(sums[p])
            found += 1
    for place in (wanted, last_of(1, wanted), 1):
        if place < found:
            part_at(along, 0, order, 0, found, place)
        found = min(found, place)


@njit_noref
def tail(share):
    """About how many deviations above the mean this share of a normal distribution lies (Hastings 1955)."""
    t = np.sqrt(-2 * np.log(min(share, 0.5)))
    return t - (2.30753 + 0.27061 * t) / (1 + 0.99229 * t + 0.04481 * t * t)


@njit_noref
def last_of(number, probes):
    """How many partitions have been visited after a round."""
    if number == 0:
        return 1
    return min(probes, 8) if number == 1 else probes


@kernel
def search(
    form, codes, order, vectors, halves_of, table, bounds, cuts, widest, axes, centre, rounding,
    centroids, leans, spreads, unit, top, halves, is_distance, probes, loose, reach,
    queries, allow, indptr, excluded, start, stop, ids, scores, examined,
):  # fmt: skip
    """The k best items in the `probes` best partitions of the queries [start, stop), into their rows.

    centroids: the codes of the centroids, of the scale `unit`; leans: what is taken from their scores,
    |c|² / 2 for a distance, and for an inner product what times |q| a partition reaches out to a query.
    loose: the part of the codes' greatest error that is reckoned with. reach: the spreads from its
    centroid beyond which nothing is expected of a partition. A query that has found fewer than k when its
    partitions are exhausted visits all others.
    """
    count, d, k, P = stop - start, queries.shape[1], len(scores) // len(examined), len(table)
    turned = np.empty((count, d), np.float32)
    to_axes(queries, start, stop, centre, axes, turned)
    sizes, goals = np.empty(count, np.float64), np.empty(count, np.float64)
    words, inverses = np.empty(count * cuts[-1], np.int32), np.empty(count, np.float64)
    parts = np.empty((len(cuts) - 1, 3, count), np.float64)
    encode(turned, cuts, 0, widest, top, halves, words, inverses, parts)
    sums, chosen = np.empty(len(leans), np.int32), np.empty(len(leans), np.int32)
    along = np.empty(len(leans), np.float32)
    lists, hopes = np.empty((count, probes), np.int32), np.empty((count, probes), np.float32)
    for q in range(count):
        sizes[q], goals[q] = norm(turned, q, 0, d), -np.inf
        for s in range(len(cuts) - 1):
            parts[s, 0, q] *= loose
            parts[s, 1, q] *= loose
            parts[s, 2, q] = norm(turned, q, min(d, 4 * cuts[s + 1]), d)
        empty_heap(scores, ids, (start + q) * k, k)
        examined[start + q] = 0
        scale = inverses[q] * unit
        leaning = scale if is_distance else scale * sizes[q]
        score_centroids(form, centroids, cuts, leans, leaning, words, q, sums)
        choose(sums, P, probes, along, chosen)
        for place in range(probes):
            p = chosen[place]
            lists[q, place] = p
            hope = np.float64(sums[p]) / scale
            if reach == np.inf:  # the codes' error may count more than the spread
                hopes[q, place] = np.inf
            elif is_distance:
                apart = np.sqrt(max(sizes[q] ** 2 - 2 * hope, 0.0))
                hopes[q, place] = hope + reach * apart * spreads[p]
            else:
                hopes[q, place] = hope + sizes[q] * (leans[p] + reach * spreads[p])
    firsts, waiting = np.empty(P + 1, np.int64), np.empty(count * probes, np.int32)
    most = room(bounds)
    partial, places = np.empty(most * simd.LANES, np.int32), np.empty(most, np.int64)
    bits = np.empty(most, np.int32)
    for number in range(ROUNDS):
        first, last = last_of(number - 1, probes) if number else 0, last_of(number, probes)
        gather(lists, hopes, goals, first, last, firsts, waiting)
        low = np.int64(0)
        for p in range(P):
            for place in range(low, firsts[p]):
                q = waiting[place]
                noted = rule_out(
                    form, codes, halves_of, table, bounds, cuts, p, rounding, is_distance, q, words,
                    parts, inverses, sizes, goals, partial, places, bits,
                )  # fmt: skip
                examined[start + q] += (bounds[p + 1] - bounds[p]) * simd.LANES
                if noted:
                    score_noted(
                        order, vectors, bounds[p], noted, table, p, rounding, is_distance, parts, inverses,
                        queries, allow, indptr, excluded, start, q, k, ids, scores, sizes, goals,
                        partial, places, bits,
                    )  # fmt: skip
            low = firsts[p]
    visited = np.zeros(P, np.bool_)
    for q in range(count):
        wanted = probes
        while scores[(start + q) * k] == -np.inf and wanted < P:
            for place in range(wanted):
                visited[chosen[place] if wanted > probes else lists[q, place]] = True
            wanted = min(P, 4 * wanted)
            leaning = inverses[q] * unit * (1.0 if is_distance else sizes[q])
            score_centroids(form, centroids, cuts, leans, leaning, words, q, sums)
            choose(sums, P, wanted, along, chosen)
            for place in range(wanted):
                p = chosen[place]
                if not visited[p]:
                    for z in range(bounds[p] * simd.LANES, bounds[p + 1] * simd.LANES):
                        offer(
                            order[z], vectors, is_distance, queries, allow, indptr, excluded, start + q,
                            k, ids, scores, examined,
                        )  # fmt: skip
        for p in range(P):
            visited[p] = False
        sort_heap(scores, ids, (start + q) * k, k)


@njit_inlined
def room(bounds):
    """The blocks of the largest partition, and one more."""
    most = np.int64(1)
    for p in range(len(bounds) - 1):
        most = max(most, bounds[p + 1] - bounds[p])
    return most + 1


@njit_inlined
def gather(lists, hopes, goals, first, last, firsts, waiting):
    """Sort by partition who visits it among the places [first, last) of the lists.

    Partition p is visited by waiting[firsts[p - 1]:firsts[p]], where firsts[-1] counts as 0. Who expects
    nothing of a partition leaves it out.
    """
    for p in range(len(firsts)):
        firsts[p] = 0
    for q in range(len(lists)):
        for place in range(first, last):
            if hopes[q, place] >= goals[q]:
                firsts[lists[q, place]] += 1
    total = np.int64(0)
    for p in range(len(firsts)):
        total, firsts[p] = total + firsts[p], total
    for q in range(len(lists)):
        for place in range(first, last):
            if hopes[q, place] >= goals[q]:
                p = lists[q, place]
                waiting[firsts[p]] = q
                firsts[p] += 1


@njit_noref
def offer(i, vectors, is_distance, queries, allow, indptr, excluded, q, k, ids, scores, examined):
    """Score an item that the query may get, and keep it if it is among the k best."""
    if i >= 0 and is_allowed(i, q, allow, indptr, excluded):
        examined[q] += 1
        score = negative_distance(queries, q, vectors, i) if is_distance else dot(queries, q, vectors, i)
        if worse(scores[q * k], ids[q * k], score, i):
            sink(scores, ids, q * k, k, score, i)


@inline
def rule_out(
    form, codes, halves_of, table, bounds, cuts, p, rounding, is_distance, q, words,
    parts, inverses, sizes, goals, partial, places, bits,
):  # fmt: skip
    """The blocks of a partition with items that their codes do not rule out for a query; returns how many.

    partial, places and bits: the sums of each block, its place, and a bit for each such item.
    """
    groups, segments, width = cuts[-1], len(cuts) - 1, cuts[1]
    first, blocks = bounds[p], bounds[p + 1] - bounds[p]
    slack = rounding_error(sizes[q], np.float64(table[p, NORM]), rounding, is_distance)
    scale = np.float32(min(inverses[q] * table[p, INVERSE], MOST))
    least = lowest_sum(goals[q], slack, parts, q, table, p, 0, inverses[q])
    stride = (width + 1) * BLOCK
    block = noted = 0
    while block + 4 <= blocks:
        at = place_of(first, bounds[p + 1], block, cuts, 0)
        A = simd.start(form, codes, at)
        B = simd.start(form, codes, at + stride)
        C = simd.start(form, codes, at + 2 * stride)
        D = simd.start(form, codes, at + 3 * stride)
        for g in range(width):
            at += BLOCK
            A = simd.multiply(form, A, codes, at, words, q * groups + g)
            B = simd.multiply(form, B, codes, at + stride, words, q * groups + g)
            C = simd.multiply(form, C, codes, at + 2 * stride, words, q * groups + g)
            D = simd.multiply(form, D, codes, at + 3 * stride, words, q * groups + g)
        sums_a, sums_b = simd.total(form, A), simd.total(form, B)
        sums_c, sums_d = simd.total(form, C), simd.total(form, D)
        if is_distance:
            place = (first + block) * simd.LANES
            sums_a = simd.less(sums_a, halves_of, place, scale)
            sums_b = simd.less(sums_b, halves_of, place + simd.LANES, scale)
            sums_c = simd.less(sums_c, halves_of, place + 2 * simd.LANES, scale)
            sums_d = simd.less(sums_d, halves_of, place + 3 * simd.LANES, scale)
        largest = simd.larger(simd.larger(sums_a, sums_b), simd.larger(sums_c, sums_d))
        if simd.above(largest, least):
            noted = keep_block(partial, places, bits, noted, sums_a, block, least)
            noted = keep_block(partial, places, bits, noted, sums_b, block + 1, least)
            noted = keep_block(partial, places, bits, noted, sums_c, block + 2, least)
            noted = keep_block(partial, places, bits, noted, sums_d, block + 3, least)
        block += 4
    while block < blocks:
        at = place_of(first, bounds[p + 1], block, cuts, 0)
        A = simd.start(form, codes, at)
        for g in range(width):
            A = simd.multiply(form, A, codes, at + (g + 1) * BLOCK, words, q * groups + g)
        sums_a = simd.total(form, A)
        if is_distance:
            sums_a = simd.less(sums_a, halves_of, (first + block) * simd.LANES, scale)
        noted = keep_block(partial, places, bits, noted, sums_a, block, least)
        block += 1
    for s in range(1, segments):
        if noted == 0:
            break
        bar = lowest_sum(goals[q], slack, parts, q, table, p, s, inverses[q])
        waiting, noted = noted, 0
        for place in range(waiting):
            block = places[place]
            at = place_of(first, bounds[p + 1], block, cuts, s)
            more = simd.start(form, codes, at)
            for g in range(cuts[s], cuts[s + 1]):
                at += BLOCK
                more = simd.multiply(form, more, codes, at, words, q * groups + g)
            sums = simd.plus(simd.load_sums(partial, place * simd.LANES), simd.total(form, more))
            noted = keep_block(partial, places, bits, noted, sums, block, bar)
    return noted


@inline
def score_noted(
    order, vectors, first, noted, table, p, rounding, is_distance, parts, inverses,
    queries, allow, indptr, excluded, start, q, k, ids, scores, sizes, goals,
    partial, places, bits,
):  # fmt: skip
    """Score in float32 what the codes leave: the largest sums first, where nothing is known yet."""
    d, row, s = vectors.shape[1], start + q, parts.shape[0] - 1
    slack = rounding_error(sizes[q], np.float64(table[p, NORM]), rounding, is_distance)
    bar = lowest_sum(goals[q], slack, parts, q, table, p, s, inverses[q])
    preferred = kth_sum(partial, noted, k) if goals[q] == -np.inf else bar
    for place in range(noted):
        places[place] = (first + places[place]) * simd.LANES
    for _ in range(1 if preferred == bar else 2):
        for place in range(noted):
            above = simd.above(simd.load_sums(partial, place * simd.LANES), max(bar, preferred))
            alive = bits[place] & above
            while alive:
                item = order[places[place] + simd.first_bit(alive)]
                alive &= alive - 1
                for line in range(0, min(d, 64), 16):
                    simd.prefetch(vectors, item * d + line)
        for place in range(noted):
            above = simd.above(simd.load_sums(partial, place * simd.LANES), max(bar, preferred))
            alive = bits[place] & above
            bits[place] ^= alive
            while alive:
                item = order[places[place] + simd.first_bit(alive)]
                alive &= alive - 1
                if item >= 0 and is_allowed(item, row, allow, indptr, excluded):
                    if is_distance:
                        score = negative_distance(queries, row, vectors, item)
                    else:
                        score = dot(queries, row, vectors, item)
                    if worse(scores[row * k], ids[row * k], score, item):
                        sink(scores, ids, row * k, k, score, item)
                        goals[q] = target_of(scores[row * k], sizes[q], is_distance)
                        bar = lowest_sum(goals[q], slack, parts, q, table, p, s, inverses[q])
        preferred = bar
