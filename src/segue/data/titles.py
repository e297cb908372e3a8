"""Invent distinct titles for the movies of a simulated catalog."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from segue.data.vocabulary import KINDS, MOODS, PLACES, SHARED, Kind

IRREGULAR = {
    "Ferryman": "Ferrymen", "Snowman": "Snowmen", "Torpedo": "Torpedoes", "Volcano": "Volcanoes",
    "Werewolf": "Werewolves",
}  # fmt: skip
NUMERALS = ("", " II", " III", " IV", " V", " VI", " VII", " VIII", " IX", " X")

# The form of a title, the list of its second word, and the percentage of movies with this form.
FORMS = (
    ("The {second} {noun}", "adjectives", 26),
    ("{second} {noun}", "adjectives", 9),
    ("{second}'s {noun}", "names", 13),
    ("The {second} {noun}", "places", 12),
    ("{a} {noun} {at} {second}", "places", 9),
    ("The {noun} of {second}", "places", 7),
    ("{noun} of {second}", "moods", 7),
    ("The {noun} and the {second}", "nouns", 7),
    ("{second} the {noun}", "before", 5),
    ("{second} {nouns}", "counts", 5),
)


class Titles(NamedTuple):
    """The titles of a catalog, and which movies are sequels.

    Attributes:
        titles: n distinct strings.
        first: (n,) the row of the first movie of the series; of the movie itself without a series.
        part: (n,) 0 for a first movie, 1 for "II", 2 for "III", ….
    """

    titles: list[str]
    first: np.ndarray
    part: np.ndarray


def make_titles(kinds: np.ndarray, sequels: np.ndarray, rng: np.random.Generator) -> Titles:
    """Invent distinct titles.

    If a kind has more movies than its words allow titles, the rest are sequels too.

    Args:
        kinds: (n,) the row of each movie in `KINDS`.
        sequels: (n,) whether a movie continues the latest one of its kind.
        rng: the source of randomness.
    """
    titles, first, part = [""] * len(kinds), np.arange(len(kinds)), np.zeros(len(kinds), np.int32)
    used: set[str] = set()
    for row, kind in enumerate(KINDS):
        unused = (title for title in _base_titles(kind, rng) if title not in used)
        series: list[tuple[str, list[int]]] = []
        latest = cycle = 0
        for film in np.flatnonzero(kinds == row).tolist():
            if not (series and sequels[film]):
                if title := next(unused, None):
                    used.add(title)
                    latest = len(series)
                    series.append((title, []))
                else:
                    latest, cycle = cycle % len(series), cycle + 1
            title, films = series[latest]
            films.append(film)
            first[film], part[film] = films[0], len(films) - 1
            titles[film] = title + _numeral(len(films) - 1)
    return Titles(titles, first, part)


def _numeral(part: int) -> str:
    return NUMERALS[part] if part < len(NUMERALS) else f" {part + 1}"


def _base_titles(kind: Kind, rng: np.random.Generator) -> Iterator[str]:
    """Yield all titles of a kind in random order, each form with its share."""
    lists = {"adjectives": kind.adjectives, "nouns": kind.nouns}
    shared = SHARED | {"places": PLACES[kind.places], "moods": MOODS[kind.mood]}
    lists |= {name: [word.replace("-", " ") for word in words.split()] for name, words in shared.items()}
    combinations = [
        (form, noun, second, percent / len(lists[name]))
        for form, name, percent in FORMS
        for noun in kind.nouns
        for second in lists[name]
        if noun != second
    ]
    at = "on" if kind.places == "space" else "in"
    keys = rng.exponential(size=len(combinations)) / [share for *_, share in combinations]
    for position in np.argsort(keys, kind="stable"):
        form, noun, second, _ = combinations[position]
        yield _format_title(form, noun, second, at)


def _format_title(form: str, noun: str, second: str, at: str) -> str:
    article = "An" if noun.startswith(("A", "E", "I", "O", "Um", "Under", "Up", "Hourglass")) else "A"
    return form.format(noun=noun, nouns=_plural(noun), second=second, a=article, at=at)


def _plural(noun: str) -> str:
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "z", "ch", "sh")) else "s")
