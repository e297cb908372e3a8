"""Exploration: lists that include items other than the best, with known propensities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from scipy.linalg import solve_triangular

from segue.errors import SettingError
from segue.index.base import VectorIndex
from segue.index.checks import check_k
from segue.index.exact import Exact
from segue.online.candidates import CandidateContext, Selection
from segue.online.inclusion import gumbel_inclusion
from segue.online.profile_state import check_above
from segue.validation import at_least, named

BEST = 300  # the default number of candidates
SPREAD = 100  # the best items whose scores scale a bonus
DRAWS = 256  # the default number of redraws for propensities


class Explorer(Protocol):
    """An exploration: settings that choose k items by chance, with known propensities.

    Attributes:
        needs_precision: whether `choose` needs the posterior precision of the query.
    """

    needs_precision: ClassVar[bool]

    def choose(self, context: CandidateContext, k: int, rng: np.random.Generator) -> Selection:
        """Return k items, or all if there are fewer."""
        ...


@dataclass(frozen=True)
class Gaussian:
    """Gaussian noise on the query: search for x + scale |x| z / √dim, where z is standard normal.

    Propensities are estimated by redraws, within a few percent.

    Attributes:
        scale: the expected length of the noise divided by the length of the vector.
        draws: the number of redraws for the propensities; 0 gives NaN propensities and is ten times as fast.
    """

    scale: float = 0.5
    draws: int = DRAWS

    needs_precision: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least(self, scale=0.0, draws=0)

    def choose(self, context: CandidateContext, k: int, rng: np.random.Generator) -> Selection:
        """Return k items, or all if there are fewer."""
        dim = len(context.vector) - context.biases
        spread = self.scale * np.linalg.norm(context.vector[:dim]) / np.sqrt(dim)
        drawn = np.tile(context.vector.astype(np.float64), (1 + self.draws, 1))
        drawn[:, :dim] += spread * rng.standard_normal((1 + self.draws, dim))
        return _by_vectors(context, k, drawn)


@dataclass(frozen=True)
class ShiftedGaussian:
    """Gaussian noise with mean 1: search for x + s z, where z_j ~ N(1, 1 + spread) and s is 1 or -1.

    The sign is drawn once per list. The noise does not scale with x: it suits vectors with coordinates of
    about 1, such as raw text embeddings, and dominates shorter ones. Propensities are estimated by redraws.

    Attributes:
        spread: added to the standard deviation of 1.
        draws: as for `Gaussian`.
    """

    spread: float = 0.1
    draws: int = DRAWS

    needs_precision: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least(self, spread=0.0, draws=0)

    def choose(self, context: CandidateContext, k: int, rng: np.random.Generator) -> Selection:
        """Return k items, or all if there are fewer."""
        dim = len(context.vector) - context.biases
        signs = rng.choice([-1.0, 1.0], (1 + self.draws, 1))
        drawn = np.tile(context.vector.astype(np.float64), (1 + self.draws, 1))
        drawn[:, :dim] += signs * rng.normal(1.0, 1.0 + self.spread, (1 + self.draws, dim))
        return _by_vectors(context, k, drawn)


@dataclass(frozen=True)
class Buckets:
    """Random coordinates: replace a share of the query's coordinates by uniform values, then search.

    The coordinates are drawn with replacement; coordinate j becomes uniform between the minimum and the
    maximum of all items in dimension j. Propensities are estimated by redraws.

    Attributes:
        share: the number of draws of coordinates divided by the number of dimensions.
        draws: as for `Gaussian`.
    """

    share: float = 0.1
    draws: int = DRAWS

    needs_precision: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least(self, share=0.0, draws=0)
        if self.share > 1:
            raise SettingError(f"Buckets(share={self.share!r}) must be from 0 to 1")

    def choose(self, context: CandidateContext, k: int, rng: np.random.Generator) -> Selection:
        """Return k items, or all if there are fewer."""
        dim = len(context.vector) - context.biases
        count = int(np.ceil(self.share * dim))
        drawn = np.tile(context.vector.astype(np.float64), (1 + self.draws, 1))
        low, high = context.bounds()
        places = rng.integers(0, dim, (1 + self.draws, count))
        np.put_along_axis(drawn, places, rng.uniform(low[places], high[places]), axis=1)
        return _by_vectors(context, k, drawn)


@dataclass(frozen=True)
class RankBuckets:
    """One random item from each of k buckets of ranks: the best `width`, the next `width`, and so on.

    Attributes:
        width: the number of items in a bucket; each has the propensity 1 / width.
    """

    width: int = 3

    needs_precision: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least(self, width=1)

    def choose(self, context: CandidateContext, k: int, rng: np.random.Generator) -> Selection:
        """Return k items, or all if there are fewer."""
        ids, scores = context.best(k * self.width)
        starts = np.arange(0, len(ids), self.width)
        if len(ids) < k * self.width:  # too few items to fill the buckets: make them narrower
            starts = np.unique(np.linspace(0, len(ids), min(k, len(ids)), endpoint=False).astype(int))
        sizes = np.diff(np.append(starts, len(ids)))
        places = starts + rng.integers(0, np.maximum(sizes, 1))
        return Selection(ids[places], scores[places], 1.0 / sizes)


@dataclass(frozen=True)
class Thompson:
    """Thompson sampling: search for a vector drawn from the posterior of iALS, x + noise A^(-1/2) z.

    It explores where the posterior is uncertain. Propensities are estimated by redraws.
    Chapelle and Li, "An empirical evaluation of Thompson sampling" (NeurIPS 2011).

    Attributes:
        noise: the standard deviation of an observation around its expectation.
        draws: as for `Gaussian`.
    """

    noise: float = 0.3
    draws: int = DRAWS

    needs_precision: ClassVar[bool] = True

    def __post_init__(self) -> None:
        at_least(self, noise=0.0, draws=0)

    def choose(self, context: CandidateContext, k: int, rng: np.random.Generator) -> Selection:
        """Return k items, or all if there are fewer."""
        factor = np.linalg.cholesky(context.require_precision())
        z = rng.standard_normal((len(context.vector), 1 + self.draws))
        drawn = context.vector + self.noise * solve_triangular(factor, z, lower=True, trans="T").T
        return _by_vectors(context, k, drawn)


@dataclass(frozen=True)
class Optimism:
    """The upper confidence bound score + weight s / √(1 + count).

    count is the number of training users of an item, and s the standard deviation of the scores of the best
    100, which makes the weight comparable between models. The bound is the inner product of [x, weight s] and
    [y, 1 / √(1 + count)], so one search with an extra dimension finds the best among all items. The list does
    not depend on chance, so all propensities are 1. Auer, "Using confidence bounds for
    exploitation-exploration trade-offs" (JMLR 2002).

    Attributes:
        weight: of the bonus.
    """

    weight: float = 1.0

    needs_precision: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least(self, weight=0.0)

    def choose(self, context: CandidateContext, k: int, rng: np.random.Generator) -> Selection:
        """Return k items, or all if there are fewer."""
        _, best = context.best(SPREAD)
        bonus = np.float32(self.weight * (best.std() if len(best) else 0.0))
        query = np.append(context.vector, bonus).astype(np.float32)
        ids = context.find(query[None], min(k, len(context.items)))[0][0]
        ids = ids[ids >= 0]
        return Selection(ids, context.scores(ids), np.ones(len(ids)))

    @staticmethod
    def widened(items: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return the items with the dimension of their bonus: (n, dim + 1) float32."""
        return np.column_stack([items, 1.0 / np.sqrt(1.0 + counts)]).astype(np.float32)

    @staticmethod
    def index(items: np.ndarray, counts: np.ndarray) -> VectorIndex:
        """Return the index that `CandidateContext.find` must search for this exploration."""
        index: VectorIndex = Exact().build(Optimism.widened(items, counts))
        return index


