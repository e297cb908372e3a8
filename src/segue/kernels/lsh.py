"""Signed random projections: codes with a bit for each plane, and search in buckets of like codes."""

from __future__ import annotations

import numpy as np

from segue.kernels import simd
from segue.kernels.compile import kernel, njit_noref
from segue.kernels.scores import dot, is_allowed, negative_distance
from segue.kernels.topk import empty_heap, sink, sort_heap, worse

AHEAD = 8  # items, whose vectors are asked for ahead of their use


@kernel
def hash_items(X, lifts, planes, bits, start, stop, codes):
    """codes[t, i] of the rows [start, stop) of X (n, d), whose further coordinate is lifts[i].

    planes: (tables × bits, d + 1), the normal vectors. Bit b is set on the positive side of plane b.
    """
    d = X.shape[1]
    for i in range(start, stop):
        for t in range(len(codes)):
            code = np.int32(0)
            for b in range(bits):
                total = planes[t * bits + b, d] * lifts[i]
                for j in range(d):
                    total += planes[t * bits + b, j] * X[i, j]
                code |= np.int32(total > 0) << b
            codes[t, i] = code


@kernel
def search(
    vectors, planes, starts, items, ceilings, centre, is_distance, probes,
    queries, allow, indptr, excluded, start, stop, ids, scores, examined,
):  # fmt: skip
    """The k best in the `probes` best buckets of each table and range, for the queries [start, stop).

    starts[t, r, c]: where in items[t] the bucket of code c in the range r begins. The items of range r
    are no longer than ceilings[r], which fall. A query that finds fewer than k is compared with all items.
    """
    tables, ranges, d, k = len(starts), starts.shape[1], queries.shape[1], len(scores) // len(examined)
    bits = len(planes) // tables
    flips, masks = np.empty((tables, probes), np.int32), np.empty(probes, np.int32)
    sides, order = np.empty(bits, np.float32), np.empty(bits, np.int32)
    costs, states = np.empty(2 * probes + 2, np.float32), np.empty(2 * probes + 2, np.int32)
    moved, touched = np.empty(d, np.float32), np.empty(len(vectors), np.int32)
    seen = np.zeros(len(vectors), np.bool_)
    for q in range(start, stop):
        empty_heap(scores, ids, q * k, k)
        examined[q] = 0
        size = np.float32(0)
        for j in range(d):
            moved[j] = queries[q, j] - (centre[j] if len(centre) else np.float32(0))
            size += moved[j] * moved[j]
        size = np.sqrt(size) * np.float32(1 + 1e-6 * (d + 8))
        for t in range(tables):
            code = np.int32(0)
            for b in range(bits):
                total = np.float32(0)
                for j in range(d):
                    total += planes[t * bits + b, j] * moved[j]
                code |= np.int32(total > 0) << b
                sides[b] = total * total
            cheapest_flips(sides, order, costs, states, masks)
            for m in range(probes):
                flips[t, m] = code ^ masks[m]
        found = 0
        for r in range(ranges):
            if not is_distance and size * ceilings[r] < scores[q * k]:
                break
            for m in range(probes):
                for t in range(tables):
                    first, last = starts[t, r, flips[t, m]], starts[t, r, flips[t, m] + 1]
                    found = offer_bucket(
                        items, t, first, last, vectors, is_distance, queries, q, k, allow, indptr, excluded,
                        seen, touched, found, ids, scores, examined,
                    )  # fmt: skip
        if scores[q * k] == -np.inf:
            found = offer_bucket(
                items, 0, 0, len(vectors), vectors, is_distance, queries, q, k, allow, indptr, excluded,
                seen, touched, found, ids, scores, examined,
            )  # fmt: skip
        for place in range(found):
            seen[touched[place]] = False
        sort_heap(scores, ids, q * k, k)


@njit_noref
def offer_bucket(
    items, t, first, last, vectors, is_distance, queries, q, k, allow, indptr, excluded,
    seen, touched, found, ids, scores, examined,
):  # fmt: skip
    """Score the items of a bucket that the query has not seen; returns how many it has seen now."""
    d = vectors.shape[1]
    for place in range(first, last):
        if place + AHEAD < last:
            for line in range(0, min(d, 64), 16):
                simd.prefetch(vectors, items[t, place + AHEAD] * d + line)
        i = items[t, place]
        if seen[i]:
            continue
        seen[i], touched[found] = True, i
        found += 1
        if not is_allowed(i, q, allow, indptr, excluded):
            continue
        examined[q] += 1
        score = negative_distance(queries, q, vectors, i) if is_distance else dot(queries, q, vectors, i)
        if worse(scores[q * k], ids[q * k], score, i):
            sink(scores, ids, q * k, k, score, i)
    return found


@njit_noref
def cheapest_flips(sides, order, costs, states, masks):
    """The sets of bits, as masks, in the order of their cost, the sum of `sides` (Lv et al. 2007).

    Bits are numbered from the cheapest. From each set come two: its last bit moves on, or the next joins.
    """
    bits = len(sides)
    for b in range(bits):
        place = b
        while place > 0 and sides[order[place - 1]] > sides[b]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = b
    masks[0], waiting = 0, 0
    if len(masks) > 1:
        waiting = push(costs, states, 0, sides[order[0]], np.int32(1))
    for number in range(1, len(masks)):
        cost, state = costs[0], states[0]
        waiting = pop(costs, states, waiting)
        mask, last = np.int32(0), 0
        for b in range(bits):
            if state >> b & 1:
                mask |= np.int32(1) << order[b]
                last = b
        masks[number] = mask
        if last + 1 < bits:
            more = cost + sides[order[last + 1]]
            waiting = push(costs, states, waiting, more, state | np.int32(1) << (last + 1))
            moved = state ^ np.int32(3) << last
            waiting = push(costs, states, waiting, more - sides[order[last]], moved)


@njit_noref
def push(costs, states, size, cost, state):
    """Add to a heap whose root is the cheapest; returns its size."""
    place = size
    while place > 0 and costs[(place - 1) >> 1] > cost:
        costs[place], states[place] = costs[(place - 1) >> 1], states[(place - 1) >> 1]
        place = (place - 1) >> 1
    costs[place], states[place] = cost, state
    return size + 1


@njit_noref
def pop(costs, states, size):
    """Take the root from a heap; returns its size."""
    size -= 1
    cost, state, place = costs[size], states[size], 0
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and costs[child + 1] < costs[child]:
            child += 1
        if costs[child] >= cost:
            break
        costs[place], states[place] = costs[child], states[child]
        place = child
    costs[place], states[place] = cost, state
    return size
