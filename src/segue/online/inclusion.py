"""Inclusion probabilities: how likely each item is among the k of a list."""

from __future__ import annotations

import numpy as np

from segue.kernels.arrays import readonly
from segue.kernels.inclusion import fewer_than_k

MAX_LOGIT = 300.0  # larger differences of logits count as certain
STEP = 0.2  # between the nodes of the integral, in the logarithm of time


def gumbel_inclusion(logits: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the probability of k of m items to be among k items drawn by Gumbel top-k: (k,) float64.

    Items arrive at exponential times with the rates exp(logit); the first k form the list. Item i is in the
    list if fewer than k others arrive before it:

        p_i = ∫ rate_i exp(-rate_i t) P(fewer than k of the others before t) dt,

    by the trapezoid rule in log t.
    """
    k, m = len(places), len(logits)
    if k >= m:
        return np.ones(k)
    slow = np.sort(logits)[m - 1 - k]  # by 40 times its mean time, more than k items have arrived
    rates = np.exp(np.clip(logits - slow, -MAX_LOGIT, MAX_LOGIT))
    ends = np.log(1e-7 / rates.sum()), np.log(40.0)
    times = np.exp(np.linspace(*ends, int((ends[1] - ends[0]) / STEP) + 2))
    arrived = -np.expm1(-rates[:, None] * times)  # (m, nodes): the probability of each item
    below_k = np.empty((k, len(times)))
    fewer_than_k(readonly(arrived), readonly(places), below_k)
    waits = rates[places, None] * times
    density = waits * np.exp(-waits) * below_k
    spacing = np.log(times[1] / times[0])
    inclusion: np.ndarray = np.clip(density.sum(1) * spacing, 0.0, 1.0)
    return inclusion
