"""Explanations: a score split into shares of picks or features. The shares add up to the score."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_factor, cho_solve

from segue.errors import SettingError
from segue.models.embeddings import Embeddings
from segue.models.ials import IALS
from segue.online.averages import Average
from segue.online.posterior import Posterior
from segue.online.profile import Profile
from segue.online.profile_state import Pick, State
from segue.online.space import Space
from segue.types import CSR

MIN_SQ_LENGTH = 1e-30


class Shares(NamedTuple):
    """The scores of m items for one user, split.

    Attributes:
        parts: (m, p) float64, what each of p picks or features adds to each score.
        remainder: (m,) float64, the unattributed remainder: a row of `parts` and its remainder add up to the
            score.
    """

    parts: np.ndarray
    remainder: np.ndarray


def by_picks(
    space: Space, vector: np.ndarray, rows: np.ndarray, weights: np.ndarray, items: np.ndarray
) -> Shares:
    """Split the scores of items for a user vector among the user's picks.

    For iALS, where x = A⁻¹ sum c_j y_j, pick j adds c_j y_j·A⁻¹y_i to the score of item i; the remainder is
    the distance of the trained vector from that solution. For other models, the sum of the picks' vectors is
    scaled to approximate the user's vector, and the remainder is the rest: about zero if the model sums the
    picks itself (Item2Vec, Contrastive), the user's own part otherwise.

    Args:
        space: the items.
        vector: (dim,) the user's vector.
        rows: (p,) the rows of the picks.
        weights: (p,) the confidence of each pick.
        items: (m,) the rows of the items to explain.
    """
    vectors = space.items[items].astype(np.float64)
    scores = vectors @ vector.astype(np.float64)
    picked = space.items[rows].astype(np.float64)
    if isinstance(space.model, IALS):
        confidences = np.broadcast_to(np.asarray(weights, np.float64), len(rows))
        factor = cho_factor(Posterior().precision(space, rows, confidences), lower=True)
        parts = (picked * confidences[:, None] @ cho_solve(factor, vectors.T)).T
    else:
        picked[:, space.dim :] = 0
        total = picked.sum(0)
        scale = float(total @ vector) / max(float(total @ total), MIN_SQ_LENGTH)
        parts = scale * vectors @ picked.T
    return Shares(parts, scores - parts.sum(1))


def by_events(
    profile: Profile,
    items: np.ndarray,
    picked: ArrayLike,
    weights: ArrayLike = 1.0,
    times: ArrayLike = 0.0,
    *,
    start: np.ndarray | None = None,
    now: float | None = None,
) -> Shares:
    """Split the scores of items for a profile among the events that it followed, one column per event.

    The shares are those of the query that `Profile.vectors` returns after the same events. The remainder
    belongs to the start vector and to biases. Supports averages and posteriors; raises `SettingError` for
    `Interests`, where each result belongs to one pick.

    Args:
        profile: the kind of profile.
        items: (m,) the rows of the items to explain.
        picked, weights, times: the events, as for `Profile.update`.
        start: the vector (dim,) that the profile started from, or None.
        now: the time at which the profile is read.
    """
    picks = profile.picks(picked, weights, times)
    vectors = profile.space.items[items].astype(np.float64)
    state = profile.start(start)
    for pick in picks:
        state = profile.kind.add(profile.space, state, pick)
    query = profile.vectors(state, now).vectors
    if not len(query) or not picks:
        remainder = vectors @ query[0] if len(query) else np.zeros(len(items))
        return Shares(np.zeros((len(items), len(picks))), remainder)
    if isinstance(profile.kind, Average):
        directions = _average_parts(profile, profile.kind, picks, start is not None, now)
        length = np.linalg.norm(profile.kind.mean(state, now))
        directions = directions * (profile.space.length / length)
        targets = vectors[:, : profile.space.dim].T
    elif isinstance(profile.kind, Posterior):
        directions, targets = _posterior_parts(profile.kind, profile.space, state, picks, vectors, now)
    else:
        raise SettingError(
            f"{profile.kind!r} has several queries, each of which is one pick: that pick is the reason for "
            "its results"
        )
    parts = (directions @ targets).T
    return Shares(parts, vectors @ query[0] - parts.sum(1))


def by_features(embeddings: Embeddings, vector: np.ndarray, features: CSR, items: np.ndarray) -> Shares:
    """Split the scores of items for a user vector (dim,) among the items' features (m × features CSR).

    The vector of an item is the sum of the vectors of its features, so feature f of weight w adds w x·e_f,
    including its bias. The remainder is the user's own bias.
    """
    scores = embeddings.items[items].astype(np.float64) @ vector.astype(np.float64)
    effects = np.asarray(embeddings.item_features, np.float64) @ vector.astype(np.float64)
    parts = features.toarray().astype(np.float64) * effects
    return Shares(parts, scores - parts.sum(1))


def _average_parts(
    profile: Profile, kind: Average, picks: list[Pick], started: bool, now: float | None
) -> np.ndarray:
    """What each pick adds to the mean (picks × dim), from the same average over one axis per pick."""
    axes = np.eye(len(picks) + 1)
    state = kind.begin(profile.space, axes[-1] * started)
    for axis, pick in zip(axes, picks, strict=False):
        state = kind.move(state, axis, pick)
    shares = kind.mean(state, now)
    directions = np.array([kind.item_direction(profile.space, pick.row) for pick in picks])
    parts: np.ndarray = directions * shares[: len(picks), None]
    return parts


def _posterior_parts(
    kind: Posterior, space: Space, state: State, picks: list[Pick], vectors: np.ndarray, now: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """What each pick adds to b (picks × dim), and A⁻¹ times each item vector (dim × items)."""
    latest = max([pick.time for pick in picks] + ([] if now is None else [now]))
    shares = np.array(
        [
            pick.weight * kind.time_decay(latest - pick.time) * kind.pick_decay(later)
            for later, pick in zip(range(len(picks) - 1, -1, -1), picks, strict=True)
        ]
    )
    _, factor = kind.solve(space, state, now)
    rows = [pick.row for pick in picks]
    return shares[:, None] * space.items[rows], cho_solve((factor, True), vectors.T)
