"""The nodes of Annoy's files: searched as Annoy 1.17 searches them, checked, and written.

All nodes have one size. They begin with the number of items below them, and hold, in 4-byte words:

    angular     0 items  1 children (an item's squared length)          3 vector
    dot         0 items  1 children                        3 factor     4 vector
    distances   0 items  1 offset  2 children                           4 vector
    hamming     0 items  1 children                                     4 vector, of uint64

Items come first, in order. A node of few items is a leaf that lists them from where its children would
stand; another divides its items between its children by the plane in place of its vector, or by the bit
whose number stands there. Sums go over eight lanes, and the rest of
them is rounded, as GCC has it in Annoy on a processor with AVX, so that both give the same bits.
"""

from __future__ import annotations

import numpy as np

from segue.kernels import simd
from segue.kernels.compile import as_written, inline, kernel, njit_noref
from segue.kernels.queue import drop, push
from segue.kernels.topk import empty_heap, sink, sort_heap, worse

ANGULAR, DOT, EUCLIDEAN, MANHATTAN, HAMMING = range(5)
BEGUN = 1024  # entries of a queue at first


@as_written
def product(F, a, G, b, f):
    """The inner product of two runs of f numbers."""
    lanes, j = simd.no_floats(), 0
    while j + 8 <= f:
        lanes = simd.plus_product(lanes, simd.load_floats(F, a + j), simd.load_floats(G, b + j))
        j += 8
    total = simd.sum_floats(lanes)
    for left in range(f - j, 0, -1):
        total = total + F[a + j] * G[b + j] if left > f % 4 else simd.fused(total, F[a + j], G[b + j])
        j += 1
    return total


@as_written
def squared_distance(F, a, G, b, f):
    """The sum of squared differences of two runs."""
    lanes, j = simd.no_floats(), 0
    while j + 8 <= f:
        parted = simd.minus(simd.load_floats(F, a + j), simd.load_floats(G, b + j))
        lanes = simd.plus_product(lanes, parted, parted)
        j += 8
    total = simd.sum_floats(lanes)
    for left in range(f - j, 0, -1):
        apart = F[a + j] - G[b + j]
        total = total + apart * apart if left > f % 2 else simd.fused(total, apart, apart)
        j += 1
    return total


@as_written
def absolute_distance(F, a, G, b, f):
    """The sum of absolute differences of two runs."""
    lanes, j = simd.no_floats(), 0
    while j + 8 <= f:
        lanes = simd.plus_size(lanes, simd.minus(simd.load_floats(F, a + j), simd.load_floats(G, b + j)))
        j += 8
    total = simd.sum_floats(lanes)
    while j < f:
        total += abs(F[a + j] - G[b + j])
        j += 1
    return total


@as_written
def angular_distance(pp, qq, pq):
    """The squared distance of two vectors brought to length 1."""
    lengths = np.float32(pp * qq)
    if lengths > 0:
        return np.float32(2.0 - 2.0 * np.float64(pq) / np.float64(np.sqrt(lengths)))
    return np.float32(2)


@inline
def distance(metric, f, query, square, words, F, U, row, vector):
    """How far an item, whose node begins at the word `row`, is from a query: smaller is nearer."""
    if metric == ANGULAR:
        own = F[row + 1] if F[row + 1] != 0 else product(F, row + vector, F, row + vector, f)
        return angular_distance(square, own, product(query, 0, F, row + vector, f))
    if metric == DOT:
        return -product(query, 0, F, row + vector, f)
    if metric == EUCLIDEAN:
        return squared_distance(query, 0, F, row + vector, f)
    if metric == MANHATTAN:
        return absolute_distance(query, 0, F, row + vector, f)
    total = 0
    for j in range(f):
        total += simd.ones(words[j] ^ U[((row + vector) >> 1) + j])
    return np.float32(total)


