"""SVD-AE: what the strongest directions of the interactions say of all items, in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from segue.data.interactions import Interactions
from segue.kernels import contrastive as kernels
from segue.kernels import threads
from segue.models.base import ModelSpec
from segue.models.checks import check_implicit
from segue.models.embeddings import Embeddings
from segue.models.search_space import Range
from segue.models.updates import GROWN, Update
from segue.numerics.blas import on_one_thread
from segue.progress import Progress, silent
from segue.types import CSR
from segue.validation import at_least

ROWS = 1024  # rows that a thread takes at a time
SPARE = 32  # directions more than wanted, by which the wanted ones are found sooner
PARTS = 8  # of the rows, whose products are summed in one order, whoever made them
LEAST = 1e-3  # of the largest singular value, below which a direction is none
WEIGHT = 0.25  # the power of a user's degree by which the user's row is divided
FAINT = np.float32(2.0**-60)  # what items' degrees are multiplied by, so that they matter in no score


@dataclass(frozen=True)
class SVDAE:
    """A linear autoencoder of low rank: users' interactions, projected on their strongest directions.

    With R the binary interactions, D and E the degrees of users and items, and U the first left singular
    vectors of N = D^-1/4 R E^-1/2, the scores are U U' D^-1/4 R. That is SVD-AE of Hong et al., "SVD-AE:
    Simple autoencoders for collaborative filtering" (IJCAI 2024), who take D^-1/2 in N and R itself in the
    scores; 1/4 in both measured better. It gains from hundreds of dimensions.

    Attributes:
        dim: how many directions, at most as many as there are users or items.
        iterations: passes over the interactions in which the directions are found (Halko et al., 2011).
        seed: of the random start.
        threads: how many to use; None is all of the machine. The result is the same for any number.
    """

    dim: int = 512
    iterations: int = 3
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        at_least(self, dim=1, iterations=1, seed=0)

    def resolved(self, interactions: Interactions) -> SVDAE:
        """Nothing depends on the data."""
        return self

    def fit(self, interactions: Interactions, *, progress: Progress = silent) -> Embeddings:
        """Find vectors (n, dim + 1) float32: users' coordinates, and how each direction predicts the items.

        The last column is zero for users. For items it holds the degree, by which histories fold in, made so
        small that it matters in no similarity. Rows without interactions get zeros.
        """
        check_implicit(interactions)
        matrix = interactions.matrix
        user_degrees = np.diff(matrix.indptr)
        item_degrees = np.bincount(matrix.indices, minlength=matrix.shape[1])
        rows = np.repeat(np.arange(len(user_degrees)), user_degrees)
        data = user_degrees[rows] ** -WEIGHT * item_degrees[matrix.indices] ** -0.5
        normalised = sp.csr_matrix((data.astype(np.float32), matrix.indices, matrix.indptr), matrix.shape)
        left, values, right = self._directions(normalised, normalised.T.tocsr(), progress)
        items = right * (values * np.sqrt(item_degrees).astype(np.float32)[:, None])
        faint = item_degrees.astype(np.float32) * FAINT
        return Embeddings(
            np.hstack([left, np.zeros((len(left), 1), np.float32)]), np.column_stack([items, faint])
        )

    def prepare_fold_in(self, embeddings: Embeddings) -> ProjectionFoldIn:
        """Make the matrix that leads from a history to its coordinates."""
        items, roots = embeddings.items[:, :-1], np.sqrt(embeddings.items[:, -1:] / FAINT)
        lengths = np.square(embeddings.users, dtype=np.float64).sum(
            0
        )  # ones, or what the users are scaled to
        right = np.divide(items, roots, out=np.zeros_like(items), where=roots > 0)
        squares = np.square(right, dtype=np.float64).sum(0)
        inverse = np.divide(np.sqrt(lengths.max()), squares, out=np.zeros_like(squares), where=squares > 0)
        weights = np.divide(right * inverse.astype(np.float32), roots, out=right, where=roots > 0)
        return ProjectionFoldIn(np.hstack([weights, np.zeros((len(weights), 1), np.float32)]))

    def update(self, update: Update) -> Embeddings:
        """Project users with new interactions, and predict items of which enough is new from their users.

        The directions stand still, and so do all others.
        """
        check_implicit(update.interactions)
        old, matrix = update.embeddings, update.interactions.matrix
        users, items = old.users.copy(), old.items.copy()
        users[update.changed_users] = self.prepare_fold_in(old).fold_in(matrix[update.changed_users])
        scale = np.square(users[:, :-1], dtype=np.float64).sum(0).max()  # 1, or what the users are scaled to
        grown = update.grown_items(GROWN)
        had = matrix.T.tocsr()[grown]
        weights = np.maximum(1, np.diff(matrix.indptr)).astype(np.float32) ** -WEIGHT
        ones = sp.csr_matrix((weights[had.indices], had.indices, had.indptr), had.shape)
        items[grown] = ones @ users / np.float32(max(scale, 1e-30) ** 0.5)
        items[grown, -1] = np.diff(had.indptr) * FAINT
        return Embeddings(users, items)

    def _directions(
        self, matrix: CSR, turned: CSR, progress: Progress
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The first left singular vectors, singular values and right singular vectors.

        Those beyond the rank are zeros.
        """
        dim = min(self.dim, *matrix.shape)
        width = dim + SPARE
        made = np.random.default_rng(self.seed).standard_normal((matrix.shape[1], width), np.float32)
        for done in range(self.iterations):
            progress("training", done, self.iterations)
            made = self._product(turned, self._product(matrix, made))
            squares, axes = self._axes(made)
            made = self._times(made, axes * inverse_of(np.sqrt(squares)))
        image = self._product(matrix, made)
        squares, axes = self._axes(image)
        values, axes = np.sqrt(squares[:dim]), np.ascontiguousarray(axes[:, :dim])
        progress("training", self.iterations, self.iterations)
        return self._times(image, axes * inverse_of(values)), values, self._times(made, axes)

    def _axes(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The eigenvalues of vectors'vectors, largest first, and its eigenvectors, float32."""
        height, width = vectors.shape
        parts = np.zeros((PARTS, width, width), np.float32)
        rows = -(-height // PARTS)

        def work(start: int, stop: int) -> None:
            np.matmul(vectors[start:stop].T, vectors[start:stop], out=parts[start // rows])

        with on_one_thread():
            threads.run(work, height, chunk=rows, threads=self.threads)
            values, axes = np.linalg.eigh(parts.sum(0, dtype=np.float64))
        return np.maximum(values[::-1], 0).astype(np.float32), axes[:, ::-1].astype(np.float32)

    def _times(self, vectors: np.ndarray, axes: np.ndarray) -> np.ndarray:
        """The product of tall vectors with a small matrix."""
        out = np.empty((len(vectors), axes.shape[1]), np.float32)
        with on_one_thread():
            self._run(lambda start, stop: np.matmul(vectors[start:stop], axes, out=out[start:stop]), len(out))
        return out

    def _product(self, matrix: CSR, vectors: np.ndarray) -> np.ndarray:
        """A CSR times vectors."""
        out = np.empty((matrix.shape[0], vectors.shape[1]), np.float32)
        given = (matrix.indptr, matrix.indices, matrix.data, vectors)
        self._run(lambda start, stop: kernels.add_neighbours(*given, start, stop, out), len(out))
        return out

    def _run(self, work: Callable[[int, int], object], rows: int) -> None:
        threads.run(work, rows, chunk=ROWS, threads=self.threads)


@dataclass(frozen=True, eq=False)
class ProjectionFoldIn:
    """What each item adds to the coordinates of those who had it."""

    items: np.ndarray

    def fold_in(self, histories: CSR) -> np.ndarray:
        """Project histories (q × items CSR, weights ignored): (q, dim + 1) float32, zeros where empty."""
        ones = np.ones(histories.nnz, np.float32)
        summed = sp.csr_matrix((ones, histories.indices, histories.indptr), histories.shape) @ self.items
        counts = np.maximum(1, np.diff(histories.indptr)).astype(np.float32)
        return np.asarray(summed / (counts**WEIGHT)[:, None], np.float32)


def inverse_of(values: np.ndarray) -> np.ndarray:
    """1 / values (n,) float32, the largest first; 0 where a value is no more than rounding."""
    held = values > LEAST * values[0]
    inverse: np.ndarray = np.divide(np.float32(1), values, out=np.zeros_like(values), where=held)
    return inverse


SPEC = ModelSpec(SVDAE, {"dim": (32, 64, 128, 256, 512, 1024), "iterations": Range(2, 6)})
