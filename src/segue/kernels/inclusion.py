"""Poisson-binomial counts: how likely it is that few of many have come by some time."""

from __future__ import annotations

import numpy as np

from segue.kernels.compile import inline, kernel


@inline
def arrive(counts, p):
    """Count one more that has come with the probability p; the last count is lost where it grows."""
    for j in range(len(counts) - 1, 0, -1):
        counts[j] += p * (counts[j - 1] - counts[j])
    counts[0] -= p * counts[0]


@kernel
def fewer_than_k(come, places, out):
    """For each of k shown items and each node, the probability that fewer than k of the others have come.

    `come` is (m, nodes), the probability of each item to have come by each node; `out` is (k, nodes).
    """
    m, nodes = come.shape
    k = len(places)
    shown = np.zeros(m, np.bool_)
    for a in range(k):
        shown[places[a]] = True
    hidden, counts = np.empty(k), np.empty(k)
    for n in range(nodes):
        for j in range(k):
            hidden[j] = 0
        hidden[0] = 1
        for i in range(m):
            if not shown[i]:
                arrive(hidden, come[i, n])
        for a in range(k):
            for j in range(k):
                counts[j] = hidden[j]
            for b in range(k):
                if b != a:
                    arrive(counts, come[places[b], n])
            total = 0.0
            for j in range(k):
                total += counts[j]
            out[a, n] = total
