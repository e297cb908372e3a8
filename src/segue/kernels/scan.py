"""Exact search by inner product: int8 codes, in order of norm, rule out what cannot be among the k best.

Items form blocks of 16 and tiles of 16 blocks, ordered by norm and, among similar norms, by direction.
The layout of their codes is

    tile, row, item, four bytes

A segment of the dimensions begins with a row of what its sums start from: minus the sums of an item's codes,
as two int16, which corrects for the offset that makes the queries' codes unsigned. A row of codes for each 4
dimensions follows. Let q' and x' be the vectors that the codes represent, the head of a vector the segments
summed so far, and the rest its other dimensions. Then

    q.x <= q'.x' + |q - q'|_head |x|_head + |q'|_head |x - x'|_head + |q|_rest |x|_rest

in integers, for 16 items at once. After the first segment, the last product is part of the sum: the rest is
divided into parts, whose norms are codes too, rounded up, in `norm_rows` more rows after the first segment's.
Items above the k-th best score by this bound are scored in float32 by `dot`; no other item can be a result.
"""

from __future__ import annotations

import numpy as np

from segue.kernels import simd
from segue.kernels.axes import rotate
from segue.kernels.codes import encode, to_axes
from segue.kernels.compile import inline, kernel, njit_noref
from segue.kernels.scores import dot, is_allowed, negative_distance, norm, rounding_error, target_of
from segue.kernels.simd import maximum, minimum
from segue.kernels.topk import empty_heap, sink, sort_heap, worse

BLOCKS = 16  # in a tile
TILE = BLOCKS * simd.LANES  # items
AHEAD = 1  # tiles to prefetch
TOGETHER = 64  # queries that share one pass over the tiles
ROW_BYTES = TILE * 4
INVERSE, NORM, CEILING, OFFSET, RADIUS, BOUNDS = 0, 1, 2, 3, 4, 5  # columns of the table of tiles
LOWEST, HIGHEST = np.int32(-(2**31)), np.int32(2**31 - 1)
CAPACITY = 1024  # items that may wait to be scored
FIRST = np.int64(0)  # the first segment


