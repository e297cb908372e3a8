"""Random trees over vectors: each node splits its items by the plane between two means of a few of them.

A tree is a permutation of the items and, for every node, the span that it splits:

    bounds[node] = first, middle, last: items rows[first:middle] lie on the side 0, rows[middle:last] on 1
    links[node] = the nodes that split the two sides further, -1 where a side is a leaf

Nodes are numbered from the root down, so that a node's number is below those of its children. Splits, and
the order in which random numbers are drawn, are those of Annoy 1.17 (E. Bernhardsson,
github.com/spotify/annoy).
"""

from __future__ import annotations

import numpy as np

from segue.kernels.compile import inline, kernel, njit_noref

ANGULAR, EUCLIDEAN, MANHATTAN, BITS = 0, 1, 2, 3
ATTEMPTS = 3  # at a split that is not lopsided
LOPSIDED, HOPELESS = np.float32(0.95), np.float32(0.99)
DRAWS = 20  # of a bit that splits, before all bits are tried
DEEP = 128  # of the stack, where the smaller side is always split first

X0, Y0, Z0, C0 = (
    np.uint64(0), np.uint64(362436362436362436), np.uint64(1066149217761810), np.uint64(123456123456123456),
)  # fmt: skip


@inline
def seeded(state, seed):
    """Begin Marsaglia's 64-bit KISS generator (uint64[4]), as Annoy has it, anew."""
    state[0], state[1], state[2], state[3] = seed, Y0, Z0, C0


@inline
def drawn(state):
    """The next uint64 of the generator."""
    x, y, z, c = state[0], state[1], state[2], state[3]
    z = np.uint64(6906969069) * z + np.uint64(1234567)
    y ^= y << np.uint64(13)
    y ^= y >> np.uint64(17)
    y ^= y << np.uint64(43)
    t = (x << np.uint64(58)) + c
    c = x >> np.uint64(6)
    x += t
    c += np.uint64(x < t)
    state[0], state[1], state[2], state[3] = x, y, z, c
    return x + y + z


@inline
def below(state, count):
    """A random number of 0..count-1."""
    return np.int64(drawn(state) % np.uint64(count))


@njit_noref
def product(a, X, i):
    """The inner product of a vector and a row."""
    total = np.float32(0)
    for j in range(X.shape[1]):
        total += a[j] * X[i, j]
    return total


@njit_noref
def apart(kind, a, square, X, i, squares):
    """The distance by which two means divide items between them."""
    total = np.float32(0)
    if kind == ANGULAR:
        lengths = square * squares[i]
        if lengths > 0:
            return np.float32(2.0 - 2.0 * product(a, X, i) / np.sqrt(lengths))
        return np.float32(2)
    if kind == EUCLIDEAN:
        for j in range(X.shape[1]):
            total += (a[j] - X[i, j]) * (a[j] - X[i, j])
        return total
    for j in range(X.shape[1]):
        total += abs(a[j] - X[i, j])
    return total


@njit_noref
def begin_mean(kind, a, X, i, squares):
    """The first item of a mean, and its square."""
    length = np.float32(1)
    if kind == ANGULAR and squares[i] > 0:
        length = np.sqrt(squares[i])
    for j in range(len(a)):
        a[j] = X[i, j] / length
    return square_of(a)


@njit_noref
def square_of(a):
    """The squared length of a vector."""
    total = np.float32(0)
    for j in range(len(a)):
        total += a[j] * a[j]
    return total


@njit_noref
def take_in(a, count, X, i, length):
    """Move the mean of `count` items towards one more, brought to length 1 by `length`; return its square."""
    part = np.float32(1) / np.float32(count + 1)
    whole, total = np.float32(count) * part, np.float32(0)
    part /= length
    for j in range(len(a)):
        a[j] = a[j] * whole + X[i, j] * part
        total += a[j] * a[j]
    return total


@njit_noref
def two_means(kind, X, squares, rows, first, last, steps, state, p, q):
    """Two means (d,) of the items rows[first:last], each weighed by how many it has, so that they balance."""
    i = below(state, last - first)
    j = below(state, last - first - 1)
    j += j >= i
    square_p = begin_mean(kind, p, X, rows[first + i], squares)
    square_q = begin_mean(kind, q, X, rows[first + j], squares)
    count_p = count_q = 1
    for _ in range(steps):
        item = rows[first + below(state, last - first)]
        from_p = count_p * apart(kind, p, square_p, X, item, squares)
        from_q = count_q * apart(kind, q, square_q, X, item, squares)
        length = np.sqrt(squares[item]) if kind == ANGULAR else np.float32(1)
        if not length > 0:
            continue
        if from_p < from_q:
            square_p = take_in(p, count_p, X, item, length)
            count_p += 1
        elif from_q < from_p:
            square_q = take_in(q, count_q, X, item, length)
            count_q += 1


@njit_noref
def plane_between(kind, p, q, plane):
    """The plane (d,) halfway between two means, at length 1; return its offset."""
    for j in range(len(p)):
        plane[j] = p[j] - q[j]
    # A sum in the loop above would be reordered only where the arrays lie far enough apart in memory.
    length = np.sqrt(square_of(plane))
    if length > 0:
        for j in range(len(p)):
            plane[j] /= length
    offset = np.float32(0)
    if kind != ANGULAR:
        for j in range(len(p)):
            offset -= plane[j] * (p[j] + q[j]) / 2
    return offset


