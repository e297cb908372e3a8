"""IVF search: codes of centroids select partitions; codes of their items rule out most items.

Codes and bounds are those of `kernels.scan`, but each partition starts a new block of 16 items:

    partition, segment (the first, the rest), block, row, item, four bytes

A query visits its partitions in rounds: the best one, a few more, then the others, so that it has a high
threshold early. Within a round partitions are the outer loop, so that each is read once for all queries
that visit it.
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

BLOCK = simd.LANES * 4  # bytes of a row of a block
ROUNDS = 3
MAX_SCALE = 1e30  # finite, so that an offset of zero stays zero


@kernel
def pack(X, order, bounds, cuts, start, stop, codes, table, half_sq_norms, widest):
    """Encode the partitions [start, stop) of X (n, d), given in the scan's axes.

    Partition p has the blocks [bounds[p], bounds[p + 1]); `order` holds their items, -1 for padding. The
    table has a row per partition, with the columns of `kernels.scan`. half_sq_norms: |x|² / 2 of each place.
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
            pack_item(X, order, bounds, cuts, p, z, unit, codes, table, half_sq_norms, widest, sums, squares)


@njit_noref
def pack_item(X, order, bounds, cuts, p, z, unit, codes, table, half_sq_norms, widest, sums, squares):
    """Encode the item or the padding at place z of a partition."""
    d, segments, i = X.shape[1], len(cuts) - 1, order[z]
    block, lane = z // simd.LANES, z % simd.LANES
    square = norm(X, i, 0, d) ** 2 if i >= 0 else 0.0
    half_sq_norms[z] = np.float32(square / 2)
    table[p, NORM] = max(table[p, NORM], round_up(np.sqrt(square)))
    head_square = error = 0.0
    for s in range(segments):
        at = place_of(bounds[p], bounds[p + 1], block - bounds[p], cuts, s) + 4 * lane
        for half in range(2):
            sums[half] = squares[half] = 0
        for j in range(4 * cuts[s], 4 * cuts[s + 1]):
            value = np.float64(X[i, j]) if i >= 0 and j < d else 0.0
            code = np.int64(min(max(np.rint(value / unit), -127.0), 127.0))
            codes[at + (1 + j // 4 - cuts[s]) * BLOCK + (j & 3)] = code
            count_code(code, j, sums, squares)
            head_square += value * value
            error += (value - code * unit) ** 2
        store_start(codes, at, sums)
        for half in range(2):
            widest[s, half] = max(widest[s, half], round_up(np.sqrt(np.float64(squares[half]))))
        column = BOUNDS + 3 * s
        table[p, column] = max(table[p, column], round_up(np.sqrt(head_square)))
        table[p, column + 1] = max(table[p, column + 1], round_up(np.sqrt(error)))
        if s < segments - 1:
            table[p, column + 2] = max(
                table[p, column + 2], round_up(np.sqrt(max(square - head_square, 0.0)))
            )


@inline
def place_of(first, last, block, cuts, s):
    """Return where a segment of a block begins in `codes`, for the partition of the blocks [first, last)."""
    if s == 0:
        return (first * (cuts[-1] + len(cuts) - 1) + block * (cuts[1] + 1)) * BLOCK
    rest = cuts[-1] - cuts[1] + len(cuts) - 2
    begin = first * rest + last * (cuts[1] + 1)
    return (begin + block * rest + cuts[s] - cuts[1] + s - 1) * BLOCK


@njit_noref
def score_centroids(form, codes, cuts, offsets, scale, words, q, sums):
    """Write codes of query q · codes of all centroids, minus their offsets in the same unit, to sums.

    The number of blocks is a multiple of four.
    """
    blocks, scale = len(offsets) // simd.LANES, np.float32(min(scale, MAX_SCALE))
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
    """Store the sums of a block: minus the offsets for the first segment, else added to those stored."""
    place = block * simd.LANES
    if s == 0:
        simd.store_sums(sums, place, simd.less(simd.total(form, part), offsets, place, scale))
    else:
        simd.store_sums(sums, place, simd.plus(simd.load_sums(sums, place), simd.total(form, part)))


@kernel
def assign(form, codes, cuts, offsets, unit, widest, top, int16_accumulate, X, start, stop, nearest):
    """Write the nearest centroid by codes of the rows [start, stop) of X; the first of equals."""
    count, d = stop - start, X.shape[1]
    rows = np.empty((count, d), np.float32)
    for u in range(count):
        for j in range(d):
            rows[u, j] = X[start + u, j]
    words, inverses = np.empty(count * cuts[-1], np.int32), np.empty(count, np.float64)
    parts = np.empty((len(cuts) - 1, 3, count), np.float64)
    encode(rows, cuts, 0, widest, top, int16_accumulate, words, inverses, parts)
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
    """Write the means of the partitions [start, stop) and their spreads.

    Partition p has the rows order[bounds[p]:bounds[p + 1]] of X. Its spread is the root mean square
    deviation from the mean over all its rows and dimensions.
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
def choose(sums, P, n_best, along, order):
    """Write the `n_best` best partitions to `order` by round: the best one, a few more, the others."""
    least, most = sums[0], sums[0]
    total = square = np.float32(0)
    for p in range(P):
        least, most = min(least, sums[p]), max(most, sums[p])
        total += np.float32(sums[p])
        square += np.float32(sums[p]) * np.float32(sums[p])
    mean = np.float64(total) / P
    spread = np.sqrt(max(np.float64(square) / P - mean * mean, 0.0))
    step = np.int64(spread * 0.1) + 1
    guess = np.int64(mean + spread * tail(n_best / P))
    for p in range(P, len(sums)):
        sums[p] = LOWEST
    low, high = np.int64(least) - 1, np.int64(most)
    while high - low > 1:
        middle = guess if low < guess < high else (low + high) >> 1
        count = count_above(sums, len(sums) // simd.LANES, np.int32(middle))
        if count < n_best:
            high, guess = middle, middle - step
        else:
            low, guess = middle, middle + step
            if count <= n_best + n_best // 4 + 4:
                break
        step *= 2
    n_found, edge = 0, np.int32(low)
    for place in range(0, len(sums), simd.LANES):
        bits = simd.above(simd.load_sums(sums, place), edge)
        while bits:
            p = place + simd.first_bit(bits)
            bits &= bits - 1
            order[n_found], along[n_found] = p, -np.float32(sums[p])
            n_found += 1
    for place in (n_best, last_of(1, n_best), 1):
        if place < n_found:
            part_at(along, 0, order, 0, n_found, place)
        n_found = min(n_found, place)


@njit_noref
def tail(share):
    """Return the approximate normal quantile of the upper tail `share` (Hastings 1955)."""
    t = np.sqrt(-2 * np.log(min(share, 0.5)))
    return t - (2.30753 + 0.27061 * t) / (1 + 0.99229 * t + 0.04481 * t * t)


@njit_noref
def last_of(number, probes):
    """Return the number of partitions visited up to the end of a round."""
    if number == 0:
        return 1
    return min(probes, 8) if number == 1 else probes


@kernel
def search(
    form, codes, order, vectors, half_sq_norms, table, bounds, cuts, widest, axes, center, rounding,
    centroids, centroid_offsets, spreads, unit, top, int16_accumulate, is_distance, probes, code_error, reach,
    queries, allow, indptr, exclude, start, stop, ids, scores, examined,
):  # fmt: skip
    """Write the k best items in the `probes` best partitions of the queries [start, stop) to their rows.

    A query with fewer than k results after its `probes` partitions visits more of them, finally all.

    Args:
        centroids: codes of the centroids, in the unit `unit`.
        centroid_offsets: subtracted from centroid scores; for an inner product times |q|.
        code_error: the share of the codes' largest error to allow for; 1 is exact within a partition.
        reach: how many spreads from its centroid a partition's items may lie; inf rules out none.
    """
    count, d, k, P = stop - start, queries.shape[1], len(scores) // len(examined), len(table)
    rotated = np.empty((count, d), np.float32)
    to_axes(queries, start, stop, center, axes, rotated)
    sizes, targets = np.empty(count, np.float64), np.empty(count, np.float64)
    words, inverses = np.empty(count * cuts[-1], np.int32), np.empty(count, np.float64)
    parts = np.empty((len(cuts) - 1, 3, count), np.float64)
    encode(rotated, cuts, 0, widest, top, int16_accumulate, words, inverses, parts)
    sums, chosen = np.empty(len(centroid_offsets), np.int32), np.empty(len(centroid_offsets), np.int32)
    along = np.empty(len(centroid_offsets), np.float32)
    lists = np.empty((count, probes), np.int32)
    upper_bounds = np.empty((count, probes), np.float32)
    for q in range(count):
        sizes[q], targets[q] = norm(rotated, q, 0, d), -np.inf
        for s in range(len(cuts) - 1):
            parts[s, 0, q] *= code_error
            parts[s, 1, q] *= code_error
            parts[s, 2, q] = norm(rotated, q, min(d, 4 * cuts[s + 1]), d)
        empty_heap(scores, ids, (start + q) * k, k)
        examined[start + q] = 0
        scale = inverses[q] * unit
        offset_scale = scale if is_distance else scale * sizes[q]
        score_centroids(form, centroids, cuts, centroid_offsets, offset_scale, words, q, sums)
        choose(sums, P, probes, along, chosen)
        for place in range(probes):
            p = chosen[place]
            lists[q, place] = p
            bound = np.float64(sums[p]) / scale
            if reach == np.inf:  # visit all: the codes' error may exceed the spread
                upper_bounds[q, place] = np.inf
            elif is_distance:
                distance = np.sqrt(max(sizes[q] ** 2 - 2 * bound, 0.0))
                upper_bounds[q, place] = bound + reach * distance * spreads[p]
            else:
                upper_bounds[q, place] = bound + sizes[q] * (centroid_offsets[p] + reach * spreads[p])
    firsts, visitors = np.empty(P + 1, np.int64), np.empty(count * probes, np.int32)
    most = max_blocks(bounds)
    partial, places = np.empty(most * simd.LANES, np.int32), np.empty(most, np.int64)
    bits = np.empty(most, np.int32)
    for number in range(ROUNDS):
        first, last = last_of(number - 1, probes) if number else 0, last_of(number, probes)
        gather(lists, upper_bounds, targets, first, last, firsts, visitors)
        low = np.int64(0)
        for p in range(P):
            for place in range(low, firsts[p]):
                q = visitors[place]
                n_blocks = rule_out(
                    form, codes, half_sq_norms, table, bounds, cuts, p, rounding, is_distance, q, words,
                    parts, inverses, sizes, targets, partial, places, bits,
                )  # fmt: skip
                examined[start + q] += (bounds[p + 1] - bounds[p]) * simd.LANES
                if n_blocks:
                    score_blocks(
                        order, vectors, bounds[p], n_blocks, table, p, rounding, is_distance, parts, inverses,
                        queries, allow, indptr, exclude, start, q, k, ids, scores, sizes, targets,
                        partial, places, bits,
                    )  # fmt: skip
            low = firsts[p]
    visited = np.zeros(P, np.bool_)
    for q in range(count):
        n_best = probes
        while scores[(start + q) * k] == -np.inf and n_best < P:
            for place in range(n_best):
                visited[chosen[place] if n_best > probes else lists[q, place]] = True
            n_best = min(P, 4 * n_best)
            offset_scale = inverses[q] * unit * (1.0 if is_distance else sizes[q])
            score_centroids(form, centroids, cuts, centroid_offsets, offset_scale, words, q, sums)
            choose(sums, P, n_best, along, chosen)
            for place in range(n_best):
                p = chosen[place]
                if not visited[p]:
                    for z in range(bounds[p] * simd.LANES, bounds[p + 1] * simd.LANES):
                        offer(
                            order[z], vectors, is_distance, queries, allow, indptr, exclude, start + q,
                            k, ids, scores, examined,
                        )  # fmt: skip
        for p in range(P):
            visited[p] = False
        sort_heap(scores, ids, (start + q) * k, k)


@njit_inlined
def max_blocks(bounds):
    """Return one more than the number of blocks of the largest partition."""
    most = np.int64(1)
    for p in range(len(bounds) - 1):
        most = max(most, bounds[p + 1] - bounds[p])
    return most + 1


@njit_inlined
def gather(lists, upper_bounds, targets, first, last, firsts, visitors):
    """Group by partition the queries that visit it among the places [first, last) of `lists`.

    visitors[firsts[p - 1]:firsts[p]] are the queries that visit partition p, with firsts[-1] read as 0. A
    query skips the partitions with an upper bound below its target.
    """
    for p in range(len(firsts)):
        firsts[p] = 0
    for q in range(len(lists)):
        for place in range(first, last):
            if upper_bounds[q, place] >= targets[q]:
                firsts[lists[q, place]] += 1
    total = np.int64(0)
    for p in range(len(firsts)):
        total, firsts[p] = total + firsts[p], total
    for q in range(len(lists)):
        for place in range(first, last):
            if upper_bounds[q, place] >= targets[q]:
                p = lists[q, place]
                visitors[firsts[p]] = q
                firsts[p] += 1


@njit_noref
def offer(i, vectors, is_distance, queries, allow, indptr, exclude, q, k, ids, scores, examined):
    """Score an item if it is allowed, and keep it if it is among the k best."""
    if i >= 0 and is_allowed(i, q, allow, indptr, exclude):
        examined[q] += 1
        score = negative_distance(queries, q, vectors, i) if is_distance else dot(queries, q, vectors, i)
        if worse(scores[q * k], ids[q * k], score, i):
            sink(scores, ids, q * k, k, score, i)


@inline
def rule_out(
    form, codes, half_sq_norms, table, bounds, cuts, p, rounding, is_distance, q, words,
    parts, inverses, sizes, targets, partial, places, bits,
):  # fmt: skip
    """Find the blocks with items that their codes do not rule out for a query; return their number.

    partial, places and bits receive the sums of each such block, its place, and a bit per such item.
    """
    groups, segments, width = cuts[-1], len(cuts) - 1, cuts[1]
    first, blocks = bounds[p], bounds[p + 1] - bounds[p]
    margin = rounding_error(sizes[q], np.float64(table[p, NORM]), rounding, is_distance)
    scale = np.float32(min(inverses[q] * table[p, INVERSE], MAX_SCALE))
    threshold = lowest_sum(targets[q], margin, parts, q, table, p, 0, inverses[q])
    stride = (width + 1) * BLOCK
    block = n_blocks = 0
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
            sums_a = simd.less(sums_a, half_sq_norms, place, scale)
            sums_b = simd.less(sums_b, half_sq_norms, place + simd.LANES, scale)
            sums_c = simd.less(sums_c, half_sq_norms, place + 2 * simd.LANES, scale)
            sums_d = simd.less(sums_d, half_sq_norms, place + 3 * simd.LANES, scale)
        largest = simd.larger(simd.larger(sums_a, sums_b), simd.larger(sums_c, sums_d))
        if simd.above(largest, threshold):
            n_blocks = keep_block(partial, places, bits, n_blocks, sums_a, block, threshold)
            n_blocks = keep_block(partial, places, bits, n_blocks, sums_b, block + 1, threshold)
            n_blocks = keep_block(partial, places, bits, n_blocks, sums_c, block + 2, threshold)
            n_blocks = keep_block(partial, places, bits, n_blocks, sums_d, block + 3, threshold)
        block += 4
    while block < blocks:
        at = place_of(first, bounds[p + 1], block, cuts, 0)
        A = simd.start(form, codes, at)
        for g in range(width):
            A = simd.multiply(form, A, codes, at + (g + 1) * BLOCK, words, q * groups + g)
        sums_a = simd.total(form, A)
        if is_distance:
            sums_a = simd.less(sums_a, half_sq_norms, (first + block) * simd.LANES, scale)
        n_blocks = keep_block(partial, places, bits, n_blocks, sums_a, block, threshold)
        block += 1
    for s in range(1, segments):
        if n_blocks == 0:
            break
        threshold = lowest_sum(targets[q], margin, parts, q, table, p, s, inverses[q])
        n_before, n_blocks = n_blocks, 0
        for place in range(n_before):
            block = places[place]
            at = place_of(first, bounds[p + 1], block, cuts, s)
            more = simd.start(form, codes, at)
            for g in range(cuts[s], cuts[s + 1]):
                at += BLOCK
                more = simd.multiply(form, more, codes, at, words, q * groups + g)
            sums = simd.plus(simd.load_sums(partial, place * simd.LANES), simd.total(form, more))
            n_blocks = keep_block(partial, places, bits, n_blocks, sums, block, threshold)
    return n_blocks


@inline
def score_blocks(
    order, vectors, first, n_blocks, table, p, rounding, is_distance, parts, inverses,
    queries, allow, indptr, exclude, start, q, k, ids, scores, sizes, targets,
    partial, places, bits,
):  # fmt: skip
    """Score the remaining items in float32; if there is no threshold yet, the largest sums first."""
    d, row, s = vectors.shape[1], start + q, parts.shape[0] - 1
    margin = rounding_error(sizes[q], np.float64(table[p, NORM]), rounding, is_distance)
    threshold = lowest_sum(targets[q], margin, parts, q, table, p, s, inverses[q])
    preferred = kth_sum(partial, n_blocks, k) if targets[q] == -np.inf else threshold
    for place in range(n_blocks):
        places[place] = (first + places[place]) * simd.LANES
    for _ in range(1 if preferred == threshold else 2):
        for place in range(n_blocks):
            above = simd.above(simd.load_sums(partial, place * simd.LANES), max(threshold, preferred))
            alive = bits[place] & above
            while alive:
                item = order[places[place] + simd.first_bit(alive)]
                alive &= alive - 1
                for line in range(0, min(d, 64), 16):
                    simd.prefetch(vectors, item * d + line)
        for place in range(n_blocks):
            above = simd.above(simd.load_sums(partial, place * simd.LANES), max(threshold, preferred))
            alive = bits[place] & above
            bits[place] ^= alive
            while alive:
                item = order[places[place] + simd.first_bit(alive)]
                alive &= alive - 1
                if item >= 0 and is_allowed(item, row, allow, indptr, exclude):
                    if is_distance:
                        score = negative_distance(queries, row, vectors, item)
                    else:
                        score = dot(queries, row, vectors, item)
                    if worse(scores[row * k], ids[row * k], score, item):
                        sink(scores, ids, row * k, k, score, item)
                        targets[q] = target_of(scores[row * k], sizes[q], is_distance)
                        threshold = lowest_sum(targets[q], margin, parts, q, table, p, s, inverses[q])
        preferred = threshold