@kernel
def search(
    form, codes, order, vectors, table, means, cuts, widest, axes, center, rounding, top, int16_accumulate,
    is_distance, queries, allow, indptr, exclude, start, stop, ids, scores, examined,
):  # fmt: skip
    """Write the k best items of the queries [start, stop) to their rows of ids, scores and examined.

    Each query visits first the tile whose mean scores best, which gives a high threshold early, then all
    tiles, from the largest norms to the smallest. Tiles are the outer loop, so that each is read once for
    TOGETHER queries. A block is summed on, segment by segment, while the bound of any of its items exceeds
    the threshold. The items that remain wait in `pending`; they are scored after all queries have visited
    the tile, when the prefetch has brought their vectors into the cache. partial, blocks, masks: the sums of
    the blocks that remain in a tile, their numbers, and a bit for each remaining item.
    """
    rows, segments = len(codes) // (len(table) * ROW_BYTES), len(cuts) - 1
    norm_rows = rows - cuts[-1] - segments
    width, wide = cuts[1] + norm_rows, cuts[-1] + 2 * norm_rows
    k, d, last = len(scores) // len(examined), vectors.shape[1], segments - 1
    partial, pending = np.empty(TILE + simd.LANES, np.int32), np.empty(3 * CAPACITY, np.int32)
    blocks, masks = np.empty(BLOCKS + 1, np.int32), np.empty(BLOCKS + 1, np.int32)
    for first in range(start, stop, TOGETHER):
        count = minimum(stop, first + TOGETHER) - first
        rotated, mean_scores = np.empty((count, d), np.float32), np.empty((len(means), count), np.float32)
        to_axes(queries, first, first + count, center, axes, rotated)
        Q = simd.constant(rotated)
        rotate(means, Q, FIRST, len(means), mean_scores)
        best_tiles, thresholds = np.empty(count, np.int32), np.empty(count, np.int32)
        find_best_tiles(mean_scores, table, np.empty(count, np.float32), best_tiles)
        words, inverses = np.empty(count * wide, np.int32), np.empty(count, np.float64)
        parts = np.empty((segments, 3, count), np.float64)
        encode(Q, cuts, norm_rows, widest, top, int16_accumulate, words, inverses, parts)
        sizes, targets = np.empty(count, np.float64), np.empty(count, np.float64)
        for q in range(count):
            sizes[q] = norm(Q, q, FIRST, d)
            empty_heap(scores, ids, (first + q) * k, k)
            examined[first + q] = 0
            targets[q], thresholds[q] = -np.inf, LOWEST
        share = -(-(rows if count > 1 else width + 1) * ROW_BYTES // (64 * count)) * 64
        for step in range(-1, len(table)):
            if step >= 0 and not set_thresholds(
                thresholds, targets, sizes, inverses, parts, table, mean_scores, step, rounding, is_distance
            ):
                break
            held = np.int64(0)
            for q in range(count):
                for byte in range(q * share, (q + 1) * share, 64):
                    simd.prefetch(codes, (step + AHEAD) * ROW_BYTES * rows + byte)
                if thresholds[q] == HIGHEST or step == best_tiles[q]:
                    continue
                b, threshold = np.int64(step if step >= 0 else best_tiles[q]), thresholds[q]
                alive = np.int64(0)
                for block in range(0, BLOCKS, 4):
                    at = b * ROW_BYTES * rows + block * 64
                    A = simd.start(form, codes, at)
                    B = simd.start(form, codes, at + 64)
                    C = simd.start(form, codes, at + 128)
                    D = simd.start(form, codes, at + 192)
                    for g in range(q * wide, q * wide + width):
                        at += ROW_BYTES
                        A = simd.multiply(form, A, codes, at, words, g)
                        B = simd.multiply(form, B, codes, at + 64, words, g)
                        C = simd.multiply(form, C, codes, at + 128, words, g)
                        D = simd.multiply(form, D, codes, at + 192, words, g)
                    sums_a, sums_b = simd.total(form, A), simd.total(form, B)
                    sums_c, sums_d = simd.total(form, C), simd.total(form, D)
                    largest = simd.larger(simd.larger(sums_a, sums_b), simd.larger(sums_c, sums_d))
                    if simd.above(largest, threshold):
                        alive = keep_block(partial, blocks, masks, alive, sums_a, block, threshold)
                        alive = keep_block(partial, blocks, masks, alive, sums_b, block + 1, threshold)
                        alive = keep_block(partial, blocks, masks, alive, sums_c, block + 2, threshold)
                        alive = keep_block(partial, blocks, masks, alive, sums_d, block + 3, threshold)
                for s in range(1, segments):
                    if alive == 0:
                        break
                    threshold = threshold_after(
                        s, q, targets, sizes, parts, table, b, inverses, rounding, is_distance
                    )
                    thresholds[q], previous, alive = threshold, alive, np.int64(0)
                    for p in range(previous):
                        remaining = np.int64(blocks[p])
                        at = (b * rows + cuts[s] + norm_rows + s) * ROW_BYTES + remaining * 64
                        more = simd.start(form, codes, at)
                        for g in range(norm_rows if s == 1 else 0):  # subtract the residual norms' products
                            residual, negated = (
                                at + (g - norm_rows) * ROW_BYTES,
                                (q + 1) * wide - norm_rows + g,
                            )
                            more = simd.multiply(form, more, codes, residual, words, negated)
                        for g in range(cuts[s], cuts[s + 1]):
                            at += ROW_BYTES
                            more = simd.multiply(form, more, codes, at, words, q * wide + norm_rows + g)
                        sums = simd.plus(simd.load_sums(partial, p * simd.LANES), simd.total(form, more))
                        alive = keep_block(partial, blocks, masks, alive, sums, remaining, threshold)
                if alive == 0:
                    continue
                preferred = kth_sum(partial, alive, k) if targets[q] == -np.inf else thresholds[q]
                while True:
                    threshold = maximum(thresholds[q], preferred)
                    for p in range(alive):
                        mask = masks[p] & simd.above(simd.load_sums(partial, p * simd.LANES), threshold)
                        masks[p] ^= mask
                        while mask:
                            lane = simd.first_bit(mask)
                            mask &= mask - 1
                            item = np.int64(order[b * TILE + blocks[p] * simd.LANES + lane])
                            if item >= 0:
                                for j in range(0, minimum(d, 64), 16):
                                    simd.prefetch(vectors, item * d + j)
                                pending[3 * held], pending[3 * held + 1] = q, item
                                pending[3 * held + 2] = partial[p * simd.LANES + lane]
                                held += 1
                    if step < 0 or preferred != thresholds[q] or held + TILE > CAPACITY:
                        held = score_pending(
                            pending, held, vectors, queries, allow, indptr, exclude, first, k, ids, scores,
                            examined, targets, thresholds, sizes, parts, table, b, last, inverses, rounding,
                            is_distance,
                        )  # fmt: skip
                    if preferred <= thresholds[q]:
                        break
                    preferred = thresholds[q]
            score_pending(
                pending, held, vectors, queries, allow, indptr, exclude, first, k, ids, scores, examined,
                targets, thresholds, sizes, parts, table, maximum(step, FIRST), last, inverses, rounding,
                is_distance,
            )  # fmt: skip
        for q in range(first, first + count):
            sort_heap(scores, ids, q * k, k)


@njit_noref
def find_best_tiles(mean_scores, table, best, best_tiles):
    """Find for each query the tile with the highest score of its mean; mean_scores: (tiles, queries)."""
    for q in range(len(best_tiles)):
        best[q], best_tiles[q] = mean_scores[0, q] - table[0, OFFSET], 0
    for b in range(1, len(mean_scores)):
        offset = table[b, OFFSET]
        for q in range(len(best_tiles)):
            score = mean_scores[b, q] - offset
            best_tiles[q] = np.int32(b) if score > best[q] else best_tiles[q]
            best[q] = maximum(best[q], score)


@inline
def lowest_sum(target, margin, parts, q, table, b, s, inverse):
    """Return the largest integer sum up to segment s that rules out an item of tile b.

    inverse: 1 / the step of the query's codes.
    """
    column = BOUNDS + 3 * s
    error = (
        parts[s, 0, q] * table[b, column]
        + parts[s, 1, q] * table[b, column + 1]
        + parts[s, 2, q] * table[b, column + 2]
    )
    missing = (target - margin - error * (1 + 1e-6)) * (inverse * table[b, INVERSE])
    floor = np.floor(missing - 1 - 1e-6 * abs(missing))
    return np.int32(minimum(maximum(floor, -2147483648.0), 2147483647.0))


@inline
def set_thresholds(thresholds, targets, sizes, inverses, parts, table, mean_scores, b, rounding, is_distance):
    """Set the sum over the first segment that items of tile b must exceed; HIGHEST if none can.

    Returns whether any query may find an item in this tile or a later one.
    """
    tile_norm, radius = np.float64(table[b, NORM]), np.float64(table[b, RADIUS])
    ceiling, reachable = np.float64(table[b, CEILING]), np.int64(0)
    for q in range(len(thresholds)):
        size, target = sizes[q], targets[q] + table[b, OFFSET]
        margin = rounding_error(size, ceiling, rounding, is_distance)
        reachable += np.int64(is_distance or size * ceiling + margin >= target)
        highest = minimum(size * tile_norm, np.float64(mean_scores[b, q]) + size * radius + margin)
        threshold = lowest_sum(target, margin, parts, q, table, b, FIRST, inverses[q])
        thresholds[q] = HIGHEST if highest + margin < target else threshold
    return reachable > 0


@inline
def threshold_after(s, q, targets, sizes, parts, table, b, inverses, rounding, is_distance):
    """Return the sum up to segment s that an item of tile b must exceed."""
    margin = rounding_error(sizes[q], np.float64(table[b, CEILING]), rounding, is_distance)
    return lowest_sum(targets[q] + table[b, OFFSET], margin, parts, q, table, b, s, inverses[q])


@inline
def score_pending(
    pending, held, vectors, queries, allow, indptr, exclude, start, k, ids, scores, examined,
    targets, thresholds, sizes, parts, table, b, last, inverses, rounding, is_distance,
):  # fmt: skip
    """Score the pending items of tile b in float32, except those that the current threshold rules out.

    Returns 0, the number of items that are still pending.
    """
    for z in range(held):
        q, item = np.int64(pending[3 * z]), np.int64(pending[3 * z + 1])
        row = start + q
        if pending[3 * z + 2] > thresholds[q] and is_allowed(item, row, allow, indptr, exclude):
            examined[row] += 1
            if is_distance:
                score = negative_distance(queries, row, vectors, item)
            else:
                score = dot(queries, row, vectors, item)
            if worse(scores[row * k], ids[row * k], score, item):
                sink(scores, ids, row * k, k, score, item)
                targets[q] = target_of(scores[row * k], sizes[q], is_distance)
                thresholds[q] = threshold_after(
                    last, q, targets, sizes, parts, table, b, inverses, rounding, is_distance
                )
    return np.int64(0)


@inline
def keep_block(partial, blocks, masks, alive, sums, block, threshold):
    """Append a block if any of its sums exceeds the threshold; return the number of blocks."""
    mask = simd.above(sums, threshold)
    simd.store_sums(partial, alive * simd.LANES, sums)
    blocks[alive], masks[alive] = block, mask
    return alive + np.int64(mask != 0)


@njit_noref
def kth_sum(partial, blocks, k):
    """Return a sum that at least k items of some blocks exceed, and not many more."""
    low = high = np.int64(partial[0])
    for place in range(blocks * simd.LANES):
        low, high = minimum(low, np.int64(partial[place])), maximum(high, np.int64(partial[place]))
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
    """Return how many sums of some blocks exceed an edge."""
    count = np.int64(0)
    for place in range(0, blocks * simd.LANES, simd.LANES):
        count += simd.ones(np.uint64(simd.above(simd.load_sums(sums, place), edge)))
    return count
