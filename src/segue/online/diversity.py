"""Diversification: rerank the best items so that a list is relevant and varied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from segue.errors import SettingError
from segue.index.checks import check_k
from segue.online.candidates import CandidateContext, Selection
from segue.validation import at_least, named

BEST = 100  # the default number of candidates
MIN_GAIN = 1e-9  # an item that adds less to the volume counts as adding nothing


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


def _check_strength(settings: MMR | DPP) -> None:
    at_least(settings, strength=0.0, best=1)
    if settings.strength > 1:
        raise SettingError(f"{type(settings).__name__}(strength={settings.strength!r}) must be from 0 to 1")


@dataclass(frozen=True)
class MMR:
    """Maximal marginal relevance: choose item after item by (1 - s) relevance - s cosine.

    The cosine is that to the nearest item chosen so far. Relevance is the score scaled to 1 for the best and
    0 for the worst candidate. Carbonell and Goldstein, "The use of MMR" (SIGIR 1998).

    Attributes:
        strength: s from 0 (order by score) to 1 (relevance counts for the first item only).
        best: the number of candidates.
    """

    strength: float = 0.3
    best: int = BEST

    def __post_init__(self) -> None:
        _check_strength(self)

    def order(self, directions: np.ndarray, relevance: np.ndarray, k: int) -> np.ndarray:
        """Return the places (k,) of the chosen of m unit vectors, given their relevance (m,) from 0 to 1."""
        k = min(k, len(relevance))
        chosen = np.empty(k, np.int64)
        nearest = np.full(len(relevance), -1.0)
        gain = relevance.astype(np.float64)
        for place in range(k):
            best = chosen[place] = int(np.argmax(gain))
            nearest = np.maximum(nearest, directions @ directions[best])
            gain = (1 - self.strength) * relevance - self.strength * nearest
            gain[chosen[: place + 1]] = -np.inf
        return chosen


@dataclass(frozen=True)
class DPP:
    """A determinantal point process: prefer relevant items with vectors that span a large volume.

    Greedily adds the item that increases (1 - s) sum of relevance + s log det S most, where S holds the
    cosines
    within the list: Chen, Zhang and Zhou, "Fast greedy MAP inference for determinantal point process"
    (NeurIPS 2018), O(best k²). Items that add no volume come last, by relevance.

    Attributes:
        strength: s from 0 (order by score) to 1.
        best: the number of candidates.
    """

    strength: float = 0.3
    best: int = BEST

    def __post_init__(self) -> None:
        _check_strength(self)

    def order(self, directions: np.ndarray, relevance: np.ndarray, k: int) -> np.ndarray:
        """Return the places (k,) of the chosen of m unit vectors, given their relevance (m,) from 0 to 1."""
        k = min(k, len(relevance))
        chosen = np.empty(k, np.int64)
        steps = np.zeros((k, len(relevance)))  # rows of the Cholesky factor of the chosen, for every item
        residual = np.ones(len(relevance))  # squared length of each item outside the span of the chosen
        free = np.ones(len(relevance), bool)
        for place in range(k):
            gain = (1 - self.strength) * relevance + self.strength * np.log(np.maximum(residual, MIN_GAIN))
            best = chosen[place] = int(np.argmax(np.where(free, gain, -np.inf)))
            free[best] = False
            if residual[best] > MIN_GAIN:
                cosines = directions @ directions[best]
                steps[place] = (cosines - steps[:place].T @ steps[:place, best]) / np.sqrt(residual[best])
                residual = residual - steps[place] ** 2
        return chosen


DIVERSIFIERS: dict[str, type[Diversifier]] = {"dpp": DPP, "mmr": MMR}


def diversify(settings: str | Diversifier, context: CandidateContext, k: int) -> Selection:
    """Return k items, or all if there are fewer, chosen by a diversification: its settings or its name.

    Raises `SettingError` for a name that is not in `DIVERSIFIERS`.
    """
    method: Diversifier = named(settings, DIVERSIFIERS, "diversification")
    ids, scores = context.best(max(check_k(k), method.best))
    directions = context.items[ids, : context.items.shape[1] - context.biases].astype(np.float64)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    directions = np.divide(directions, lengths, out=np.zeros_like(directions), where=lengths > 0)
    range_ = float(scores.max() - scores.min()) if len(scores) else 0.0
    relevance = (scores - scores.min()).astype(np.float64) / range_ if range_ > 0 else np.ones(len(scores))
    places = method.order(directions, relevance, k)
    return Selection(ids[places], scores[places], np.ones(len(places)))
