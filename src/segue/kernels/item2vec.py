"""Skip-gram with negative sampling over the sequences of users' items.

For a centre item i, a context item o and negatives n drawn from the noise, a step descends on

    log(1 + exp(-v_i.v_o)) + sum_n log(1 + exp(v_i.v_n))

with v the rows of V, which threads share without locks.
"""

from __future__ import annotations

import numpy as np

from segue.kernels.compile import inline, kernel
from segue.kernels.simulate import uniform


@inline
def below(state, n):
    """A whole number in [0, n)."""
    return np.int64(uniform(state) * n)


@kernel
def step(v, w, label, rate, change):
    """Move w for one pair, and add to `change` what v is to move by."""
    score = np.float32(0)
    for j in range(len(v)):
        score += v[j] * w[j]
    g = rate * (label - np.float32(1) / (np.float32(1) + np.exp(-score)))
    for j in range(len(v)):
        change[j] += g * w[j]
        w[j] += g * v[j]


@kernel
def pair(V, i, o, noise, negatives, rate, state, change):
    """One centre and one context, with its negatives, of which none is either of them."""
    v = V[i]
    for j in range(len(v)):
        change[j] = 0
    step(v, V[o], np.float32(1), rate, change)
    for _ in range(negatives):
        n = noise[below(state, len(noise))]
        if n != o and n != i:
            step(v, V[n], np.float32(0), rate, change)
    for j in range(len(v)):
        v[j] += change[j]


@kernel
def learn(
    V, order, indptr, sequence, in_order, keep, noise, window, negatives, first, last, seeds, start, stop
):
    """Learn from the sequences of the users order[start:stop]; the rate goes from `first` to `last`.

    An item stays in a sequence with the chance keep[item]. Its contexts are the items up to b places
    away, b drawn from 1..window, where the sequences are `in_order`; else `window` others of the user.
    """
    state = np.empty(1, np.uint64)
    change = np.empty(V.shape[1], np.float32)
    longest = 0
    for p in range(start, stop):
        longest = max(longest, indptr[order[p] + 1] - indptr[order[p]])
    kept = np.empty(longest, np.int32)
    for p in range(start, stop):
        u = order[p]
        state[0] = seeds[u]
        rate = first + (last - first) * np.float32(p) / np.float32(len(order))
        count = 0
        for z in range(indptr[u], indptr[u + 1]):
            i = sequence[z]
            if uniform(state) < keep[i]:
                kept[count] = i
                count += 1
        if count < 2:
            continue
        for c in range(count):
            if in_order:
                b = 1 + below(state, window)
                for a in range(max(0, c - b), min(count, c + b + 1)):
                    if a != c:
                        pair(V, kept[c], kept[a], noise, negatives, rate, state, change)
            else:
                for _ in range(window):
                    a = below(state, count - 1)
                    a += a >= c
                    pair(V, kept[c], kept[a], noise, negatives, rate, state, change)
