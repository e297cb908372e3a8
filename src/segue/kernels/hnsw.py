"""HNSW (Malkov & Yashunin 2018): greedy search in layered neighbor graphs, and their construction in batches.

A node's record holds int8 codes c and two numbers: the scale s, with x ≈ s c, and the bias -|x|²/2 for a
distance, else the scale for choosing links. Search compares nodes by their similarity to a query, which has
int16 codes and a scale:

    similarity = scale s (codes . c) + weight bias + offset

This is an inner product, or half a negative squared distance up to a constant. Links are rows of fixed
length, padded with -1. The candidates of a search form one sorted list, which replaces the paper's two
heaps. A candidate is an int64: the similarity, the node, and whether its links have been followed.
"""

from __future__ import annotations

import numpy as np

from segue.kernels import simd
from segue.kernels.compile import inline, kernel, njit_noref
from segue.kernels.scores import dot, is_allowed, negative_distance, norm
from segue.kernels.topk import empty_heap, sink, sort_heap, worse

STEP = 32  # codes multiplied at once
META = 8  # bytes of a record's scale and bias
LARGEST = 127  # largest code of an item
TOP = 32767  # largest code of a query
MARGIN = np.float32(1)  # in units of |q| s: 3.5 times the standard error by codes
FOLLOWED = np.int64(1)


