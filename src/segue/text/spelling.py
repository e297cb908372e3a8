"""Spelling candidates: known words within a small edit distance of a word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from segue.errors import MissingExtraError

EDIT_WEIGHT = 0.5  # factor per edit: a letter changed, added, removed, or swapped with the next
TWO_EDITS_FROM = 7  # letters of a word from which on two edits are allowed
ONE_EDIT_FROM = 3  # letters of a word from which on one edit is allowed
LIMIT = 64


def spellings(word: str, known: Mapping[int, Sequence[str]]) -> dict[str, float]:
    """Return the known words that `word` may be a misspelling of, with weights: 1 for itself, less per edit.

    Numbers have no other spelling.

    Args:
        word: the word of a query.
        known: the known words by their length.
    """
    try:
        from rapidfuzz.distance import OSA
        from rapidfuzz.process import extract
    except ImportError as error:
        raise MissingExtraError(
            'spelling correction needs rapidfuzz, which is not installed: pip install "segue[text]"'
        ) from error
    if len(word) < ONE_EDIT_FROM or word.isdigit():
        return {word: 1.0}
    edits = 1 if len(word) < TWO_EDITS_FROM else 2
    lengths = range(
        len(word) + edits, len(word) - edits - 1, -1
    )  # a missing letter is likelier than an extra one
    near = list(chain.from_iterable(known.get(length, ()) for length in lengths))
    matches = extract(word, near, scorer=OSA.distance, score_cutoff=edits, limit=LIMIT)
    return {word: 1.0} | {other: EDIT_WEIGHT**distance for other, distance, _ in matches}
