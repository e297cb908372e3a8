"""Hybrid search of item text: by words, by meaning, or by both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.errors import SettingError
from segue.index.base import VectorIndex
from segue.index.checks import check_k
from segue.index.exact import Exact
from segue.index.metric import normalize_rows
from segue.progress import Progress, silent
from segue.text.cache import encode_cached
from segue.text.documents import Documents, append_rows, build_documents, tokenize
from segue.text.encoders import parse_encoder
from segue.text.lexical import LexicalIndex, ParsedQuery

WAYS = ("words", "meaning", "both")
RANK_OFFSET = 60  # reciprocal rank fusion scores rank r with 1 / (RANK_OFFSET + r)
DEPTH = 200  # the best results of either ranking that are fused


class TextSettings(Protocol):
    """The settings that a text index needs; `segue.models.text.Text` has them."""

    @property
    def columns(self) -> str:
        """The text columns, such as "title,genres"."""

    @property
    def encoder(self) -> str:
        """The name of the encoder."""

    @property
    def title_weight(self) -> float:
        """The title's share of an item's vector."""

    @property
    def title_words(self) -> float:
        """The weight of title words in BM25."""


class TextMatches(NamedTuple):
    """Search results, best first.

    Attributes:
        rows: (k,) int32 item rows.
        scores: (k,) float32.
    """

    rows: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True, eq=False)
class TextIndex:
    """Vectors and words of items.

    Attributes:
        settings: the settings that the index was built with.
        mean: (dim,) float32, the mean vector; it is subtracted from every vector.
        vector_index: an index of the item vectors (n, dim) float32, of length 1, or 0 for items without text.
        lexical: the BM25 index.
    """

    settings: TextSettings
    mean: np.ndarray
    vector_index: VectorIndex
    lexical: LexicalIndex

    @classmethod
    def build(cls, settings: TextSettings, documents: Documents, *, progress: Progress = silent) -> TextIndex:
        """Encode documents and index their words."""
        raw = encode_documents(documents, settings, progress)
        has_text = raw.any(1)
        mean = raw[has_text].mean(0, dtype=np.float64).astype(np.float32) if has_text.any() else raw.sum(0)
        vectors = _center(raw, mean)
        lexical = LexicalIndex.build(documents, settings.title_words)
        return cls(settings, mean, Exact().build(vectors), lexical)

    def with_items(
        self, known: pl.DataFrame | None, new: pl.DataFrame, *, progress: Progress = silent
    ) -> tuple[TextIndex, pl.DataFrame]:
        """Return an index and a metadata table of all items, with the items of `new` added.

        The vectors of existing items are unchanged.

        Args:
            known: the metadata of the existing items.
            new: the metadata of the new items.
            progress: called while the new items are encoded.
        """
        columns = self.settings.columns
        before, added = build_documents(known, columns), build_documents(new, columns)
        vectors = _center(encode_documents(added, self.settings, progress), self.mean)
        lexical = LexicalIndex.build(
            Documents(before.titles + added.titles, before.bodies + added.bodies), self.settings.title_words
        )
        vector_index = Exact().build(np.concatenate([self.vectors, vectors]))
        return replace(self, vector_index=vector_index, lexical=lexical), append_rows(known, new)

    def with_empty_items(self, count: int) -> TextIndex:
        """Return an index with `count` more items, which have no text."""
        vectors = np.concatenate([self.vectors, np.zeros((count, len(self.mean)), np.float32)])
        matrix = self.lexical.matrix
        shape = (matrix.shape[0], len(vectors))
        lexical = replace(
            self.lexical, matrix=sp.csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape)
        )
        return replace(self, vector_index=Exact().build(vectors), lexical=lexical)

    @property
    def vectors(self) -> np.ndarray:
        """The items' vectors (n, dim) float32."""
        vectors: np.ndarray = self.vector_index.vectors
        return vectors

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, query: str, k: int, *, by: str = "both", allow: np.ndarray | None = None) -> TextMatches:
        """Return the k best items for a query, best first.

        There are fewer than k results where fewer items are allowed; by words, only items with a word of
        the query are found. Scores are BM25 by words, cosines by meaning, and the sum of 1 / (60 + rank) in
        either ranking by both.

        Args:
            query: the search text.
            k: the number of results.
            by: "words", "meaning" or "both".
            allow: (n,) bool, the items that may be found.

        Raises `SettingError` for a query without words and an unknown `by`.
        """
        check_k(k)
        if by not in WAYS:
            raise SettingError(f"by={by!r} must be one of {', '.join(map(repr, WAYS))}", arguments=("by",))
        if not tokenize(query):
            raise SettingError(f"the query {query!r} has no words: say what to look for")
        parsed = self.lexical.parse(query)
        if by == "words":
            return _best(self._word_scores(parsed, allow), k)
        if by == "meaning":
            return self._nearest(self.encode_query(parsed.text), k, allow)
        return self._fuse(parsed, k, allow)

    def encode_query(self, query: str) -> np.ndarray:
        """Return the vector (dim,) float32 of a query, of length 1."""
        raw = parse_encoder(self.settings.encoder).encode([query], query=True)
        if raw.shape[1] != len(self.mean):
            raise SettingError(
                f"{self.settings.encoder} gives vectors of {raw.shape[1]} dimensions, but the items' vectors "
                f"have {len(self.mean)}: another encoder made them; fit the model again"
            )
        vector: np.ndarray = _center(normalize_rows(raw), self.mean)[0]
        return vector

    def _word_scores(self, query: ParsedQuery, allow: np.ndarray | None) -> np.ndarray:
        scores = self.lexical.scores(query)
        return scores if allow is None else np.where(allow, scores, 0)

    def _nearest(self, vector: np.ndarray, k: int, allow: np.ndarray | None) -> TextMatches:
        neighbors = self.vector_index.search(vector[None], min(k, len(self)), allow=allow)
        valid = neighbors.ids[0] >= 0
        return TextMatches(neighbors.ids[0][valid], neighbors.scores[0][valid])

    def _fuse(self, query: ParsedQuery, k: int, allow: np.ndarray | None) -> TextMatches:
        """Fuse both rankings by reciprocal rank (Cormack, Clarke and Büttcher, SIGIR 2009)."""
        depth = max(DEPTH, k)
        rankings = (
            _best(self._word_scores(query, allow), depth),
            self._nearest(self.encode_query(query.text), depth, allow),
        )
        scores = np.zeros(len(self), np.float32)
        for rows, _ in rankings:
            scores[rows] += 1 / (RANK_OFFSET + np.arange(1, len(rows) + 1, dtype=np.float32))
        return _best(scores, k)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that a model folder stores; it stores the terms (`lexical.terms`) as a table."""
        vectors = {f"vectors.{name}": array for name, array in self.vector_index.arrays().items()}
        matrix = self.lexical.matrix
        words = {"words.indptr": matrix.indptr, "words.indices": matrix.indices, "words.data": matrix.data}
        return {"mean": self.mean, **vectors, **words}

    @classmethod
    def from_arrays(
        cls, settings: TextSettings, arrays: Mapping[str, np.ndarray], terms: pl.Series
    ) -> TextIndex:
        """Restore an index from its `arrays`; raise `DataError` if they do not fit together."""
        vector_index = Exact().from_arrays(
            {name.partition(".")[2]: arrays[name] for name in arrays if name.startswith("vectors.")}
        )
        shape = (len(terms), len(vector_index))
        parts = tuple(arrays[f"words.{name}"] for name in ("data", "indices", "indptr"))
        lexical = LexicalIndex(terms, sp.csr_matrix(parts, shape))
        return cls(settings, arrays["mean"], vector_index, lexical)


def encode_documents(documents: Documents, settings: TextSettings, progress: Progress) -> np.ndarray:
    """Return a vector (n, dim) float32 per document: a weighted mean of the title's and the body's.

    A document with only one of them gets that one's vector, and one with neither gets zeros.
    """
    texts = [*documents.titles, *documents.bodies]
    vectors = normalize_rows(encode_cached(parse_encoder(settings.encoder), texts, progress=progress))
    count, weight = len(documents.titles), np.float32(settings.title_weight)
    return normalize_rows(weight * vectors[:count] + (1 - weight) * vectors[count:])


def _center(vectors: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Subtract the mean and normalize; zero vectors stay zero."""
    return normalize_rows(np.where(vectors.any(1, keepdims=True), vectors - mean, 0).astype(np.float32))


