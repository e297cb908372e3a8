"""What a trained recommender consists of: a plain value that updates and serialization share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.data.features import Encoding
from segue.data.ids import IdMap
from segue.errors import CorruptModelError
from segue.index.base import Index
from segue.models.embeddings import Embeddings
from segue.recommender.settings import RecommenderSettings
from segue.text.index import TextIndex
from segue.types import CSR


@dataclass(frozen=True, eq=False)
class RecommenderState:
    """Ids, vectors, an index and the training interactions.

    Attributes:
        settings: the settings of the model and of the index.
        users, items: the ids of the rows of both sides.
        embeddings: the vectors of both sides.
        index: the index over the item vectors, by inner product.
        interactions: users × items CSR, the weights of the training interactions.
        item_metadata: one row per item (title, genres, …), or None.
        metrics: the result of an evaluation, stored with the model.
        version: the name of the version in the model folder; None before it is saved.
        item_encoding, user_encoding: how features of new items and users are encoded, if there are features.
        texts: the searchable text of the items, if the model was fit with text.
    """

    settings: RecommenderSettings
    users: IdMap
    items: IdMap
    embeddings: Embeddings
    index: Index
    interactions: CSR
    item_metadata: pl.DataFrame | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    version: str | None = None
    item_encoding: Encoding | None = None
    user_encoding: Encoding | None = None
    texts: TextIndex | None = None

    def histories(self, rows: np.ndarray) -> CSR:
        """Return the training interactions of user rows (q,) as a q × items CSR; nothing for the row -1."""
        if len(rows) == len(self.users) and np.array_equal(rows, np.arange(len(rows))):
            return self.interactions
        known = rows >= 0
        starts = np.where(known, self.interactions.indptr[rows], 0)
        stops = np.where(known, self.interactions.indptr[rows + 1], 0)
        if (starts < 0).any() or (stops < starts).any() or (stops > self.interactions.nnz).any():
            raise CorruptModelError(
                "the table of interactions is damaged; run `segue verify` and restore the model"
            )
        counts = (stops - starts).astype(np.int64)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        places = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], counts)
        return sp.csr_matrix(
            (self.interactions.data[places], self.interactions.indices[places], indptr),
            (len(rows), len(self.items)),
        )

    def titles(self, rows: np.ndarray) -> pl.Series | None:
        """Return the titles of item rows (m,), or None if the model has no titles."""
        if self.item_metadata is None or "title" not in self.item_metadata.columns:
            return None
        return self.item_metadata["title"].gather(rows)

    def item_counts(self) -> np.ndarray:
        """Return how many users each item has in the training interactions: (n,) int64."""
        return np.bincount(self.interactions.indices, minlength=len(self.items))
