"""A trained recommender as the arrays, tables and settings of a model folder, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.data.features import Encoding
from segue.data.ids import IdMap
from segue.errors import CorruptModelError
from segue.index import INDEXES
from segue.models import MODELS, Embeddings
from segue.models.registry import name_of
from segue.models.text import Text
from segue.recommender.settings import RecommenderSettings
from segue.recommender.state import RecommenderState
from segue.store import StoredModel
from segue.text.index import TextIndex
from segue.types import CSR

Arrays = dict[str, np.ndarray]
Tables = dict[str, pl.DataFrame]
Meta = dict[str, Any]  # JSON values
SIDES = ("item", "user")
ITEMS = "items"  # the array of item vectors, which an index or a text index may share
INDEX, TRAINING, TEXT = "index.", "state.", "text."  # prefixes of array names
INTERACTIONS = ("indptr", "indices", "data")


@dataclass(frozen=True)
class _Encodings:
    """The encodings of item and user features; None without features."""

    item: Encoding | None
    user: Encoding | None


def to_stored(state: RecommenderState) -> tuple[Arrays, Tables, Meta]:
    """Return the arrays, tables and JSON values that a model folder stores."""
    embeddings = state.embeddings
    arrays: Arrays = {"users": embeddings.users, ITEMS: embeddings.items}
    arrays |= {f"interactions.{name}": getattr(state.interactions, name) for name in INTERACTIONS}
    arrays |= {f"{TRAINING}{name}": array for name, array in (embeddings.state or {}).items()}
    index_arrays, shared = _without_items(state.index.arrays(), embeddings.items, INDEX)
    arrays |= index_arrays
    tables: Tables = {
        "users": state.users.series.alias("id").to_frame(),
        "items": state.items.series.alias("id").to_frame(),
    }
    if state.item_metadata is not None:
        tables["item_metadata"] = state.item_metadata
    meta: Meta = {
        "text": None,
        "biases": embeddings.biases,
        "encodings": _store_features(state, arrays, tables),
        "model": _describe(state.settings.model, name_of(state.settings.model)),
        "index": _describe(state.settings.index, _index_name(state.settings.index)),
        "index_arrays": dict.fromkeys(shared, ITEMS),
        "metrics": {name: float(value) for name, value in state.metrics.items() if np.isfinite(value)},
    }
    if state.texts is not None:
        text_arrays, shared = _without_items(state.texts.arrays(), embeddings.items, TEXT)
        arrays |= text_arrays
        tables["text"] = state.texts.lexical.terms.alias("term").to_frame()
        settings = {field.name: getattr(state.texts.settings, field.name) for field in fields(Text)}
        meta["text"] = {"settings": settings, "shared": shared}
    return arrays, tables, meta


def from_stored(stored: StoredModel) -> RecommenderState:
    """Return the state that a model folder stores, or raise `CorruptModelError`."""
    arrays, meta, tables = stored.arrays, stored.meta, stored.tables
    try:
        model = MODELS[meta["model"]["name"]].settings(**meta["model"]["settings"])
        index_class: Any = INDEXES[meta["index"]["name"]]
        index = index_class(**meta["index"]["settings"])
        index_arrays = _with_prefix(arrays, INDEX)
        index_arrays |= {name: arrays[other] for name, other in meta["index_arrays"].items()}
        users, items = (IdMap.trusted(tables[f"{side}s"]["id"], noun=side) for side in ("user", "item"))
        interactions = _load_interactions(arrays, users, items)
        encodings = _load_encodings(meta, tables)
        embeddings = Embeddings(
            arrays["users"],
            arrays[ITEMS],
            meta.get("biases", 0),
            arrays.get("user_features"),
            arrays.get("item_features"),
            _with_prefix(arrays, TRAINING) or None,
        )
        if (len(embeddings.users), len(embeddings.items)) != interactions.shape:
            raise ValueError(
                f"vectors {embeddings.users.shape} and {embeddings.items.shape} for {interactions.shape}"
            )
        return RecommenderState(
            settings=RecommenderSettings(model, index),
            users=users,
            items=items,
            embeddings=embeddings,
            index=index.from_arrays(index_arrays),
            interactions=interactions,
            item_metadata=tables.get("item_metadata"),
            metrics=meta["metrics"],
            version=stored.version,
            item_encoding=encodings.item,
            user_encoding=encodings.user,
            texts=_load_texts(meta, arrays, tables, len(items)),
        )
    except (AttributeError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise CorruptModelError(f"{stored.path} is not a recommender of this release: {error!r}") from error


def _without_items(
    arrays: Mapping[str, np.ndarray], items: np.ndarray, prefix: str
) -> tuple[Arrays, list[str]]:
    """Arrays with prefixed names, and the names of those that are the item vectors themselves."""
    shared = [name for name, array in arrays.items() if array is items]
    return {prefix + name: array for name, array in arrays.items() if name not in shared}, shared


def _with_prefix(arrays: Mapping[str, np.ndarray], prefix: str) -> Arrays:
    """The arrays with names that start with a prefix, without it."""
    return {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}


def _store_features(state: RecommenderState, arrays: Arrays, tables: Tables) -> Meta:
    """Add the feature vectors and encodings; return the settings of the encodings by side."""
    encodings = _Encodings(state.item_encoding, state.user_encoding)
    settings: Meta = {}
    for side in SIDES:
        encoding: Encoding | None = getattr(encodings, side)
        if encoding is not None:
            arrays[f"{side}_features"] = getattr(state.embeddings, f"{side}_features")
            tables[f"{side}_features"] = encoding.table
            settings[side] = {"separator": encoding.separator, "normalize": encoding.normalize}
    return settings


def _load_encodings(meta: Meta, tables: Tables) -> _Encodings:
    loaded = {
        side: Encoding(tables[f"{side}_features"], **settings)
        for side, settings in meta.get("encodings", {}).items()
    }
    return _Encodings(loaded.get("item"), loaded.get("user"))


def _load_interactions(arrays: Arrays, users: IdMap, items: IdMap) -> CSR:
    indptr, indices, data = (arrays[f"interactions.{name}"] for name in INTERACTIONS)
    return sp.csr_matrix((data, indices, indptr), (len(users), len(items)))


def _load_texts(meta: Meta, arrays: Arrays, tables: Tables, items: int) -> TextIndex | None:
    stored = meta.get("text")
    if stored is None:
        return None
    text_arrays = _with_prefix(arrays, TEXT) | dict.fromkeys(stored["shared"], arrays[ITEMS])
    texts = TextIndex.from_arrays(Text(**stored["settings"]), text_arrays, tables["text"]["term"])
    if len(texts) != items:
        raise ValueError(f"texts of {len(texts)} items for {items}")
    return texts


def _describe(settings: Any, name: str) -> Meta:
    """The name and the values of settings."""
    return {"name": name, "settings": asdict(settings)}


def _index_name(settings: object) -> str:
    return str(INDEXES.name_of(lambda kind: kind is type(settings)))
