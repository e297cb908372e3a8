"""With what probability an item is among the k that are shown."""

from __future__ import annotations

import numpy as np

from segue.kernels.arrays import readonly
from segue.kernels.inclusion import fewer_than_k

WIDEST = 300.0  # logits farther apart are as good as certain
STEP = 0.2  # between the nodes of the integral, in the logarithm of time


def redrawn(scores: np.ndarray, k: int) -> np.ndarray:
    """The share of draws in which each of m items is among the k best: (m,), never 0.

    `scores` are (draws, m), the draw that was shown being the first. So that what was shown has been drawn
    at least once, it counts like the others.
    """
    draws, m = scores.shape
    if k >= m:
        return np.ones(m)
    least = np.partition(scores, m - k, axis=1)[:, m - k, None]
    counts = (scores >= least).sum(0)
    made: np.ndarray = np.maximum(counts, 1) / draws
    return made


def gumbel_inclusion(logits: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The probability of some of m items to be among as many drawn by Gumbel top-k: (k,) float64.

    Items arrive at exponential times with the rates exp(logit); the first k are shown. Item i is shown if
    fewer than k others have come when it comes:

        p_i = ∫ rate_i exp(-rate_i t) P(fewer than k of the others before t) dt,

    by the trapezoid rule in log t.
    """
    k, m = len(places), len(logits)
    if k >= m:
        return np.ones(k)
    slow = np.sort(logits)[m - 1 - k]  # one more than k have come by 40 times its mean
    rates = np.exp(np.clip(logits - slow, -WIDEST, WIDEST))
    ends = np.log(1e-7 / rates.sum()), np.log(40.0)
    times = np.exp(np.linspace(*ends, int((ends[1] - ends[0]) / STEP) + 2))
    come = -np.expm1(-rates[:, None] * times)  # (m, nodes)
    few = np.empty((k, len(times)))
    fewer_than_k(readonly(come), readonly(places), few)
    waits = rates[places, None] * times
    density = waits * np.exp(-waits) * few
    spacing = np.log(times[1] / times[0])
    made: np.ndarray = np.clip(density.sum(1) * spacing, 0.0, 1.0)
    return made
