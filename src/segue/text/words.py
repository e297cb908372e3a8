"""Search by words: BM25 over titles and texts, which forgives typing errors."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.errors import MissingExtraError
from segue.text.documents import Documents, words_of
from segue.text.typos import spellings

FIRST, LAST = "^", "$"  # stand around a title, so that a whole title is found before a part of one
# Logs of how likely it is that a word is meant for another: less where it is a word itself …
KNOWN, UNKNOWN = math.log(0.4), math.log(1e-4)
BESIDE, COMMON = math.log(8), 0.1  # … and more where a title has both neighbours, or many items the word


class Reading(NamedTuple):
    """What a query may mean.

    Attributes:
        words: its words.
        alike: of each of them, the words that are spelt alike, with weights; itself among them.
        likely: of each, the one that was likeliest meant.
        meant: the query as it was likely meant; as it came where nothing is changed.
    """

    words: list[str]
    alike: list[dict[str, float]]
    likely: list[str]
    meant: str


@dataclass(frozen=True, eq=False)
class Words:
    """BM25 scores of every term in every item, made ahead: a query adds up some of its rows.

    A term is a word of an item, or a pair of words that follow each other in its title.

    Attributes:
        terms: (t,) the terms, in the order of the rows.
        matrix: terms × items CSR of float32.
    """

    terms: pl.Series
    matrix: Any

    @classmethod
    def of(cls, documents: Documents, title_words: float) -> Words:
        """Count the words of documents; those of titles count `title_words` times."""
        titles = [_with_pairs(words_of(title)) for title in documents.titles]
        bodies = [words_of(body) for body in documents.bodies]
        terms = {term: row for row, term in enumerate(dict.fromkeys(chain.from_iterable(titles + bodies)))}
        matrix = title_words * _scores(titles, terms) + _scores(bodies, terms)
        return cls(pl.Series("term", list(terms), pl.String), sp.csr_matrix(matrix, dtype=np.float32))

    def read(self, query: str) -> Reading:
        """Find what a query may mean."""
        words = words_of(query)
        alike = [spellings(word, self._by_length) for word in words]
        likely = self._likeliest(words, alike)
        return Reading(words, alike, likely, query if likely == words else " ".join(likely))

    def scores(self, reading: Reading) -> np.ndarray:
        """Return the score (items,) float32 of every item, 0 where it has no word of the query.

        What is spelt like a word of the query counts where no item has that word, or where the title of one
        has it beside its neighbour: "dye hard" finds "die hard".
        """
        total = np.zeros(self.matrix.shape[1], np.float32)
        if not reading.words:
            return total
        weights = [alike[word] for word, alike in zip(reading.likely, reading.alike, strict=True)]
        for word, alike, likely in zip(reading.words, reading.alike, reading.likely, strict=True):
            self._add({word: 1.0, likely: alike[likely]} if word in self._rows else alike, total)
        pairs = zip(pairwise([FIRST, *reading.likely, LAST]), pairwise([1.0, *weights, 1.0]), strict=True)
        for (left, right), (one, other) in pairs:
            self._add({f"{left} {right}": one * other}, total)
        return total

    def _likeliest(self, words: list[str], alike: list[dict[str, float]]) -> list[str]:
        """The reading of a query whose words are spelt nearest, known, and side by side in titles."""
        paths: dict[str, tuple[float, list[str]]] = {"": (0.0, [])}
        for word, weighted in zip(words, alike, strict=True):
            longer = {}
            for other, weight in weighted.items():
                cost = self._cost(word, other, weight)
                reached = [
                    (so_far + cost + BESIDE * (f"{last} {other}" in self._rows), [*path, other])
                    for last, (so_far, path) in paths.items()
                ]
                longer[other] = max(reached, key=itemgetter(0))
            paths = longer
        return max(paths.values(), key=itemgetter(0))[1]

    def _cost(self, word: str, other: str, weight: float) -> float:
        """What reading a word as another adds to the log of its likelihood."""
        row = self._rows.get(other)
        if row is None:
            return UNKNOWN
        if other == word:
            return 0.0
        items = int(self.matrix.indptr[row + 1] - self.matrix.indptr[row])
        return math.log(weight) + COMMON * math.log(items) + (KNOWN if word in self._rows else 0.0)

    def _add(self, alike: Mapping[str, float], total: np.ndarray) -> None:
        """Add the best of some terms' scores, each times its weight."""
        best = np.zeros_like(total)
        for term, weight in alike.items():
            row = self._rows.get(term)
            if row is None:
                continue
            span = slice(self.matrix.indptr[row], self.matrix.indptr[row + 1])
            items = self.matrix.indices[span]
            best[items] = np.maximum(best[items], weight * self.matrix.data[span])
        total += best

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {term: row for row, term in enumerate(self.terms.to_list())}

    @cached_property
    def _by_length(self) -> dict[int, list[str]]:
        made: dict[int, list[str]] = {}
        for term in self._rows:
            if " " not in term:
                made.setdefault(len(term), []).append(term)
        return made


@contextmanager
def _silenced(name: str) -> Iterator[None]:
    """Keep a library that logs at all levels from speaking through the application's handlers."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _with_pairs(words: list[str]) -> list[str]:
    if not words:
        return []
    return [*words, *(f"{left} {right}" for left, right in pairwise([FIRST, *words, LAST]))]


def _scores(texts: Sequence[Sequence[str]], terms: Mapping[str, int]) -> Any:
    """BM25 of every term in every text: terms × texts CSR."""
    try:
        import bm25s
    except ImportError as error:
        raise MissingExtraError(
            'search by words needs bm25s, which is not installed: pip install "segue[text]"'
        ) from error
    shape = (len(terms), len(texts))
    used = dict.fromkeys(chain.from_iterable(texts))  # bm25s wants a term of each row it is told of
    if not used:
        return sp.csr_matrix(shape, dtype=np.float32)
    local = {term: row for row, term in enumerate(used)}
    made = bm25s.BM25()
    with _silenced("bm25s"):
        made.index(([[local[term] for term in text] for text in texts], local), show_progress=False)
    counts = np.diff(made.scores["indptr"])[: len(local)]
    rows = np.repeat(np.array([terms[term] for term in used]), counts)
    size = int(counts.sum())
    scored = (made.scores["data"][:size], (rows, made.scores["indices"][:size]))
    return sp.csr_matrix(scored, shape, dtype=np.float32)
