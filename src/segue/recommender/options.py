"""List options: how many items, which ones are allowed, and how the list is chosen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from segue.data.ids import Id
from segue.errors import SettingError
from segue.index.checks import check_k
from segue.online.diversity import DIVERSIFIERS, Diversifier
from segue.online.exploration import EXPLORERS, Explorer
from segue.validation import parse_setting

ON_UNKNOWN = ("raise", "skip", "popular")


class ListArguments(TypedDict, total=False):
    """The fields of `ListOptions` that methods take as keyword arguments beside `k`."""

    exclude: Iterable[Id]
    allow: Iterable[Id] | None
    where: Iterable[str]
    exclude_seen: bool
    explore: str | Explorer | None
    diversify: str | Diversifier | None
    explain: bool
    seed: int


@dataclass(frozen=True, eq=False)
class ListOptions:
    """How a list is made. Python, the command line, HTTP and Spark use the same names and values.

    Attributes:
        k: the number of items; a list is shorter only if fewer items are allowed.
        exclude: item ids that no list contains; unknown ids are ignored.
        allow: the only item ids that lists may contain; unknown ids are ignored. None allows all.
        where: conditions on the item metadata that all must hold, such as `genres=Drama`, `year>=1990`.
        exclude_seen: whether to exclude the items that the user already interacted with.
        explore: an exploration: a name in `segue.online.EXPLORERS`, a name and a value (`gumbel:0.5`), or
            settings. Results then carry propensities.
        diversify: a diversification: a name in `segue.online.DIVERSIFIERS`, a name and a value (`mmr:0.3`),
            or settings.
        explain: whether each item carries the reasons for its score.
        seed: random seed of the exploration. A user's list does not depend on the other users of a request.

    Raises `SettingError` for a value outside its range, and for exploration together with diversification.
    """

    k: int = 10
    exclude: Iterable[Id] = ()
    allow: Iterable[Id] | None = None
    where: Iterable[str] = ()
    exclude_seen: bool = True
    explore: str | Explorer | None = None
    diversify: str | Diversifier | None = None
    explain: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_k(self.k)
        if isinstance(self.seed, bool) or not isinstance(self.seed, (int, np.integer)) or self.seed < 0:
            raise SettingError(
                f"seed={self.seed!r} must be a whole number of at least 0", arguments=("seed",)
            )
        if isinstance(self.where, str):
            object.__setattr__(self, "where", (self.where,))
        explorer = parse_setting(self.explore, EXPLORERS, "exploration", "explore")
        diversifier = parse_setting(self.diversify, DIVERSIFIERS, "diversification", "diversify")
        if explorer is not None and diversifier is not None:
            raise SettingError(
                "explore= and diversify= exclude each other: items that are picked from an explored list for "
                "diversity have no known propensity; choose one",
                arguments=("explore", "diversify"),
            )
        object.__setattr__(self, "explore", explorer)
        object.__setattr__(self, "diversify", diversifier)

    @property
    def explorer(self) -> Explorer | None:
        """The settings of the exploration, or None."""
        return self.explore  # type: ignore[return-value]  # parsed in __post_init__

    @property
    def diversifier(self) -> Diversifier | None:
        """The settings of the diversification, or None."""
        return self.diversify  # type: ignore[return-value]  # parsed in __post_init__

    @property
    def is_plain(self) -> bool:
        """Whether the list is simply the best items."""
        return self.explore is None and self.diversify is None


def check_on_unknown(on_unknown: str) -> None:
    """Raise `SettingError` for a policy for unknown ids that does not exist."""
    if on_unknown not in ON_UNKNOWN:
        raise SettingError(
            f"on_unknown={on_unknown!r} must be one of {', '.join(map(repr, ON_UNKNOWN))}",
            arguments=("on_unknown",),
        )
