"""Update a trained recommender without a full training: new items, new interactions.

The functions return the fields of the state that change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.data.features import Encoding
from segue.data.growth import Growth, grow
from segue.data.ids import IdMap
from segue.data.interactions import Interactions
from segue.data.tables import open_frame
from segue.errors import DataError, SettingError
from segue.models import spec_of
from segue.models.baselines import popularity
from segue.models.updates import Update
from segue.progress import Progress
from segue.recommender.state import RecommenderState
from segue.text.documents import parse_columns
from segue.text.index import TextIndex
from segue.text.ridge import RidgeMap

Columns: TypeAlias = Mapping[str, object] | pl.DataFrame  # a frame, or columns with a value or values
ITEM, USER = "item", "user"


def with_new_items(
    state: RecommenderState,
    items: pl.Series,
    features: Columns | None,
    texts: Columns | None,
    progress: Progress,
) -> dict[str, Any]:
    """Place new items by features or by text; see `TrainedRecommender.with_items`."""
    if (features is None) == (texts is None):
        raise SettingError("with_items takes either features= or texts=")
    new = IdMap(items, noun="item")
    metadata, text_index, noun = state.item_metadata, state.texts, "features"
    if texts is None:
        vectors = state.embeddings.items_of(encode_features(state.item_encoding, features, ITEM))
    else:
        noun = "texts"
        text_index, metadata = text_index_of(state).with_items(metadata, _to_frame(texts), progress=progress)
        vectors = _vectors_from_text(state, text_index.vectors[len(state.items) :])
    if len(vectors) != len(new):
        raise DataError(f"{len(vectors):,} rows of {noun} do not fit {len(new):,} new items")
    known = state.items.rows(new.series) >= 0
    if known.any():
        raise DataError(f"the item {new[int(np.argmax(known))]!r} is in the model already")
    ids = state.items.grown(new.series)
    embeddings = replace(
        state.embeddings, items=np.concatenate([state.embeddings.items, vectors]), state=None
    )
    if texts is None:
        metadata = None if metadata is None else pl.concat([metadata, metadata.clear(len(new))])
        text_index = None if text_index is None else text_index.with_empty_items(len(new))
    old = state.interactions
    return {
        "items": ids,
        "embeddings": embeddings,
        "index": state.settings.index.build(embeddings.items, progress=progress),
        "interactions": sp.csr_matrix((old.data, old.indices, old.indptr), (old.shape[0], len(ids))),
        "item_metadata": metadata,
        "texts": text_index,
    }


def with_interactions(
    state: RecommenderState,
    interactions: Interactions,
    features: dict[str, Columns | None],
    duplicates: str,
    progress: Progress,
) -> dict[str, Any]:
    """Learn from new interactions; see `TrainedRecommender.partial_fit`. `features` are by side."""
    growth = grow(state.users, state.items, state.interactions, state.item_metadata, interactions, duplicates)
    if features[ITEM] is None and state.item_encoding is not None:
        features = features | {ITEM: interactions.item_metadata}
    users, user_priors = _grow_users(state, interactions.users, growth, features[USER])
    items, item_priors = _grow_items(state, interactions.items, growth, features[ITEM])
    texts = _grow_texts(state, growth, progress)
    if texts is not None and spec_of(state.settings.model).needs_text:
        items = texts.vectors
    update = Update(
        replace(state.embeddings, users=users, items=items, state=None),
        growth.interactions,
        growth.added,
        user_priors,
        item_priors,
        progress,
    )
    embeddings = state.settings.model.update(update)
    index = state.index
    if not np.array_equal(embeddings.items, state.embeddings.items):
        index = state.settings.index.build(embeddings.items, queries=embeddings.users, progress=progress)
    return {
        "users": growth.interactions.users,
        "items": growth.interactions.items,
        "embeddings": embeddings,
        "index": index,
        "interactions": growth.interactions.matrix,
        "item_metadata": growth.interactions.item_metadata,
        "texts": texts,
    }


def text_index_of(state: RecommenderState) -> TextIndex:
    """Return the text index, or raise `DataError` if the model was fit without text."""
    if state.texts is None:
        raise DataError(
            "the model was fit without text; fit it with text= and the columns that describe the items",
            arguments=("text",),
        )
    return state.texts


def encode_features(encoding: Encoding | None, features: Columns | None, side: str) -> sp.csr_matrix:
    """Return new rows of features as a CSR, from a frame or a mapping of columns to a value or values."""
    if encoding is None:
        raise DataError(f"the model was trained without {side} features; fit it with {side}_features=")
    return encoding.encode(_to_frame(features) if isinstance(features, Mapping) else features)


def _grow_texts(state: RecommenderState, growth: Growth, progress: Progress) -> TextIndex | None:
    """The text index with rows for new items; their text is empty if it is not in the metadata."""
    texts, metadata = state.texts, growth.interactions.item_metadata
    count = len(growth.interactions.items) - len(state.items)
    if texts is None or not count:
        return texts
    if metadata is None:
        return texts.with_empty_items(count)
    new = metadata.tail(count)
    has_text = any(new[name].count() for name in parse_columns(texts.settings.columns))
    return (
        texts.with_items(state.item_metadata, new, progress=progress)[0]
        if has_text
        else texts.with_empty_items(count)
    )


def _grow_users(
    state: RecommenderState, new: IdMap, growth: Growth, features: Columns | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The user vectors with rows for new users, and the feature priors of users with new interactions."""
    vectors = _with_room(state.embeddings.users, growth.interactions.users)
    if not _needs_features(state.user_encoding, features, USER):
        return vectors, None
    priors = state.embeddings.users_of(encode_features(state.user_encoding, features, USER))
    moving = np.flatnonzero(np.diff(growth.added.indptr))
    return _apply_priors(vectors, len(state.users), priors, new, growth.interactions.users, moving)


