"""Item ids from the command line: histories, and suggestions for titles given instead of ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from segue.cli.values import parse_ids
from segue.errors import SettingError, UnknownIdError

if TYPE_CHECKING:
    from segue.data.ids import Id, IdMap
    from segue.recommender.facade import TrainedRecommender

SUGGESTED = 3  # items for each text, and texts with suggestions


def parse_history(text: str, items: IdMap) -> list[str] | dict[Id, float]:
    """Return the ids of a history, or a mapping of ids to ratings if an entry is `ID=RATING`.

    An entry that is an id of the model is never split. Entries without a rating then count 1.
    """
    entries = parse_ids(text)
    ratings: dict[Id, float] = {}
    for entry in entries:
        name, sign, rating = entry.rpartition("=")
        is_id = not sign or items.find(entry) >= 0
        ratings[entry if is_id else name] = 1.0 if is_id else _parse_rating(entry, rating)
    return entries if set(ratings) == set(entries) else ratings


@contextmanager
def suggest_titles(trained: TrainedRecommender, texts: Iterable[Id]) -> Iterator[None]:
    """Add to an error about unknown items the items that have the texts in their titles."""
    try:
        yield
    except UnknownIdError as error:
        unknown = [str(text) for text in texts if trained.items.find(str(text)) < 0]
        hints = "".join(_suggestion(trained, text) for text in unknown[:SUGGESTED])
        raise UnknownIdError(f"{error}{hints}", arguments=error.arguments) from error


def _suggestion(trained: TrainedRecommender, text: str) -> str:
    if trained.titles(np.empty(0, np.int32)) is None:
        return ""
    try:
        rows = trained.text_search.find(text, SUGGESTED, by="both" if trained.texts is None else "words")[0]
    except SettingError:  # the text has no words
        return ""
    titles = trained.titles(rows)
    if titles is None or not len(rows):
        return ""
    items = ", ".join(f"{trained.items[row]} ({title})" for row, title in zip(rows, titles, strict=True))
    return f"; for {text!r}, did you mean {items}?"


def _parse_rating(entry: str, rating: str) -> float:
    try:
        return float(rating)
    except ValueError as error:
        raise SettingError(f"--history {entry} must be ID or ID=RATING, such as 296=4.5") from error
