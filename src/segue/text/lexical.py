"""Lexical search: BM25 over titles and bodies, with spelling correction."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.errors import MissingExtraError
from segue.text.documents import Documents, tokenize
from segue.text.spelling import spellings
from segue.types import CSR

FIRST, LAST = "^", "$"  # mark both ends of a title, so that a full title ranks above a longer one
# Log likelihoods of a correction: lower if the typed word is known itself, or the other word is unknown …
KNOWN, UNKNOWN = math.log(0.4), math.log(1e-4)
ADJACENT, FREQUENCY = math.log(8), 0.1  # … higher if a title has both neighbors, or many items have the word


class ParsedQuery(NamedTuple):
    """A query and its spelling correction.

    Attributes:
        words: the words as typed.
        spellings: for each word, the candidates for the intended word with weights, itself among them.
        corrected: for each word, the most likely candidate.
        text: the corrected query; the query as typed if nothing changed.
    """

    words: list[str]
    spellings: list[dict[str, float]]
    corrected: list[str]
    text: str


@dataclass(frozen=True, eq=False)
class LexicalIndex:
    """BM25 scores of every term in every item, computed at build time; a query adds up some of the rows.

    A term is a word of an item, or two adjacent words of its title.

    Attributes:
        terms: (t,) the terms, in row order.
        matrix: terms × items CSR float32.
    """

    terms: pl.Series
    matrix: CSR

    @classmethod
    def build(cls, documents: Documents, title_words: float) -> LexicalIndex:
        """Index the words of documents; words of titles have the weight `title_words`."""
        titles = [_with_pairs(tokenize(title)) for title in documents.titles]
        bodies = [tokenize(body) for body in documents.bodies]
        terms = {term: row for row, term in enumerate(dict.fromkeys(chain.from_iterable(titles + bodies)))}
        matrix = title_words * _bm25(titles, terms) + _bm25(bodies, terms)
        return cls(pl.Series("term", list(terms), pl.String), sp.csr_matrix(matrix, dtype=np.float32))

    def parse(self, query: str) -> ParsedQuery:
        """Split a query into words and correct their spelling."""
        words = tokenize(query)
        candidates = [spellings(word, self._by_length) for word in words]
        corrected = self._correct(words, candidates)
        return ParsedQuery(words, candidates, corrected, query if corrected == words else " ".join(corrected))

    def scores(self, query: ParsedQuery) -> np.ndarray:
        """Return the score (items,) float32 of every item, 0 if it has no word of the query.

        Other spellings of a word count if no item has the word itself, or if a title has the corrected
        words next to each other: "dye hard" finds "die hard".
        """
        total = np.zeros(self.matrix.shape[1], np.float32)
        if not query.words:
            return total
        weights = [
            candidates[word] for word, candidates in zip(query.corrected, query.spellings, strict=True)
        ]
        for word, candidates, corrected in zip(query.words, query.spellings, query.corrected, strict=True):
            known = word in self._rows
            self._add({word: 1.0, corrected: candidates[corrected]} if known else candidates, total)
        pairs = zip(pairwise([FIRST, *query.corrected, LAST]), pairwise([1.0, *weights, 1.0]), strict=True)
        for (left, right), (left_weight, right_weight) in pairs:
            self._add({f"{left} {right}": left_weight * right_weight}, total)
        return total

    def _correct(self, words: list[str], candidates: list[dict[str, float]]) -> list[str]:
        """Return the most likely candidates: close in spelling, known, and adjacent in titles.

        This is Viterbi's algorithm over the candidates of each word.
        """
        paths: dict[str, tuple[float, list[str]]] = {"": (0.0, [])}
        for word, weighted in zip(words, candidates, strict=True):
            longer = {}
            for other, weight in weighted.items():
                likelihood = self._likelihood(word, other, weight)
                extended = [
                    (score + likelihood + ADJACENT * (f"{last} {other}" in self._rows), [*path, other])
                    for last, (score, path) in paths.items()
                ]
                longer[other] = max(extended, key=itemgetter(0))
            paths = longer
        return max(paths.values(), key=itemgetter(0))[1]

    def _likelihood(self, word: str, other: str, weight: float) -> float:
        """Return the log likelihood that a user who typed `word` means `other`."""
        row = self._rows.get(other)
        if row is None:
            return UNKNOWN
        if other == word:
            return 0.0
        items = int(self.matrix.indptr[row + 1] - self.matrix.indptr[row])
        return math.log(weight) + FREQUENCY * math.log(items) + (KNOWN if word in self._rows else 0.0)

    def _add(self, candidates: Mapping[str, float], total: np.ndarray) -> None:
        """Add to each item's total the best of the candidates' weighted scores."""
        best = np.zeros_like(total)
        for term, weight in candidates.items():
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
        words: dict[int, list[str]] = {}
        for term in self._rows:
            if " " not in term:
                words.setdefault(len(term), []).append(term)
        return words


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Limit a library's logger to warnings, since bm25s logs debug messages through the root handlers."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _with_pairs(words: list[str]) -> list[str]:
    """Return the words of a title and its pairs of adjacent words."""
    if not words:
        return []
    return [*words, *(f"{left} {right}" for left, right in pairwise([FIRST, *words, LAST]))]


def _bm25(texts: Sequence[Sequence[str]], terms: Mapping[str, int]) -> CSR:
    """Return the BM25 score of every term in every text: terms × texts CSR."""
    try:
        import bm25s
    except ImportError as error:
        raise MissingExtraError(
            'search by words needs bm25s, which is not installed: pip install "segue[text]"'
        ) from error
    shape = (len(terms), len(texts))
    used = dict.fromkeys(chain.from_iterable(texts))  # bm25s requires every term to occur
    if not used:
        return sp.csr_matrix(shape, dtype=np.float32)
    local = {term: row for row, term in enumerate(used)}
    model = bm25s.BM25()
    with _quiet("bm25s"):
        model.index(([[local[term] for term in text] for text in texts], local), show_progress=False)
    counts = np.diff(model.scores["indptr"])[: len(local)]
    rows = np.repeat(np.array([terms[term] for term in used]), counts)
    size = int(counts.sum())
    entries = (model.scores["data"][:size], (rows, model.scores["indices"][:size]))
    return sp.csr_matrix(entries, shape, dtype=np.float32)
