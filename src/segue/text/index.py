"""The text of a model's items, searched by words, by meaning, or by both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.errors import SettingError
from segue.index.base import check_k
from segue.index.exact import Exact
from segue.index.metric import normalised
from segue.progress import Progress, silent
from segue.text.cache import encoded
from segue.text.documents import Documents, documents_of, stacked, words_of
from segue.text.encoders import encoder_of
from segue.text.words import Reading, Words

WAYS = ("words", "meaning", "both")
RANKS = 60  # what is best by one way scores 1 / (RANKS + 1), the next 1 / (RANKS + 2), …
DEEP = 200  # the best of either way that are fused


@dataclass(frozen=True, eq=False)
class TextIndex:
    """Vectors and words of items.

    Attributes:
        settings: what it was made with, a `segue.models.text.Text`.
        centre: (dim,) float32, the mean that was taken off all vectors.
        meanings: an index of the vectors (n, dim) float32, each of length 1, or 0 where an item has no text.
        words: which item has which words.
    """

    settings: Any
    centre: np.ndarray
    meanings: Any
    words: Words

    @classmethod
    def of(cls, settings: Any, documents: Documents, *, progress: Progress = silent) -> TextIndex:
        """Encode documents and count their words."""
        raw = mixed(documents, settings, progress)
        told = raw.any(1)
        centre = raw[told].mean(0, dtype=np.float64).astype(np.float32) if told.any() else raw.sum(0)
        vectors = centred(raw, centre)
        return cls(settings, centre, Exact().build(vectors), Words.of(documents, settings.title_words))

    def grown(
        self, known: pl.DataFrame | None, new: pl.DataFrame, *, progress: Progress = silent
    ) -> tuple[TextIndex, pl.DataFrame]:
        """Add the items of a table: return an index of all, and the table of all.

        `known` has the items that are there already. Their vectors stay as they are.
        """
        columns = self.settings.columns
        before, added = documents_of(known, columns), documents_of(new, columns)
        vectors = centred(mixed(added, self.settings, progress), self.centre)
        words = Words.of(
            Documents(before.titles + added.titles, before.bodies + added.bodies), self.settings.title_words
        )
        meanings = Exact().build(np.concatenate([self.vectors, vectors]))
        return replace(self, meanings=meanings, words=words), stacked(known, new)

    def padded(self, count: int) -> TextIndex:
        """Add so many items of which nothing is written."""
        vectors = np.concatenate([self.vectors, np.zeros((count, len(self.centre)), np.float32)])
        matrix = self.words.matrix
        shape = (matrix.shape[0], len(vectors))
        words = replace(self.words, matrix=sp.csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape))
        return replace(self, meanings=Exact().build(vectors), words=words)

    @property
    def vectors(self) -> np.ndarray:
        """The items' vectors (n, dim) float32."""
        found: np.ndarray = self.meanings.vectors
        return found

    def __len__(self) -> int:
        return len(self.vectors)

    def search(
        self, query: str, k: int, *, by: str = "both", allow: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows (int32) and scores (float32) of the k best items, best first.

        Fewer than k where fewer are allowed, and by words where fewer have any of them. Scores by words are
        BM25, by meaning cosines, by both the sum of 1 / (60 + rank) by either.

        Args:
            query: what to look for.
            k: how many.
            by: "words", "meaning" or "both".
            allow: (n,) bool, the items that may be found.

        Raises `SettingError` for a query without words and a way that does not exist.
        """
        check_k(k)
        if by not in WAYS:
            raise SettingError(f"by={by!r} must be one of {', '.join(map(repr, WAYS))}")
        if not words_of(query):
            raise SettingError(f"the query {query!r} has no words: say what to look for")
        reading = self.words.read(query)
        if by == "words":
            return _best(self._by_words(reading, allow), k)
        if by == "meaning":
            return self._by_meaning(self.direction(reading.meant), k, allow)
        return self._fused(reading, k, allow)

    def direction(self, query: str) -> np.ndarray:
        """Return the vector (dim,) float32 of a query, of length 1."""
        made = encoder_of(self.settings.encoder).encode([query], query=True)
        if made.shape[1] != len(self.centre):
            raise SettingError(
                f"{self.settings.encoder} gives vectors of {made.shape[1]} dimensions, but the items' have "
                f"{len(self.centre)}: it is not the one they were made with; fit the model again"
            )
        unit: np.ndarray = centred(normalised(made), self.centre)[0]
        return unit

    def _by_words(self, reading: Reading, allow: np.ndarray | None) -> np.ndarray:
        scores = self.words.scores(reading)
        return scores if allow is None else np.where(allow, scores, 0)

    def _by_meaning(
        self, direction: np.ndarray, k: int, allow: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        found = self.meanings.search(direction[None], min(k, len(self)), allow=allow)
        there = found.ids[0] >= 0
        return found.ids[0][there], found.scores[0][there]

    def _fused(self, reading: Reading, k: int, allow: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Reciprocal rank fusion of both ways (Cormack, Clarke and Büttcher, SIGIR 2009)."""
        deep = max(DEEP, k)
        ways = (
            _best(self._by_words(reading, allow), deep),
            self._by_meaning(self.direction(reading.meant), deep, allow),
        )
        scores = np.zeros(len(self), np.float32)
        for rows, _ in ways:
            scores[rows] += 1 / (RANKS + np.arange(1, len(rows) + 1, dtype=np.float32))
        return _best(scores, k)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what a model folder keeps; the terms are apart (`words.terms`)."""
        kept = {f"meanings.{name}": array for name, array in self.meanings.arrays().items()}
        matrix = self.words.matrix
        words = {"words.indptr": matrix.indptr, "words.indices": matrix.indices, "words.data": matrix.data}
        return {"centre": self.centre, **kept, **words}

    @classmethod
    def from_arrays(cls, settings: Any, arrays: Mapping[str, np.ndarray], terms: pl.Series) -> TextIndex:
        """Take back what `arrays` gave; raises `DataError` if they are not of one index."""
        meanings = Exact().from_arrays(
            {name.partition(".")[2]: arrays[name] for name in arrays if name.startswith("meanings.")}
        )
        shape = (len(terms), len(meanings))
        parts = tuple(arrays[f"words.{name}"] for name in ("data", "indices", "indptr"))
        return cls(settings, arrays["centre"], meanings, Words(terms, sp.csr_matrix(parts, shape)))


def mixed(documents: Documents, settings: Any, progress: Progress) -> np.ndarray:
    """Return a vector (n, dim) float32 for each document: its title's and its text's, mixed.

    Where there is but one of them, it stands alone; zeros where there is neither.
    """
    texts = [*documents.titles, *documents.bodies]
    both = normalised(encoded(encoder_of(settings.encoder), texts, progress=progress))
    count, weight = len(documents.titles), np.float32(settings.title_weight)
    return normalised(weight * both[:count] + (1 - weight) * both[count:])


def centred(vectors: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return vectors less their centre, of length 1 again; what is zero stays so."""
    return normalised(np.where(vectors.any(1, keepdims=True), vectors - centre, 0).astype(np.float32))


def bent(
    rows: np.ndarray, scores: np.ndarray, taste: np.ndarray, bend: float, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Put what was found in another order: `bend` parts of taste (a user's scores of it) to 1 - bend of text.

    Both are standardised first, to mean 0 and deviation 1 over what was found. Raises `SettingError` for a
    bend outside 0 to 1.
    """
    if isinstance(bend, bool) or not isinstance(bend, (int, float)) or not 0 <= bend <= 1:
        raise SettingError(f"bend={bend!r} must be a number from 0 to 1")
    mixed_scores = (1 - bend) * _standard(scores) + bend * _standard(taste)
    order = np.lexsort((np.arange(len(rows)), -mixed_scores))[:k]
    return rows[order], mixed_scores[order].astype(np.float32)


def _standard(values: np.ndarray) -> np.ndarray:
    deviation = float(values.std()) if len(values) else 0.0
    made: np.ndarray = (values - values.mean()) / deviation if deviation > 0 else np.zeros_like(values)
    return made


def _best(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k highest scores above 0, highest first, then by row."""
    rows = np.flatnonzero(scores > 0)
    if len(rows) > k:
        least = np.partition(scores[rows], len(rows) - k)[len(rows) - k]
        rows = rows[scores[rows] >= least]
    order = np.lexsort((rows, -scores[rows]))[:k]
    return rows[order].astype(np.int32), scores[rows[order]]
