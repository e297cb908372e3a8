"""The state of `segue play`: searches, picks, and the panels that a model and a profile make of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from segue.data.ids import Id
from segue.errors import DataError, SegueError, SettingError
from segue.models import spec_of
from segue.online.diversity import DIVERSIFIERS
from segue.online.exploration import EXPLORERS
from segue.online.profile import Profile
from segue.online.profile_state import State
from segue.recommender.explanations import PICK, Reason, explain_profile
from segue.recommender.facade import TrainedRecommender
from segue.recommender.options import ListOptions
from segue.recommender.queries import Event, Picks, follow, profile_query
from segue.recommender.ranker import RankedLists

FORMAT = 1  # of a saved session
K = 5  # items in a panel
SEARCH, RECOMMENDED = "search", "recommended"
PANELS = (SEARCH, RECOMMENDED, "gaussian", "buckets")
MORE_PANELS = ("thompson", "optimism", "gumbel", "reserved", "mmr", "dpp")
NO_ROWS = np.empty(0, np.int32)


@dataclass(frozen=True)
class SessionPick:
    """A pick: an item, 1 for a like or -1 for a dislike, and the time in seconds."""

    item: Id
    weight: float
    time: float


@dataclass(frozen=True)
class Line:
    """An item in a panel: its row, its number on the screen, and the reason for it."""

    number: int
    row: int
    reason: str


@dataclass(frozen=True, eq=False)
class Session:
    """A session of one user with a model. It is a value: methods return the next session.

    Attributes:
        trained: the model.
        profile: the kind of profile that follows the picks.
        picks: the picks so far.
        query: the latest search.
        panels: the names of the shown panels.
        options: the list options of the panels: k, filters, seed. The seed changes with each pick.
    """

    trained: TrainedRecommender
    profile: Profile
    picks: tuple[SessionPick, ...] = ()
    query: str = ""
    panels: tuple[str, ...] = PANELS
    options: ListOptions = field(default_factory=lambda: ListOptions(K))

    def search(self, query: str) -> Session:
        """Return the session after a search."""
        return replace(self, query=query)

    def pick(self, number: int, weight: float, time: float) -> Session:
        """Return the session after a pick of a number on the screen.

        Raises `DataError` for a number that is not on the screen and an item without training interactions.
        """
        rows = {line.number: line.row for lines in self.show().values() for line in lines}
        if number not in rows:
            raise DataError(f"there is no number {number} on the screen: pick one of 1..{len(rows)}")
        if not self.profile.space.known(rows[number]):
            raise DataError("the item has no training interactions, so it says nothing; pick another")
        pick = SessionPick(self.trained.items[rows[number]], weight, time)
        return replace(self, picks=(*self.picks, pick))

    def undo(self) -> Session:
        """Return the session without its last pick; raises `DataError` if there is none."""
        if not self.picks:
            raise DataError("there is nothing to undo: there are no picks")
        return replace(self, picks=self.picks[:-1])

    def toggle(self, panel: str) -> Session:
        """Return the session with a panel shown or hidden."""
        _check_panel(panel)
        others = tuple(name for name in self.panels if name != panel)
        return replace(self, panels=others if panel in self.panels else (*self.panels, panel))

    def show(self) -> dict[str, list[Line]]:
        """Return the lines of every panel, numbered from 1 through all panels."""
        panels: dict[str, list[Line]] = {}
        number = 0
        for panel in self.panels:
            rows = self._search_rows() if panel == SEARCH else self._list_rows(panel)
            reasons = [""] * len(rows) if panel == SEARCH else self._reasons(rows)
            panels[panel] = []
            for row, reason in zip(rows.tolist(), reasons, strict=True):
                number += 1
                panels[panel].append(Line(number, row, reason))
        return panels

    def title(self, row: int) -> str:
        """Return the title of an item row, or its id if it has none."""
        titles = self.trained.titles(np.array([row]))
        return str(self.trained.items[row] if titles is None or titles[0] is None else titles[0])

    def _search_rows(self) -> np.ndarray:
        if not self.query:
            return NO_ROWS
        rows: np.ndarray = self.trained.text_search.find(self.query, self.options.k, allow=self._allow)[0]
        return rows

    def ranked(self, panel: str) -> RankedLists:
        """Return the list of a panel other than "search": ids, scores and propensities (1, k)."""
        events = self._events
        rows = np.array([event.row for event in events], np.int64)
        query = profile_query(
            self.profile,
            follow(self.profile, events),
            exclude=np.unique(rows).astype(np.int32),
            picks=Picks(rows, np.array([event.weight for event in events])),
        )
        options = replace(
            self.options,
            explore=panel if panel in EXPLORERS else None,
            diversify=panel if panel in DIVERSIFIERS else None,
            seed=self.options.seed + len(self.picks),
        )
        return self.trained.ranker.rank(query, options, self._allow)

    def _list_rows(self, panel: str) -> np.ndarray:
        """The items of a panel; none if the panel needs a vector or a posterior that there is not."""
        if panel == "thompson" and not spec_of(self.profile.space.model).posterior:
            return NO_ROWS
        if panel != RECOMMENDED and not len(self.profile.vectors(self.state).vectors):
            return NO_ROWS
        ids = self.ranked(panel).ids[0]
        listed: np.ndarray = ids[ids >= 0]
        return listed

    @cached_property
    def _allow(self) -> np.ndarray | None:
        return self.trained.filters.allowed(self.options)

    @cached_property
    def _events(self) -> list[Event]:
        ids = pl.Series([pick.item for pick in self.picks], dtype=self.trained.items.series.dtype)
        rows = self.trained.items.rows(ids).tolist()
        return [Event(row, pick.weight, pick.time) for row, pick in zip(rows, self.picks, strict=True)]

    @property
    def state(self) -> State:
        """The state of the profile after the picks."""
        return follow(self.profile, self._events)

    def _reasons(self, rows: np.ndarray) -> list[str]:
        """The pick with the largest share in the score of each item."""
        if not self.picks:
            return ["popular"] * len(rows)
        explained = explain_profile(self.trained, self.profile, self._events, rows, most=len(self.picks))
        return [self._reason(reasons) for reasons in explained]

    def _reason(self, reasons: list[Reason]) -> str:
        picks = [reason for reason in reasons if reason["reason"] == PICK]
        if not picks:
            return ""
        best = max(picks, key=lambda reason: reason["share"])
        weight = next(pick.weight for pick in reversed(self.picks) if pick.item == best["value"])
        return f"{'you liked' if weight > 0 else 'unlike'} {best['title'] or best['value']}"

    def save(self, path: Path) -> None:
        """Write the session as JSON."""
        content = {
            "format": FORMAT,
            "model_version": self.trained.version,
            "query": self.query,
            "panels": self.panels,
            "events": [asdict(pick) for pick in self.picks],
        }
        text = json.dumps(content, indent=1, default=lambda value: value.item()) + "\n"
        draft = path.with_name(path.name + ".new")
        try:
            draft.write_text(text, encoding="utf-8")
            draft.replace(path)
        except OSError as error:
            raise SettingError(f"cannot write the session to {path}: {error.strerror}") from error

    def resume(self, path: Path) -> Session:
        """Return a saved session; raises `UnknownIdError` for items that the model does not know."""
        try:
            session = self._parse(json.loads(path.read_text(encoding="utf-8")), path)
        except OSError as error:
            raise SettingError(f"cannot read the session {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, SegueError):
                raise
            raise DataError(f"{path} is not a saved session: {error!r}") from error
        if session.picks:
            self.trained.items.require([pick.item for pick in session.picks])
        for panel in session.panels:
            _check_panel(panel)
        return session

    def _parse(self, content: Any, path: Path) -> Session:  # Any: foreign JSON
        if content["format"] != FORMAT:
            raise DataError(f"{path} is a session of format {content['format']!r}, not {FORMAT}")
        picks = tuple(
            SessionPick(pick["item"], float(pick["weight"]), float(pick["time"]))
            for pick in content["events"]
        )
        panels = tuple(map(str, content["panels"]))
        return replace(self, query=str(content["query"]), panels=panels, picks=picks)


def _check_panel(panel: str) -> None:
    if panel not in (*PANELS, *MORE_PANELS):
        raise SettingError(f"there is no panel {panel!r}; there are {', '.join((*PANELS, *MORE_PANELS))}")