@kernel
def encode(vectors, order, center, power, is_distance, start, stop, codes, floats):
    """Write the records of nodes [start, stop); node i is the vector order[i] minus the center.

    For an inner product, links are chosen as if norms were raised to `power`.
    """
    width = codes.shape[1]
    for i in range(start, stop):
        x = order[i]
        largest, square = np.float32(0), 0.0
        for j in range(vectors.shape[1]):
            value = vectors[x, j] - center[j]
            largest = max(largest, abs(value))
            square += np.float64(value) * value
        step = np.float64(largest) / LARGEST
        for j in range(vectors.shape[1]):
            codes[i, j] = np.int64(np.rint((vectors[x, j] - center[j]) / step)) if step > 0 else 0
        floats[i, width // 4 - 2] = step
        if is_distance:
            floats[i, width // 4 - 1] = -0.5 * square
        else:
            floats[i, width // 4 - 1] = step * square ** (0.5 * (power - 1)) if step > 0 else 0.0


@njit_noref
def take_query(Q, q, shorts):
    """Write a query's int16 codes to `shorts`; return their scale."""
    d = Q.shape[1]
    largest = np.float32(0)
    for j in range(d):
        largest = max(largest, abs(Q[q, j]))
    step = np.float64(largest) / min(TOP, (2**31 - 1) // (LARGEST * d))
    for j in range(d):
        shorts[j] = np.int64(np.rint(Q[q, j] / step)) if step > 0 else 0
    return np.float32(step)


@njit_noref
def take_node(codes, floats, width, is_distance, i, shorts):
    """Write a node's codes to `shorts`, as a query; return its scale, weight and offset for links."""
    for j in range(len(shorts)):
        shorts[j] = codes[i * width + j]
    for j in range(max(0, width - META), len(shorts)):
        shorts[j] = 0
    meta = (i + 1) * (width // 4) - 2
    if is_distance:
        return floats[meta], np.float32(1), floats[meta + 1]
    return floats[meta + 1], np.float32(0), np.float32(0)


@inline
def similarity(form, codes, floats, width, i, shorts, column, scale, weight, offset):
    """Return the similarity of node i to a query; `column` selects the scale of the node."""
    sums = simd.no_sums()
    for j in range(0, len(shorts), STEP):
        sums = simd.plus_pairs(form, sums, codes, i * width + j, shorts, j)
    meta = (i + 1) * (width // 4) - 2
    return np.float32(simd.sum_of(sums)) * (scale * floats[meta + column]) + (
        weight * floats[meta + 1] + offset
    )


@inline
def key_of(score, node):
    """Return a candidate, with links not followed yet."""
    return (simd.rank(np.float32(score)) << 32) | (np.int64(node) << 1)


@inline
def node_of(key):
    """Return the node of a candidate."""
    return (key >> 1) & 0x7FFFFFFF


@njit_noref
def put(pool, count, most, key):
    """Insert a candidate into the sorted list of the best `most`; return its place, `most` if it is worse."""
    if count == most:
        if pool[most - 1] > key:
            return most
        count -= 1
    low, left = 0, count
    while left > 0:  # branch-free binary search
        half = (left + 1) >> 1
        low += half if pool[low + half - 1] > key else 0
        left -= half
    simd.make_room(pool, low, count - low)
    pool[low] = key
    return low


@njit_noref
def descend(form, codes, floats, width, upper, m, sizes, level, shorts, column, scale, weight, offset):
    """Return the node that greedy search reaches from the first node of the top level, above `level`."""
    node = 0
    best = similarity(form, codes, floats, width, node, shorts, column, scale, weight, offset)
    for above in range(len(sizes) - 1, level, -1):
        first = 0
        for below in range(1, above):
            first += sizes[below]
        moved = True
        while moved:
            moved = False
            base = (first + node) * m
            for z in range(m):
                if upper[base + z] < 0:
                    break
                simd.prefetch(codes, upper[base + z] * width)
            for z in range(m):
                other = upper[base + z]
                if other < 0:
                    break
                score = similarity(form, codes, floats, width, other, shorts, column, scale, weight, offset)
                if score > best:
                    node, best, moved = other, score, True
    return node


@njit_noref
def walk(
    form, codes, floats, width, links, cap, shorts, column, scale, weight, offset, node, ef, pool, visited,
    trail,
):  # fmt: skip
    """Search the ef nodes nearest to a query, starting at a node; return how many were found and scored.

    visited: a bit per node, all zero before and after the call. trail: scratch space for visited nodes,
    followed by `cap` places for the new nodes of one step.
    """
    room = len(trail) - cap
    visited[node >> 6] |= np.uint64(1) << np.uint64(node & 63)
    trail[0] = node
    n_visited = 1
    pool[0] = key_of(
        similarity(form, codes, floats, width, node, shorts, column, scale, weight, offset), node
    )
    count, place, scored = 1, 0, 1
    while place < count:
        node = node_of(pool[place])
        pool[place] |= FOLLOWED
        place += 1
        fresh = 0
        for z in range(node * cap, (node + 1) * cap):
            other = links[z]
            if other < 0:
                break
            word, bit = other >> 6, np.uint64(1) << np.uint64(other & 63)
            if not visited[word] & bit:
                visited[word] |= bit
                trail[room + fresh] = other
                fresh += 1
                for line in range(0, width, 64):
                    simd.prefetch(codes, other * width + line)
        while place < count and pool[place] & FOLLOWED:
            place += 1
        if place < count:
            simd.prefetch(links, node_of(pool[place]) * cap)
            simd.prefetch(links, node_of(pool[place]) * cap + 16)
        for z in range(fresh):
            other = trail[room + z]
            if n_visited < room:
                trail[n_visited] = other
            n_visited += 1
            score = similarity(form, codes, floats, width, other, shorts, column, scale, weight, offset)
            key = key_of(score, other)
            if count < ef or key > pool[count - 1]:
                at = put(pool, count, ef, key)
                count = min(count + 1, ef)
                place = min(place, at)
        scored += fresh
        while place < count and pool[place] & FOLLOWED:
            place += 1
    if n_visited > room:
        for word in range(len(visited)):
            visited[word] = 0
    else:
        for z in range(n_visited):
            visited[trail[z] >> 6] = 0
    return count, scored


@inline
def norm_correction(floats, width, is_distance, i):
    """Return the factor that makes a similarity independent of the node's norm."""
    meta = (i + 1) * (width // 4) - 2
    return floats[meta + 1] / floats[meta] if not is_distance and floats[meta] > 0 else np.float32(1)


@njit_noref
def select(form, codes, floats, width, is_distance, i, pool, count, most, shorts, chosen):
    """Select the candidates that are nearer to node i than to each selected before (the paper's algorithm 4).

    pool: the candidates, best first. For an inner product, angles are compared: otherwise a long vector
    would suppress all others. Returns the number selected.
    """
    kept, column = 0, 0 if is_distance else 1
    factor = norm_correction(floats, width, is_distance, i)
    for z in range(count):
        node = node_of(pool[z])
        scale, weight, offset = take_node(codes, floats, width, is_distance, node, shorts)
        own = similarity(form, codes, floats, width, i, shorts, column, scale, weight, offset) * factor
        diverse = True
        for y in range(kept):
            other = similarity(form, codes, floats, width, chosen[y], shorts, column, scale, weight, offset)
            if other * norm_correction(floats, width, is_distance, chosen[y]) > own:
                diverse = False
                break
        if diverse:
            chosen[kept] = node
            kept += 1
            if kept == most:
                break
    return kept


@kernel
def attach(
    form, codes, floats, width, dim, is_distance, links, cap, upper, m, sizes, level, ef, first, start, stop
):
    """Select the links of nodes [start, stop) on a level among the nodes [0, first), which have links."""
    pool = np.empty(ef, np.int64)
    visited = np.zeros((first >> 6) + 1, np.uint64)
    trail = np.empty(len(visited) + cap, np.int32)
    shorts, others = np.zeros(-(-dim // STEP) * STEP, np.int16), np.zeros(-(-dim // STEP) * STEP, np.int16)
    chosen = np.empty(m, np.int32)
    column = 0 if is_distance else 1
    above = sizes[level + 1] if level + 1 < len(sizes) else 0
    for i in range(start, stop):
        scale, weight, offset = take_node(codes, floats, width, is_distance, i, shorts)
        node = 0
        if first >= above > 0:
            node = descend(
                form, codes, floats, width, upper, m, sizes, level, shorts, column, scale, weight, offset
            )
        count, _ = walk(
            form, codes, floats, width, links, cap, shorts, column, scale, weight, offset, node, ef, pool,
            visited, trail,
        )  # fmt: skip
        kept = select(form, codes, floats, width, is_distance, i, pool, count, m, others, chosen)
        for z in range(cap):
            links[i * cap + z] = chosen[z] if z < kept else -1


@kernel
def accept(form, codes, floats, width, dim, is_distance, links, cap, targets, sources, bounds, start, stop):
    """Add links from targets[g] back to sources[bounds[g]:bounds[g + 1]]; select `cap` links per node."""
    most, column = 4 * cap, 0 if is_distance else 1
    pool, chosen = np.empty(most, np.int64), np.empty(cap, np.int32)
    shorts, others = np.zeros(-(-dim // STEP) * STEP, np.int16), np.zeros(-(-dim // STEP) * STEP, np.int16)
    for g in range(start, stop):
        i = targets[g]
        degree = 0
        while degree < cap and links[i * cap + degree] >= 0:
            degree += 1
        more = bounds[g + 1] - bounds[g]
        if degree + more <= cap:
            for z in range(more):
                links[i * cap + degree + z] = sources[bounds[g] + z]
            continue
        scale, weight, offset = take_node(codes, floats, width, is_distance, i, shorts)
        count = 0
        for z in range(degree + more):
            other = links[i * cap + z] if z < degree else sources[bounds[g] + z - degree]
            score = similarity(form, codes, floats, width, other, shorts, column, scale, weight, offset)
            if put(pool, count, most, key_of(score, other)) < most:
                count = min(count + 1, most)
        kept = select(form, codes, floats, width, is_distance, i, pool, count, cap, others, chosen)
        for z in range(cap):
            links[i * cap + z] = chosen[z] if z < kept else -1


@njit_noref
def place_in(links, cap, in_degree, node):
    """Return a replaceable link of the node: a free one, or one to a node with more incoming links; or -1."""
    place = -1
    for z in range(node * cap, (node + 1) * cap):
        if links[z] < 0:
            return z
        if in_degree[links[z]] > 1:
            place = z
    return place


@kernel
def adopt(links, cap, size):
    """Add a link to each node without incoming links, from one of its neighbors or their neighbors."""
    in_degree = np.zeros(size, np.int32)
    for z in range(size * cap):
        if links[z] >= 0:
            in_degree[links[z]] += 1
    for i in range(size):
        if in_degree[i]:
            continue
        place = -1
        for y in range(i * cap, (i + 1) * cap):
            if place < 0 and links[y] >= 0:
                place = place_in(links, cap, in_degree, links[y])
        for y in range(i * cap, (i + 1) * cap):
            if links[y] >= 0:
                for z in range(links[y] * cap, (links[y] + 1) * cap):
                    if place < 0 and links[z] >= 0:
                        place = place_in(links, cap, in_degree, links[z])
        if place >= 0:
            if links[place] >= 0:
                in_degree[links[place]] -= 1
            links[place] = i
            in_degree[i] = 1


@kernel
def search(
    form, codes, floats, width, links, cap, upper, m, sizes, order, vectors, is_distance,
    queries, centered, efs, limit, members, allow, indptr, exclude, start, stop, ids, scores, examined,
):  # fmt: skip
    """Write the k best items of the queries [start, stop) to their rows of ids, scores and examined.

    A query's ef grows until there are k results. If ef is 0 or grows beyond `limit`, all allowed items are
    scored.
    """
    k, n, d, column = len(scores) // len(examined), len(order), queries.shape[1], 0
    widest = np.int64(1)
    for q in range(start, stop):
        widest = max(widest, efs[q])
    pool = np.empty(widest, np.int64)
    visited = np.zeros((n >> 6) + 1, np.uint64)
    trail = np.empty(len(visited) + cap, np.int32)
    shorts = np.zeros(-(-d // STEP) * STEP, np.int16)
    for q in range(start, stop):
        ef, n_allowed = efs[q], 0
        examined[q] = 0
        scale = take_query(centered, q, shorts)
        weight, offset = np.float32(1 if is_distance else 0), np.float32(0)
        size = np.float32(norm(centered, q, 0, d))
        node = descend(form, codes, floats, width, upper, m, sizes, 0, shorts, column, scale, weight, offset)
        while n_allowed < k and 0 < ef <= limit:
            if ef > len(pool):
                pool = np.empty(ef, np.int64)
            count, scored = walk(
                form, codes, floats, width, links, cap, shorts, column, scale, weight, offset, node, ef, pool,
                visited, trail,
            )  # fmt: skip
            examined[q] += scored
            empty_heap(scores, ids, q * k, k)
            n_allowed = rescore(
                codes, floats, width, order, vectors, is_distance, queries, q, size, pool, count,
                allow, indptr, exclude, k, ids, scores,
            )  # fmt: skip
            ef *= 4
        if n_allowed < k:
            empty_heap(scores, ids, q * k, k)
            examined[q] += score_all(
                vectors, is_distance, queries, q, members, allow, indptr, exclude, k, ids, scores
            )
        sort_heap(scores, ids, q * k, k)


@njit_noref
def rescore(
    codes, floats, width, order, vectors, is_distance, queries, q, size, pool, count,
    allow, indptr, exclude, k, ids, scores,
):  # fmt: skip
    """Score the candidates that can be among the k best in float32; return the number allowed, if below k."""
    n_allowed, d = 0, vectors.shape[1]
    for z in range(min(count, 2 * k)):
        item = order[node_of(pool[z])]
        for line in range(0, min(d, 64), 16):
            simd.prefetch(vectors, item * d + line)
    goal = np.float32(-np.inf)
    for z in range(count):
        node = node_of(pool[z])
        item = order[node]
        margin = MARGIN * size * floats[(node + 1) * (width // 4) - 2]
        if pool[z] >> 32 < simd.rank(np.float32(goal - margin)):
            continue
        if not is_allowed(item, q, allow, indptr, exclude):
            continue
        n_allowed += 1
        score = (
            negative_distance(queries, q, vectors, item) if is_distance else dot(queries, q, vectors, item)
        )
        if worse(scores[q * k], ids[q * k], score, item):
            sink(scores, ids, q * k, k, score, item)
            if n_allowed >= k:
                goal = scores[q * k]
                if is_distance:
                    goal = np.float32(0.5) * (size * size - goal * goal)
    return n_allowed


@njit_noref
def score_all(vectors, is_distance, queries, q, members, allow, indptr, exclude, k, ids, scores):
    """Score all allowed members, or all allowed items if there are no members; return the number scored."""
    scored = 0
    for z in range(len(members) or len(vectors)):
        i = members[z] if len(members) else z
        if is_allowed(i, q, allow, indptr, exclude):
            scored += 1
            score = negative_distance(queries, q, vectors, i) if is_distance else dot(queries, q, vectors, i)
            if worse(scores[q * k], ids[q * k], score, i):
                sink(scores, ids, q * k, k, score, i)
    return scored
