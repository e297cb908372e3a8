"""Simulated interactions: an invented film catalogue, users with tastes, and the truth behind them."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.data.ids import IdMap
from segue.data.interactions import Interactions
from segue.data.titles import GENRES, KINDS, titled
from segue.errors import SettingError
from segue.kernels.simulate import draw
from segue.kernels.threads import run

HIDDEN = 5  # latent dimensions that no genre explains
AGE = len(GENRES) + HIDDEN  # the dimension of a film's age, the last one
DIM = AGE + 1
LEAD = 0.6  # how far above its kind's mean affinity an item still gains by it
LEAST = 20  # interactions that every user has, where there are enough of them
FIRST_DAY, LAST_DAY = 915_148_800.0, 1_546_300_800.0  # 1999-01-01 and 2019-01-01
YEAR = 365.2425 * 86_400
VISITS = 10  # the most bursts of a user
# The shares of 0.5, 1.0 … 5.0 stars in MovieLens-25M.
RATINGS = (0.016, 0.031, 0.016, 0.066, 0.050, 0.196, 0.127, 0.266, 0.088, 0.144)  # fmt: skip
BLOCK = 1 << 20
log = logging.getLogger("segue")


class Truth(NamedTuple):
    """What the interactions were drawn from: a user takes an item by popularity × exp(affinity).

    How far an item's affinity is above the mean of its kind counts up to 0.6 only.

    Attributes:
        users: (n_users, f) float32; the affinities are `users @ items.T`.
        items: (n_items, f) float32.
        popularity: (n_items,) float64, the weight of each item for a user without tastes.
    """

    users: np.ndarray
    items: np.ndarray
    popularity: np.ndarray


class Simulation(NamedTuple):
    """Interactions and the planted truth behind them."""

    interactions: Interactions
    truth: Truth


class _Films(NamedTuple):
    kinds: np.ndarray
    vectors: np.ndarray
    centres: np.ndarray
    popularity: np.ndarray
    quality: np.ndarray
    released: np.ndarray
    table: pl.DataFrame


class _People(NamedTuple):
    vectors: np.ndarray
    counts: np.ndarray
    visits: np.ndarray
    mildness: np.ndarray


def simulate(
    users: int = 1000, items: int = 2000, interactions: int = 100_000, seed: int = 0
) -> Interactions:
    """Make ratings of invented films by users with tastes, in the shape of MovieLens.

    Ids are 1..n. There are exactly `interactions` distinct pairs, weighted with 0.5 to 5.0 stars in
    half steps (mean about 3.5, 14% five-star), with times in whole seconds from 1999 to 2018, in a
    few bursts per user, and item metadata: `title` (distinct), `year` and `genres` (one to three).

    Every user has at least 20 interactions, or half of the mean where that is less; some have very
    many. Popularity has a long tail: at MovieLens-25M's shape (162,541 users, 62,423 items, 25
    million) the top 1,000 items hold about 60%, the top 4,000 about 90%, and some items have no
    interaction. Nobody has an item from before its year who could have another one instead. The
    same arguments give the same bytes on the same machine, with any number of threads.

    Raises `SettingError` for counts below 1, or interactions that do not fit users × items.
    """
    return simulation(users, items, interactions, seed).interactions


def simulation(
    users: int = 1000, items: int = 2000, interactions: int = 100_000, seed: int = 0
) -> Simulation:
    """Make what `simulate` makes, and give it together with the planted truth."""
    users, items, interactions, seed = _checked(users, items, interactions, seed)
    for_films, for_people, for_draws, for_times, for_stars = np.random.default_rng(seed).spawn(5)
    films = _films(items, for_films)
    people = _people(users, items, interactions, films.centres, for_people)
    matrix = _draw(films, people, for_draws)
    rows = np.repeat(np.arange(users, dtype=np.int32), people.counts)
    times = _times(matrix.indices, rows, films, people, for_times)
    matrix.data = _stars(matrix.indices, rows, films, people, for_stars)
    made = Interactions(matrix, _ids(users, "user"), _ids(items, "item"), times, films.table)
    log.info("simulated %r", made)
    return Simulation(made, Truth(people.vectors, films.vectors, films.popularity))


def _checked(users: Any, items: Any, interactions: Any, seed: Any) -> tuple[int, int, int, int]:
    least = {"users": (users, 1), "items": (items, 1), "interactions": (interactions, 1), "seed": (seed, 0)}
    for name, (value, low) in least.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
            raise SettingError(f"{name}={value!r} must be a whole number of at least {low}")
    users, items, interactions = int(users), int(items), int(interactions)
    if interactions > users * items:
        raise SettingError(
            f"interactions={interactions:,} do not fit: {users:,} users × {items:,} items are "
            f"{users * items:,} different pairs; ask for at most so many"
        )
    if interactions < users:
        raise SettingError(
            f"interactions={interactions:,} are too few for {users:,} users, who have at least one each; "
            f"ask for at least {users:,}, or for fewer users"
        )
    return users, items, interactions, int(seed)


def _ids(count: int, noun: str) -> IdMap:
    return IdMap.trusted(pl.Series(np.arange(1, count + 1)), noun=noun)


def _films(count: int, rng: np.random.Generator) -> _Films:
    """Invent the catalogue: kinds of film first, and everything else from the kind."""
    share = np.array([kind.share for kind in KINDS])
    kinds = rng.choice(len(KINDS), count, p=share / share.sum())
    titles, first, part = titled(kinds, rng.random(count) < 0.06, rng)
    quality, years = rng.standard_normal(count), _years(kinds, rng)
    years = np.minimum(years[first] + 3 * part, 2018)
    has = _genres(kinds, rng)[first]
    vectors = _item_vectors(kinds, first, years, has, rng)
    centres = np.zeros((len(KINDS), DIM), np.float32)
    np.add.at(centres, kinds, vectors)
    centres /= np.maximum(np.bincount(kinds, minlength=len(KINDS)), 1)[:, None]
    table = pl.DataFrame(
        {
            "title": titles,
            "year": years,
            "genres": [
                [genre for genre, there in zip(KINDS[kind].genres, row, strict=False) if there]
                for kind, row in zip(kinds, has, strict=True)
            ],
        },
        schema={"title": pl.String, "year": pl.Int32, "genres": pl.List(pl.String)},
    )
    released = (years - 1970).astype("datetime64[Y]").astype("datetime64[s]").astype(np.float64)
    return _Films(kinds, vectors, centres, _popularity(quality, first, rng), quality, released, table)


def _years(kinds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Half of a kind's films are spread over its years, the others crowd at their end."""
    start, end = np.array([kind.years for kind in KINDS])[kinds].T
    spread = start + rng.random(len(kinds)) * (end - start + 1)
    late = end + 1 - rng.exponential(20.0, len(kinds))
    years = np.where(rng.random(len(kinds)) < 0.5, spread, np.maximum(late, start))
    made: np.ndarray = np.minimum(years, end).astype(np.int32)
    return made


