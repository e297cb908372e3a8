"""An epoch with LightFM's rates, and its L2 penalty."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from segue.kernels import sgd as kernels
from segue.kernels.arrays import fixed
from segue.models.sgd import TRIES, Pairs, Sampling, Side, one_pass

KERNELS = {
    "logistic": kernels.logistic,
    "bpr": kernels.bpr,
    "warp": kernels.warp,
    "warp-kos": kernels.warp,
}
SHRINK = 0.02  # by how much the penalty makes the parameters smaller at a time
PARTS = 64  # how often it does so in an epoch, at most


class Penalised(NamedTuple):
    """A side's parameters, with their L2 penalty and the rates that the kernels take."""

    side: Side
    alpha: float
    rates: np.ndarray


def rates_of(
    schedule: str, learning_rate: float, rho: float, epsilon: float, alpha: float, bias: int
) -> np.ndarray:
    """Rates as the kernels name them; the rows that a step moves are kept from shrinking in it, so -alpha."""
    rate = learning_rate if schedule == "adagrad" else 1.0
    return np.array([rate, rho, epsilon, -alpha, bias], np.float32)


def sampling_of(loss: str, pairs: Pairs, items: int, k: int, n: int, max_sampled: int) -> Sampling:
    """The loss's kernel and its draws: BPR draws items as often as they occur, WARP all alike."""
    pool = pairs.items if loss == "bpr" else fixed(np.arange(items, dtype=np.int32))
    draws = {"logistic": 0, "bpr": TRIES}.get(loss, max_sampled)
    return Sampling(KERNELS[loss], pool, draws, *((k, n) if loss == "warp-kos" else (0, 1)))


def epoch(
    sampling: Sampling,
    pairs: Pairs,
    users: Penalised,
    items: Penalised,
    rng: np.random.RandomState,
    num_threads: int,
) -> None:
    """Pass once over the pairs, the users in a new order.

    LightFM's penalty makes all of a side's parameters smaller in every step, by alpha times the step's mean
    rate, whoever is learned from. Here they are made smaller after every part of the epoch, by as much.
    """
    order = rng.permutation(len(pairs.order))
    for part in np.array_split(order, _parts(pairs, users, items)):
        seed = int(rng.randint(2**62, dtype=np.int64))
        rates = (users.rates, items.rates)
        tally = one_pass(
            sampling, pairs._replace(order=part), users.side, items.side, rates, seed, num_threads
        )
        if users.alpha or items.alpha:
            steps = tally[1] if sampling.kernel is kernels.warp else tally[2]
            mean = mean_rate(pairs, users, items)
            for one in (users, items):
                smaller = np.float32(np.exp(-one.alpha * steps * mean))
                one.side.vectors[:, 0] *= smaller
                one.side.biases[:, 0] *= smaller


def _parts(pairs: Pairs, users: Penalised, items: Penalised) -> int:
    alpha = max(users.alpha, items.alpha)
    if not alpha:
        return 1
    whole = alpha * len(pairs.items) * mean_rate(pairs, users, items)
    return int(np.clip(np.ceil(whole / SHRINK), 1, min(PARTS, max(1, len(pairs.order)))))


def mean_rate(pairs: Pairs, users: Penalised, items: Penalised) -> float:
    """The mean rate at which the parameters move, those of a user or item as often as it has interactions."""
    active = np.repeat(np.arange(len(pairs.order)), np.diff(pairs.indptr))
    return (_rate(users, active) + _rate(items, pairs.items)) / 2


def _rate(one: Penalised, rows: np.ndarray) -> float:
    side, rates = one.side, one.rates
    counts = np.bincount(rows, minlength=side.rows())
    if side.summed:
        counts = np.bincount(
            side.features,
            np.repeat(counts, np.diff(side.indptr)),
            minlength=len(side.vectors),
        )
    squares = side.vectors[:, 1]
    if side.vectors.shape[1] == 2:
        local = rates[kernels.RATE] / np.sqrt(squares)
    else:
        moves, epsilon = side.vectors[:, 2], rates[kernels.EPSILON]
        local = np.sqrt((moves + epsilon) / (squares + epsilon))
    return float(counts @ local.mean(1) / max(1, counts.sum()))
