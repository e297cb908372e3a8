"""Search in a forest: one queue over all trees gives leaves, codes give bounds, what may be near is scored.

Nodes of all trees are numbered together, a node's number below those of its children. A row of `nodes` holds
two links, and the bits of its plane's step and offset as float32; a link below 0 is a leaf, whose list
begins at members[~link] with its length. Items go by position, the order of the first tree's leaves, so that
those of a leaf lie together, and nearly so in the other trees.

For each tree the leaf that the query falls into is found first; every side that was passed by waits in the
queue with how far the query is from it. Several that wait are followed at once, so that their memory is
fetched side by side.
"""

from __future__ import annotations

import numpy as np

from segue.kernels import simd
from segue.kernels.compile import inline, kernel, njit_noref
from segue.kernels.measures import hamming, manhattan
from segue.kernels.queue import drop, push
from segue.kernels.scores import TINY, dot, is_allowed, negative_distance, norm, target_of
from segue.kernels.topk import empty_heap, sink, sort_heap, worse

DOT, EUCLIDEAN, MANHATTAN, HAMMING = 0, 1, 2, 3
TOGETHER = 8  # sides that are followed at once
LANE = 32  # codes that are multiplied at once


@inline
def product(form, codes, i, words, first, last):
    """The inner product of a row's codes [first, last) with a query's; both are multiples of 32."""
    sums, row = simd.no_sums(), i * codes.shape[1]
    for j in range(first, last, LANE):
        sums = simd.plus_pairs(form, sums, codes, row + j, words, j)
    return simd.sum_of(sums)


@njit_noref
def encode(turned, q, scales, words):
    """A query's dimensions, times the items' steps, as int16; return the step and how far off they are."""
    largest = total = 0.0
    for j in range(len(scales)):
        value = abs(np.float64(turned[q, j]) * scales[j])
        largest = max(largest, value)
        total += value
    step = max(largest / 32767, total * 127 / 2.0**30)
    step = step if step > 0 else 1.0
    error = 0.0
    for j in range(len(words)):
        value = np.float64(turned[q, j]) * scales[j] if j < len(scales) else 0.0
        code = np.rint(value / step)
        words[j] = np.int16(code)
        error += (value - code * step) ** 2
    return step, np.sqrt(error)


@njit_noref
def follow(
    form, by_bits, nodes, floats, planes, members, asked, q, words, step,
    at, levels, count, priorities, numbers, size,
):  # fmt: skip
    """Follow `count` links to leaves, level by level; what is passed by goes into the queue, whose size is
    returned.

    levels[g] becomes the priority of the leaf that at[g] becomes: the least distance to a plane on the way.
    """
    moving = count
    while moving:
        moving = 0
        for g in range(count):
            node = at[g]
            if node < 0:
                continue
            if by_bits:
                bit = nodes[node, 2]
                side = np.int64((asked[q, bit >> 6] >> np.uint64(63 - (bit & 63))) & np.uint64(1))
                near, far = levels[g], levels[g] - np.float32(1)
            else:
                margin = (
                    np.float32(product(form, planes, node, words, 0, planes.shape[1]))
                    * step
                    * floats[node, 2]
                    + floats[node, 3]
                )
                side = np.int64(margin > 0)
                near, far = min(levels[g], abs(margin)), min(levels[g], -abs(margin))
            size = push(priorities, numbers, size, far, nodes[node, 1 - side])
            link = nodes[node, side]
            at[g], levels[g] = link, near
            if link >= 0:
                moving += 1
                simd.prefetch(planes, link * planes.shape[1])
                simd.prefetch(nodes, link * 4)
            else:
                simd.prefetch(members, ~np.int64(link))
                simd.prefetch(members, ~np.int64(link) + 16)
    return size


@njit_noref
def gather(members, at, count, seen, fresh, codes):
    """The items of some leaves that were not seen before, by position; asks for their codes."""
    found = 0
    for g in range(count):
        start = ~np.int64(at[g])
        for place in range(start + 1, start + 1 + members[start]):
            i = np.int64(members[place])
            bit = np.uint64(1) << np.uint64(i & 63)
            if not seen[i >> 6] & bit:
                seen[i >> 6] |= bit
                fresh[found] = i
                found += 1
                simd.prefetch(codes, i * codes.shape[1])
    return found