def _genres(kinds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Which of its kind's genres (up to 3) a film has: the main one always."""
    has = rng.random((len(kinds), 3)) < 0.75
    has[:, 0] = True
    many = np.array([len(kind.genres) for kind in KINDS])[kinds]
    has &= np.arange(3) < many[:, None]
    return has


def _item_vectors(
    kinds: np.ndarray, first: np.ndarray, years: np.ndarray, has: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A dimension for every genre, hidden ones, and the age; plus what is the kind's and the series' own."""
    vectors = np.zeros((len(kinds), DIM))
    for place, weight in enumerate((1.0, 0.6, 0.4)):
        genre = np.array([GENRES.index((kind.genres * 3)[place]) for kind in KINDS])[kinds]
        vectors[has[:, place], genre[has[:, place]]] = weight
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors += 0.22 * rng.standard_normal((len(KINDS), DIM))[kinds]
    vectors += 0.15 * rng.standard_normal((len(kinds), DIM))[first]
    vectors += 0.05 * rng.standard_normal((len(kinds), DIM))
    vectors[:, AGE] = (years - 1990) / 40
    return vectors.astype(np.float32)


def _popularity(quality: np.ndarray, first: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A stretched exponential of the rank; better films and the sequels of hits stand higher."""
    series, own = rng.standard_normal((2, len(first)))
    appeal = quality + 0.8 * series[first] + 0.3 * own
    rank = np.empty(len(first))
    rank[np.argsort(-appeal, kind="stable")] = np.arange(1, len(first) + 1)
    rank *= (62_423 / len(first)) ** 0.4  # a small catalogue is not only the head of a large one
    curve: np.ndarray = np.exp(-0.48 * rank**0.32)
    curve += 4e-8 * curve.sum()  # the tail: about one in 25 million each
    return curve


def _people(
    users: int, items: int, interactions: int, centres: np.ndarray, rng: np.random.Generator
) -> _People:
    """Give every user one to four tastes, so many interactions, a few bursts, and a mild or a harsh pen."""
    share = np.array([kind.share for kind in KINDS])
    keys = rng.exponential(size=(users, len(KINDS))) / share
    tastes = np.argsort(keys, axis=1, kind="stable")[:, :4]
    liking = rng.uniform(0.4, 1.0, (users, 4)) * (np.arange(4) < rng.integers(1, 5, (users, 1)))
    liking /= np.linalg.norm(liking, axis=1, keepdims=True)
    vectors = 0.15 * rng.standard_normal((users, DIM))
    for place in range(4):
        vectors += 2.2 * liking[:, place, None] * centres[tastes[:, place]]
    vectors[:, AGE] = rng.normal(0.4, 1.0, users)
    counts = _activity(users, items, interactions, rng)
    return _People(vectors.astype(np.float32), counts, _visits(counts, rng), rng.standard_normal(users))


def _visits(counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """When each user's bursts begin, (users, VISITS) ascending, then inf; the active have more of them."""
    gaps = rng.exponential(YEAR, (len(counts), VISITS))
    gaps[:, 0] = (LAST_DAY - FIRST_DAY) * rng.random(len(counts)) ** 1.3
    visits = FIRST_DAY + np.cumsum(gaps, axis=1)
    extra = np.arange(VISITS)[None, :] > rng.poisson(1.5 + counts / 50)[:, None]
    visits[extra | (visits >= LAST_DAY)] = np.inf
    return visits


def _activity(users: int, items: int, interactions: int, rng: np.random.Generator) -> np.ndarray:
    """How many interactions each user has, (users,): the least and a log-normal part, bent below `items`."""
    least = min(LEAST, max(1, interactions // (2 * users)))
    drive = np.exp(1.4 * rng.standard_normal(users))

    def wanted(log_scale: float) -> np.ndarray:
        part = np.exp(log_scale) * drive
        exact: np.ndarray = least + (items - least) * part / (1.0 + part)
        return exact

    low, high = -60.0, 60.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if wanted(middle).sum() < interactions else (low, middle)
    exact = wanted(low)
    counts: np.ndarray = np.minimum(np.floor(exact).astype(np.int64), items)
    missing = interactions - int(counts.sum())
    room = np.flatnonzero(counts < items)
    counts[room[np.argsort((counts - exact)[room], kind="stable")[:missing]]] += 1
    return counts


def _draw(films: _Films, people: _People, rng: np.random.Generator) -> Any:
    """Take every user's items; the matrix comes back sorted, its weights still zero."""
    users, items = len(people.vectors), len(films.vectors)
    indptr = np.concatenate([[0], np.cumsum(people.counts)])
    there, groups, sizes = np.unique(films.kinds, return_inverse=True, return_counts=True)
    members = np.argsort(groups, kind="stable")
    begins = np.concatenate([[0], np.cumsum(sizes)])
    cumulative = np.concatenate([np.cumsum(films.popularity[of]) for of in np.split(members, begins[1:-1])])
    until = np.where(np.isfinite(people.visits), people.visits, 0.0).max(axis=1)
    seeds = rng.integers(0, 2**64, users, dtype=np.uint64)
    taken = np.empty(indptr[-1], np.int32)

    def work(start: int, stop: int) -> None:
        draw(
            start, stop, indptr, seeds, until, people.vectors, films.vectors, films.released,
            films.popularity, groups, films.centres[there], members, begins, cumulative, LEAD, taken,
        )  # fmt: skip

    run(work, users)
    matrix = sp.csr_matrix((np.zeros(len(taken), np.float32), taken, indptr), (users, items))
    matrix.sort_indices()
    return matrix


def _times(
    columns: np.ndarray, rows: np.ndarray, films: _Films, people: _People, rng: np.random.Generator
) -> np.ndarray:
    """Put each interaction into one of its user's bursts that came after the item, a half minute apart."""
    known = np.isfinite(people.visits).sum(axis=1)
    stay = 30.0 * people.counts / known + 60.0
    times = np.empty(len(columns))
    for begin in range(0, len(columns), BLOCK):
        block = slice(begin, begin + BLOCK)
        row, released = rows[block], films.released[columns[block]]
        too_early = (people.visits[row] < released[:, None]).sum(axis=1)
        choice = rng.random(len(row)) ** 1.5 * (known[row] - too_early)
        visit = np.minimum(too_early + choice.astype(np.int64), known[row] - 1)
        times[block] = people.visits[row, visit] + rng.random(len(row)) * stay[row]
    return np.floor(np.minimum(times, LAST_DAY - 1, out=times), out=times)


def _stars(
    columns: np.ndarray, rows: np.ndarray, films: _Films, people: _People, rng: np.random.Generator
) -> np.ndarray:
    """Rate by affinity, the film's quality, the user's mildness and chance, in MovieLens' shares of stars."""
    scores = np.empty(len(columns), np.float32)
    for begin in range(0, len(columns), BLOCK):
        block = slice(begin, begin + BLOCK)
        row, column = rows[block], columns[block]
        affinity = np.einsum("nf,nf->n", people.vectors[row], films.vectors[column])
        scores[block] = 0.35 * affinity + 0.5 * films.quality[column] + 0.4 * people.mildness[row]
        scores[block] += 0.7 * rng.standard_normal(len(row))
    edges = np.quantile(scores, np.cumsum(RATINGS)[:-1])
    for begin in range(0, len(columns), BLOCK):
        block = slice(begin, begin + BLOCK)
        scores[block] = 0.5 + 0.5 * np.searchsorted(edges, scores[block], side="right")
    return scores
