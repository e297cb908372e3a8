"""An epoch with LightFM's rates, and its L2 penalty."""

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
GROWTH = 0.02  # by how much the scale of the vectors may grow from part to part of an epoch, in logarithms
PARTS = 64  # of an epoch, at most
STEEP = 0.5  # growth in one part from which on the penalty is applied after every part
STEEPEST = 30.0  # the most that a logarithm grows in one part: float32 ends at 88
LARGEST = 30.0  # the scale at which the penalty is applied within an epoch; at LightFM's 1e6 it may diverge


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
    pool = pairs.items if loss == "bpr" else readonly(np.arange(items, dtype=np.int32))
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
    """Pass once over the pairs, in a new order.

    LightFM applies its penalty late. In every step the parameters that are moved grow by alpha times their
    own rate, and the scale of all of the side's by alpha times the step's mean rate. Scores are made of
    parameters times scale, and after the epoch, or where a scale becomes too large, the parameters are
    divided by it. Here the parameters hold parameter times scale meanwhile, and the scale grows after parts
    of the epoch, which are drawn at random from the pairs, or for k-OS from the users.
    """
    pairs, sides = pairs._replace(order=rng.permutation(len(pairs.order))), (users, items)
    rows = np.repeat(np.arange(len(pairs.order)), np.diff(pairs.indptr))
    alphas = np.array([users.alpha, items.alpha])
    growth = alphas * len(rows) * mean_rate(sampling, users, rows, items, pairs.items)
    parts = int(np.clip(np.ceil(growth.max() / GROWTH), 1, PARTS))
    growth, scales = np.minimum(growth / parts, STEEPEST), np.ones(2)
    if sampling.k:  # k-OS steps from any of the user's items, so that a part has all of them
        part_of = rng.randint(parts, size=len(pairs.order))[rows]
    else:
        part_of = rng.randint(parts, size=len(rows))
    for part in range(parts):
        now = part_of == part
        some = pairs if parts == 1 else pairs._replace(weights=readonly(np.where(now, pairs.weights, 0)))
        half = np.where(
            growth < STEEP, growth / 2, 0
        )  # to the middle of the part, if it grows as the last did
        scales *= _multiply(sides, np.exp(half))
        rates = _scaled(users.rates, scales[0]), _scaled(items.rates, scales[1])
        seed = int(rng.randint(2**62, dtype=np.int64))
        tally = one_pass(sampling, some, users.side, items.side, rates, seed, num_threads)
        if alphas.any():
            steps = tally[1] if sampling.kernel is kernels.warp else tally[2]
            rate = mean_rate(sampling, users, rows[now], items, pairs.items[now])
            growth = np.minimum(alphas * steps * rate, STEEPEST)
            scales *= _multiply(sides, np.exp(growth - half))
            if scales.max() > LARGEST or growth.max() > STEEP:
                _multiply(sides, scales**-2)
                scales = np.ones(2)
    _multiply(sides, scales**-2)


def _scaled(rates: np.ndarray, scale: float) -> np.ndarray:
    """Rates of parameters that are held times a scale; those that are moved grow as they would without."""
    made = rates.copy()
    made[kernels.RATE] *= scale
    made[kernels.REG] /= scale
    return made


def _multiply(sides: tuple[Penalised, Penalised], factors: np.ndarray) -> np.ndarray:
    """Multiply each side's parameters by its factor; return the factors."""
    for one, factor in zip(sides, factors, strict=True):
        if factor != 1:
            one.side.vectors[:, 0] *= np.float32(factor)
            one.side.biases[:, 0] *= np.float32(factor)
    return factors


def mean_rate(
    sampling: Sampling, users: Penalised, rows: np.ndarray, items: Penalised, columns: np.ndarray
) -> float:
    """The mean rate at which the steps of pairs move parameters: those of a user, and of one item or two."""
    (u_sum, u_count), (i_sum, i_count) = _rates(users, rows), _rates(items, columns)
    moved = 1 if sampling.kernel is kernels.logistic else 2
    return float((u_sum + moved * i_sum) / max(1, u_count + moved * i_count))


def _rates(one: Penalised, rows: np.ndarray) -> tuple[float, int]:
    """The sum of the rates of all parameters of the rows, in means over the dimensions, and their number."""
    side, rates = one.side, one.rates
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
    """The rate of each parameter in (features, slots, …)."""
    squares: np.ndarray = array[:, 1]
    if array.shape[1] == 2:
        return np.asarray(rates[kernels.RATE] / np.sqrt(squares))
    epsilon = rates[kernels.EPSILON]
    return np.asarray(np.sqrt((array[:, 2] + epsilon) / (squares + epsilon)))
