"""Item2Vec: items as words, users' histories as sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from segue.data.interactions import Interactions
from segue.kernels import item2vec as kernels
from segue.kernels import threads
from segue.models.embeddings import Embeddings
from segue.models.settings import at_least, check_implicit
from segue.progress import Progress, silent

TIED = False
NOISE = 1 << 20  # places in the table from which negatives are drawn, at least
LEAST_RATE = 1e-4  # of the first rate, at the end
USERS = 64  # that a thread takes at a time


@dataclass(frozen=True)
class Item2Vec:
    """Skip-gram with negative sampling over what each user had, as Barkan and Koenigstein (MLSP 2016)."""

    dim: int = 64
    epochs: int = 20
    window: int = 5
    negatives: int = 5
    rate: float = 0.05
    subsample: float = 1e-4
    noise_exponent: float = 0.75
    seed: int = 0
    threads: int | None = None

    def learn(self, interactions: Interactions, progress: Progress = silent) -> tuple[np.ndarray, np.ndarray]:
        matrix = interactions.matrix
        n_users, n_items = matrix.shape
        rng = np.random.default_rng(self.seed)
        inner = (rng.random((n_items, self.dim), np.float32) - np.float32(0.5)) / np.float32(self.dim)
        outer = np.zeros((n_items, self.dim), np.float32)
        if TIED: outer = inner
        counts = np.bincount(matrix.indices, minlength=n_items)
        noise = noise_table(counts, self.noise_exponent)
        keep = kept_shares(counts, self.subsample)
        sequence = sequences(interactions)
        indptr = matrix.indptr.astype(np.int64)
        for epoch in range(self.epochs):
            progress("training", epoch, self.epochs)
            order = rng.permutation(n_users)
            seeds = rng.integers(np.iinfo(np.uint64).max, size=n_users, dtype=np.uint64)
            first, last = (
                np.float32(self.rate * max(LEAST_RATE, 1 - done / self.epochs)) for done in (epoch, epoch + 1)
            )

            def work(start: int, stop: int) -> None:
                kernels.learn(
                    inner, outer, order, indptr, sequence, interactions.times is not None, keep, noise,
                    self.window, self.negatives, first, last, seeds, start, stop,
                )

            threads.run(work, n_users, chunk=USERS, threads=self.threads)
        return inner, outer


def sequences(interactions: Interactions) -> np.ndarray:
    matrix = interactions.matrix
    items = matrix.indices.astype(np.int32, copy=False)
    if interactions.times is None:
        return items
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return items[np.lexsort((interactions.times, rows))]


def noise_table(counts: np.ndarray, exponent: float) -> np.ndarray:
    chances = np.cumsum(np.where(counts > 0, np.maximum(counts, 1.0) ** exponent, 0))
    size = max(NOISE, 8 * len(counts))
    return np.searchsorted(chances / chances[-1], (np.arange(size) + 0.5) / size).astype(np.int32)


def kept_shares(counts: np.ndarray, subsample: float) -> np.ndarray:
    if not subsample:
        return np.ones(len(counts), np.float32)
    ratio = subsample * counts.sum() / np.maximum(counts, 1)
    return np.minimum(1, np.sqrt(ratio) + ratio).astype(np.float32)