@kernel
def search(
    form, measure, vectors, binary,
    order, codes, offsets, tails, limits, scales, nodes, floats, planes, members, roots,
    asked, bits, turned, effort, allow, indptr, excluded, start, stop, ids, scores, examined,
):  # fmt: skip
    """The k best of at least `effort` items, for the queries [start, stop), into their rows of the answers.

    asked (q, d) are the queries as the scores want them, bits (q, ·) uint64 for HAMMING, turned (q, ·) as
    the codes want them. limits: the largest error of an item's head codes, of all its codes, the largest
    norm of codes, the largest norm of an item, and the relative error of float32 sums.
    """
    k, n, trees = len(scores) // len(examined), len(order), len(roots)
    head, whole = planes.shape[1], codes.shape[1]
    by_bits = measure == HAMMING
    coded, is_distance = measure <= EUCLIDEAN, measure == EUCLIDEAN
    priorities = np.empty(len(nodes) + 2 * trees + 1, np.float32)
    numbers = np.empty(len(priorities), np.int32)
    at, levels = np.empty(max(trees, TOGETHER), np.int32), np.empty(max(trees, TOGETHER), np.float32)
    seen = np.empty((n >> 6) + 1, np.uint64)
    words, sides = np.empty(whole, np.int16), np.empty(head, np.int16)
    ones = np.ones(min(head, turned.shape[1]), np.float32)
    fresh = np.empty(TOGETHER * np.int64(limits[5]), np.int32)
    for q in range(start, stop):
        empty_heap(scores, ids, q * k, k)
        examined[q] = 0
        step = wrong = slack = slack_all = tail = size_of = 0.0
        goal = -np.inf
        side_step = np.float32(1)
        if not by_bits:
            side_step = np.float32(encode(turned, q, ones, sides)[0])
        if coded:
            step, wrong = encode(turned, q, scales, words)
            size_of = norm(turned, q, 0, len(scales))
            tail = norm(turned, q, head, len(scales)) if whole > head else 0.0
            reach = (size_of + limits[3]) ** 2 if is_distance else size_of * limits[3]
            slack_all = wrong * limits[2] + size_of * limits[1] + limits[4] * reach + TINY
            slack = wrong * limits[2] + size_of * limits[0] + limits[4] * reach + TINY
        for w in range(len(seen)):
            seen[w] = 0
        size = distinct = 0
        for t in range(trees):
            at[t], levels[t] = roots[t], np.inf
            if by_bits:
                levels[t] = 0
        size = follow(
            form, by_bits, nodes, floats, planes, members, bits, q, sides, side_step, at, levels, trees,
            priorities, numbers, size,
        )  # fmt: skip
        for t in range(trees):
            size = push(priorities, numbers, size, levels[t], at[t])
        while size and distinct < n and (examined[q] < effort or scores[q * k] == -np.inf):
            count = 0
            while size and count < TOGETHER:
                at[count], levels[count] = numbers[0], priorities[0]
                size = drop(priorities, numbers, size)
                count += 1
            size = follow(
                form, by_bits, nodes, floats, planes, members, bits, q, sides, side_step, at, levels, count,
                priorities, numbers, size,
            )  # fmt: skip
            found = gather(members, at, count, seen, fresh, codes)
            distinct += found
            for f in range(found):
                i = fresh[f]
                if len(allow) and not allow[min(q, len(allow) - 1), order[i]]:
                    continue
                examined[q] += 1
                if coded:
                    total = product(form, codes, i, words, 0, head)
                    bound = total * step + slack
                    if is_distance:
                        bound -= offsets[i]
                    if whole > head:
                        if bound + tail * tails[i] < goal:
                            continue
                        bound += product(form, codes, i, words, head, whole) * step + (slack_all - slack)
                    if bound < goal:
                        continue
                    item = order[i]
                    if not is_allowed(item, q, allow, indptr, excluded):
                        continue
                    score = (
                        negative_distance(asked, q, vectors, item)
                        if is_distance
                        else dot(asked, q, vectors, item)
                    )
                elif by_bits:
                    item = order[i]
                    score = hamming(bits, q, binary, item)
                else:
                    item = order[i]
                    score = manhattan(asked, q, vectors, item, scores[q * k])
                if worse(scores[q * k], ids[q * k], score, item) and (
                    coded or is_allowed(item, q, allow, indptr, excluded)
                ):
                    sink(scores, ids, q * k, k, score, item)
                    goal = target_of(scores[q * k], size_of, is_distance)
        sort_heap(scores, ids, q * k, k)


@kernel
def score_all(
    measure, vectors, binary, asked, bits, allow, indptr, excluded, start, stop, ids, scores, examined
):  # fmt: skip
    """The k best of all items, scored one by one, for the queries [start, stop)."""
    k, n = len(scores) // len(examined), max(len(vectors), len(binary))
    for q in range(start, stop):
        empty_heap(scores, ids, q * k, k)
        examined[q] = 0
        for i in range(n):
            if not is_allowed(i, q, allow, indptr, excluded):
                continue
            examined[q] += 1
            if measure == HAMMING:
                score = hamming(bits, q, binary, i)
            elif measure == MANHATTAN:
                score = manhattan(asked, q, vectors, i, scores[q * k])
            elif measure == EUCLIDEAN:
                score = negative_distance(asked, q, vectors, i)
            else:
                score = dot(asked, q, vectors, i)
            if worse(scores[q * k], ids[q * k], score, i):
                sink(scores, ids, q * k, k, score, i)
        sort_heap(scores, ids, q * k, k)


@kernel
def sound(nodes, members, roots, n, leaf, bits):
    """Whether the links make trees: each node and each leaf has one link to it, from a node before it or a
    root.

    Leaves must list 1 to `leaf` of the n positions, and where nodes divide by a bit, it must be one of
    `bits`.
    """
    begins = np.zeros(len(members), np.bool_)
    place = leaves = listed = np.int64(0)
    while place < len(members):
        size = np.int64(members[place])
        if size < 1 or size > leaf or place + size >= len(members):
            return False
        for other in range(place + 1, place + 1 + size):
            if members[other] < 0 or members[other] >= n:
                return False
        begins[place] = True
        leaves += 1
        listed += size
        place += 1 + size
    linked = np.zeros(len(nodes), np.bool_)
    for link in range(2 * len(nodes) + len(roots)):
        node = link >> 1
        own = link - 2 * len(nodes)
        target = np.int64(nodes[node, link & 1]) if own < 0 else np.int64(roots[own])
        if target >= 0:
            if target >= len(nodes) or linked[target] or (own < 0 and target <= node):
                return False
            linked[target] = True
        elif ~target >= len(members) or not begins[~target]:
            return False
        else:
            begins[~target] = False
            leaves -= 1
    for node in range(len(nodes)):
        if not linked[node] or (bits and (nodes[node, 2] < 0 or nodes[node, 2] >= bits)):
            return False
    return leaves == 0 and listed == n * len(roots)