def personalize(matches: TextMatches, preferences: np.ndarray, bend: float, k: int) -> TextMatches:
    """Rerank matches by `bend` times a user's scores plus 1 - bend times the text scores.

    Both are standardized first, to mean 0 and deviation 1 over the matches.

    Args:
        matches: the results of a text search.
        preferences: (len(matches.rows),) the user's scores of the matches.
        bend: the weight of the user's scores, from 0 to 1.
        k: the number of results.

    Raises `SettingError` for a bend outside 0 to 1.
    """
    if isinstance(bend, bool) or not isinstance(bend, (int, float)) or not 0 <= bend <= 1:
        raise SettingError(f"bend={bend!r} must be a number from 0 to 1", arguments=("bend",))
    rows, scores = matches
    combined = (1 - bend) * _standardize(scores) + bend * _standardize(preferences)
    order = np.lexsort((np.arange(len(rows)), -combined))[:k]
    return TextMatches(rows[order], combined[order].astype(np.float32))


def _standardize(values: np.ndarray) -> np.ndarray:
    deviation = float(values.std()) if len(values) else 0.0
    standardized: np.ndarray = (
        (values - values.mean()) / deviation if deviation > 0 else np.zeros_like(values)
    )
    return standardized


def _best(scores: np.ndarray, k: int) -> TextMatches:
    """Return the k highest positive scores, highest first, then by row."""
    rows = np.flatnonzero(scores > 0)
    if len(rows) > k:
        threshold = np.partition(scores[rows], len(rows) - k)[len(rows) - k]
        rows = rows[scores[rows] >= threshold]
    order = np.lexsort((rows, -scores[rows]))[:k]
    return TextMatches(rows[order].astype(np.int32), scores[rows[order]])
