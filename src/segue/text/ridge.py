"""Ridge regression from text vectors to item vectors, for the cold start of new items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHRINKAGE = 10.0  # an item with this many interactions has half the weight of one with infinitely many
PENALTIES = 10.0 ** np.arange(-4, 4, 0.5)  # candidates, as multiples of the mean eigenvalue


@dataclass(frozen=True, eq=False)
class RidgeMap:
    """The affine map x → x·matrix + shift.

    Attributes:
        matrix: (text dim, dim) float64.
        shift: (dim,) float64.
        penalty: the penalty of the ridge regression.
    """

    matrix: np.ndarray
    shift: np.ndarray
    penalty: float

    @classmethod
    def fit(cls, texts: np.ndarray, items: np.ndarray, counts: np.ndarray) -> RidgeMap:
        """Fit item vectors to text vectors by weighted ridge regression, in closed form.

        An item has the weight counts / (counts + 10), because a vector learned from few interactions is
        mostly noise. Generalized cross-validation selects the penalty (Golub, Heath and Wahba,
        Technometrics 1979).

        Args:
            texts: (n, text dim) float32 text vectors; rows of zeros are ignored.
            items: (n, dim) float32 item vectors.
            counts: (n,) number of interactions of each item.
        """
        weights = counts / (counts + SHRINKAGE) * texts.any(1)
        total = weights.sum()
        if total == 0:
            mean = items.mean(0, dtype=np.float64) if len(items) else np.zeros(items.shape[1])
            return cls(np.zeros((texts.shape[1], items.shape[1])), mean, float("inf"))
        text_mean, item_mean = weights @ texts / total, weights @ items / total
        roots = np.sqrt(weights)[:, None]
        inputs, targets = roots * (texts - text_mean), roots * (items - item_mean)
        eigenvalues, axes = np.linalg.eigh(inputs.T @ inputs)
        eigenvalues = np.maximum(eigenvalues, 0)
        projected = axes.T @ (inputs.T @ targets)
        penalties = PENALTIES * max(float(eigenvalues.mean()), 1e-12)
        square_sum = float((targets**2).sum())
        errors = [
            _cross_validation_error(eigenvalues, projected, square_sum, total, penalty)
            for penalty in penalties
        ]
        best = float(penalties[int(np.argmin(errors))])
        matrix = axes @ (projected / (eigenvalues + best)[:, None])
        return cls(matrix, item_mean - text_mean @ matrix, best)

    def predict(self, texts: np.ndarray) -> np.ndarray:
        """Return the item vectors (n, dim) float32 predicted from text vectors (n, text dim)."""
        vectors: np.ndarray = (texts @ self.matrix + self.shift).astype(np.float32)
        return vectors


def _cross_validation_error(
    eigenvalues: np.ndarray, projected: np.ndarray, square_sum: float, total: float, penalty: float
) -> float:
    """Return the generalized cross-validation error: residual / (1 - degrees of freedom / n)²."""
    shrunk = 1 / (eigenvalues + penalty)
    explained = (projected**2).sum(1)
    residual = square_sum - float((explained * (2 * shrunk - eigenvalues * shrunk**2)).sum())
    freedom = float((eigenvalues * shrunk).sum())
    return residual / max(1 - freedom / total, 1e-9) ** 2