@inline
def side_of(metric, f, query, words, F, U, row, vector):
    """How far a query is on the side 1 of a node; of a bit only the sign counts."""
    if metric == ANGULAR:
        return product(F, row + vector, query, 0, f)
    if metric == DOT:
        return simd.fused(product(F, row + vector, query, 0, f), F[row + 3], F[row + 3])
    if metric == HAMMING:
        bit = U[(row + vector) >> 1]
        is_set = words[bit >> np.uint64(6)] >> (np.uint64(63) - (bit & np.uint64(63))) & np.uint64(1)
        return np.float32(1) if is_set else np.float32(-1)
    return F[row + 1] + product(F, row + vector, query, 0, f)


@inline
def stated(metric, score):
    """A score, which is -distance, as Annoy states it: a length, or for DOT the inner product."""
    if metric == DOT:
        return score
    apart = max(-score, np.float32(0))
    return np.sqrt(apart) if metric in (ANGULAR, EUCLIDEAN) else apart


@kernel
def nearest(
    metric, N, F, U, size, lists, vector, f, capacity, items, roots, query, words, search_k, ids, distances
):  # fmt: skip
    """The nearest items of a query (f,) float32, or of its words, and their distances; returns how many.

    size, lists and vector are where a node ends, and where its children and its vector begin. A node of at
    most `capacity` items is a leaf. The walk ends when the leaves have held `search_k` items, the same one
    as often as it comes.
    """
    priorities, numbers = np.empty(BEGUN, np.float32), np.empty(BEGUN, np.int32)
    seen = np.zeros((items >> 6) + 1, np.uint64)
    k, waiting, taken, found = len(ids), 0, 0, 0
    square = product(query, 0, query, 0, f) if metric == ANGULAR else np.float32(0)
    empty_heap(distances, ids, 0, k)
    for t in range(-len(roots), 0):
        if waiting == len(numbers):
            priorities, numbers = np.append(priorities, priorities), np.append(numbers, numbers)
        first = np.float32(0 if metric == HAMMING else np.inf)
        waiting = push(priorities, numbers, waiting, first, roots[t])
    while waiting and taken < search_k:
        level, node = priorities[0], np.int64(numbers[0])
        waiting = drop(priorities, numbers, waiting)
        row = node * size
        below = N[row]
        is_item = below == 1 and node < items
        if not is_item and below > capacity:
            if waiting + 2 > len(numbers):
                priorities, numbers = np.append(priorities, priorities), np.append(numbers, numbers)
            margin = side_of(metric, f, query, words, F, U, row, vector)
            if metric == HAMMING:
                left, right = level - np.float32(margin > 0), level - np.float32(margin < 0)
            else:
                left, right = min(level, -margin), min(level, margin)
            waiting = push(priorities, numbers, waiting, right, N[row + lists + 1])
            waiting = push(priorities, numbers, waiting, left, N[row + lists])
            continue
        taken += below
        for place in range(below):
            i = node if is_item else np.int64(N[row + lists + place])
            bit = np.uint64(1) << np.uint64(i & 63)
            if seen[i >> 6] & bit or N[i * size] != 1:
                continue
            seen[i >> 6] |= bit
            score = -distance(metric, f, query, square, words, F, U, i * size, vector)
            found += score > -np.inf  # a damaged vector may give NaN
            if worse(distances[0], ids[0], score, i):  # the worst score is first, till the end
                sink(distances, ids, 0, k, score, i)
    sort_heap(distances, ids, 0, k)
    for place in range(k):
        distances[place] = stated(metric, distances[place])
    return min(found, k)


@kernel
def between(metric, F, U, size, vector, f, i, j):
    """The distance of two items, as it is stated."""
    a = i * size + vector
    square = np.float32(0)
    if metric == ANGULAR:
        square = F[i * size + 1] if F[i * size + 1] != 0 else product(F, a, F, a, f)
    words = U[a >> 1 : (a >> 1) + f] if metric == HAMMING else U[:0]
    query = F[a : a + f] if metric != HAMMING else F[:0]
    return stated(metric, -distance(metric, f, query, square, words, F, U, j * size, vector))


