"""Where features put the rows of one side: centres, regressed on the rows by their features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from segue.data.features import IDENTITY, Features
from segue.data.ids import IdMap
from segue.models.checks import check_features
from segue.types import CSR

STEPS, ENOUGH = 20, 1e-8  # of conjugate gradients at most, and when the squared residual is small enough


@dataclass(eq=False)
class Centres:
    """The vectors W of a side's features, whose weighted sums F W are the centres of its rows.

    Attributes:
        features: rows × features CSR without identity features, rows scaled as those of new rows will be.
        weights: (n,) how much each row counts; 0 for those that nothing is known of but their features.
        ridge: the penalty on W.
        vectors: W, (features, dim) float32.
    """

    features: CSR
    weights: np.ndarray
    ridge: float
    vectors: np.ndarray

    def rows(self) -> np.ndarray:
        """Return the centres (n, dim) float32."""
        return np.ascontiguousarray(self.features @ self.vectors, np.float32)

    def regress(self, rows: np.ndarray) -> None:
        """Improve W towards the minimum of sum_i weight_i |row_i - F_i W|² + ridge |W|².

        Conjugate gradients from where W stands, preconditioned by the diagonal, all columns at once.
        """
        turned, w = self._turned, self.weights[:, None]
        diagonal = np.asarray(self.features.multiply(self.features).T @ self.weights)[:, None] + self.ridge
        residual = (turned @ (w * rows) - self._apply(self.vectors)).astype(np.float64)
        direction = residual / diagonal
        size = (residual * direction).sum(0)
        enough = ENOUGH * np.maximum(size, np.finfo(np.float64).tiny)
        for _ in range(STEPS):
            if (size <= enough).all():
                break
            product = self._apply(direction)
            step = size / np.maximum((direction * product).sum(0), np.finfo(np.float64).tiny)
            self.vectors = (self.vectors + step * direction).astype(np.float32)
            residual -= step * product
            after = (residual * residual / diagonal).sum(0)
            direction = residual / diagonal + after / np.maximum(size, np.finfo(np.float64).tiny) * direction
            size = after

    def _apply(self, vectors: np.ndarray) -> np.ndarray:
        product: np.ndarray = self._turned @ (self.weights[:, None] * (self.features @ vectors))
        return product + self.ridge * vectors

    @property
    def _turned(self) -> CSR:
        return self.features.T


def centres_of(features: Features, ids: IdMap, penalties: np.ndarray, reg: float, dim: int) -> Centres:
    """Begin with zeros for W. `penalties` (n,) are those of the rows, `reg` that of W in mean rows."""
    check_features(features, ids)
    shared = features.matrix @ sp.diags_array(_shared(features).astype(np.float32))
    if features.encoding.normalize:  # as the rows of those are scaled who were not there in training
        sums = np.asarray(abs(shared).sum(1)).ravel()
        shared = sp.diags_array(1 / np.where(sums > 0, sums, 1)) @ shared
    matrix = sp.csr_matrix(shared, dtype=np.float32)
    matrix.eliminate_zeros()
    known = penalties[penalties > 0]
    ridge = max(reg * float(known.mean()) if len(known) else 0.0, 1e-8)
    return Centres(matrix, penalties, ridge, np.zeros((matrix.shape[1], dim), np.float32))


def feature_vectors(features: Features, centres: Centres, rows: np.ndarray) -> np.ndarray:
    """Return W (features, dim) with the identity features' vectors, so that a row is its features' sum."""
    made = centres.vectors.copy()
    identity = ~_shared(features)
    if identity.any():
        own = rows - np.asarray(features.matrix @ made, np.float32)
        place = features.matrix[:, np.flatnonzero(identity)].tocoo()
        made[np.flatnonzero(identity)[place.col]] = own[place.row] / place.data[:, None]
    return made


def _shared(features: Features) -> np.ndarray:
    """Which features several rows may have: all but the identity."""
    return (features.encoding.table["column"] != IDENTITY).to_numpy()
