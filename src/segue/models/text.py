"""Text as a model: item vectors from the text of items, user vectors as means of item vectors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from segue.data.interactions import Interactions
from segue.errors import SettingError
from segue.index.metric import normalize_rows
from segue.models.base import ModelSpec
from segue.models.embeddings import Embeddings
from segue.models.updates import Update
from segue.progress import Progress, silent
from segue.text.documents import build_documents, parse_columns
from segue.text.index import TextIndex
from segue.types import CSR
from segue.validation import at_least


@dataclass(frozen=True)
class Text:
    """The text of items: for search, for new items, and as a model of its own.

    The model needs no interactions: `similar` and `search` work with a table of items alone. With
    interactions, a user vector is the weighted mean of the vectors of the user's items.

    Attributes:
        columns: columns of the item table, such as "title,genres,extract". The title is the column named
            title or name, else the first one.
        encoder: "static", "sentence-transformers:MODEL" or "ollama:MODEL".
        title_weight: weight of the title in an item vector, from 0 to 1; the other columns share the rest.
        title_words: how many times the words of a title count in the lexical search.
    """

    columns: str = "title"
    encoder: str = "static"
    title_weight: float = 0.5
    title_words: float = 2.0

    def __post_init__(self) -> None:
        parse_columns(self.columns)
        at_least(self, title_weight=0.0, title_words=0.0)
        if self.title_weight > 1:
            raise SettingError(
                f"Text(title_weight={self.title_weight!r}) must be between 0 and 1",
                arguments=("title_weight",),
            )

    def resolved(self, interactions: Interactions) -> Text:
        """Return the same settings: no value depends on the data."""
        return self

    def build(self, table: pl.DataFrame | None, *, progress: Progress = silent) -> TextIndex:
        """Encode the items of a table, one per row, and return their text index.

        Raises `DataError` for missing columns and if no item has text; `MissingExtraError` if the encoder is
        not installed, `EncoderError` if it does not answer.
        """
        return TextIndex.build(self, build_documents(table, self.columns), progress=progress)

    def fit(self, interactions: Interactions, *, progress: Progress = silent) -> Embeddings:
        """Return vectors of items and users; zeros for items without text and users without items."""
        return self.embed(self.build(interactions.item_metadata, progress=progress), interactions)

    def embed(self, texts: TextIndex, interactions: Interactions) -> Embeddings:
        """Return the vectors of the items of a text index, and of their users."""
        return Embeddings(WeightedMeanFoldIn(texts.vectors).fold_in(interactions.matrix), texts.vectors)

    def update(self, update: Update) -> Embeddings:
        """Recompute the users with new interactions; item vectors come from the text and are unchanged."""
        users, changed = update.embeddings.users.copy(), update.changed_users
        histories = update.interactions.matrix[changed]
        users[changed] = WeightedMeanFoldIn(update.embeddings.items).fold_in(histories)
        return replace(update.embeddings, users=users)

    def prepare_fold_in(self, embeddings: Embeddings) -> WeightedMeanFoldIn:
        """Return the fold-in for histories."""
        return WeightedMeanFoldIn(embeddings.items)


@dataclass(frozen=True, eq=False)
class WeightedMeanFoldIn:
    """Folds a history in as the weighted mean of its item vectors, at length 1."""

    items: np.ndarray

    def fold_in(self, histories: CSR) -> np.ndarray:
        """Return unit vectors (q, dim) float32 of histories (q × items CSR); zeros for empty histories."""
        return normalize_rows(np.asarray(histories @ self.items, np.float32))


SPEC = ModelSpec(Text, signed_weights=True, needs_text=True, iterative=False)
