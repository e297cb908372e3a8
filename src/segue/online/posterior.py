"""The profile that iALS itself would learn from the picks: incremental fold-in with decay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dposv

from segue.errors import DataError
from segue.kernels.posterior import fill_system, take_pick
from segue.online.profile_state import (
    FULL_WEIGHT,
    Pick,
    Queries,
    State,
    ages,
    check_above,
    elapsed,
    no_queries,
)
from segue.online.space import Space

MIN_PENALTY = 1e-8


@dataclass(frozen=True)
class Posterior:
    """The user vector x that minimizes the loss of iALS over the picks, with its uncertainty.

    A x = b with A = a0 G + lam I + sum c v v' and b = sum s c v, where G is the sum of y y' over all items,
    s the sign of w, c = |w| 2^(-(now - t) / half_life) 2^(-(later picks) / picks), and
    lam = reg (sum c + a0 n)^nu as in training: the score of a liked item is drawn to 1, of a disliked one to
    -1. A start vector p0 adds (a0 G + lam I) p0 to b. Without decay and with weights of 1 the result is that
    of `TrainedRecommender.fold_in`. An event costs O(dim²); reading solves one system of dim equations.

    As a Bayesian regression, x has the mean A⁻¹b and the covariance noise² A⁻¹, which exploration uses. The
    loss is that of Rendle et al., "Revisiting the performance of iALS on item recommendation benchmarks"
    (RecSys 2022).

    Attributes:
        half_life: the time in which the confidence of a pick halves, in the unit of the times; None for no
            decay by time.
        picks: the number of later picks that halve the confidence of a pick, in order of arrival; None for no
            decay by picks.
    """

    half_life: float | None = None
    picks: float | None = None

    def __post_init__(self) -> None:
        if self.half_life is not None:
            check_above(self, half_life=0.0)
        if self.picks is not None:
            check_above(self, picks=0.0)

    def begin(self, space: Space, start: np.ndarray) -> State:
        """Return the state before the first pick."""
        space.ials  # noqa: B018  # raises now for vectors that are not those of iALS
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
        vector = space.items[pick.row]
        if not vector[0] and not vector.any():
            space.direction(pick.row)  # raises for a zero vector
        state_age, pick_age, time = ages(state, pick.time)
        decay = self.time_decay(state_age) * self.pick_decay(1)
        confidence = self.time_decay(pick_age) * abs(pick.weight)
        precision, total = np.empty_like(state["precision"]), np.empty_like(state["sum"])
        sign = 1.0 if pick.weight > 0 else -1.0
        take_pick(state["precision"], state["sum"], vector, decay, confidence, sign, precision, total)
        return {
            "start": state["start"],
            "precision": precision,
            "sum": total,
            "count": decay * state["count"] + confidence,
            "time": time,
        }

    def time_decay(self, age: float) -> float:
        """Return the factor by which an age reduces a confidence."""
        return 1.0 if self.half_life is None else float(0.5 ** (age / self.half_life))

    def pick_decay(self, later: int) -> float:
        """Return the factor by which a number of later picks reduces a confidence."""
        return 1.0 if self.picks is None else float(0.5 ** (later / self.picks))

    def read(self, space: Space, state: State, now: float | None) -> Queries:
        """Return the query of the profile at a time."""
        mean, _ = self.solve(space, state, now)
        if not mean[0] and not mean.any():
            return no_queries(space)
        return Queries(mean.astype(np.float32)[None], FULL_WEIGHT)

    def precision(self, space: Space, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return A (dim, dim) float64 for simultaneous picks without decay."""
        vectors, confidences = space.items[rows].astype(np.float64), np.abs(weights).astype(np.float64)
        precision: np.ndarray = (vectors * confidences[:, None]).T @ vectors
        unobserved, penalty = _prior(space, float(confidences.sum()))
        precision += unobserved * space.gram
        precision.ravel()[:: len(precision) + 1] += penalty
        return precision

    def system(self, space: Space, state: State, now: float | None) -> tuple[np.ndarray, np.ndarray]:
        """Return A (dim, dim) and b (dim,), float64."""
        decay = self.time_decay(elapsed(state, now))
        unobserved, penalty = _prior(space, decay * float(state["count"][0]))
        matrix, vector = np.empty_like(state["precision"]), np.empty_like(state["sum"])
        arrays = space.gram, state["precision"], state["sum"], state["start"]
        fill_system(*arrays, unobserved, penalty, decay, matrix, vector)
        return matrix, vector

    def solve(self, space: Space, state: State, now: float | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean x (dim,) and the Cholesky factor (dim, dim) of A in its lower half."""
        matrix, vector = self.system(space, state, now)
        factor, mean, failed = dposv(matrix.T, vector, lower=1, overwrite_a=1, overwrite_b=1)  # symmetric
        if failed:
            raise DataError(
                "the posterior of the picks is not positive definite: the scales of the model and of the "
                "weights differ too much"
            )
        return mean, factor


def _prior(space: Space, count: float) -> tuple[float, float]:
    """a0 and lam for a user with picks of the total confidence `count`."""
    model = space.ials
    weight = float(model.unobserved_weight or 0.0)
    penalty = model.reg * (count + weight * len(space.items)) ** model.reg_exponent
    return weight, max(float(penalty), MIN_PENALTY)
