"""Simulate interactions: an invented movie catalog, users with tastes, and the ground truth."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.data.ids import IdMap
from segue.data.interactions import Interactions
from segue.data.titles import make_titles
from segue.data.vocabulary import GENRES, KINDS
from segue.errors import SettingError
from segue.kernels.simulate import draw
from segue.kernels.threads import run
from segue.types import CSR

HIDDEN = 5  # latent dimensions beside the genres
AGE = len(GENRES) + HIDDEN  # the dimension of a movie's age, the last one
DIM = AGE + 1
AFFINITY_CAP = 0.6  # affinity above the mean of an item's kind counts up to this much
MIN_ACTIVITY = 20  # interactions of every user, if there are enough
FIRST_DAY, LAST_DAY = 915_148_800.0, 1_546_300_800.0  # 1999-01-01 and 2019-01-01
YEAR = 365.2425 * 86_400
VISITS = 10  # maximal number of sessions per user
# Shares of 0.5, 1.0, … 5.0 stars in MovieLens-25M.
RATINGS = (0.016, 0.031, 0.016, 0.066, 0.050, 0.196, 0.127, 0.266, 0.088, 0.144)  # fmt: skip
BLOCK = 1 << 20  # interactions processed at a time
log = logging.getLogger("segue")


class Truth(NamedTuple):
    """The ground truth: a user takes an item with a probability proportional to popularity × exp(affinity).

    Affinity above the mean of an item's kind counts up to 0.6.

    Attributes:
        users: (n_users, f) float32; the affinities are `users @ items.T`.
        items: (n_items, f) float32.
        popularity: (n_items,) float64, the weight of each item for a user without preferences.
    """

    users: np.ndarray
    items: np.ndarray
    popularity: np.ndarray


class Simulation(NamedTuple):
    """Interactions and their ground truth."""

    interactions: Interactions
    truth: Truth


class _Movies(NamedTuple):
    kinds: np.ndarray
    vectors: np.ndarray
    centers: np.ndarray
    popularity: np.ndarray
    quality: np.ndarray
    released: np.ndarray
    table: pl.DataFrame


class _Users(NamedTuple):
    vectors: np.ndarray
    counts: np.ndarray
    visits: np.ndarray
    mildness: np.ndarray


def simulate(
    users: int = 1000, items: int = 2000, interactions: int = 100_000, seed: int = 0
) -> Interactions:
    """Simulate ratings of invented movies with the shape of MovieLens.

    Ids are 1..n. There are exactly `interactions` distinct pairs, weighted with 0.5 to 5.0 stars in half
    steps (mean about 3.5, 14% five-star), with times in whole seconds from 1999 to 2018 in a few sessions per
    user, and item metadata: `title` (distinct), `year` and `genres` (one to three).

    Every user has at least 20 interactions, or half of the mean if that is less; some have very many.
    Popularity has a long tail: at the shape of MovieLens-25M (162,541 users, 62,423 items, 25 million) the
    top 1,000 items have about 60% of the interactions, the top 4,000 about 90%, and some items have none. A
    user has an item from before its year only if no other item remains. The same arguments give the same
    bytes on the same machine, with any number of threads.

    Args:
        users: number of users.
        items: number of items.
        interactions: number of distinct pairs, at least `users` and at most users × items.
        seed: random seed.

    Raises:
        SettingError: a number is out of range.
    """
    return simulation(users, items, interactions, seed).interactions


def simulation(
    users: int = 1000, items: int = 2000, interactions: int = 100_000, seed: int = 0
) -> Simulation:
    """Return the interactions of `simulate` and their ground truth."""
    users, items, interactions, seed = _check_counts(users, items, interactions, seed)
    movie_rng, user_rng, draw_rng, time_rng, star_rng = np.random.default_rng(seed).spawn(5)
    movies = _movies(items, movie_rng)
    profiles = _users(users, items, interactions, movies.centers, user_rng)
    matrix = _draw(movies, profiles, draw_rng)
    rows = np.repeat(np.arange(users, dtype=np.int32), profiles.counts)
    times = _times(matrix.indices, rows, movies, profiles, time_rng)
    matrix.data = _stars(matrix.indices, rows, movies, profiles, star_rng)
    data = Interactions(matrix, _ids(users, "user"), _ids(items, "item"), times, movies.table)
    log.info("simulated %r", data)
    return Simulation(data, Truth(profiles.vectors, movies.vectors, movies.popularity))


def _check_counts(users: int, items: int, interactions: int, seed: int) -> tuple[int, int, int, int]:
    minima = {"users": (users, 1), "items": (items, 1), "interactions": (interactions, 1), "seed": (seed, 0)}
    for name, (value, low) in minima.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
            raise SettingError(
                f"{name}={value!r} must be a whole number of at least {low}", arguments=(name,)
            )
    users, items, interactions = int(users), int(items), int(interactions)
    if interactions > users * items:
        raise SettingError(
            f"interactions={interactions:,} do not fit: {users:,} users × {items:,} items are "
            f"{users * items:,} different pairs, the most there can be",
            arguments=("interactions",),
        )
    if interactions < users:
        raise SettingError(
            f"interactions={interactions:,} are too few for {users:,} users with at least one each; "
            f"pass at least {users:,}, or fewer users",
            arguments=("interactions",),
        )
    return users, items, interactions, int(seed)


def _ids(count: int, noun: str) -> IdMap:
    return IdMap.trusted(pl.Series(np.arange(1, count + 1)), noun=noun)


def _movies(count: int, rng: np.random.Generator) -> _Movies:
    """Invent the catalog: draw the kind of each movie first, and everything else given the kind."""
    share = np.array([kind.share for kind in KINDS])
    kinds = rng.choice(len(KINDS), count, p=share / share.sum())
    titles, first, part = make_titles(kinds, rng.random(count) < 0.06, rng)
    quality, years = rng.standard_normal(count), _years(kinds, rng)
    years = np.minimum(years[first] + 3 * part, 2018)
    has = _genres(kinds, rng)[first]
    vectors = _item_vectors(kinds, first, years, has, rng)
    centers = np.zeros((len(KINDS), DIM), np.float32)
    np.add.at(centers, kinds, vectors)
    centers /= np.maximum(np.bincount(kinds, minlength=len(KINDS)), 1)[:, None]
    table = pl.DataFrame(
        {
            "title": titles,
            "year": years,
            "genres": [
                [genre for genre, present in zip(KINDS[kind].genres, row, strict=False) if present]
                for kind, row in zip(kinds, has, strict=True)
            ],
        },
        schema={"title": pl.String, "year": pl.Int32, "genres": pl.List(pl.String)},
    )
    released = (years - 1970).astype("datetime64[Y]").astype("datetime64[s]").astype(np.float64)
    return _Movies(kinds, vectors, centers, _popularity(quality, first, rng), quality, released, table)


def _years(kinds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a year per movie: half of a kind are spread over its years, the others are near their end."""
    start, end = np.array([kind.years for kind in KINDS])[kinds].T
    spread = start + rng.random(len(kinds)) * (end - start + 1)
    late = end + 1 - rng.exponential(20.0, len(kinds))
    years = np.where(rng.random(len(kinds)) < 0.5, spread, np.maximum(late, start))
    whole: np.ndarray = np.minimum(years, end).astype(np.int32)
    return whole


