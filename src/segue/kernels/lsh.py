"""LSH by signed random projections: codes with a bit per hyperplane, and search in the nearest buckets."""

from __future__ import annotations

import numpy as np

from segue.kernels import simd
from segue.kernels.compile import kernel, njit_noref
from segue.kernels.scores import dot, is_allowed, negative_distance
from segue.kernels.topk import empty_heap, sink, sort_heap, worse

AHEAD = 8  # items to prefetch


@kernel
def hash_items(X, lifts, planes, bits, start, stop, codes):
    """Write codes[t, i], the code in table t, for the rows [start, stop) of X.

    Args:
        X: (n, d) float32.
        lifts: (n,) float32, the coordinate d of each row.
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
    vectors, planes, starts, items, ceilings, center, is_distance, probes,
    queries, allow, indptr, exclude, start, stop, ids, scores, examined,
):  # fmt: skip
    """Write the k best items of the `probes` best buckets of each table and range, for queries [start, stop).

    starts[t, r, c]: the start in items[t] of the bucket of code c in range r. No item of range r has a norm
    above ceilings[r], which decrease. A query with fewer than k results scores all items.
    """
    tables, ranges, d, k = len(starts), starts.shape[1], queries.shape[1], len(scores) // len(examined)
    bits = len(planes) // tables
    flips, masks = np.empty((tables, probes), np.int32), np.empty(probes, np.int32)
    sides, order = np.empty(bits, np.float32), np.empty(bits, np.int32)
    costs, states = np.empty(2 * probes + 2, np.float32), np.empty(2 * probes + 2, np.int32)
    centered, visited_items = np.empty(d, np.float32), np.empty(len(vectors), np.int32)
    visited = np.zeros(len(vectors), np.bool_)
    for q in range(start, stop):
        empty_heap(scores, ids, q * k, k)
        examined[q] = 0
        query_norm = np.float32(0)
        for j in range(d):
            centered[j] = queries[q, j] - (center[j] if len(center) else np.float32(0))
            query_norm += centered[j] * centered[j]
        query_norm = np.sqrt(query_norm) * np.float32(1 + 1e-6 * (d + 8))
        for t in range(tables):
            code = np.int32(0)
            for b in range(bits):
                total = np.float32(0)
                for j in range(d):
                    total += planes[t * bits + b, j] * centered[j]
                code |= np.int32(total > 0) << b
                sides[b] = total * total
            cheapest_flips(sides, order, costs, states, masks)
            for m in range(probes):
                flips[t, m] = code ^ masks[m]
        n_visited = 0
        for r in range(ranges):
            if not is_distance and query_norm * ceilings[r] < scores[q * k]:
                break
            for m in range(probes):
                for t in range(tables):
                    first, last = starts[t, r, flips[t, m]], starts[t, r, flips[t, m] + 1]
                    n_visited = offer_bucket(
                        items, t, first, last, vectors, is_distance, queries, q, k, allow, indptr, exclude,
                        visited, visited_items, n_visited, ids, scores, examined,
                    )  # fmt: skip
        if scores[q * k] == -np.inf:
            n_visited = offer_bucket(
                items, 0, 0, len(vectors), vectors, is_distance, queries, q, k, allow, indptr, exclude,
                visited, visited_items, n_visited, ids, scores, examined,
            )  # fmt: skip
        for place in range(n_visited):
            visited[visited_items[place]] = False
        sort_heap(scores, ids, q * k, k)


@njit_noref
def offer_bucket(
    items, t, first, last, vectors, is_distance, queries, q, k, allow, indptr, exclude,
    visited, visited_items, n_visited, ids, scores, examined,
):  # fmt: skip
    """Score the items of a bucket that the query has not visited yet; return the number visited so far."""
    d = vectors.shape[1]
    for place in range(first, last):
        if place + AHEAD < last:
            for line in range(0, min(d, 64), 16):
                simd.prefetch(vectors, items[t, place + AHEAD] * d + line)
        i = items[t, place]
        if visited[i]:
            continue
        visited[i], visited_items[n_visited] = True, i
        n_visited += 1
        if not is_allowed(i, q, allow, indptr, exclude):
            continue
        examined[q] += 1
        score = negative_distance(queries, q, vectors, i) if is_distance else dot(queries, q, vectors, i)
        if worse(scores[q * k], ids[q * k], score, i):
            sink(scores, ids, q * k, k, score, i)
    return n_visited


@njit_noref
def cheapest_flips(sides, order, costs, states, masks):
    """Write the cheapest sets of bits as masks, by ascending cost, the sum of `sides` (Lv et al. 2007).

    States number the bits from the cheapest. Each set has two successors: shift its last bit, or add the
    next bit.
    """
    bits = len(sides)
    for b in range(bits):
        place = b
        while place > 0 and sides[order[place - 1]] > sides[b]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = b
    masks[0], pending = 0, 0
    if len(masks) > 1:
        pending = push(costs, states, 0, sides[order[0]], np.int32(1))
    for number in range(1, len(masks)):
        cost, state = costs[0], states[0]
        pending = pop(costs, states, pending)
        mask, last = np.int32(0), 0
        for b in range(bits):
            if state >> b & 1:
                mask |= np.int32(1) << order[b]
                last = b
        masks[number] = mask
        if last + 1 < bits:
            more = cost + sides[order[last + 1]]
            pending = push(costs, states, pending, more, state | np.int32(1) << (last + 1))
            shifted = state ^ np.int32(3) << last
            pending = push(costs, states, pending, more - sides[order[last]], shifted)


@njit_noref
def push(costs, states, size, cost, state):
    """Add to a heap with the cheapest state at the root; return its size."""
    place = size
    while place > 0 and costs[(place - 1) >> 1] > cost:
        costs[place], states[place] = costs[(place - 1) >> 1], states[(place - 1) >> 1]
        place = (place - 1) >> 1
    costs[place], states[place] = cost, state
    return size + 1


@njit_noref
def pop(costs, states, size):
    """Remove the root of a heap; return its size."""
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
