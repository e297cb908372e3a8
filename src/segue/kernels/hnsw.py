"""HNSW: greedy search in layered graphs of neighbours, and their construction in batches.

A node's record holds int8 codes c and two numbers: the scale s, so that x is about s c, and for a distance
the bias -|x|²/2, else the scale by which the node is linked. With a query's int16 codes and its scale, all
that is compared is

    likeness = scale s (codes . c) + weight bias + offset

an inner product, or half a negative squared distance up to a constant. Links lie in rows of fixed length,
ended by -1. The candidates of a search are one list, best first, each an int64: the likeness, the node, and
whether its links have been followed. (A list is the paper's two heaps in one.)
"""

from __future__ import annotations

import numpy as np

from segue.kernels import simd
from segue.kernels.compile import inline, kernel, njit_noref
from segue.kernels.scores import dot, is_allowed, negative_distance, norm
from segue.kernels.topk import empty_heap, sink, sort_heap, worse

STEP = 32  # codes that are multiplied at once
META = 8  # bytes of a record's scale and bias
LARGEST = 127  # of an item's codes
TOP = 32767  # of a query's codes
SURE = np.float32(1)  # times |q| s: 3.5 times the usual error of a likeness by codes
FOLLOWED = np.int64(1)


@kernel
def encode(vectors, order, centre, power, is_distance, start, stop, codes, floats):
    """The records of nodes [start, stop); node i stands for the vector order[i], seen from the centre.

    Nodes are linked as if their lengths were raised to `power`.
    """
    width = codes.shape[1]
    for i in range(start, stop):
        x = order[i]
        largest, square = np.float32(0), 0.0
        for j in range(vectors.shape[1]):
            value = vectors[x, j] - centre[j]
            largest = max(largest, abs(value))
            square += np.float64(value) * value
        step = np.float64(largest) / LARGEST
        for j in range(vectors.shape[1]):
            codes[i, j] = np.int64(np.rint((vectors[x, j] - centre[j]) / step)) if step > 0 else 0
        floats[i, width // 4 - 2] = step
        if is_distance:
            floats[i, width // 4 - 1] = -0.5 * square
        else:
            floats[i, width // 4 - 1] = step * square ** (0.5 * (power - 1)) if step > 0 else 0.0


@njit_noref
def take_query(Q, q, shorts):
    """A query's int16 codes; returns what a code of 1 stands for."""
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
    """A node's codes as those of a query; returns its scale, weight and offset for links."""
    for j in range(len(shorts)):
        shorts[j] = codes[i * width + j]
    for j in range(max(0, width - META), len(shorts)):
        shorts[j] = 0
    meta = (i + 1) * (width // 4) - 2
    if is_distance:
        return floats[meta], np.float32(1), floats[meta + 1]
    return floats[meta + 1], np.float32(0), np.float32(0)


@inline
def likeness(form, codes, floats, width, i, shorts, column, scale, weight, offset):
    """How near the node i is to a query, by the scale in that column."""
    sums = simd.no_sums()
    for j in range(0, len(shorts), STEP):
        sums = simd.plus_pairs(form, sums, codes, i * width + j, shorts, j)
    meta = (i + 1) * (width // 4) - 2
    return np.float32(simd.sum_of(sums)) * (scale * floats[meta + column]) + (
        weight * floats[meta + 1] + offset
    )


@inline
def key_of(score, node):
    """A candidate whose links have not been followed."""
    return (simd.rank(np.float32(score)) << 32) | (np.int64(node) << 1)


@inline
def node_of(key):
    """The node of a candidate."""
    return (key >> 1) & 0x7FFFFFFF


@njit_noref
def put(pool, count, most, key):
    """Put a candidate among the best `most`, best first; returns its place, or `most` if it is none."""
    if count == most:
        if pool[most - 1] > key:
            return most
        count -= 1
    low, left = 0, count
    while left > 0:  # takes no branches that cannot be foretold
        half = (left + 1) >> 1
        low += half if pool[low + half - 1] > key else 0
        left -= half
    simd.make_room(pool, low, count - low)
    pool[low] = key
    return low


@njit_noref
def descend(form, codes, floats, width, upper, m, sizes, level, shorts, column, scale, weight, offset):
    """The node that greedy steps lead to, from the first node of the top level down to above `level`."""
    node = 0
    best = likeness(form, codes, floats, width, node, shorts, column, scale, weight, offset)
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
                score = likeness(form, codes, floats, width, other, shorts, column, scale, weight, offset)
                if score > best:
                    node, best, moved = other, score, True
    return node


@njit_noref
def walk(
    form, codes, floats, width, links, cap, shorts, column, scale, weight, offset, node, ef, pool, seen, trail
):
    """Find the ef nodes nearest to a query from a node on; returns how many, and how many were scored.

    seen: bits of nodes, none set, before and after. trail: room for nodes seen, and at its end for `cap`.
    """
    room = len(trail) - cap
    seen[node >> 6] |= np.uint64(1) << np.uint64(node & 63)
    trail[0] = node
    steps = 1
    pool[0] = key_of(likeness(form, codes, floats, width, node, shorts, column, scale, weight, offset), node)
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
            if not seen[word] & bit:
                seen[word] |= bit
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
            if steps < room:
                trail[steps] = other
            steps += 1
            score = likeness(form, codes, floats, width, other, shorts, column, scale, weight, offset)
            key = key_of(score, other)
            if count < ef or key > pool[count - 1]:
                at = put(pool, count, ef, key)
                count = min(count + 1, ef)
                place = min(place, at)
        scored += fresh
        while place < count and pool[place] & FOLLOWED:
            place += 1
    if steps > room:
        for word in range(len(seen)):
            seen[word] = 0
    else:
        for z in range(steps):
            seen[trail[z] >> 6] = 0
    return count, scored


@inline
def straight(floats, width, is_distance, i):
    """By what a likeness is multiplied so that the node's length does not count."""
    meta = (i + 1) * (width // 4) - 2
    return floats[meta + 1] / floats[meta] if not is_distance and floats[meta] > 0 else np.float32(1)


@njit_noref
def select(form, codes, floats, width, is_distance, i, pool, count, most, shorts, chosen):
    """The candidates that are nearer to the node i than to any chosen before; returns how many.

    pool: the candidates, best first. Of an inner product the angle decides what is nearer: by a long
    vector all others would be left out. (The paper's algorithm 4.)
    """
    kept, column = 0, 0 if is_distance else 1
    turn = straight(floats, width, is_distance, i)
    for z in range(count):
        node = node_of(pool[z])
        scale, weight, offset = take_node(codes, floats, width, is_distance, node, shorts)
        own = likeness(form, codes, floats, width, i, shorts, column, scale, weight, offset) * turn
        good = True
        for y in range(kept):
            other = likeness(form, codes, floats, width, chosen[y], shorts, column, scale, weight, offset)
            if other * straight(floats, width, is_distance, chosen[y]) > own:
                good = False
                break
        if good:
            chosen[kept] = node
            kept += 1
            if kept == most:
                break
    return kept


@kernel
def attach(
    form, codes, floats, width, dim, is_distance, links, cap, upper, m, sizes, level, ef, first, start, stop
):
    """Choose the links of nodes [start, stop) on a level from the nodes [0, first) that have theirs."""
    pool = np.empty(ef, np.int64)
    seen = np.zeros((first >> 6) + 1, np.uint64)
    trail = np.empty(len(seen) + cap, np.int32)
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
            form,
            codes,
            floats,
            width,
            links,
            cap,
            shorts,
            column,
            scale,
            weight,
            offset,
            node,
            ef,
            pool,
            seen,
            trail,
        )
        kept = select(form, codes, floats, width, is_distance, i, pool, count, m, others, chosen)
        for z in range(cap):
            links[i * cap + z] = chosen[z] if z < kept else -1


@kernel
def accept(form, codes, floats, width, dim, is_distance, links, cap, targets, sources, bounds, start, stop):
    """Give nodes the links back from new ones: the target g's are sources[bounds[g]:bounds[g + 1]]."""
    most, column = 4 * cap, 0 if is_distance else 1
    pool, chosen = np.empty(most, np.int64), np.empty(cap, np.int32)
    shorts, others = np.zeros(-(-dim // STEP) * STEP, np.int16), np.zeros(-(-dim // STEP) * STEP, np.int16)
    for g in range(start, stop):
        i = targets[g]
        held = 0
        while held < cap and links[i * cap + held] >= 0:
            held += 1
        more = bounds[g + 1] - bounds[g]
        if held + more <= cap:
            for z in range(more):
                links[i * cap + held + z] = sources[bounds[g] + z]
            continue
        scale, weight, offset = take_node(codes, floats, width, is_distance, i, shorts)
        count = 0
        for z in range(held + more):
            other = links[i * cap + z] if z < held else sources[bounds[g] + z - held]
            score = likeness(form, codes, floats, width, other, shorts, column, scale, weight, offset)
            if put(pool, count, most, key_of(score, other)) < most:
                count = min(count + 1, most)
        kept = select(form, codes, floats, width, is_distance, i, pool, count, cap, others, chosen)
        for z in range(cap):
            links[i * cap + z] = chosen[z] if z < kept else -1


@njit_noref
def place_in(links, cap, known, node):
    """A place among a node's links that is free, or leads to where others lead too; -1 if there is none."""
    place = -1
    for z in range(node * cap, (node + 1) * cap):
        if links[z] < 0:
            return z
        if known[links[z]] > 1:
            place = z
    return place


@kernel
def adopt(links, cap, size):
    """Have nodes that nobody links to linked to by those that they link to, or by their neighbours."""
    known = np.zeros(size, np.int32)
    for z in range(size * cap):
        if links[z] >= 0:
            known[links[z]] += 1
    for i in range(size):
        if known[i]:
            continue
        place = -1
        for y in range(i * cap, (i + 1) * cap):
            if place < 0 and links[y] >= 0:
                place = place_in(links, cap, known, links[y])
        for y in range(i * cap, (i + 1) * cap):
            if links[y] >= 0:
                for z in range(links[y] * cap, (links[y] + 1) * cap):
                    if place < 0 and links[z] >= 0:
                        place = place_in(links, cap, known, links[z])
        if place >= 0:
            if links[place] >= 0:
                known[links[place]] -= 1
            links[place] = i
            known[i] = 1


@kernel
def search(
    form, codes, floats, width, links, cap, upper, m, sizes, order, vectors, is_distance,
    queries, seen_from, efs, limit, members, allow, indptr, excluded, start, stop, ids, scores, examined,
):  # fmt: skip
    """The k best for the queries [start, stop), into their rows of ids, scores and examined.

    A query's ef is widened until there are k answers, and beyond `limit`, or if it is 0, every item
    that may be got is scored.
    """
    k, n, d, column = len(scores) // len(examined), len(order), queries.shape[1], 0
    widest = np.int64(1)
    for q in range(start, stop):
        widest = max(widest, efs[q])
    pool = np.empty(widest, np.int64)
    seen = np.zeros((n >> 6) + 1, np.uint64)
    trail = np.empty(len(seen) + cap, np.int32)
    shorts = np.zeros(-(-d // STEP) * STEP, np.int16)
    for q in range(start, stop):
        ef, got = efs[q], 0
        examined[q] = 0
        scale = take_query(seen_from, q, shorts)
        weight, offset = np.float32(1 if is_distance else 0), np.float32(0)
        size = np.float32(norm(seen_from, q, 0, d))
        node = descend(form, codes, floats, width, upper, m, sizes, 0, shorts, column, scale, weight, offset)
        while got < k and 0 < ef <= limit:
            if ef > len(pool):
                pool = np.empty(ef, np.int64)
            count, scored = walk(
                form,
                codes,
                floats,
                width,
                links,
                cap,
                shorts,
                column,
                scale,
                weight,
                offset,
                node,
                ef,
                pool,
                seen,
                trail,
            )
            examined[q] += scored
            empty_heap(scores, ids, q * k, k)
            got = answer(
                codes, floats, width, order, vectors, is_distance, queries, q, size, pool, count,
                allow, indptr, excluded, k, ids, scores,
            )  # fmt: skip
            ef *= 4
        if got < k:
            empty_heap(scores, ids, q * k, k)
            examined[q] += score_all(
                vectors, is_distance, queries, q, members, allow, indptr, excluded, k, ids, scores
            )
        sort_heap(scores, ids, q * k, k)


@njit_noref
def answer(
    codes, floats, width, order, vectors, is_distance, queries, q, size, pool, count,
    allow, indptr, excluded, k, ids, scores,
):  # fmt: skip
    """Score what was found in float32 unless it cannot be better; returns how many may be got, if below k."""
    got, d = 0, vectors.shape[1]
    for z in range(min(count, 2 * k)):
        item = order[node_of(pool[z])]
        for line in range(0, min(d, 64), 16):
            simd.prefetch(vectors, item * d + line)
    goal = np.float32(-np.inf)
    for z in range(count):
        node = node_of(pool[z])
        item = order[node]
        unsure = SURE * size * floats[(node + 1) * (width // 4) - 2]
        if pool[z] >> 32 < simd.rank(np.float32(goal - unsure)):
            continue
        if not is_allowed(item, q, allow, indptr, excluded):
            continue
        got += 1
        score = (
            negative_distance(queries, q, vectors, item) if is_distance else dot(queries, q, vectors, item)
        )
        if worse(scores[q * k], ids[q * k], score, item):
            sink(scores, ids, q * k, k, score, item)
            if got >= k:
                goal = scores[q * k]
                if is_distance:
                    goal = np.float32(0.5) * (size * size - goal * goal)
    return got


@njit_noref
def score_all(vectors, is_distance, queries, q, members, allow, indptr, excluded, k, ids, scores):
    """Score every member, or every item if there are none, that may be got; returns how many."""
    scored = 0
    for z in range(len(members) or len(vectors)):
        i = members[z] if len(members) else z
        if is_allowed(i, q, allow, indptr, excluded):
            scored += 1
            score = negative_distance(queries, q, vectors, i) if is_distance else dot(queries, q, vectors, i)
            if worse(scores[q * k], ids[q * k], score, i):
                sink(scores, ids, q * k, k, score, i)
    return scored
