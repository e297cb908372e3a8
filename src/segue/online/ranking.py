"""Lists for many people that are not simply the best: explored or diversified, on top of one search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from segue.errors import SettingError
from segue.online.candidates import CandidateContext, Selection
from segue.online.diversify import DIVERSIFIERS, diversify
from segue.online.explore import EXPLORERS, Optimism, Thompson, explore
from segue.online.posterior import Posterior
from segue.online.space import Space
from segue.validation import named


class RankedLists(NamedTuple):
    """Like `Neighbors`, with propensities (q, k) float64, NaN where there is no item."""

    ids: np.ndarray
    scores: np.ndarray
    propensities: np.ndarray


@dataclass(frozen=True)
class SelectionPolicy:
    """How a list is chosen where it is not simply the best: by exploration or for diversity.

    Attributes:
        explore: settings or a name of `EXPLORERS`.
        diversify: settings or a name of `DIVERSIFIERS`.
        seed: of the exploration.
    """

    explore: Any = None
    diversify: Any = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.explore is not None and self.diversify is not None:
            raise SettingError(
                "exploration and diversity cannot go together: what is picked from an explored list has no "
                "known propensity; choose one"
            )
        if isinstance(self.seed, bool) or not isinstance(self.seed, (int, np.integer)) or self.seed < 0:
            raise SettingError(f"seed={self.seed!r} must be a whole number of at least 0")
        if self.explore is not None:
            object.__setattr__(self, "explore", named(self.explore, EXPLORERS, "exploration"))
        if self.diversify is not None:
            object.__setattr__(self, "diversify", named(self.diversify, DIVERSIFIERS, "way to diversify"))

    @property
    def plain(self) -> bool:
        """Whether the best are wanted and nothing else."""
        return self.explore is None and self.diversify is None


@dataclass(frozen=True, eq=False)
class ListRanker:
    """What lists for anybody are chosen from.

    Attributes:
        space: the items.
        index: of the items.
        counts: (n,) how often each item was taken in training.
    """

    space: Space
    index: Any
    counts: np.ndarray

    @cached_property
    def optimistic(self) -> Any:
        """The index with the dimension of the bonus."""
        return Optimism.index(self.space.items, self.counts)

    def shown(
        self,
        choice: SelectionPolicy,
        vectors: np.ndarray,
        k: int,
        seen: Any,
        eligible: np.ndarray | None,
        histories: Callable[[int], tuple[np.ndarray, np.ndarray]],
        keys: np.ndarray,
    ) -> RankedLists:
        """Choose k items for each vector.

        `seen` and `eligible` are as in `search`; `histories` gives the rows and weights of a person's picks,
        for Thompson sampling; a person's chance depends on the seed and the key alone.
        """
        made = RankedLists(
            np.full((len(vectors), k), -1, np.int32),
            np.full((len(vectors), k), -np.inf, np.float32),
            np.full((len(vectors), k), np.nan),
        )
        for place, vector in enumerate(vectors):
            if not vector.any():  # of whom nothing is known
                continue
            without = None if seen is None else seen[place]

            def find(query: np.ndarray, count: int, without: Any = without) -> tuple[np.ndarray, np.ndarray]:
                index = self.index if len(query) == self.space.items.shape[1] else self.optimistic
                found = index.search(query[None], count, exclude=without, allow=eligible)
                return found.ids[0], found.scores[0]

            precision = None
            if isinstance(choice.explore, Thompson):
                precision = Posterior().precision(self.space, *histories(place))
            person = CandidateContext(
                vector, self.space.items, find, precision, self.counts, self.space.biases
            )
            if choice.explore is None:
                chosen = diversify(choice.diversify, person, k)
            else:
                seed = np.random.SeedSequence([choice.seed, int(keys[place])]).generate_state(1)[0]
                chosen = explore(choice.explore, person, k, int(seed))
            _put(chosen, made, place)
        return made


def _put(chosen: Selection, made: RankedLists, place: int) -> None:
    count = len(chosen.ids)
    made.ids[place, :count], made.scores[place, :count] = chosen.ids, chosen.scores
    made.propensities[place, :count] = chosen.propensities
