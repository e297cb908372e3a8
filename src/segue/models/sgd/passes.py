"""One pass of stochastic gradient descent over interactions, on several threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from segue.kernels import sgd as kernels
from segue.kernels import threads
from segue.kernels.sgd import Buffers, Draws, Pairs, Side

USERS = 4096  # maximum number of users in the unit of work of a thread; fewer learn less from each epoch
HIGHEST = 10.0  # upper bound of WARP's loss of a rank
TRIES = 10  # draws of BPR until an item is not in the user's history


class Sampling(NamedTuple):
    """A loss: its kernel, and how it draws items.

    Attributes:
        kernel: a kernel of `kernels/sgd.py`.
        pool: (m,) int32, the items to draw from.
        draws: maximum number of draws for each interaction.
        k, n: of k-OS WARP; 0 and 1 for the other losses.
    """

    kernel: Callable[..., None]
    pool: np.ndarray
    draws: int
    k: int = 0
    n: int = 1


def one_pass(
    sampling: Sampling,
    pairs: Pairs,
    users: Side,
    items: Side,
    rates: tuple[np.ndarray, np.ndarray],
    seed: int,
    workers: int | None,
) -> np.ndarray:
    """Learn once from all pairs; change the parameters in place.

    Args:
        sampling: the loss.
        pairs: the interactions and the order of the users.
        users, items: the parameters.
        rates: (5,) float32 of users and of items, with the indices RATE, RHO, EPSILON, REG and BIAS of
            `kernels/sgd.py`.
        seed: random seed of the draws.
        workers: number of threads, None for all.

    Returns (3,) float64: the sum of the losses, the number of violations and the number of steps.
    """
    draws = Draws(sampling.pool, sampling.draws, rank_losses(items.rows(), sampling.draws), sampling.k)
    dim, count = users.vectors.shape[2], len(pairs.order)
    part = min(USERS, max(1, -(-count // (workers or threads.available()))))
    tally = np.zeros((-(-count // part), 3))
    sizes = np.diff(pairs.indptr)
    place = np.int32 if pairs.indptr[-1] < 2**31 else np.int64

    def work(first: int, last: int) -> None:
        interactions = int(sizes[pairs.order[first:last]].sum())
        buffers = Buffers(
            np.empty((interactions, 2), place),
            np.empty((4, 1, dim), np.float32),
            np.empty((4, 1), np.float32),
            np.empty(1, np.uint64),
            np.empty(kernels.DRAWN, np.int64),
            np.empty((sampling.n, 2)),
        )
        sampling.kernel(pairs, users, items, *rates, draws, buffers, seed, first, last, tally[first // part])

    threads.run(work, count, chunk=part, threads=workers)
    return np.asarray(tally.sum(0))


def rank_losses(items: int, draws: int) -> np.ndarray:
    """Return WARP's loss (draws + 1,) float32 of the rank that each number of draws estimates."""
    ranks = np.maximum(1, (items - 1) // np.arange(1, draws + 1))
    return np.concatenate([[0], np.minimum(HIGHEST, np.log(ranks))]).astype(np.float32)