@dataclass(frozen=True)
class Gumbel:
    """Gumbel top-k: draw k candidates without replacement, proportionally to exp(score / (T s)).

    s is the standard deviation of the candidates' scores. Taking the k largest of score / (T s) plus Gumbel
    noise draws from this distribution: Kool et al., "Stochastic beams and where to find them" (ICML 2019).
    Propensities are exact up to numerical integration.

    Attributes:
        temperature: T; near 0 the list has the best items, far above 1 it is nearly uniform.
        best: the number of candidates.
    """

    temperature: float = 0.5
    best: int = BEST

    needs_precision: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_above(self, temperature=0.0)
        at_least(self, best=1)

    def choose(self, context: CandidateContext, k: int, rng: np.random.Generator) -> Selection:
        """Return k items, or all if there are fewer."""
        ids, scores = context.best(max(k, self.best))
        spread = float(scores.std()) if len(scores) else 0.0
        logits = scores.astype(np.float64) / (self.temperature * max(spread, 1e-12))
        places = np.argsort(-(logits + rng.gumbel(size=len(ids))), kind="stable")[:k]
        return Selection(ids[places], scores[places], gumbel_inclusion(logits, places))


@dataclass(frozen=True)
class Reserved:
    """Reserve the last places for random items among the candidates; the others get the best items.

    Attributes:
        slots: the number of reserved places, at most k.
        best: the number of candidates.
    """

    slots: int = 2
    best: int = BEST

    needs_precision: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least(self, slots=0, best=1)

    def choose(self, context: CandidateContext, k: int, rng: np.random.Generator) -> Selection:
        """Return k items, or all if there are fewer."""
        ids, scores = context.best(max(k, self.best))
        fixed = max(0, min(k, len(ids)) - self.slots)
        others = np.arange(fixed, len(ids))
        drawn = rng.choice(others, min(k, len(ids)) - fixed, replace=False)
        places = np.concatenate([np.arange(fixed), np.sort(drawn)])
        propensities = np.where(places < fixed, 1.0, len(drawn) / max(1, len(others)))
        return Selection(ids[places], scores[places], propensities)


EXPLORERS: dict[str, type[Explorer]] = {
    "buckets": Buckets,
    "gaussian": Gaussian,
    "gumbel": Gumbel,
    "optimism": Optimism,
    "rank_buckets": RankBuckets,
    "reserved": Reserved,
    "shifted_gaussian": ShiftedGaussian,
    "thompson": Thompson,
}


def explore(explorer: str | Explorer, context: CandidateContext, k: int, seed: int) -> Selection:
    """Return k items, or all if there are fewer, chosen by an exploration: its settings or its name.

    The same seed gives the same items. Raises `SettingError` for a name that is not in `EXPLORERS`, a seed
    below 0 and k below 1, `DataError` if the context lacks what the exploration needs.
    """
    settings = named(explorer, EXPLORERS, "exploration")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise SettingError(f"seed={seed!r} must be a whole number of at least 0")
    return settings.choose(context, check_k(k), np.random.default_rng(seed))  # type: ignore[no-any-return]


def _by_vectors(context: CandidateContext, k: int, drawn: np.ndarray) -> Selection:
    """The items that the first drawn vector finds; how many draws find them estimates the propensities."""
    found, _ = context.find(drawn.astype(np.float32), min(k, len(context.items)))
    ids = found[0][found[0] >= 0]
    if len(drawn) == 1:
        return Selection(ids, context.scores(ids), np.full(len(ids), np.nan))
    counts = np.bincount(found[found >= 0], minlength=len(context.items))
    return Selection(ids, context.scores(ids), counts[ids] / len(drawn))
