"""Text as a model: items are what is written of them, users the mean of what they had."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import polars as pl

from segue.data.interactions import Interactions
from segue.errors import SettingError
from segue.index.metric import normalize_rows
from segue.models.embeddings import Embeddings
from segue.models.settings import at_least
from segue.models.updates import Update
from segue.progress import Progress, silent
from segue.text.documents import build_documents, parse_columns
from segue.text.index import TextIndex


@dataclass(frozen=True)
class Text:
    """What is written of the items, for search, for new items, and as a model of its own.

    As a model it needs no interactions: `similar` and `search` work for a table of items alone. Where there
    are interactions, a user is the weighted mean of the vectors of what they had; so is a history.

    Attributes:
        columns: the columns of the items' table, such as "title,genres,extract". The title is the one called
            title or name, else the first.
        encoder: "static", "sentence-transformers:MODEL" or "ollama:MODEL".
        title_weight: the title's part of an item's vector, the rest being the other columns'.
        title_words: how many times the words of a title count in the search by words.
    """

    columns: str = "title"
    encoder: str = "static"
    title_weight: float = 0.5
    title_words: float = 2.0

    def __post_init__(self) -> None:
        parse_columns(self.columns)
        at_least(self, title_weight=0.0, title_words=0.0)
        if self.title_weight > 1:
            raise SettingError(f"Text(title_weight={self.title_weight!r}) must be between 0 and 1")

    def resolved(self, interactions: Interactions) -> Text:
        """Nothing depends on the data."""
        return self

    def build(self, table: pl.DataFrame | None, *, progress: Progress = silent) -> TextIndex:
        """Encode the items of a table, a row each, and make them searchable.

        Raises `DataError` for missing columns and where no item has any text, `MissingExtraError` and
        `EncoderError` where the encoder is not installed or does not answer.
        """
        return TextIndex.build(self, build_documents(table, self.columns), progress=progress)

    def fit(self, interactions: Interactions, *, progress: Progress = silent) -> Embeddings:
        """Return the vectors of items and users; zeros for items without text and users without items."""
        return self.embed(self.build(interactions.item_metadata, progress=progress), interactions)

    def embed(self, built: TextIndex, interactions: Interactions) -> Embeddings:
        """Return the vectors of items that were built, and of the users who had them."""
        return Embeddings(Means(built.vectors).vectors(interactions.matrix), built.vectors)

    def update(self, change: Update) -> Embeddings:
        """Find the means of what users with new interactions had; items stand where their texts put them."""
        users, moving = change.embeddings.users.copy(), change.moving_users
        users[moving] = Means(change.embeddings.items).vectors(change.interactions.matrix[moving])
        return replace(change.embeddings, users=users)

    def folding(self, embeddings: Embeddings) -> Means:
        """Prepare for finding the vectors of histories."""
        return Means(embeddings.items)


@dataclass(frozen=True, eq=False)
class Means:
    """Item vectors, of which histories have the mean."""

    items: np.ndarray

    def vectors(self, histories: Any) -> np.ndarray:
        """Return the weighted means of histories (q × items CSR), of length 1: (q, dim) float32."""
        return normalize_rows(np.asarray(histories @ self.items, np.float32))


def kept(texts: TextIndex, items: np.ndarray) -> tuple[dict[str, np.ndarray], pl.DataFrame, dict[str, Any]]:
    """Return what a model folder keeps of texts: arrays, a table of terms, settings.

    An array that is the model's own `items` is kept there only.
    """
    arrays = texts.arrays()
    same = [name for name, array in arrays.items() if array is items]
    others = {f"text.{name}": array for name, array in arrays.items() if name not in same}
    meta = {
        "settings": {field.name: getattr(texts.settings, field.name) for field in fields(Text)},
        "same": same,
    }
    return others, texts.lexical.terms.alias("term").to_frame(), meta


def opened(meta: dict[str, Any], arrays: dict[str, np.ndarray], terms: pl.DataFrame) -> TextIndex:
    """Take back what `kept` gave; raises `ValueError` and its kin where it is not of one model."""
    own = {name.removeprefix("text."): arrays[name] for name in arrays if name.startswith("text.")}
    own |= dict.fromkeys(meta["same"], arrays["items"])
    return TextIndex.from_arrays(Text(**meta["settings"]), own, terms["term"])