@inline
def bit_of(words, i, bit):
    """A bit of a row of uint64 words, counted from the highest of the first."""
    return (words[i, bit >> 6] >> np.uint64(63 - (bit & 63))) & np.uint64(1)


@njit_noref
def splitting_bit(words, rows, first, last, state):
    """A bit that some of the items have and some have not; the last one if there is none."""
    width = 64 * words.shape[1]
    bit = 0
    for attempt in range(DRAWS + width):
        bit = below(state, width) if attempt < DRAWS else attempt - DRAWS
        count = np.int64(0)
        for place in range(first, last):
            count += np.int64(bit_of(words, rows[place], bit))
        if 0 < count < last - first:
            break
    return bit


@inline
def lopsidedness(ones, count):
    """The larger part of a split, of 1."""
    share = np.float32((count - ones) / (count + 1e-9))
    return max(share, np.float32(1) - share)


@njit_noref
def split(kind, X, squares, words, rows, first, last, steps, state, p, q, plane, sides):
    """Choose a plane, or a bit, for rows[first:last], and each one's side; return the offset."""
    ones, offset, count = np.int64(0), np.float32(0), last - first
    for _ in range(ATTEMPTS):
        ones = np.int64(0)
        if kind == BITS:
            bit = splitting_bit(words, rows, first, last, state)
            offset = np.float32(bit)
            for place in range(first, last):
                side = bit_of(words, rows[place], bit)
                sides[place] = side
                ones += np.int64(side)
        else:
            two_means(kind, X, squares, rows, first, last, steps, state, p, q)
            offset = plane_between(kind, p, q, plane)
            for place in range(first, last):
                margin = offset + product(plane, X, rows[place])
                side = np.uint64(margin > 0)
                if margin == 0:
                    side = drawn(state) & np.uint64(1)
                sides[place] = side
                ones += np.int64(side)
        if lopsidedness(ones, count) < LOPSIDED:
            break
    while lopsidedness(ones, count) > HOPELESS:  # no plane divides them: chance does
        ones, offset = np.int64(0), np.float32(0)
        for j in range(len(plane)):
            plane[j] = 0
        for place in range(first, last):
            side = drawn(state) & np.uint64(1)
            sides[place] = side
            ones += np.int64(side)
    return offset


@njit_noref
def part(rows, first, last, sides, spare):
    """Bring the items of the side 0 before those of the side 1, each in its order; return where 1 begins."""
    middle, others = first, 0
    for place in range(first, last):
        if sides[place]:
            spare[others] = rows[place]
            others += 1
        else:
            rows[middle] = rows[place]
            middle += 1
    for place in range(others):
        rows[middle + place] = spare[place]
    return middle


@kernel
def grow(kind, X, squares, words, leaf, steps, split_root, seed, rows, planes, offsets, bounds, links):
    """Grow a tree over the items of `rows`, which it brings into the order of the leaves.

    X (n, d) float32 with `squares` (n,) their squared lengths, or `words` (n, ·) uint64 for BITS. A side of
    at most `leaf` items is a leaf. planes (nodes, d), offsets (nodes,), bounds (nodes, 3) and links (nodes,
    2) are filled; for BITS an offset is the bit. Returns how many nodes there are, or -1 if there was no
    room for them.
    """
    state = np.empty(4, np.uint64)
    seeded(state, seed)
    d = X.shape[1]
    p, q, plane = np.empty(d, np.float32), np.empty(d, np.float32), np.empty(d, np.float32)
    sides, spare = np.empty(len(rows), np.uint8), np.empty(len(rows), np.int32)
    stack, high, count = np.empty((DEEP, 4), np.int64), 0, 0
    if len(rows) > leaf or (split_root and len(rows) > 1):
        stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = 0, len(rows), -1, 0
        high = 1
    while high:
        high -= 1
        first, last, parent, side = stack[high, 0], stack[high, 1], stack[high, 2], stack[high, 3]
        if count == len(bounds):
            return -1
        offset = split(kind, X, squares, words, rows, first, last, steps, state, p, q, plane, sides)
        middle = part(rows, first, last, sides, spare)
        if parent >= 0:
            links[parent, side] = count
        for j in range(planes.shape[1]):
            planes[count, j] = plane[j]
        offsets[count] = offset
        bounds[count, 0], bounds[count, 1], bounds[count, 2] = first, middle, last
        links[count, 0] = links[count, 1] = -1
        larger = 0 if middle - first > last - middle else 1
        for turn in range(2):  # the smaller side comes to lie on top, and is split first
            own = larger if turn == 0 else 1 - larger
            begin, end = (first, middle) if own == 0 else (middle, last)
            if end - begin > leaf:
                stack[high, 0], stack[high, 1], stack[high, 2], stack[high, 3] = begin, end, count, own
                high += 1
        count += 1
    return count


@kernel
def square(X, start, stop, squares):
    """The squared lengths of the rows [start, stop)."""
    for i in range(start, stop):
        total = np.float32(0)
        for j in range(X.shape[1]):
            total += X[i, j] * X[i, j]
        squares[i] = total
