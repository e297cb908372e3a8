"""Alternating least squares as Spark's MLlib defines it: to serve what a cluster has trained."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from segue.data.interactions import Interactions
from segue.kernels import threads
from segue.models.base import ModelSpec
from segue.models.checks import check_implicit
from segue.models.embeddings import Embeddings
from segue.models.search_space import Range
from segue.models.updates import Update
from segue.numerics.blas import on_one_thread
from segue.progress import Progress, silent
from segue.types import CSR
from segue.validation import at_least

ROWS = 64  # that a thread takes at a time
UPDATES = 2  # times that users and items are solved in turn when new interactions come


@dataclass(frozen=True)
class ALS:
    """Alternating least squares with the objective and the parameters of Spark's MLlib.

    `segue.spark.fit` trains it on a cluster; `fit` does the same here, by NumPy. For data that one machine
    holds `IALS` is the better choice: faster, and its regularisation is the one that measures best.

    Implicit feedback (Hu, Koren and Volinsky, ICDM 2008), weights r, c = 1 + alpha r over all pairs:

        sum_all c ([r > 0] - x·y)² + reg (sum_u |S_u| |x|² + sum_i |S_i| |y|²)

    Ratings: sum_S (r - x·y)² with the same regularisation (Zhou et al., AAIM 2008).

    Attributes:
        dim: length of the vectors (MLlib's rank).
        iterations: passes over both sides (maxIter).
        reg: the regularisation (regParam).
        alpha: how much a weight adds to the confidence; of implicit feedback.
        implicit: whether weights are confidences, or ratings to be predicted (implicitPrefs).
        seed: of the item vectors' random start.
        threads: how many to use; None is all of the machine. The result is the same for any number.
    """

    dim: int = 64
    iterations: int = 10
    reg: float = 0.01
    alpha: float = 1.0
    implicit: bool = True
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        at_least(self, dim=1, iterations=1, seed=0)
        at_least(self, reg=0.0, alpha=0.0)

    def resolved(self, interactions: Interactions) -> ALS:
        """Return the same settings: nothing depends on the data."""
        return self

    def fit(self, interactions: Interactions, *, progress: Progress = silent) -> Embeddings:
        """Learn vectors (n, dim) float32 for all users and items; those without interactions get zeros."""
        check_implicit(interactions, signed=not self.implicit)
        by_user, by_item = interactions.matrix, interactions.matrix.T.tocsr()
        random = np.random.default_rng(self.seed)
        items = random.standard_normal((by_user.shape[1], self.dim)) / np.sqrt(self.dim)
        for iteration in range(self.iterations):
            progress("training", iteration, self.iterations)
            users = self._solved(items, by_user)
            items = self._solved(users, by_item)
        users = self._solved(items, by_user)
        progress("training", self.iterations, self.iterations)
        return Embeddings(users.astype(np.float32), items.astype(np.float32))

    def update(self, update: Update) -> Embeddings:
        """Solve for the users and then for the items with new interactions; other rows are unchanged."""
        users, items = update.embeddings.users.copy(), update.embeddings.items.copy()
        by_user = update.interactions.matrix
        by_item = by_user.T.tocsr()[update.changed_items]
        by_user = by_user[update.changed_users]
        for _ in range(UPDATES):
            users[update.changed_users] = ALSFoldIn(self, items.astype(np.float64)).fold_in(by_user)
            items[update.changed_items] = ALSFoldIn(self, users.astype(np.float64)).fold_in(by_item)
        return replace(update.embeddings, users=users, items=items)

    def prepare_fold_in(self, embeddings: Embeddings) -> ALSFoldIn:
        """Prepare for folding in many histories."""
        return ALSFoldIn(self, embeddings.items.astype(np.float64))

    def _solved(self, fixed: np.ndarray, matrix: CSR) -> np.ndarray:
        """The rows (n, dim) of one side, given the other (m, dim), both float64."""
        rows = np.zeros((matrix.shape[0], self.dim))
        gram = fixed.T @ fixed if self.implicit else np.zeros((self.dim, self.dim))

        def work(first: int, last: int) -> None:
            for row in range(first, last):
                part = slice(matrix.indptr[row], matrix.indptr[row + 1])
                rows[row] = self._row(gram, fixed[matrix.indices[part]], matrix.data[part].astype(np.float64))

        with on_one_thread():
            threads.run(work, len(rows), chunk=ROWS, threads=self.threads)
        return rows

    def _row(self, gram: np.ndarray, factors: np.ndarray, weights: np.ndarray) -> np.ndarray:
        if not len(weights):
            return np.zeros(self.dim)
        if self.implicit:
            more = self.alpha * np.abs(weights)
            liked = weights > 0
            left, right, count = (
                gram + (factors.T * more) @ factors,
                factors.T @ ((1 + more) * liked),
                liked.sum(),
            )
        else:
            left, right, count = factors.T @ factors, factors.T @ weights, len(weights)
        left[np.diag_indices(self.dim)] += max(self.reg * count, 1e-9)
        solution: np.ndarray = scipy.linalg.solve(left, right, assume_a="pos")
        return solution


@dataclass(frozen=True, eq=False)
class ALSFoldIn:
    """The item side of a trained model: it finds the vector that a history leads to."""

    settings: ALS
    items: np.ndarray

    def fold_in(self, histories: CSR) -> np.ndarray:
        """Solve for histories (q × items CSR): (q, dim) float32; zeros where there is none."""
        return self.settings._solved(self.items, histories.tocsr()).astype(np.float32)


SPEC = ModelSpec(
    ALS,
    {
        "dim": (16, 32, 64, 128),
        "iterations": Range(4, 32, log=True),
        "reg": Range(1e-3, 1.0, log=True),
        "alpha": Range(0.1, 100.0, log=True),
    },
)
