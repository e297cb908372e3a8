"""Why an item is recommended: its score, split into what earned it. The shares add up to the score."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy.linalg import cho_factor, cho_solve

from segue.errors import SettingError
from segue.models.embeddings import Embeddings
from segue.models.ials import IALS
from segue.online.averages import Average
from segue.online.posterior import Posterior
from segue.online.profile import Profile
from segue.online.profile_state import Pick
from segue.online.space import Space

SHOWN = 5  # reasons of an item, unless asked for more


class Shares(NamedTuple):
    """The scores of m items for one person, split.

    Attributes:
        parts: (m, p) float64, what each pick or feature adds to each score.
        rest: (m,) float64, what none of them explains: a row of `parts` and its rest add up to the score.
    """

    parts: np.ndarray
    rest: np.ndarray


def by_picks(space: Space, vector: np.ndarray, rows: np.ndarray, weights: Any, items: np.ndarray) -> Shares:
    """Split the scores of `items` for a user vector among the picks (rows) of the user.

    For iALS, whose x = A⁻¹ sum c_j y_j, pick j adds c_j y_j·A⁻¹y_i to the score of item i; the rest is how
    far the trained vector is from that solution. For other models the sum of the picks'
    vectors is scaled to come nearest to the user's, and the rest is what is left: nothing where the model
    itself sums up the picks (Item2Vec, Contrastive), the user's own in the others.
    """
    scores = space.items[items].astype(np.float64) @ vector.astype(np.float64)
    picked = space.items[rows].astype(np.float64)
    if isinstance(space.model, IALS):
        counted = np.broadcast_to(np.asarray(weights, np.float64), len(rows))
        factor = cho_factor(Posterior().precision(space, rows, counted), lower=True)
        towards = cho_solve(factor, space.items[items].astype(np.float64).T)
        parts = (picked * counted[:, None] @ towards).T
    else:
        picked[:, space.dim :] = 0
        total = picked.sum(0)
        scale = float(total @ vector) / max(float(total @ total), 1e-30)
        parts = scale * space.items[items].astype(np.float64) @ picked.T
    return Shares(parts, scores - parts.sum(1))


def by_events(
    profile: Profile, items: np.ndarray, picked: Any, weights: Any = 1.0, times: Any = 0.0, *,
    start: Any = None, now: float | None = None,
) -> Shares:  # fmt: skip
    """Split the scores of `items` for a profile among the events that made it, one column an event.

    The shares are those of the query that `Profile.vectors` gives after the same events. The rest belongs
    to the vector that was started from, and to biases. For averages and posteriors; raises `SettingError` for
    `Interests`, whose results belong to one pick each.
    """
    picks = profile.picks(picked, weights, times)
    wanted = profile.space.items[items].astype(np.float64)
    state = profile.start(start)
    for pick in picks:
        state = profile.kind.add(profile.space, state, pick)
    query = profile.vectors(state, now).vectors
    if not len(query) or not picks:
        return Shares(
            np.zeros((len(items), len(picks))), wanted @ query[0] if len(query) else wanted[:, 0] * 0
        )
    if isinstance(profile.kind, Average):
        directions = _pulls(profile, profile.kind, picks, start is not None, now)
        length = np.linalg.norm(profile.kind.mean(state, now))
        directions, towards = directions * (profile.space.length / length), wanted[:, : profile.space.dim].T
    elif isinstance(profile.kind, Posterior):
        directions, towards = _evidence(profile.kind, profile.space, state, picks, wanted, now)
    else:
        raise SettingError(
            f"{profile.kind!r} has several queries, each of which is a pick: that pick is why its results "
            "are there"
        )
    parts = (directions @ towards).T
    return Shares(parts, wanted @ query[0] - parts.sum(1))


def _pulls(
    profile: Profile, kind: Average, picks: list[Pick], started: bool, now: float | None
) -> np.ndarray:
    """What each pick adds to the mean (picks × dim), found by the same average of one axis for each pick."""
    basis = np.eye(len(picks) + 1)
    state = kind.begin(profile.space, basis[-1] * started)
    for vector, pick in zip(basis, picks, strict=False):
        state = kind.move(state, vector, pick)
    shares = kind.mean(state, now)
    towards = np.array([kind.towards(profile.space, pick.row) for pick in picks])
    made: np.ndarray = towards * shares[: len(picks), None]
    return made


def _evidence(
    kind: Posterior, space: Space, state: Any, picks: list[Pick], wanted: np.ndarray, now: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """What each pick adds to b (picks × dim), and A⁻¹ times each wanted item (dim × items)."""
    latest = max([pick.time for pick in picks] + ([] if now is None else [now]))
    shares = np.array(
        [
            pick.weight * kind.faded(latest - pick.time) * kind.kept(later)
            for later, pick in zip(range(len(picks) - 1, -1, -1), picks, strict=True)
        ]
    )
    _, factor = kind.solve(space, state, now)
    rows = [pick.row for pick in picks]
    return shares[:, None] * space.items[rows], cho_solve((factor, True), wanted.T)


def by_features(embeddings: Embeddings, vector: np.ndarray, features: Any, items: np.ndarray) -> Shares:
    """Split the scores of `items` for a user vector among the items' features (m × features CSR).

    The vector of an item is the sum of those of its features, so feature f of weight w adds w x·e_f, its bias
    among it. The rest is the user's own bias.
    """
    scores = embeddings.items[items].astype(np.float64) @ vector.astype(np.float64)
    made = np.asarray(embeddings.item_features, np.float64) @ vector.astype(np.float64)
    parts = features.toarray().astype(np.float64) * made
    return Shares(parts, scores - parts.sum(1))


def reasons(shares: Shares, names: pl.DataFrame, items: pl.Series, most: int = SHOWN) -> pl.DataFrame:
    """Turn shares into rows: for each item the largest of them, the others summed up, and the rest.

    `names` has a row for each column of the shares. The frame has item_id, reason ("pick", "feature", "other"
    or "rest"), the columns of `names` (null for "other" and "rest") and share; the shares of an item add up
    to its score.
    """
    frames = []
    for place, item in enumerate(items):
        parts = shares.parts[place]
        best = np.argsort(-np.abs(parts), kind="stable")[:most]
        best = best[parts[best] != 0]
        others = float(parts.sum() - parts[best].sum())
        told = names[best].with_columns(pl.Series("share", parts[best], pl.Float64))
        extra = [("other", others)] * (len(parts) > len(best)) + [("rest", float(shares.rest[place]))]
        sums = pl.DataFrame(extra, schema={"reason": pl.String, "share": pl.Float64}, orient="row")
        both = pl.concat([told, sums], how="diagonal")
        frames.append(both.select(pl.lit(item, items.dtype).alias(items.name), pl.all()))
    made: pl.DataFrame = pl.concat(frames)
    return made