def _genres(kinds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return which genres of its kind (up to 3) a movie has; the main one always (n, 3)."""
    has = rng.random((len(kinds), 3)) < 0.75
    has[:, 0] = True
    many = np.array([len(kind.genres) for kind in KINDS])[kinds]
    has &= np.arange(3) < many[:, None]
    return has


def _item_vectors(
    kinds: np.ndarray, first: np.ndarray, years: np.ndarray, has: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return item vectors: genres, hidden dimensions and age, with offsets of kind, series and movie."""
    vectors = np.zeros((len(kinds), DIM))
    for rank, weight in enumerate((1.0, 0.6, 0.4)):
        genre = np.array([GENRES.index((kind.genres * 3)[rank]) for kind in KINDS])[kinds]
        vectors[has[:, rank], genre[has[:, rank]]] = weight
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors += 0.22 * rng.standard_normal((len(KINDS), DIM))[kinds]
    vectors += 0.15 * rng.standard_normal((len(kinds), DIM))[first]
    vectors += 0.05 * rng.standard_normal((len(kinds), DIM))
    vectors[:, AGE] = (years - 1990) / 40
    return vectors.astype(np.float32)


def _popularity(quality: np.ndarray, first: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return popularity as a stretched exponential of the rank; quality and popular series rank higher."""
    series, own = rng.standard_normal((2, len(first)))
    appeal = quality + 0.8 * series[first] + 0.3 * own
    rank = np.empty(len(first))
    rank[np.argsort(-appeal, kind="stable")] = np.arange(1, len(first) + 1)
    rank *= (62_423 / len(first)) ** 0.4  # a small catalog is not just the head of a large one
    curve: np.ndarray = np.exp(-0.48 * rank**0.32)
    curve += 4e-8 * curve.sum()  # the tail: about one of 25 million interactions each
    return curve


def _users(
    users: int, items: int, interactions: int, centers: np.ndarray, rng: np.random.Generator
) -> _Users:
    """Give each user one to four preferred kinds, a number of interactions, sessions and mildness."""
    share = np.array([kind.share for kind in KINDS])
    keys = rng.exponential(size=(users, len(KINDS))) / share
    tastes = np.argsort(keys, axis=1, kind="stable")[:, :4]
    liking = rng.uniform(0.4, 1.0, (users, 4)) * (np.arange(4) < rng.integers(1, 5, (users, 1)))
    liking /= np.linalg.norm(liking, axis=1, keepdims=True)
    vectors = 0.15 * rng.standard_normal((users, DIM))
    for rank in range(4):
        vectors += 2.2 * liking[:, rank, None] * centers[tastes[:, rank]]
    vectors[:, AGE] = rng.normal(0.4, 1.0, users)
    counts = _activity(users, items, interactions, rng)
    return _Users(vectors.astype(np.float32), counts, _visits(counts, rng), rng.standard_normal(users))


def _visits(counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return when the sessions of each user begin, (users, VISITS) ascending, padded with inf."""
    gaps = rng.exponential(YEAR, (len(counts), VISITS))
    gaps[:, 0] = (LAST_DAY - FIRST_DAY) * rng.random(len(counts)) ** 1.3
    visits = FIRST_DAY + np.cumsum(gaps, axis=1)
    extra = np.arange(VISITS)[None, :] > rng.poisson(1.5 + counts / 50)[:, None]
    visits[extra | (visits >= LAST_DAY)] = np.inf
    return visits


def _activity(users: int, items: int, interactions: int, rng: np.random.Generator) -> np.ndarray:
    """Return the interactions of each user, (users,): a minimum and a log-normal part, at most `items`."""
    minimum = min(MIN_ACTIVITY, max(1, interactions // (2 * users)))
    drive = np.exp(1.4 * rng.standard_normal(users))

    def expected(log_scale: float) -> np.ndarray:
        part = np.exp(log_scale) * drive
        exact: np.ndarray = minimum + (items - minimum) * part / (1.0 + part)
        return exact

    low, high = -60.0, 60.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if expected(middle).sum() < interactions else (low, middle)
    exact = expected(low)
    counts: np.ndarray = np.minimum(np.floor(exact).astype(np.int64), items)
    missing = interactions - int(counts.sum())
    room = np.flatnonzero(counts < items)
    counts[room[np.argsort((counts - exact)[room], kind="stable")[:missing]]] += 1
    return counts


def _draw(movies: _Movies, profiles: _Users, rng: np.random.Generator) -> CSR:
    """Draw the items of each user; return a sorted matrix with zero weights."""
    users, items = len(profiles.vectors), len(movies.vectors)
    indptr = np.concatenate([[0], np.cumsum(profiles.counts)])
    present, groups, sizes = np.unique(movies.kinds, return_inverse=True, return_counts=True)
    members = np.argsort(groups, kind="stable")
    begins = np.concatenate([[0], np.cumsum(sizes)])
    cumulative = np.concatenate(
        [np.cumsum(movies.popularity[part]) for part in np.split(members, begins[1:-1])]
    )
    until = np.where(np.isfinite(profiles.visits), profiles.visits, 0.0).max(axis=1)
    seeds = rng.integers(0, 2**64, users, dtype=np.uint64)
    drawn = np.empty(indptr[-1], np.int32)

    def work(start: int, stop: int) -> None:
        draw(
            start, stop, indptr, seeds, until, profiles.vectors, movies.vectors, movies.released,
            movies.popularity, groups, movies.centers[present], members, begins, cumulative, AFFINITY_CAP,
            drawn,
        )  # fmt: skip

    run(work, users)
    matrix = sp.csr_matrix((np.zeros(len(drawn), np.float32), drawn, indptr), (users, items))
    matrix.sort_indices()
    return matrix


def _times(
    columns: np.ndarray, rows: np.ndarray, movies: _Movies, profiles: _Users, rng: np.random.Generator
) -> np.ndarray:
    """Place each interaction in a session of its user after the release of the item."""
    known = np.isfinite(profiles.visits).sum(axis=1)
    stay = 30.0 * profiles.counts / known + 60.0
    times = np.empty(len(columns))
    for begin in range(0, len(columns), BLOCK):
        block = slice(begin, begin + BLOCK)
        row, released = rows[block], movies.released[columns[block]]
        too_early = (profiles.visits[row] < released[:, None]).sum(axis=1)
        choice = rng.random(len(row)) ** 1.5 * (known[row] - too_early)
        visit = np.minimum(too_early + choice.astype(np.int64), known[row] - 1)
        times[block] = profiles.visits[row, visit] + rng.random(len(row)) * stay[row]
    return np.floor(np.minimum(times, LAST_DAY - 1, out=times), out=times)


def _stars(
    columns: np.ndarray, rows: np.ndarray, movies: _Movies, profiles: _Users, rng: np.random.Generator
) -> np.ndarray:
    """Return stars by affinity, quality, mildness and noise, with the shares of MovieLens."""
    scores = np.empty(len(columns), np.float32)
    for begin in range(0, len(columns), BLOCK):
        block = slice(begin, begin + BLOCK)
        row, column = rows[block], columns[block]
        affinity = np.einsum("nf,nf->n", profiles.vectors[row], movies.vectors[column])
        scores[block] = 0.35 * affinity + 0.5 * movies.quality[column] + 0.4 * profiles.mildness[row]
        scores[block] += 0.7 * rng.standard_normal(len(row))
    edges = np.quantile(scores, np.cumsum(RATINGS)[:-1])
    for begin in range(0, len(columns), BLOCK):
        block = slice(begin, begin + BLOCK)
        scores[block] = 0.5 + 0.5 * np.searchsorted(edges, scores[block], side="right")
    return scores
