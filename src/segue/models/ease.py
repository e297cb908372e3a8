"""EASE: a linear model of items on items, solved at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segue.data.interactions import Interactions
from segue.errors import DataError
from segue.kernels import knn, threads
from segue.models.base import ModelSpec
from segue.models.baselines import ItemSimilarity
from segue.models.checks import check_implicit
from segue.progress import Progress, silent
from segue.validation import at_least

ROWS = 256  # items that a thread takes at a time


@dataclass(frozen=True)
class EASE:
    """Embarrassingly shallow autoencoder: an item's score is a weighted sum over what the user had.

    The weights B minimise |X - X B|² + reg |B|² with a diagonal of zeros, X being the binary interactions:
    with P = (X'X + reg)⁻¹, B_ij = -P_ij / P_jj. Steck, "Embarrassingly shallow autoencoders for sparse data"
    (WWW 2019). It takes 4 items² bytes of memory and time that grows with items³. The scores are no inner
    product of short vectors, so it serves as the honest neighbour of a model in evaluations and not as
    an index.

    Attributes:
        reg: the regularisation.
        max_items: refuse more items than this; raise it where memory and patience allow.
        threads: how many to use for counting; None is all of the machine. The inversion is BLAS's.
    """

    reg: float = 200.0
    max_items: int = 25_000
    threads: int | None = None

    def __post_init__(self) -> None:
        at_least(self, reg=0.0, max_items=2)

    def fit(self, interactions: Interactions, *, progress: Progress = silent) -> ItemSimilarity:
        """Find the weights (n_items, n_items) float32 of all items for all items.

        Raises `DataError` for more items than `max_items`, and where reg is too small to invert with.
        """
        check_implicit(interactions)
        n = len(interactions.items)
        if n > self.max_items:
            raise DataError(
                f"EASE holds a weight for every pair of items: {n:,} items take {4e-9 * n * n:,.1f} GB, "
                f"and max_items={self.max_items:,} is the limit; keep the items that matter "
                f"(.core(users=5, items=20)), or raise max_items if there is memory"
            )
        by_user, by_item = interactions.matrix, interactions.matrix.T.tocsr()
        weights = np.empty((n, n), np.float32)

        def count(start: int, stop: int) -> None:
            knn.common(by_item.indptr, by_item.indices, by_user.indptr, by_user.indices, start, stop, weights)

        progress("solving", 0, 2)
        threads.run(count, n, chunk=ROWS, threads=self.threads)
        weights[np.diag_indices(n)] += np.float32(self.reg)
        progress("solving", 1, 2)
        self._invert(weights)
        diagonal = np.diag(weights).copy()
        threads.run(lambda start, stop: knn.mirror(weights, start, stop), n, chunk=ROWS, threads=self.threads)
        threads.run(
            lambda start, stop: knn.ease_weights(weights, diagonal, start, stop),
            n, chunk=ROWS, threads=self.threads,
        )  # fmt: skip
        progress("solving", 2, 2)
        return ItemSimilarity(weights)

    def _invert(self, matrix: np.ndarray) -> None:
        """Put the inverse in the place of the upper triangle; LAPACK sees the transpose, its lower one."""
        from scipy.linalg import lapack  # which takes long to import, and is for this only

        factor, failed = lapack.spotrf(matrix.T, lower=True, clean=False, overwrite_a=True)
        if not failed:
            failed = lapack.spotri(factor, lower=True, overwrite_c=True)[1]
        if failed or not np.isfinite(np.diag(matrix)).all():
            raise DataError(
                f"the items' counts cannot be inverted with EASE(reg={self.reg}); give more, such as 100"
            )


SPEC = ModelSpec(EASE, served=False, iterative=False)
