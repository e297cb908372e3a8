"""An epoch of training with LightFM's learning rates and its L2 penalty."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from segue.kernels import sgd as kernels
from segue.kernels.arrays import readonly
from segue.kernels.sgd import Pairs, Side
from segue.models.sgd.passes import TRIES, Sampling, one_pass

KERNELS = {
    "logistic": kernels.logistic,
    "bpr": kernels.bpr,
    "warp": kernels.warp,
    "warp-kos": kernels.warp,
}
GROWTH = 0.02  # largest growth of the logarithm of the scale in one part of an epoch
PARTS = 64  # maximum number of parts of an epoch
STEEP = 0.5  # growth in one part above which the penalty is applied after every part
STEEPEST = 30.0  # upper bound of the growth of the logarithm in one part; float32 overflows at 88
LARGEST = 30.0  # scale above which the penalty is applied within an epoch; LightFM's 1e6 may diverge


class PenalizedSide(NamedTuple):
    """The parameters of a side with their L2 penalty and the rates of the kernels, (5,) float32."""

    side: Side
    alpha: float
    rates: np.ndarray


def rates_of(
    schedule: str, learning_rate: float, rho: float, epsilon: float, alpha: float, bias: int
) -> np.ndarray:
    """Return the rates of a side; the penalty is -alpha, since a step itself does not shrink its rows."""
    rate = learning_rate if schedule == "adagrad" else 1.0
    return np.array([rate, rho, epsilon, -alpha, bias], np.float32)


def sampling_of(loss: str, pairs: Pairs, items: int, k: int, n: int, max_sampled: int) -> Sampling:
    """Return the kernel of a loss and its draws: BPR draws items by popularity, WARP uniformly."""
    pool = pairs.items if loss == "bpr" else readonly(np.arange(items, dtype=np.int32))
    draws = {"logistic": 0, "bpr": TRIES}.get(loss, max_sampled)
    return Sampling(KERNELS[loss], pool, draws, *((k, n) if loss == "warp-kos" else (0, 1)))


def epoch(
    sampling: Sampling,
    pairs: Pairs,
    users: PenalizedSide,
    items: PenalizedSide,
    rng: np.random.RandomState,
    num_threads: int,
) -> None:
    """Learn once from all pairs in a new random order.

    LightFM delays its penalty. In every step, the parameters that move grow by alpha times their own rate,
    and the scale of all parameters of the side grows by alpha times the mean rate of the step. Scores use
    parameter times scale. After the epoch, or when a scale becomes too large, the parameters are divided by
    it. Here the arrays hold parameter times scale during an epoch, and the scale grows after each part of the
    epoch. Parts are random subsets of the pairs, for k-OS of the users.
    """
    pairs, sides = pairs._replace(order=rng.permutation(len(pairs.order))), (users, items)
    rows = np.repeat(np.arange(len(pairs.order)), np.diff(pairs.indptr))
    alphas = np.array([users.alpha, items.alpha])
    growth = alphas * len(rows) * mean_rate(sampling, users, rows, items, pairs.items)
    parts = int(np.clip(np.ceil(growth.max() / GROWTH), 1, PARTS))
    growth, scales = np.minimum(growth / parts, STEEPEST), np.ones(2)
    if sampling.k:  # k-OS learns from any of the user's items, so a part has all of them
        part_of = rng.randint(parts, size=len(pairs.order))[rows]
    else:
        part_of = rng.randint(parts, size=len(rows))
    for part in range(parts):
        in_part = part_of == part
        part_pairs = (
            pairs if parts == 1 else pairs._replace(weights=readonly(np.where(in_part, pairs.weights, 0)))
        )
        # the expected scale in the middle of the part, if it grows as in the last part
        half = np.where(growth < STEEP, growth / 2, 0)
        scales *= _multiply(sides, np.exp(half))
        rates = _scaled(users.rates, scales[0]), _scaled(items.rates, scales[1])
        seed = int(rng.randint(2**62, dtype=np.int64))
        tally = one_pass(sampling, part_pairs, users.side, items.side, rates, seed, num_threads)
        if alphas.any():
            steps = tally[1] if sampling.kernel is kernels.warp else tally[2]
            rate = mean_rate(sampling, users, rows[in_part], items, pairs.items[in_part])
            growth = np.minimum(alphas * steps * rate, STEEPEST)
            scales *= _multiply(sides, np.exp(growth - half))
            if scales.max() > LARGEST or growth.max() > STEEP:
                _multiply(sides, scales**-2)
                scales = np.ones(2)
    _multiply(sides, scales**-2)


def _scaled(rates: np.ndarray, scale: float) -> np.ndarray:
    """Return the rates for parameters stored times a scale."""
    scaled = rates.copy()
    scaled[kernels.RATE] *= scale
    scaled[kernels.REG] /= scale
    return scaled


def _multiply(sides: tuple[PenalizedSide, PenalizedSide], factors: np.ndarray) -> np.ndarray:
    """Multiply the parameters of each side by its factor; return the factors."""
    for penalized, factor in zip(sides, factors, strict=True):
        if factor != 1:
            penalized.side.vectors[:, 0] *= np.float32(factor)
            penalized.side.biases[:, 0] *= np.float32(factor)
    return factors


def mean_rate(
    sampling: Sampling, users: PenalizedSide, rows: np.ndarray, items: PenalizedSide, columns: np.ndarray
) -> float:
    """Return the mean rate of the steps of pairs, each of which moves a user and one or two items."""
    (u_sum, u_count), (i_sum, i_count) = _rates(users, rows), _rates(items, columns)
    moved = 1 if sampling.kernel is kernels.logistic else 2
    return float((u_sum + moved * i_sum) / max(1, u_count + moved * i_count))


def _rates(penalized: PenalizedSide, rows: np.ndarray) -> tuple[float, int]:
    """Return the sum over rows of the rates of their parameters (mean over dimensions), and the count."""
    side, rates = penalized.side, penalized.rates
    counts = np.bincount(rows, minlength=side.rows())
    if side.summed:
        counts = np.bincount(
            side.features,
            np.repeat(counts, np.diff(side.indptr)),
            minlength=len(side.vectors),
        )
    local = [_local(array, rates).reshape(len(array), -1) for array in (side.vectors, side.biases)]
    return float(counts @ np.hstack(local).mean(1)), int(counts.sum())


def _local(array: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Return the rate of each parameter of an array (features, slots, …)."""
    squares: np.ndarray = array[:, 1]
    if array.shape[1] == 2:
        return np.asarray(rates[kernels.RATE] / np.sqrt(squares))
    epsilon = rates[kernels.EPSILON]
    return np.asarray(np.sqrt((array[:, 2] + epsilon) / (squares + epsilon)))
