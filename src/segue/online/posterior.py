"""The profile that iALS itself would learn from the picks: fold-in, as they come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dposv

from segue.errors import DataError
from segue.online.space import Space
from segue.online.state import WHOLE, Pick, Queries, State, above, step, waited


@dataclass(frozen=True)
class Posterior:
    """The user vector x that minimises iALS's own loss over the picks, with its uncertainty.

    A x = b with A = a0 G + lam I + sum c v v' and b = sum s c v, where G is the sum of y y' over all items,
    s the sign of w, c = |w| f with f = 2^(-(now - t) / half_life), and lam = reg (sum c + a0 n)^nu as in
    training: the score of what was liked is drawn to 1, of what was disliked to -1. Started from a vector p0,
    (a0 G + lam I) p0 is added to b. Without a half-life and with weights of 1 this is what
    `TrainedRecommender.fold_in` finds. O(dim²) an event; reading solves one system of dim equations.

    As a Bayesian regression, x has the mean A⁻¹b and the covariance noise² A⁻¹, which exploration uses.
    Rendle et al. (RecSys 2022) for the loss.

    Attributes:
        half_life: of a pick's confidence, in the unit of the times; None for no forgetting.
    """

    half_life: float | None = None

    def __post_init__(self) -> None:
        if self.half_life is not None:
            above(self, half_life=0.0)

    def begin(self, space: Space, start: np.ndarray) -> State:
        """Return the state before the first pick."""
        space.ials  # noqa: B018  # says so now if these are not iALS's vectors
        dim = len(start)
        return {
            "start": start,
            "precision": np.zeros((dim, dim)),
            "sum": np.zeros(dim),
            "count": np.zeros(1),
            "time": np.empty(0),
        }

    def add(self, space: Space, state: State, pick: Pick) -> State:
        """Return the state after a pick."""
        vector = space.items[pick.row].astype(np.float64)
        if not vector[0] and not vector.any():
            space.direction(pick.row)  # refuses it
        since, late, time = step(state, pick.time)
        old, confidence = self.faded(since), self.faded(late) * abs(pick.weight)
        precision = np.multiply.outer(confidence * vector, vector)
        precision += state["precision"] if old == 1 else old * state["precision"]
        return {
            "start": state["start"],
            "precision": precision,
            "sum": old * state["sum"] + np.copysign(confidence, pick.weight) * vector,
            "count": old * state["count"] + confidence,
            "time": time,
        }

    def faded(self, age: float) -> float:
        """What is left of 1 after a time."""
        return 1.0 if self.half_life is None else float(0.5 ** (age / self.half_life))

    def read(self, space: Space, state: State, now: float | None) -> Queries:
        """Return what to search with."""
        mean, _ = self.solve(space, state, now)
        if not mean[0] and not mean.any():
            return Queries(np.empty((0, space.items.shape[1]), np.float32), np.empty(0))
        return Queries(mean.astype(np.float32)[None], WHOLE)

    def precision(self, space: Space, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return A (dim, dim) float64 for picks of now, all at once."""
        vectors, confidences = space.items[rows].astype(np.float64), np.abs(weights).astype(np.float64)
        made: np.ndarray = (vectors * confidences[:, None]).T @ vectors
        made += _prior(space, float(confidences.sum()))
        return made

    def solve(self, space: Space, state: State, now: float | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean x (dim,) and the Cholesky factor (dim, dim) of A in its lower half."""
        left = self.faded(waited(state, now))
        start, precision, pulled = state["start"], state["precision"], state["sum"]
        if left != 1:
            precision, pulled = left * precision, left * pulled
        made = _prior(space, left * float(state["count"][0]))
        if start[0] or start.any():
            pulled = pulled + made @ start
        made += precision
        factor, mean, failed = dposv(made.T, pulled, lower=1, overwrite_a=1)  # symmetric: no copy is made
        if failed:
            raise DataError(
                "the picks and the model leave no definite posterior: its numbers are too far apart"
            )
        return mean, factor


def _prior(space: Space, count: float) -> np.ndarray:
    """a0 G + lam I, for somebody with picks of that confidence."""
    model = space.ials
    weight = float(model.unobserved_weight or 0.0)
    made = weight * space.gram
    penalty = model.reg * (count + weight * len(space.items)) ** model.reg_exponent
    made.ravel()[:: len(made) + 1] += max(penalty, 1e-8)
    return made
