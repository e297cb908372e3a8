"""The profile that iALS itself would learn from the picks: fold-in, as they come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dposv

from segue.errors import DataError
from segue.kernels.posterior import fill_system, take_pick
from segue.online.profile_state import WHOLE, Pick, Queries, State, above, step, waited
from segue.online.space import Space

LEAST_PENALTY = 1e-8


@dataclass(frozen=True)
class Posterior:
    """The user vector x that minimises iALS's own loss over the picks, with its uncertainty.

    A x = b with A = a0 G + lam I + sum c v v' and b = sum s c v, where G is the sum of y y' over all items,
    s the sign of w, c = |w| 2^(-(now - t) / half_life) 2^(-(picks that came later) / picks), and
    lam = reg (sum c + a0 n)^nu as in training: the score of what was liked is drawn to 1, of what was
    disliked to -1. Started from a vector p0, (a0 G + lam I) p0 is added to b. With neither kind of forgetting
    and weights of 1 this is what `TrainedRecommender.fold_in` finds. O(dim²) an event; reading solves one
    system of dim equations.

    As a Bayesian regression, x has the mean A⁻¹b and the covariance noise² A⁻¹, which exploration uses.
    Rendle et al. (RecSys 2022) for the loss.

    Attributes:
        half_life: of a pick's confidence, in the unit of the times; None for no forgetting by time.
        picks: the later picks that halve a pick's confidence, in the order in which they arrive; None for no
            forgetting by picks.
    """

    half_life: float | None = None
    picks: float | None = None

    def __post_init__(self) -> None:
        if self.half_life is not None:
            above(self, half_life=0.0)
        if self.picks is not None:
            above(self, picks=0.0)

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
        vector = space.items[pick.row]
        if not vector[0] and not vector.any():
            space.direction(pick.row)  # refuses it
        since, late, time = step(state, pick.time)
        left, confidence = self.faded(since) * self.kept(1), self.faded(late) * abs(pick.weight)
        precision, pulled = np.empty_like(state["precision"]), np.empty_like(state["sum"])
        sign = 1.0 if pick.weight > 0 else -1.0
        take_pick(state["precision"], state["sum"], vector, left, confidence, sign, precision, pulled)
        return {
            "start": state["start"],
            "precision": precision,
            "sum": pulled,
            "count": left * state["count"] + confidence,
            "time": time,
        }

    def faded(self, age: float) -> float:
        """What a time leaves of 1."""
        return 1.0 if self.half_life is None else float(0.5 ** (age / self.half_life))

    def kept(self, later: int) -> float:
        """What later picks leave of 1."""
        return 1.0 if self.picks is None else float(0.5 ** (later / self.picks))

    def read(self, space: Space, state: State, now: float | None) -> Queries:
        """Return what to search with."""
        mean, _ = self.solve(space, state, now)
        if not mean[0] and not mean.any():
            return Queries(np.empty((0, space.items.shape[1]), np.float32), np.empty(0))
        return Queries(mean.astype(np.float32)[None], WHOLE)

    def precision(self, space: Space, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return A (dim, dim) float64 for picks of now, all at once, of which none is forgotten."""
        vectors, confidences = space.items[rows].astype(np.float64), np.abs(weights).astype(np.float64)
        made: np.ndarray = (vectors * confidences[:, None]).T @ vectors
        unobserved, penalty = _prior(space, float(confidences.sum()))
        made += unobserved * space.gram
        made.ravel()[:: len(made) + 1] += penalty
        return made

    def system(self, space: Space, state: State, now: float | None) -> tuple[np.ndarray, np.ndarray]:
        """Return A (dim, dim) and b (dim,), float64."""
        left = self.faded(waited(state, now))
        unobserved, penalty = _prior(space, left * float(state["count"][0]))
        made, pulled = np.empty_like(state["precision"]), np.empty_like(state["sum"])
        arrays = space.gram, state["precision"], state["sum"], state["start"]
        fill_system(*arrays, unobserved, penalty, left, made, pulled)
        return made, pulled

    def solve(self, space: Space, state: State, now: float | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean x (dim,) and the Cholesky factor (dim, dim) of A in its lower half."""
        matrix, pulled = self.system(space, state, now)
        factor, mean, failed = dposv(matrix.T, pulled, lower=1, overwrite_a=1, overwrite_b=1)  # symmetric
        if failed:
            raise DataError(
                "the picks and the model leave no definite posterior: its numbers are too far apart"
            )
        return mean, factor


def _prior(space: Space, count: float) -> tuple[float, float]:
    """a0 and lam, for somebody with picks of that confidence."""
    model = space.ials
    weight = float(model.unobserved_weight or 0.0)
    penalty = model.reg * (count + weight * len(space.items)) ** model.reg_exponent
    return weight, max(float(penalty), LEAST_PENALTY)
