"""Diversity: a list whose items are good and not all alike, chosen from the best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from segue.errors import SettingError
from segue.index.base import check_k
from segue.models.settings import at_least
from segue.online.candidates import CandidateContext, Selection
from segue.validation import named

BEST = 100  # items that are chosen from, unless set
LEAST = 1e-9  # what a further item must add to a volume


class Diversifier(Protocol):
    """A diversification: settings that choose k of the best candidates.

    Attributes:
        best: the number of candidates.
    """

    @property
    def best(self) -> int:
        """The number of candidates."""
        ...

    def order(self, directions: np.ndarray, relevance: np.ndarray, k: int) -> np.ndarray:
        """Return the places (k,) of the chosen of m unit vectors (m, dim), given their relevance (m,)."""
        ...


def _check_strength(settings: Any) -> None:
    at_least(settings, strength=0.0, best=1)
    if settings.strength > 1:
        raise SettingError(f"{type(settings).__name__}(strength={settings.strength!r}) must be from 0 to 1")


@dataclass(frozen=True)
class MMR:
    """Maximal marginal relevance: one item after another by (1 - s) relevance - s cosine.

    The cosine is that to the nearest item chosen before. Relevance is the score, the best being 1 and the
    worst candidate 0. Carbonell and Goldstein, "The use of MMR" (SIGIR 1998).

    Attributes:
        strength: s from 0, the plain order, to 1, relevance does not count after the first item.
        best: the items to choose from.
    """

    strength: float = 0.3
    best: int = BEST

    def __post_init__(self) -> None:
        _check_strength(self)

    def order(self, directions: np.ndarray, relevance: np.ndarray, k: int) -> np.ndarray:
        """Choose the places of k of m unit vectors (m, dim), given their relevance (m,) from 0 to 1."""
        k = min(k, len(relevance))
        chosen = np.empty(k, np.int64)
        nearest = np.full(len(relevance), -1.0)
        worth = relevance.astype(np.float64)
        for place in range(k):
            best = chosen[place] = int(np.argmax(worth))
            nearest = np.maximum(nearest, directions @ directions[best])
            worth = (1 - self.strength) * relevance - self.strength * nearest
            worth[chosen[: place + 1]] = -np.inf
        return chosen


@dataclass(frozen=True)
class DPP:
    """A determinantal point process: the list whose vectors, as long as they are relevant, span the most.

    Greedily adds what raises (1 - s) sum of relevance + s log det S the most, S being the cosines within the
    list: Chen, Zhang and Zhou, "Fast greedy MAP inference for determinantal point process" (NeurIPS 2018),
    O(best k²). What adds no volume comes last, by relevance.

    Attributes:
        strength: s from 0, the plain order, to 1.
        best: the items to choose from.
    """

    strength: float = 0.3
    best: int = BEST

    def __post_init__(self) -> None:
        _check_strength(self)

    def order(self, directions: np.ndarray, relevance: np.ndarray, k: int) -> np.ndarray:
        """Choose the places of k of m unit vectors (m, dim), given their relevance (m,) from 0 to 1."""
        k = min(k, len(relevance))
        chosen = np.empty(k, np.int64)
        steps = np.zeros((k, len(relevance)))  # rows of the Cholesky factor of the chosen, for every item
        left = np.ones(len(relevance))  # of an item's squared length, outside of what the chosen span
        free = np.ones(len(relevance), bool)
        for place in range(k):
            worth = (1 - self.strength) * relevance + self.strength * np.log(np.maximum(left, LEAST))
            best = chosen[place] = int(np.argmax(np.where(free, worth, -np.inf)))
            free[best] = False
            if left[best] > LEAST:
                cosines = directions @ directions[best]
                steps[place] = (cosines - steps[:place].T @ steps[:place, best]) / np.sqrt(left[best])
                left = left - steps[place] ** 2
        return chosen


DIVERSIFIERS: dict[str, type[Diversifier]] = {"dpp": DPP, "mmr": MMR}


def diversify(settings: str | Diversifier | None, context: CandidateContext, k: int) -> Selection:
    """Choose k items for a person that are good and not all alike.

    `settings` are those of a method, or its name in `DIVERSIFIERS`. Raises `SettingError` for one that does
    not exist.
    """
    method = named(settings, DIVERSIFIERS, "way to diversify")
    ids, scores = context.best(max(check_k(k), method.best))
    directions = context.items[ids, : context.items.shape[1] - context.biases].astype(np.float64)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    directions = np.divide(directions, lengths, out=np.zeros_like(directions), where=lengths > 0)
    range_ = float(scores.max() - scores.min()) if len(scores) else 0.0
    relevance = (scores - scores.min()).astype(np.float64) / range_ if range_ > 0 else np.ones(len(scores))
    places = method.order(directions, relevance, k)
    return Selection(ids[places], scores[places], np.ones(len(places)))
