"""A trained recommender as what a model folder keeps, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.data.features import Encoding
from segue.data.ids import IdMap
from segue.errors import CorruptModelError
from segue.index import INDEXES
from segue.models import MODELS, Embeddings
from segue.models.text import kept, opened
from segue.recommender.state import RecommenderState
from segue.store import StoredModel

Packed = tuple[dict[str, np.ndarray], dict[str, pl.DataFrame], dict[str, Any]]


def to_stored(state: RecommenderState) -> Packed:
    """Return the arrays, tables and settings of a `TrainedRecommender`."""
    arrays = {
        "users": state.embeddings.users,
        "items": state.embeddings.items,
        "interactions.indptr": state.interactions.indptr,
        "interactions.indices": state.interactions.indices,
        "interactions.data": state.interactions.data,
    }
    arrays |= {f"state.{name}": array for name, array in (state.embeddings.state or {}).items()}
    same = {}
    for name, array in state.index.arrays().items():
        if array is state.embeddings.items:
            same[name] = "items"
        else:
            arrays[f"index.{name}"] = array
    tables = {
        "users": state.users.series.alias("id").to_frame(),
        "items": state.items.series.alias("id").to_frame(),
    }
    if state.item_metadata is not None:
        tables["item_metadata"] = state.item_metadata
    encodings = {}
    for side in ("item", "user"):
        encoding, vectors = (
            getattr(state, f"{side}_encoding"),
            getattr(state.embeddings, f"{side}_features"),
        )
        if encoding is not None:
            arrays[f"{side}_features"] = vectors
            tables[f"{side}_features"] = encoding.table
            encodings[side] = {"separator": encoding.separator, "normalize": encoding.normalize}
    described = None
    if state.texts is not None:
        texts, tables["text"], described = kept(state.texts, state.embeddings.items)
        arrays |= texts
    meta = {
        "text": described,
        "biases": state.embeddings.biases,
        "encodings": encodings,
        "model": _described(state.settings.model, MODELS),
        "index": _described(state.settings.index, INDEXES),
        "index_arrays": same,
        "metrics": {name: float(value) for name, value in state.metrics.items() if np.isfinite(value)},
    }
    return arrays, tables, meta


def from_stored(stored: StoredModel) -> tuple[Any, Any, dict[str, Any]]:
    """Return the settings of the model and the index, and all else that a `TrainedRecommender` is made of.

    Raises `CorruptModelError` where the folder holds something else.
    """
    arrays, meta, tables = stored.arrays, stored.meta, stored.tables
    try:
        model, index = (
            registry[meta[part]["name"]](**meta[part]["settings"])
            for part, registry in (("model", MODELS), ("index", INDEXES))
        )
        of_index = {name.removeprefix("index."): arrays[name] for name in arrays if name.startswith("index.")}
        of_index |= {name: arrays[other] for name, other in meta["index_arrays"].items()}
        users, items = (IdMap.trusted(tables[f"{side}s"]["id"], noun=side) for side in ("user", "item"))
        interactions = sp.csr_matrix(
            (arrays["interactions.data"], arrays["interactions.indices"], arrays["interactions.indptr"]),
            (len(users), len(items)),
        )
        encodings = {
            side: Encoding(tables[f"{side}_features"], **settings)
            for side, settings in meta.get("encodings", {}).items()
        }
        embeddings = Embeddings(
            arrays["users"], arrays["items"], meta.get("biases", 0),
            arrays.get("user_features"), arrays.get("item_features"), _state_of(arrays),
        )  # fmt: skip
        if (len(embeddings.users), len(embeddings.items)) != interactions.shape:
            raise ValueError(
                f"vectors {embeddings.users.shape} and {embeddings.items.shape} for {interactions.shape}"
            )
        texts = None
        if meta.get("text") is not None:
            texts = opened(meta["text"], arrays, tables["text"])
            if len(texts) != len(items):
                raise ValueError(f"texts of {len(texts)} items for {len(items)}")
        return (
            model,
            index,
            {
                "users": users,
                "items": items,
                "embeddings": embeddings,
                "index": index.from_arrays(of_index),
                "interactions": interactions,
                "item_metadata": tables.get("item_metadata"),
                "metrics": meta["metrics"],
                "version": stored.version,
                "item_encoding": encodings.get("item"),
                "user_encoding": encodings.get("user"),
                "texts": texts,
            },
        )
    except (AttributeError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise CorruptModelError(f"{stored.path} is not a recommender of this release: {error!r}") from error


def _state_of(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """The state of the training, where the folder keeps it."""
    kept = {name.removeprefix("state."): arrays[name] for name in arrays if name.startswith("state.")}
    return kept or None


def _described(settings: Any, registry: dict[str, Any]) -> dict[str, Any]:
    name = next(name for name, kind in registry.items() if kind is type(settings))
    return {"name": name, "settings": asdict(settings)}
