"""An interactive session: search, pick, and watch the profile and what each way of choosing makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from segue.data.ids import Id
from segue.errors import DataError, SegueError, SettingError
from segue.models import IALS
from segue.online.diversity import DIVERSIFIERS
from segue.online.explanations import by_events
from segue.online.exploration import EXPLORERS
from segue.online.interests import Interests
from segue.online.profile import Profile
from segue.recommender.facade import TrainedRecommender
from segue.recommender.options import ListOptions
from segue.recommender.queries import Picks, profile_query

FORMAT = 1  # of a saved session
PANELS = ("search", "recommended", "gaussian", "buckets")
OTHERS = ("thompson", "optimism", "gumbel", "reserved", "mmr", "dpp")
Find = Callable[[str, int], np.ndarray]  # item rows for a text, best first


@dataclass(frozen=True)
class Event:
    """A pick of the session: an item, 1 for liked or -1 for disliked, and when."""

    item: Id
    weight: float
    time: float


@dataclass(frozen=True)
class Line:
    """An item in a panel: its row, its number on the screen, and why it is there."""

    number: int
    row: int
    why: str


@dataclass(frozen=True, eq=False)
class Session:
    """A person at the screen. It never changes: what they do gives another one.

    Attributes:
        trained: the model.
        profile: the kind of profile that follows the picks.
        find: searches the items by text.
        events: the picks so far.
        query: what was searched for last.
        panels: the names of the panels that are shown.
        k: items in a panel.
    """

    trained: TrainedRecommender
    profile: Profile
    find: Find
    events: tuple[Event, ...] = ()
    query: str = ""
    panels: tuple[str, ...] = PANELS
    k: int = 5

    def searched(self, query: str) -> Session:
        """After searching for a text."""
        return replace(self, query=query)

    def picked(self, number: int, weight: float, time: float) -> Session:
        """After a pick by its number on the screen; raises `DataError` for one that is not there."""
        lines = [line for lines in self.shown().values() for line in lines]
        rows = {line.number: line.row for line in lines}
        if number not in rows:
            raise DataError(f"there is no number {number} on the screen: pick one of 1..{len(rows)}")
        if not self.profile.space.known(rows[number]):
            raise DataError(
                "nobody had this item in training, so nothing can be learned from it; pick another"
            )
        event = Event(self.trained.items[rows[number]], weight, time)
        return replace(self, events=(*self.events, event))

    def back(self) -> Session:
        """Without the last pick; raises `DataError` where there is none."""
        if not self.events:
            raise DataError("there is nothing to undo: nothing has been picked")
        return replace(self, events=self.events[:-1])

    def turned(self, panel: str) -> Session:
        """With a panel shown that was not, or without it."""
        if panel not in (*PANELS, *OTHERS):
            raise SettingError(f"there is no panel {panel!r}; there are {', '.join((*PANELS, *OTHERS))}")
        shown = tuple(one for one in self.panels if one != panel)
        return replace(self, panels=shown if panel in self.panels else (*self.panels, panel))

    def shown(self) -> dict[str, list[Line]]:
        """What every panel shows, numbered from 1 through all of them."""
        lists = {name: self._rows(name) for name in self.panels}
        every = np.unique(np.concatenate([np.empty(0, np.int32), *lists.values()])).astype(np.int32)
        why = dict(zip(every.tolist(), self._why(every), strict=True))
        panels: dict[str, list[Line]] = {}
        number = 0
        for name, rows in lists.items():
            panels[name] = []
            for row in rows.tolist():
                number += 1
                panels[name].append(Line(number, row, "" if name == "search" else why[row]))
        return panels

    def title(self, row: int) -> str:
        """What an item is called."""
        titles = self.trained.titles(np.array([row]))
        return str(self.trained.items[row] if titles is None or titles[0] is None else titles[0])

    def _rows(self, panel: str) -> np.ndarray:
        """The items of a panel."""
        if panel == "search":
            return self.find(self.query, self.k) if self.query else np.empty(0, np.int32)
        options = self._options(panel)
        if panel == "thompson" and not isinstance(self.profile.space.model, IALS):
            return np.empty(0, np.int32)
        picked = self._picked_rows
        query = profile_query(
            self.profile,
            self._state,
            exclude=np.unique(picked).astype(np.int32),
            picks=Picks(picked, np.array(self._weights)),
        )
        if not query.vectors.any() and panel != "recommended":
            return np.empty(0, np.int32)
        lists = self.trained.ranker.rank(query, options)
        rows: np.ndarray = lists.ids[0][lists.ids[0] >= 0]
        return rows

    def _options(self, panel: str) -> ListOptions:
        """The list options of a panel."""
        return ListOptions(
            self.k,
            explore=panel if panel in EXPLORERS else None,
            diversify=panel if panel in DIVERSIFIERS else None,
            seed=len(self.events),
        )

    @property
    def _picked_rows(self) -> np.ndarray:
        return self.trained.items.rows(pl.Series([one.item for one in self.events], dtype=self._kind))

    @property
    def _kind(self) -> Any:
        return self.trained.items.series.dtype

    @property
    def _weights(self) -> list[float]:
        return [one.weight for one in self.events]

    @property
    def _state(self) -> Any:
        times = [one.time for one in self.events]
        return self.profile.update(self.profile.start(), self._picked_rows, self._weights, times)

    def _why(self, rows: np.ndarray) -> list[str]:
        """The pick that each item owes most to."""
        if not self.events:
            return ["popular"] * len(rows)
        picked = self._picked_rows
        if isinstance(self.profile.kind, Interests):
            directions = np.array([self.profile.space.direction(row) for row in picked])
            parts = self.profile.space.items[rows, : self.profile.space.dim] @ directions.T
        else:
            times = [one.time for one in self.events]
            parts = by_events(self.profile, rows, picked, self._weights, times).parts
        best = np.argmax(parts, axis=1)
        return [
            f"you liked {self.title(picked[place])}"
            if self.events[place].weight > 0
            else f"unlike {self.title(picked[place])}"
            for place in best
        ]

    def save(self, path: Path) -> None:
        """Write the session as JSON."""
        made = {
            "format": FORMAT,
            "model_version": self.trained.version,
            "query": self.query,
            "panels": self.panels,
            "events": [vars(one) for one in self.events],
        }
        text = json.dumps(made, indent=1, default=lambda value: value.item()) + "\n"
        beside = path.with_name(path.name + ".new")
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(path)
        except OSError as error:
            raise SettingError(f"cannot write the session to {path}: {error.strerror}") from error

    def resumed(self, path: Path) -> Session:
        """Go on with a saved session; items that the model does not know any more raise `DataError`."""
        try:
            made = json.loads(path.read_text(encoding="utf-8"))
            if made["format"] != FORMAT:
                raise DataError(f"{path} is a session of format {made['format']!r}, not {FORMAT}")
            events = tuple(
                Event(one["item"], float(one["weight"]), float(one["time"])) for one in made["events"]
            )
            panels = tuple(map(str, made["panels"]))
            session = replace(self, query=str(made["query"]), panels=panels, events=events)
        except OSError as error:
            raise SettingError(f"cannot read the session {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, SegueError):
                raise
            raise DataError(f"{path} is no saved session: {error!r}") from error
        if events:
            self.trained.items.require([one.item for one in events])
        for name in session.panels:
            session.turned(name)
        return session


def finder(trained: TrainedRecommender) -> Find:
    """Search by words and by meaning where the model was fit with text, otherwise by title."""
    if trained.texts is None:
        return titles_like(trained)
    texts = trained.texts

    @lru_cache(maxsize=1)  # a pick draws the same search again
    def find(text: str, k: int) -> np.ndarray:
        return texts.search(text, k)[0]

    return find


def titles_like(trained: TrainedRecommender) -> Find:
    """Search that finds items whose title (or id) holds a text, the shortest first."""
    titles = trained.titles(np.arange(len(trained.items)))
    known = trained.items.series.cast(pl.String) if titles is None else titles.cast(pl.String).fill_null("")
    lower = pl.DataFrame({"title": known.str.to_lowercase()}).with_row_index("row")

    def find(text: str, k: int) -> np.ndarray:
        words = [pl.col("title").str.contains(word, literal=True) for word in text.lower().split()]
        alike = lower.filter(pl.all_horizontal(words or [pl.lit(False)]))
        best = alike.sort(pl.col("title").str.len_chars(), maintain_order=True).head(k)
        return best["row"].to_numpy().astype(np.int32)

    return find
