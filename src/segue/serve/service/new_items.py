"""Items added after training: merge them into a recommender."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict

import polars as pl

from segue.errors import SegueError
from segue.recommender.facade import TrainedRecommender
from segue.recommender.filters import SEPARATOR
from segue.serve.events.base import NewItem

log = logging.getLogger("segue")


class ItemDetails(TypedDict):
    """What an event store keeps of a new item."""

    features: dict[str, object]
    title: str | None


def to_json(features: dict[str, object], title: str | None) -> str:
    """Return the details of a new item as an event store keeps them."""
    return json.dumps(ItemDetails(features=features, title=title))


def with_new_items(recommender: TrainedRecommender, added: Sequence[NewItem]) -> TrainedRecommender:
    """Return the recommender with the items that were added after training.

    Items that this version cannot place by their features are left out, with a warning in the log.
    """
    new: dict[str, ItemDetails] = {
        item.item_id: json.loads(item.details) for item in added if recommender.items.find(item.item_id) < 0
    }
    if not new:
        return recommender
    try:
        return _extend(recommender, new)
    except (SegueError, pl.exceptions.PolarsError) as error:
        log.warning("this version cannot place all added items: %s", error)
    for item_id, details in new.items():
        try:
            recommender = _extend(recommender, {item_id: details})
        except (SegueError, pl.exceptions.PolarsError) as error:  # noqa: PERF203 - items are independent
            log.warning("this version cannot place the added item %r: %s", item_id, error)
    return recommender


def _extend(recommender: TrainedRecommender, new: dict[str, ItemDetails]) -> TrainedRecommender:
    """The recommender with new items, their details filled into the item metadata."""
    features = pl.DataFrame([details["features"] for details in new.values()], infer_schema_length=None)
    extended = recommender.with_items(list(new), features)
    table = extended.item_metadata
    if table is None:
        return extended
    rows = [
        {**details["features"], **({"title": details["title"]} if details.get("title") else {})}
        for details in new.values()
    ]
    cells = [_cells(name, [row.get(name) for row in rows], dtype) for name, dtype in table.schema.items()]
    return replace(extended, item_metadata=pl.concat([table[: -len(new)], pl.DataFrame(cells)]))


def _cells(name: str, values: list[object], dtype: pl.DataType) -> pl.Series:
    """The values of new items as a column of the metadata; null where a value does not fit its type."""
    if isinstance(dtype, (pl.List, pl.Array)):
        values = [value.split(SEPARATOR) if isinstance(value, str) else value for value in values]
    try:
        return pl.Series(name, values, strict=False).cast(dtype, strict=False)
    except (TypeError, pl.exceptions.PolarsError):
        return pl.Series(name, [None] * len(values), dtype)
