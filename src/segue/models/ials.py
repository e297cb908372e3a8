"""iALS: implicit alternating least squares, each half solved for all rows at once on all threads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from segue.axes import principal_axes, turn
from segue.data.interactions import Interactions
from segue.errors import SettingError
from segue.kernels import ials as kernels
from segue.kernels import threads
from segue.models.embeddings import Embeddings
from segue.models.settings import at_least, check_implicit, one_of
from segue.progress import Progress, silent

UNOBSERVED = 20  # weight of all pairs together over that of the interactions, unless it is set
ROWS = 1024  # rows that a thread takes at a time
EXACT_STEPS, EXACT = 100, 1e-10  # fold-in goes on until the squared residual has shrunk by so much


@dataclass(frozen=True)
class IALS:
    """Implicit alternating least squares with frequency-scaled regularisation.

    Minimises over user vectors x and item vectors y, S being the interactions and c their confidence,

        sum_S c (1 - x·y)² + a0 sum_all (x·y)²
            + reg (sum_u (|S_u| + a0 n)^nu |x|² + sum_i (|S_i| + a0 m)^nu |y|²)

    as in Rendle et al., "Revisiting the performance of iALS on item recommendation benchmarks"
    (RecSys 2022), after Hu, Koren and Volinsky (ICDM 2008).

    Attributes:
        dim: length of the vectors.
        iterations: passes over both sides.
        unobserved_weight: a0, the weight with which every pair is drawn towards zero. None sets it so
            that all pairs together weigh 20 times as much as the interactions: 20 × density, at most 1,
            near the best values found for data sets from 0.04% to 2% dense.
        reg: the regularisation.
        reg_exponent: nu, how strongly it grows with a row's interactions; 1 is recommended, 0 is Hu et al.
        confidence: "binary" counts every interaction once, "weights" takes the interactions' weights as c.
        solver: "cg", a few preconditioned conjugate gradient steps a row from where the row stood, or
            "cholesky", the exact solution, whose cost grows with dim³ a row.
        cg_steps: steps a row and pass of "cg".
        seed: of the item vectors' random start.
        threads: how many to use; None is all of the machine.
    """

    dim: int = 64
    iterations: int = 16
    unobserved_weight: float | None = None
    reg: float = 0.01
    reg_exponent: float = 1.0
    confidence: str = "binary"
    solver: str = "cg"
    cg_steps: int = 2
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        at_least(self, dim=1, iterations=1, cg_steps=1, seed=0)
        at_least(self, reg=0.0, reg_exponent=0.0)
        if self.unobserved_weight is not None:
            at_least(self, unobserved_weight=0.0)
        if self.reg == 0 and self.unobserved_weight == 0:
            raise SettingError(
                "IALS(reg=0, unobserved_weight=0) leaves nothing that holds the vectors; set one"
            )
        one_of(self, confidence=("binary", "weights"), solver=("cg", "cholesky"))

    def resolved(self, interactions: Interactions) -> IALS:
        """Return the same settings with what depends on the data filled in."""
        if self.unobserved_weight is not None:
            return self
        users, items = interactions.matrix.shape
        density = len(interactions) / max(users * items, 1)
        return replace(self, unobserved_weight=round(min(1.0, UNOBSERVED * density), 6))

    def fit(self, interactions: Interactions, *, progress: Progress = silent) -> Embeddings:
        """Learn vectors (n, dim) float32 for all users and items; rows without interactions get zeros."""
        check_implicit(interactions)
        return self.resolved(interactions)._learn(interactions, progress)

    def _learn(self, interactions: Interactions, progress: Progress) -> Embeddings:
        by_user = self._weighted(interactions.matrix)
        by_item = by_user.T.tocsr()
        n_users, n_items = by_user.shape
        start = np.random.default_rng(self.seed).standard_normal((n_items, self.dim), np.float32)
        items = start * np.float32(0.1 / np.sqrt(self.dim))
        users = np.zeros((n_users, self.dim), np.float32)
        for iteration in range(self.iterations):
            progress("training", iteration, self.iterations)
            self._half(users, items, by_user)
            self._half(items, users, by_item)
        progress("training", self.iterations, self.iterations)
        _, axes = principal_axes(items, self.threads)
        for vectors in (users, items):
            turn(vectors, axes, vectors, self.threads)
        return Embeddings(users, items)

    def folding(self, embeddings: Embeddings) -> Folding:
        """Prepare the item side once, for folding in many histories; the settings must be `resolved`."""
        if self.unobserved_weight is None:
            raise SettingError(
                "IALS(unobserved_weight=None) cannot fold in: use the settings that were `resolved`"
            )
        gram, axes = principal_axes(embeddings.items, self.threads)
        items = np.empty_like(embeddings.items)
        turn(embeddings.items, axes, items, self.threads)
        return Folding(self, items, gram, axes)

    def _half(self, solved: np.ndarray, fixed: np.ndarray, matrix: Any) -> None:
        """Solve one side in place; both are turned to the principal axes of the fixed one."""
        gram, axes = principal_axes(fixed, self.threads)
        for vectors in (solved, fixed):
            turn(vectors, axes, vectors, self.threads)
        self._solve(solved, fixed, gram, matrix, self.cg_steps, 0.0)

    def _solve(
        self,
        solved: np.ndarray,
        fixed: np.ndarray,
        gram: np.ndarray,
        matrix: Any,
        steps: int,
        tolerance: float,
    ) -> None:
        a0, reg, nu, small = (
            np.float32(x) for x in (self.unobserved_weight, self.reg, self.reg_exponent, tolerance)
        )
        indptr, indices = (
            matrix.indptr.astype(np.int64, copy=False),
            matrix.indices.astype(np.int32, copy=False),
        )
        given = (solved, fixed, a0 * gram, indptr, indices, matrix.data, a0, reg, nu)

        def work(first: int, last: int) -> None:
            if self.solver == "cg":
                kernels.solve_cg(*given, steps, small, first, last)
            else:
                kernels.solve_cholesky(*given, first, last)

        threads.run(work, len(solved), chunk=ROWS, threads=self.threads)

    def _weighted(self, matrix: Any) -> Any:
        """The same pairs, with their confidences as data."""
        data = matrix.data if self.confidence == "weights" else np.ones(matrix.nnz, np.float32)
        return sp.csr_matrix((data, matrix.indices, matrix.indptr), matrix.shape)


@dataclass(frozen=True, eq=False)
class Folding:
    """The item side of a trained iALS in its principal axes: it finds the vector that a history leads to."""

    settings: IALS
    items: np.ndarray
    gram: np.ndarray
    axes: np.ndarray

    def vectors(self, histories: Any) -> np.ndarray:
        """Solve for histories (q × items CSR) as training would: (q, dim) float32, zeros where empty."""
        weighted = self.settings._weighted(histories)
        solved = np.zeros((histories.shape[0], self.items.shape[1]), np.float32)
        self.settings._solve(solved, self.items, self.gram, weighted, EXACT_STEPS, EXACT)
        turn(solved, np.ascontiguousarray(self.axes.T), solved, self.settings.threads)
        return solved
