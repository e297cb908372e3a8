"""iALS: implicit alternating least squares, each half solved for all rows at once on all threads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import scipy.sparse as sp

from segue.data.features import Features
from segue.data.ids import IdMap
from segue.data.interactions import Interactions
from segue.errors import SettingError
from segue.kernels import ials as kernels
from segue.kernels import threads
from segue.models.base import ModelSpec
from segue.models.checks import check_implicit
from segue.models.embeddings import Embeddings
from segue.models.feature_priors import Centres, centres_of, feature_vectors
from segue.models.search_space import Range
from segue.models.updates import Update
from segue.numerics.axes import principal_axes, rotate
from segue.progress import Progress, silent
from segue.types import CSR
from segue.validation import at_least, one_of

UNOBSERVED = 20  # weight of all pairs together over that of the interactions, unless it is set
ROWS = 1024  # rows that a thread takes at a time
UPDATES = 3  # times that an update solves for users and items in turn
EXACT_STEPS, EXACT = 100, 1e-10  # fold-in goes on until the squared residual has shrunk by so much


@dataclass(frozen=True)
class IALS:
    """Implicit alternating least squares with frequency-scaled regularisation.

    Minimises over user vectors x and item vectors y, S being the interactions and c their confidence,

        sum_S c (1 - x·y)² + a0 sum_all (x·y)²
            + reg (sum_u (|S_u| + a0 n)^nu |x|² + sum_i (|S_i| + a0 m)^nu |y|²)

    as in Rendle et al., "Revisiting the performance of iALS on item recommendation benchmarks"
    (RecSys 2022), after Hu, Koren and Volinsky (ICDM 2008).

    With features, a row's penalty is on its distance from a centre, the sum W f of its features' vectors,
    as in Agarwal and Chen, "Regression-based latent factor models" (KDD 2009), and feature_reg times the mean
    of these penalties is on |W|². A row without interactions stands at its centre. The rows are solved for as
    without features, then W by regression on them, so that an iteration costs little more.

    Attributes:
        dim: length of the vectors.
        iterations: passes over both sides.
        unobserved_weight: a0, the weight with which every pair is drawn towards zero. None sets it so
            that all pairs together weigh 20 times as much as the interactions: 20 × density, at most 1,
            near the best values found for data sets from 0.04% to 2% dense.
        reg: the regularisation.
        reg_exponent: nu, how strongly it grows with a row's interactions; 1 is recommended, 0 is Hu et al.
        feature_reg: the regularisation of features, as so many rows of zeros that have each of them.
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
    feature_reg: float = 3.0
    confidence: str = "binary"
    solver: str = "cg"
    cg_steps: int = 2
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        at_least(self, dim=1, iterations=1, cg_steps=1, seed=0)
        at_least(self, reg=0.0, reg_exponent=0.0, feature_reg=0.0)
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

    def fit(
        self,
        interactions: Interactions,
        *,
        item_features: Features | None = None,
        user_features: Features | None = None,
        progress: Progress = silent,
    ) -> Embeddings:
        """Learn vectors (n, dim) float32 for all users and items.

        Rows without interactions get their centre, zeros where there are no features. `item_features` and
        `user_features` have a row for each item or user. Raises `DataError` for features that do not fit.
        """
        check_implicit(interactions)
        return self.resolved(interactions)._learn(interactions, user_features, item_features, progress)

    def _learn(
        self,
        interactions: Interactions,
        user_features: Features | None,
        item_features: Features | None,
        progress: Progress,
    ) -> Embeddings:
        by_user = self._weighted(interactions.matrix)
        sides = tuple(
            self._side(matrix, ids, features)
            for matrix, ids, features in (
                (by_user, interactions.users, user_features),
                (by_user.T.tocsr(), interactions.items, item_features),
            )
        )
        users, items = sides
        start = np.random.default_rng(self.seed).standard_normal(items.vectors.shape, np.float32)
        items.vectors = start * np.float32(0.1 / np.sqrt(self.dim))
        for iteration in range(self.iterations):
            progress("training", iteration, self.iterations)
            self._half(users, items)
            self._half(items, users)
        progress("training", self.iterations, self.iterations)
        items.place_idle()
        users.place_idle()
        _, axes = principal_axes(items.vectors, self.threads)
        learned: list[np.ndarray | None] = []
        for side, features in ((users, user_features), (items, item_features)):
            side.turn(axes, self.threads)
            centres = side.centres
            learned.append(
                None if centres is None else feature_vectors(cast(Features, features), centres, side.vectors)
            )
        return Embeddings(users.vectors, items.vectors, 0, learned[0], learned[1])

    def prepare_fold_in(self, embeddings: Embeddings) -> IALSFoldIn:
        """Prepare the item side once, for folding in many histories; the settings must be `resolved`."""
        return self._prepare_side(embeddings.items)

    def prepare_item_fold_in(self, embeddings: Embeddings) -> IALSFoldIn:
        """Prepare the user side, for folding in items from the users who had them (q × users CSR)."""
        return self._prepare_side(embeddings.users)

    def update(self, update: Update) -> Embeddings:
        """Solve anew for the rows that were added to, all others standing still, some times in turn."""
        check_implicit(update.interactions)
        by_user = update.interactions.matrix
        by_item = by_user.T.tocsr()[update.changed_items]
        by_user = by_user[update.changed_users]
        users, items = update.embeddings.users.copy(), update.embeddings.items.copy()
        for turn_ in range(UPDATES):
            update.progress("updating", turn_, UPDATES)
            users[update.changed_users] = self._prepare_side(items).fold_in(by_user, update.user_priors)
            items[update.changed_items] = self._prepare_side(users).fold_in(by_item, update.item_priors)
        update.progress("updating", UPDATES, UPDATES)
        return replace(update.embeddings, users=users, items=items)

    def _prepare_side(self, vectors: np.ndarray) -> IALSFoldIn:
        if self.unobserved_weight is None:
            raise SettingError(
                "IALS(unobserved_weight=None) cannot fold in: use the settings that were `resolved`"
            )
        gram, axes = principal_axes(vectors, self.threads)
        turned = np.empty_like(vectors)
        rotate(vectors, axes, turned, self.threads)
        return IALSFoldIn(self, turned, gram, axes)

    def _side(self, matrix: CSR, ids: IdMap, features: Features | None) -> Side:
        vectors = np.zeros((matrix.shape[0], self.dim), np.float32)
        if features is None:
            return Side(vectors, matrix, None)
        penalties = self._penalties(matrix)
        return Side(vectors, matrix, centres_of(features, ids, penalties, self.feature_reg, self.dim))

    def _penalties(self, matrix: CSR) -> np.ndarray:
        """What each row's distance from its centre is weighed with; 0 without interactions."""
        counts = np.diff(matrix.indptr).astype(np.float64)
        weight = cast(float, self.unobserved_weight)
        made: np.ndarray = self.reg * (counts + weight * matrix.shape[1]) ** self.reg_exponent
        return np.where(counts > 0, np.maximum(made, 1e-8), 0)

    def _half(self, solved: Side, fixed: Side) -> None:
        """Solve one side in place; both are turned to the principal axes of the fixed one."""
        gram, axes = principal_axes(fixed.vectors, self.threads)
        for side in (solved, fixed):
            side.turn(axes, self.threads)
        centres = solved.centre_rows()
        self._solve(solved.vectors, fixed.vectors, centres, gram, solved.matrix, self.cg_steps, 0.0)
        if solved.centres is not None:
            solved.centres.regress(solved.vectors)

    def _solve(
        self,
        solved: np.ndarray,
        fixed: np.ndarray,
        centres: np.ndarray,
        gram: np.ndarray,
        matrix: CSR,
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
        given = (solved, fixed, centres, a0 * gram, indptr, indices, matrix.data, a0, reg, nu)

        def work(first: int, last: int) -> None:
            if self.solver == "cg":
                kernels.solve_cg(*given, steps, small, first, last)
            else:
                kernels.solve_cholesky(*given, first, last)

        threads.run(work, len(solved), chunk=ROWS, threads=self.threads)

    def _weighted(self, matrix: CSR) -> CSR:
        """The same pairs, with their confidences as data."""
        data = matrix.data if self.confidence == "weights" else np.ones(matrix.nnz, np.float32)
        return sp.csr_matrix((data, matrix.indices, matrix.indptr), matrix.shape)


@dataclass(eq=False)
class Side:
    """One side in training: vectors (n, dim), what each row had (rows × other side), and its centres."""

    vectors: np.ndarray
    matrix: CSR
    centres: Centres | None

    def turn(self, axes: np.ndarray, workers: int | None) -> None:
        """Turn everything to other axes."""
        rotate(self.vectors, axes, self.vectors, workers)
        if self.centres is not None:
            rotate(self.centres.vectors, axes, self.centres.vectors, workers)

    def centre_rows(self) -> np.ndarray:
        """The centres of all rows, none where they are zero."""
        if self.centres is None:
            return np.empty((0, self.vectors.shape[1]), np.float32)
        return self.centres.rows()

    def place_idle(self) -> None:
        """Put the rows without interactions where their features say."""
        if self.centres is not None:
            idle = np.diff(self.matrix.indptr) == 0
            self.vectors[idle] = self.centres.rows()[idle]


@dataclass(frozen=True, eq=False)
class IALSFoldIn:
    """One side of a trained iALS in its principal axes: it finds the vector that a history leads to."""

    settings: IALS
    fixed: np.ndarray
    gram: np.ndarray
    axes: np.ndarray

    def fold_in(self, histories: CSR, centres: np.ndarray | None = None) -> np.ndarray:
        """Solve for histories (q × fixed rows CSR) as training would: (q, dim) float32.

        `centres` (q, dim) are where features put the rows; empty histories lead there, or to zeros.
        """
        weighted = self.settings._weighted(histories)
        solved = np.zeros((histories.shape[0], self.fixed.shape[1]), np.float32)
        if centres is None:
            turned = np.empty((0, solved.shape[1]), np.float32)
        else:
            turned = np.empty_like(solved)
            rotate(np.ascontiguousarray(centres, np.float32), self.axes, turned, self.settings.threads)
        self.settings._solve(solved, self.fixed, turned, self.gram, weighted, EXACT_STEPS, EXACT)
        rotate(solved, np.ascontiguousarray(self.axes.T), solved, self.settings.threads)
        if centres is not None:
            empty = np.diff(histories.indptr) == 0
            solved[empty] = centres[empty]
        return solved


SPEC = ModelSpec(
    IALS,
    {
        "dim": (32, 64, 128, 256),
        "iterations": Range(4, 32, log=True),
        "unobserved_weight": Range(0.05, 5.0, log=True, relative=True),
        "reg": Range(1e-4, 1.0, log=True),
    },
    features=True,
    posterior=True,
)
