"""Reasons for recommendations: an item's score, split among the user's picks or the item's features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import polars as pl

from segue.data.ids import Id
from segue.online.explanations import Shares, by_events, by_features, by_picks
from segue.online.interests import Interests
from segue.online.profile import Profile
from segue.recommender.queries import Event, Picks, follow
from segue.recommender.ranker import Ranker
from segue.recommender.state import RecommenderState

REASONS = 3  # reasons of each item in a list
LATEST = 1000  # events of a user that are considered, the latest ones
PICK, FEATURE, OTHER, REMAINDER = "pick", "feature", "other", "remainder"


class Reason(TypedDict):
    """One part of an item's score.

    Attributes:
        reason: "pick" (an item of the user), "feature" (of the item), "other" (all smaller parts together),
            or "remainder" (the part of the score that no pick or feature accounts for).
        value: the id of the pick, or the feature, such as `genres=Drama`; None for "other" and "remainder".
        title: the title of the pick if it has one.
        share: what it adds to the score. The shares of an item add up to its score.
    """

    reason: str
    value: Id | None
    title: str | None
    share: float


REASONS_DTYPE = pl.List(
    pl.Struct({"reason": pl.String, "value": pl.String, "title": pl.String, "share": pl.Float64})
)


def explain_vector(
    state: RecommenderState,
    ranker: Ranker,
    vector: np.ndarray,
    picks: Picks,
    items: np.ndarray,
    most: int = REASONS,
) -> list[list[Reason]]:
    """Return the reasons of item rows (m,) for a user vector (dim,) that was learned from `picks`.

    For models with item features the reasons are features, else picks.
    """
    if not len(items):
        return []
    if state.item_encoding is not None:
        table = pl.DataFrame() if state.item_metadata is None else state.item_metadata[items]
        features = state.item_encoding.encode(table, state.items.series.gather(items))
        names: list[Id] = list(state.item_encoding.names)
        return _reasons(by_features(state.embeddings, vector, features, items), FEATURE, names, None, most)
    shares = by_picks(ranker.space, vector, picks.rows, picks.weights, items)
    return _of_picks(state, shares, picks.rows, most)


def explain_profile(
    state: RecommenderState,
    profile: Profile,
    events: Sequence[Event],
    items: np.ndarray,
    *,
    start: np.ndarray | None = None,
    now: float | None = None,
    most: int = REASONS,
) -> list[list[Reason]]:
    """Return the reasons of item rows (m,) for a profile that followed `events`, oldest first.

    Args:
        state: the trained recommender.
        profile: the kind of profile.
        events: the events of the user; only the latest 1,000 that move the profile count.
        items: the item rows to explain.
        start: the vector (dim,) that the profile started from, or None.
        now: the time at which the profile was read; None for the time of the latest event.
        most: the number of reasons of each item.
    """
    if not len(items):
        return []
    moving = [event for event in events if event.weight and event.row >= 0]
    moving = [event for event in moving[-LATEST:] if profile.space.known(event.row)]
    rows = np.array([event.row for event in moving], np.int64)
    if isinstance(profile.kind, Interests):
        shares = _nearest_pick(profile, moving, items, start, now)
    else:
        weights, times = [event.weight for event in moving], [event.time for event in moving]
        shares = by_events(profile, items, rows, weights, times, start=start, now=now)
    return _of_picks(state, shares, rows, most)


def _nearest_pick(
    profile: Profile, events: list[Event], items: np.ndarray, start: np.ndarray | None, now: float | None
) -> Shares:
    """The score by the nearest interest, attributed to the pick that is nearest to the item."""
    queries = profile.vectors(follow(profile, events, start), now).vectors
    parts = np.zeros((len(items), len(events)))
    if not len(queries):
        return Shares(parts, np.zeros(len(items)))
    scores = (profile.space.items[items].astype(np.float64) @ queries.T).max(1)
    if not len(events):
        return Shares(parts, scores)
    directions = np.array([profile.space.direction(event.row) for event in events])
    cosines = profile.space.items[items, : profile.space.dim] @ directions.T
    parts[np.arange(len(items)), np.argmax(cosines, axis=1)] = scores
    return Shares(parts, np.zeros(len(items)))


def reasons_frame(reasons: list[list[Reason]], items: pl.Series) -> pl.DataFrame:
    """Return one row per reason: item_id, reason, value, share, title; `items` are the ids (m,)."""
    rows = [
        {"item_id": item, **reason}
        for item, item_reasons in zip(items.to_list(), reasons, strict=True)
        for reason in item_reasons
    ]
    values = [row["value"] for row in rows if row["value"] is not None]
    value_dtype = pl.String() if any(isinstance(value, str) for value in values) else items.dtype
    schema: dict[str, pl.DataType] = {
        "item_id": items.dtype, "reason": pl.String(), "value": value_dtype, "share": pl.Float64(),
        "title": pl.String(),
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def _of_picks(state: RecommenderState, shares: Shares, rows: np.ndarray, most: int) -> list[list[Reason]]:
    titles = state.titles(rows)
    names = state.items.series.gather(rows).to_list()
    return _reasons(shares, PICK, names, None if titles is None else titles.cast(pl.String).to_list(), most)


def _reasons(
    shares: Shares, kind: str, names: list[Id], titles: list[str | None] | None, most: int
) -> list[list[Reason]]:
    """The largest shares of each item by name, the others summed up, and the remainder."""
    lists: list[list[Reason]] = []
    for parts, remainder in zip(shares.parts, shares.remainder, strict=True):
        best = np.argsort(-np.abs(parts), kind="stable")[:most]
        best = best[parts[best] != 0]
        reasons = [
            Reason(
                reason=kind,
                value=names[place],
                title=None if titles is None else titles[place],
                share=float(parts[place]),
            )
            for place in best.tolist()
        ]
        if len(parts) > len(best):
            others = float(parts.sum() - parts[best].sum())
            reasons.append(Reason(reason=OTHER, value=None, title=None, share=others))
        reasons.append(Reason(reason=REMAINDER, value=None, title=None, share=float(remainder)))
        lists.append(reasons)
    return lists
