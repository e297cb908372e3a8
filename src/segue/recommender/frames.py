"""Ids in and frames out: the edges of the public methods."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

from segue.data.ids import Id
from segue.index.base import Neighbors
from segue.recommender.ranker import RankedLists
from segue.recommender.state import RecommenderState


def as_series(ids: Id | Iterable[Id]) -> pl.Series:
    """Return one id or many as a series; a mix of types becomes strings."""
    if isinstance(ids, pl.Series):
        return ids
    if isinstance(ids, (str, int, np.integer)):
        ids = [ids]
    values = [value.item() if isinstance(value, np.generic) else value for value in ids]
    mixed = len({type(value) for value in values}) > 1
    return pl.Series(values=[str(value) for value in values] if mixed else values)


def ranked_frame(
    state: RecommenderState,
    lists: Neighbors | RankedLists,
    queries: pl.DataFrame | None = None,
    column: str = "item_id",
) -> pl.DataFrame:
    """Return one row per result: the columns of the query, the item, score, rank, propensity and title.

    Args:
        state: the trained recommender.
        lists: ids, scores and perhaps propensities (q, k); padding is left out.
        queries: a row for each query, such as its user_id; None if there is one query without a name.
        column: the name of the column of item ids.
    """
    query, place = np.nonzero(lists.ids >= 0)
    rows = lists.ids[query, place]
    names = [] if queries is None else queries.get_columns()
    frame = pl.DataFrame(
        [
            *(name.gather(query) for name in names),
            state.items.series.gather(rows).alias(column),
            pl.Series("score", lists.scores[query, place]),
            pl.Series("rank", (place + 1).astype(np.int32)),
        ]
    )
    if isinstance(lists, RankedLists) and lists.propensities is not None:
        frame = frame.with_columns(pl.Series("propensity", lists.propensities[query, place]))
    titles = state.titles(rows)
    return frame if titles is None else frame.with_columns(titles.alias("title"))


def user_ids(state: RecommenderState, requested: pl.Series, rows: np.ndarray) -> pl.Series:
    """Return users' ids in the type that the model has; ids that it does not know stay as requested."""
    if (rows >= 0).all():
        return state.users.series.gather(rows)
    return requested if requested.dtype == state.users.series.dtype else requested.cast(pl.String)