@kernel
def check(metric, N, U, size, lists, vector, f, capacity, items, likes):
    """Whether each node is one that Annoy writes; returns how many span all items, or -1 - the first wrong
    one.

    Leaves list items, the others divide theirs between two earlier nodes, and only roots span all, whose
    numbers go into `likes`. So no walk leaves the file, and none takes more steps than there are items.
    """
    nodes, found = len(N) // size, 0
    for node in range(nodes):
        row, below = node * size, np.int64(N[node * size])
        if node < items:
            if below < 0 or below > 1:
                return -1 - node
            continue
        is_root = below == items
        if is_root:
            likes[found] = node
            found += 1
        elif below < 2 or below > items:
            return -1 - node
        if below <= capacity:
            for place in range(below):
                if N[row + lists + place] < 0 or N[row + lists + place] >= items:
                    return -1 - node
            for word in range(
                lists + 1, size if items == 1 else 0
            ):  # else it is an item, and the rest is cut off
                if N[row + word] != 0:
                    return -1 - node
            continue
        if metric == HAMMING and U[(row + vector) >> 1] >= np.uint64(64 * f):
            return -1 - node
        left, right = np.int64(N[row + lists]), np.int64(N[row + lists + 1])
        if left < 0 or right < 0 or left >= node or right >= node:
            return -1 - node
        in_left, in_right = np.int64(N[left * size]), np.int64(N[right * size])
        if is_root:
            if in_left + in_right > items or in_left + in_right < 1:
                return -1 - node
        elif in_left + in_right != below or in_left < 1 or in_right < 1:
            return -1 - node
    return found


@kernel
def prepare(metric, N, F, size, vector, f, start, stop):
    """Write the squared lengths of the items [start, stop), their lengths for DOT, where Annoy keeps them."""
    for i in range(start, stop):
        square = product(F, i * size + vector, F, i * size + vector, f)
        if metric == ANGULAR and N[i * size] == 1:
            F[i * size + 1] = square
        elif metric == DOT:
            F[i * size + 3] = np.sqrt(square)


@njit_noref
def write_leaf(N, row, lists, below, present, rows, first, last):
    """Write the list of a leaf."""
    N[row] = below
    for place in range(first, last):
        N[row + lists + place - first] = present[rows[place]]


@kernel
def write(
    metric, N, F, U, size, lists, vector, f, capacity, items, base, present,
    rows, planes, offsets, bounds, links,
):  # fmt: skip
    """Write a tree's nodes from the node `base` on, children before parents; returns where the next one goes.

    `present` are the items that there are; the tree is of their places there. The rows are zeros before.
    """
    N, F, U = N[base * size :], F[base * size :], U[(base * size) >> 1 :]
    if len(bounds) == 0:
        write_leaf(N, 0, lists, items, present, rows, 0, len(rows))
        return base + 1
    numbers, turns = np.empty((len(bounds), 2), np.int64), np.zeros(len(bounds), np.int8)
    path, depth, written = np.empty(len(bounds), np.int64), 1, 0
    path[0] = 0
    while depth:
        node = path[depth - 1]
        first, middle, last = bounds[node, 0], bounds[node, 1], bounds[node, 2]
        if turns[node] < 2:
            side = turns[node] ^ np.int8(middle - first > last - middle)  # the smaller side is written first
            turns[node] += 1
            if links[node, side] >= 0:
                path[depth] = links[node, side]
                depth += 1
                continue
            begin, end = (first, middle) if side == 0 else (middle, last)
            if end - begin == 1:
                numbers[node, side] = present[rows[begin]]
            else:
                write_leaf(N, written * size, lists, end - begin, present, rows, begin, end)
                numbers[node, side] = base + written
                written += 1
            continue
        depth -= 1
        row = written * size
        N[row] = items if depth == 0 else last - first
        N[row + lists], N[row + lists + 1] = numbers[node, 0], numbers[node, 1]
        if metric == HAMMING:
            U[(row + vector) >> 1] = np.uint64(offsets[node])
        else:
            for j in range(f):
                F[row + vector + j] = planes[node, j]
            if metric in (EUCLIDEAN, MANHATTAN):
                F[row + 1] = offsets[node]
        if depth:
            above = path[depth - 1]
            side = (turns[above] - 1) ^ np.int8(
                bounds[above, 1] - bounds[above, 0] > bounds[above, 2] - bounds[above, 1]
            )
            numbers[above, side] = base + written
        written += 1
    return base + written
