"""Words that are spelt nearly like a word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from segue.errors import MissingExtraError

EDIT = 0.5  # what a word counts for each letter changed, added, left out, or swapped with the next
LONG = 7  # letters of a word in which two errors are forgiven; in others it is one
SHORT = 3  # letters of a word in which one is
LIMIT = 64


def spellings(word: str, known: Mapping[int, Sequence[str]]) -> dict[str, float]:
    """Return the known words that `word` may stand for, with weights: 1 for itself, less for each error.

    `known` has the words by their length. Numbers stand for themselves alone.
    """
    try:
        from rapidfuzz.distance import OSA
        from rapidfuzz.process import extract
    except ImportError as error:
        raise MissingExtraError(
            'forgiving typing errors needs rapidfuzz, which is not installed: pip install "segue[text]"'
        ) from error
    errors = 0 if len(word) < SHORT or word.isdigit() else 1 if len(word) < LONG else 2
    if not errors:
        return {word: 1.0}
    lengths = range(len(word) + errors, len(word) - errors - 1, -1)  # letters are sooner forgotten than added
    near = list(chain.from_iterable(known.get(length, ()) for length in lengths))
    found = extract(word, near, scorer=OSA.distance, score_cutoff=errors, limit=LIMIT)
    return {word: 1.0} | {other: EDIT**distance for other, distance, _ in found}
