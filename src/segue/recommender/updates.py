"""A trained recommender that grows: new items placed, new interactions taken in, without training anew.

What comes back are the fields of a `TrainedRecommender` that change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.data.features import Encoding
from segue.data.growth import Growth, grow
from segue.data.ids import IdMap
from segue.data.interactions import Interactions
from segue.data.tables import open_frame
from segue.errors import DataError, SettingError
from segue.models.baselines import popularity
from segue.models.text import Text
from segue.models.updates import Update
from segue.progress import Progress
from segue.recommender.state import RecommenderState
from segue.text.bridge import Bridge
from segue.text.documents import columns_of
from segue.text.index import TextIndex


def with_new_items(
    state: RecommenderState, items: pl.Series, features: Any, texts: Any, progress: Progress
) -> dict[str, Any]:
    """Place items by features or by text, as `TrainedRecommender.with_items` says."""
    if (features is None) == (texts is None):
        raise SettingError("with_items takes features or texts=, one of them")
    new = IdMap(items, noun="item")
    table, grown, what = state.item_metadata, state.texts, "features"
    if texts is None:
        vectors = state.embeddings.items_of(encode_features(state.item_encoding, features, "item"))
    else:
        given, what = _framed(texts), "texts"
        grown, table = text_index_of(state).grown(table, given, progress=progress)
        vectors = _placed(state, grown.vectors[len(state.items) :])
    if len(vectors) != len(new):
        raise DataError(f"{len(vectors):,} rows of {what} do not fit {len(new):,} new items")
    known = state.items.rows(new.series) >= 0
    if known.any():
        raise DataError(f"the item {new[int(np.argmax(known))]!r} is in the model already")
    ids = state.items.grown(new.series)
    embeddings = replace(
        state.embeddings, items=np.concatenate([state.embeddings.items, vectors]), state=None
    )
    if texts is None:
        table = None if table is None else pl.concat([table, table.clear(len(new))])
        grown = None if grown is None else grown.padded(len(new))
    old = state.interactions
    return {
        "items": ids,
        "embeddings": embeddings,
        "index": state.settings.index.build(embeddings.items, progress=progress),
        "interactions": sp.csr_matrix((old.data, old.indices, old.indptr), (old.shape[0], len(ids))),
        "item_metadata": table,
        "texts": grown,
    }


def with_interactions(
    state: RecommenderState,
    interactions: Interactions,
    features: dict[str, Any],
    duplicates: str,
    progress: Progress,
) -> dict[str, Any]:
    """Take in interactions, as `TrainedRecommender.partial_fit` says; `features` are by side."""
    grown = grow(state.users, state.items, state.interactions, state.item_metadata, interactions, duplicates)
    if features["item"] is None and state.item_encoding is not None:
        features = features | {"item": interactions.item_metadata}
    users, user_centres = _grown_side(state, "user", interactions.users, grown, features["user"])
    items, item_centres = _grown_side(state, "item", interactions.items, grown, features["item"])
    texts = _grown_texts(state, grown, progress)
    if texts is not None and isinstance(state.settings.model, Text):
        items = texts.vectors
    change = Update(
        replace(state.embeddings, users=users, items=items, state=None),
        grown.interactions,
        grown.added,
        user_centres,
        item_centres,
        progress,
    )
    learned = state.settings.model.update(change)
    same = np.array_equal(learned.items, state.embeddings.items)
    build = state.settings.index.build
    return {
        "users": grown.interactions.users,
        "items": grown.interactions.items,
        "embeddings": learned,
        "index": state.index if same else build(learned.items, queries=learned.users, progress=progress),
        "interactions": grown.interactions.matrix,
        "item_metadata": grown.interactions.item_metadata,
        "texts": texts,
    }


def text_index_of(state: RecommenderState) -> TextIndex:
    """What is written of the items, or `DataError` where the model was fit without."""
    texts: TextIndex | None = state.texts
    if texts is None:
        raise DataError(
            "the model was fit without text; fit it with text= and the columns that tell of the items"
        )
    return texts


def encode_features(encoding: Encoding | None, features: Any, side: str) -> Any:
    """New rows of features, of a frame or a mapping of columns to a value or values."""
    if encoding is None:
        raise DataError(f"the model was trained without {side} features; fit it with {side}_features=")
    return encoding.encode(_framed(features) if isinstance(features, Mapping) else features)


def _grown_texts(state: RecommenderState, grown: Growth, progress: Progress) -> TextIndex | None:
    """What is written of all items; nothing of new ones whose texts did not come along."""
    texts: TextIndex | None = state.texts
    table, count = grown.interactions.item_metadata, len(grown.interactions.items) - len(state.items)
    if texts is None or not count:
        return texts
    if table is None:
        return texts.padded(count)
    new = table.tail(count)
    told = any(new[name].count() for name in columns_of(texts.settings.columns))
    return texts.grown(state.item_metadata, new, progress=progress)[0] if told else texts.padded(count)


def _grown_side(
    state: RecommenderState, side: str, new: IdMap, grown: Growth, features: Any
) -> tuple[np.ndarray, np.ndarray | None]:
    """One side's vectors with rows for new ids, and where features put those with new interactions."""
    vectors = getattr(state.embeddings, f"{side}s")
    ids = getattr(grown.interactions, f"{side}s")
    made = np.zeros((len(ids), vectors.shape[1]), np.float32)
    made[: len(vectors)] = vectors
    encoding = getattr(state, f"{side}_encoding")
    if encoding is None:
        if features is not None:
            encode_features(None, features, side)
        return made, None
    if features is None:
        raise DataError(
            f"the model was trained with {side} features, so those of the {side}s with new interactions "
            f"are wanted too: give {side}_features="
        )
    places = getattr(state.embeddings, f"{side}s_of")(encode_features(encoding, features, side))
    if len(places) != len(new):
        raise DataError(f"{len(places):,} rows of features do not fit {len(new):,} {side}s")
    rows = ids.rows(new.series)
    fresh = rows >= len(vectors)
    made[rows[fresh]] = places[fresh]
    counts = grown.added.T.tocsr().indptr if side == "item" else grown.added.indptr
    moving = np.flatnonzero(np.diff(counts))
    by_row = np.full(len(ids), -1)
    by_row[rows] = np.arange(len(rows))
    return made, places[by_row[moving]]


def _placed(state: RecommenderState, texts: np.ndarray) -> np.ndarray:
    """The vectors of new items, from those of their texts."""
    if isinstance(state.settings.model, Text):
        return texts
    counts = popularity(state.interactions)[:, 0]
    return Bridge.learn(text_index_of(state).vectors, state.embeddings.items, counts).vectors(texts)


def _framed(given: Any) -> pl.DataFrame:
    """A frame, of a mapping of columns to a value or values, or of another library's frame."""
    if not isinstance(given, Mapping):
        table = open_frame(given)
        return table.read(table.columns, ())
    many = (list, tuple, pl.Series, np.ndarray)
    return pl.DataFrame(
        {name: value if isinstance(value, many) else [value] for name, value in given.items()}
    )