def _grow_items(
    state: RecommenderState, new: IdMap, growth: Growth, features: Columns | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The item vectors with rows for new items, and the feature priors of items with new interactions."""
    vectors = _with_room(state.embeddings.items, growth.interactions.items)
    if not _needs_features(state.item_encoding, features, ITEM):
        return vectors, None
    priors = state.embeddings.items_of(encode_features(state.item_encoding, features, ITEM))
    moving = np.flatnonzero(np.diff(growth.added.T.tocsr().indptr))
    return _apply_priors(vectors, len(state.items), priors, new, growth.interactions.items, moving)


def _needs_features(encoding: Encoding | None, features: Columns | None, side: str) -> bool:
    """Whether features place new rows; raises `DataError` if features are missing or cannot be used."""
    if encoding is None:
        if features is not None:
            encode_features(None, features, side)
        return False
    if features is None:
        raise DataError(
            f"the model was trained with {side} features, so the {side}s with new interactions need theirs, "
            f"too: give {side}_features="
        )
    return True


def _apply_priors(
    vectors: np.ndarray, old: int, priors: np.ndarray, new: IdMap, ids: IdMap, moving: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Start rows beyond `old` at their priors; return the vectors and the priors of the `moving` rows."""
    if len(priors) != len(new):
        raise DataError(f"{len(priors):,} rows of features do not fit {len(new):,} {ids.noun}s")
    rows = ids.rows(new.series)
    fresh = rows >= old
    vectors[rows[fresh]] = priors[fresh]
    prior_of_row = np.full(len(ids), -1)
    prior_of_row[rows] = np.arange(len(rows))
    return vectors, priors[prior_of_row[moving]]


def _with_room(vectors: np.ndarray, ids: IdMap) -> np.ndarray:
    """A copy of vectors with zero rows for further ids."""
    grown = np.zeros((len(ids), vectors.shape[1]), np.float32)
    grown[: len(vectors)] = vectors
    return grown


def _vectors_from_text(state: RecommenderState, texts: np.ndarray) -> np.ndarray:
    """The item vectors (n, dim) of new items from their text vectors."""
    if spec_of(state.settings.model).needs_text:
        return texts
    counts = popularity(state.interactions)[:, 0]
    return RidgeMap.fit(text_index_of(state).vectors, state.embeddings.items, counts).predict(texts)


def _to_frame(columns: Columns) -> pl.DataFrame:
    """A frame from a mapping of columns to a value or values, or from another library's frame."""
    if not isinstance(columns, Mapping):
        table = open_frame(columns)
        return table.read(table.columns, ())
    sequences = (list, tuple, pl.Series, np.ndarray)
    return pl.DataFrame(
        {name: value if isinstance(value, sequences) else [value] for name, value in columns.items()}
    )
