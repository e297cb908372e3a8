"""Lists as frames: user rows, histories and profiles in, ids with scores, propensities and reasons out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl

from segue.data.ids import Id
from segue.online.profile import Profile
from segue.recommender.exclusions import NO_ITEMS, union
from segue.recommender.explanations import REASONS_DTYPE, Reason, explain_profile, explain_vector
from segue.recommender.frames import as_series, ranked_frame, user_ids
from segue.recommender.options import ListOptions
from segue.recommender.queries import ONE_QUERY, UNTRAINED, Event, Picks, UserQuery, follow, profile_query
from segue.recommender.ranker import RankedLists, Ranker
from segue.recommender.state import RecommenderState
from segue.types import CSR


def lists_for_rows(
    state: RecommenderState,
    ranker: Ranker,
    requested: pl.Series,
    rows: np.ndarray,
    options: ListOptions,
    allow: np.ndarray | None,
    pairs: CSR | None,
) -> pl.DataFrame:
    """Return the lists of user rows.

    Args:
        state: the trained recommender.
        ranker: its ranker.
        requested: the ids of the users (q,).
        rows: their rows (q,), -1 for an unknown user, who gets the most popular items.
        options: the list options.
        allow: the bitmap (items,) of the options' exclude, allow and where; None for all.
        pairs: further pairs to exclude, a q × items CSR, or None.
    """
    known = rows >= 0
    vectors = np.zeros((len(rows), state.embeddings.dim), np.float32)
    vectors[known] = state.embeddings.users[rows[known]]
    histories = state.histories(rows)
    exclude = union(histories if options.exclude_seen else None, pairs)
    lists = ranker.rank_many(
        vectors, options, exclude=exclude, allow=allow, histories=histories, seed_keys=rows + 1
    )
    frame = ranked_frame(state, lists, pl.DataFrame({"user_id": user_ids(state, requested, rows)}))
    if not options.explain:
        return frame
    reasons: list[list[Reason]] = []
    for place, vector in enumerate(vectors):
        items = lists.ids[place][lists.ids[place] >= 0]
        reasons += vector_reasons(state, ranker, vector, ranker.picks(histories[place]), items)
    return _with_reasons(frame, reasons)


def list_for_vector(
    state: RecommenderState,
    ranker: Ranker,
    vectors: np.ndarray,
    history: CSR,
    options: ListOptions,
    allow: np.ndarray | None,
) -> pl.DataFrame:
    """Return the list of one untrained user, whose vector (1, dim) comes from a history or from features."""
    picks = ranker.picks(history)
    query = UserQuery(vectors, ONE_QUERY, _excluded(history, options), picks, UNTRAINED)
    lists = ranker.rank(query, options, allow)
    frame = ranked_frame(state, lists)
    if not options.explain:
        return frame
    return _with_reasons(frame, vector_reasons(state, ranker, query.main, picks, _items(lists)))


def list_for_profile(
    state: RecommenderState,
    ranker: Ranker,
    profile: Profile,
    history: Iterable[Id] | Mapping[Id, float],
    matrix: CSR,
    options: ListOptions,
    allow: np.ndarray | None,
) -> pl.DataFrame:
    """Return the list of a profile that follows a history in its order; `matrix` is the checked history."""
    ids = as_series(list(history) if isinstance(history, Mapping) else history)
    weights = list(history.values()) if isinstance(history, Mapping) else [1.0] * len(ids)
    events = [
        Event(row, float(weight), 0.0)
        for row, weight in zip(state.items.rows(ids).tolist(), weights, strict=True)
        if row >= 0 and profile.space.known(row)
    ]
    query = profile_query(
        profile, follow(profile, events), exclude=_excluded(matrix, options), picks=ranker.picks(matrix)
    )
    lists = ranker.rank(query, options, allow)
    frame = ranked_frame(state, lists)
    if not options.explain:
        return frame
    items = _items(lists)
    known = query.vectors.any()
    return _with_reasons(
        frame, explain_profile(state, profile, events, items) if known else [[] for _ in items]
    )


def vector_reasons(
    state: RecommenderState, ranker: Ranker, vector: np.ndarray, picks: Picks, items: np.ndarray
) -> list[list[Reason]]:
    """Return the reasons of listed item rows (m,); none if the vector is zero and the items are popular."""
    if not vector.any():
        return [[] for _ in items]
    return explain_vector(state, ranker, vector, picks, items)


def _excluded(history: CSR, options: ListOptions) -> np.ndarray:
    return np.unique(history.indices).astype(np.int32) if options.exclude_seen else NO_ITEMS


def _items(lists: RankedLists) -> np.ndarray:
    """The item rows of a single list."""
    rows: np.ndarray = lists.ids[0][lists.ids[0] >= 0]
    return rows


def _with_reasons(frame: pl.DataFrame, reasons: list[list[Reason]]) -> pl.DataFrame:
    """The frame with a column of reasons, whose values are strings."""
    cells = [
        [{**reason, "value": None if reason["value"] is None else str(reason["value"])} for reason in item]
        for item in reasons
    ]
    return frame.with_columns(pl.Series("reasons", cells, REASONS_DTYPE))
