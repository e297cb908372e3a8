"""A map from text to what interactions teach: where an item's ratings would have put it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TRUSTED = 10.0  # interactions with which an item counts half as much as one with endless many
PENALTIES = 10.0 ** np.arange(-4, 4, 0.5)  # tried, as multiples of the mean eigenvalue


@dataclass(frozen=True, eq=False)
class Bridge:
    """An affine map x → x·matrix + shift.

    Attributes:
        matrix: (text dim, dim) float64.
        shift: (dim,) float64.
        penalty: that of the ridge regression.
    """

    matrix: np.ndarray
    shift: np.ndarray
    penalty: float

    @classmethod
    def learn(cls, texts: np.ndarray, items: np.ndarray, counts: np.ndarray) -> Bridge:
        """Fit items (n, dim) from texts (n, text dim) by ridge regression, in closed form.

        Items weigh c = counts / (counts + 10), `counts` (n,) being their interactions: vectors learned from
        few are mostly noise. The penalty is the best of a row by generalised cross-validation
        (Golub, Heath and Wahba, Technometrics 1979).
        """
        weights = counts / (counts + TRUSTED) * texts.any(1)
        total = weights.sum()
        if total == 0:
            mean = items.mean(0, dtype=np.float64) if len(items) else np.zeros(items.shape[1])
            return cls(np.zeros((texts.shape[1], items.shape[1])), mean, float("inf"))
        from_mean, to_mean = weights @ texts / total, weights @ items / total
        root = np.sqrt(weights)[:, None]
        given, wanted = root * (texts - from_mean), root * (items - to_mean)
        values, axes = np.linalg.eigh(given.T @ given)
        values = np.maximum(values, 0)
        turned = axes.T @ (given.T @ wanted)
        penalties = PENALTIES * max(float(values.mean()), 1e-12)
        errors = [_validated(values, turned, float((wanted**2).sum()), total, one) for one in penalties]
        best = float(penalties[int(np.argmin(errors))])
        matrix = axes @ (turned / (values + best)[:, None])
        return cls(matrix, to_mean - from_mean @ matrix, best)

    def vectors(self, texts: np.ndarray) -> np.ndarray:
        """Return where texts (n, text dim) lead: (n, dim) float32."""
        made: np.ndarray = (texts @ self.matrix + self.shift).astype(np.float32)
        return made


def _validated(values: np.ndarray, turned: np.ndarray, squares: float, total: float, penalty: float) -> float:
    """The generalised cross-validation error: residual / (1 - degrees of freedom / n)²."""
    shrunk = 1 / (values + penalty)
    explained = (turned**2).sum(1)
    residual = squares - float((explained * (2 * shrunk - values * shrunk**2)).sum())
    freedom = float((values * shrunk).sum())
    return residual / max(1 - freedom / total, 1e-9) ** 2
