"""Simulated interactions: their shape, their ground truth, and that a model can recover it."""

from __future__ import annotations

import hashlib
import re
from itertools import pairwise, permutations
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import svds

from segue.data.simulation import LAST_DAY, RATINGS, Simulation, _times, simulate, simulation
from segue.data.titles import FORMS, _base_titles, _format_title, _plural, make_titles
from segue.data.vocabulary import GENRES, KINDS, MOODS, PLACES, SHARED
from segue.errors import SettingError
from segue.kernels.simulate import draw

MOVIELENS = (
    "Action Adventure Animation Children Comedy Crime Documentary Drama Fantasy "
    "Film-Noir Horror Musical Mystery Romance Sci-Fi Thriller War Western"
)


@pytest.fixture(scope="module")
def usual() -> Simulation:
    return simulation()


@pytest.fixture(scope="module")
def wide() -> Simulation:
    """The catalog and activity of MovieLens-25M with a twentieth of its users."""
    return simulation(8_127, 62_423, 1_250_000)


def rows_of(matrix: sp.csr_matrix) -> np.ndarray:
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def digest(made: Simulation) -> str:
    """Return a checksum of all bytes."""
    data, truth = made
    parts = [data.matrix.indptr, data.matrix.indices, data.matrix.data, data.times, *truth]
    total = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))
    total.update(data.item_metadata.write_json().encode())
    return total.hexdigest()


def years_start(years: np.ndarray) -> np.ndarray:
    return np.array([f"{year}-01-01" for year in years], "datetime64[s]").astype(np.float64)


# What is made


@st.composite
def shapes(draws: st.DrawFn) -> tuple[int, int, int]:
    users, items = draws(st.integers(1, 40)), draws(st.integers(1, 60))
    return users, items, draws(st.integers(users, users * items))


@given(shapes(), st.integers(0, 2**40))
@settings(max_examples=40, deadline=None)
def test_any_valid_shape_is_met_exactly(shape, seed):
    users, items, interactions = shape
    data, truth = simulation(users, items, interactions, seed)
    matrix = data.matrix
    assert (matrix.shape, matrix.nnz, len(data)) == ((users, items), interactions, interactions)
    assert matrix.data.dtype == np.float32
    assert np.isin(matrix.data, np.arange(1, 11) / 2).all()
    keys = rows_of(matrix) * items + matrix.indices
    assert (np.diff(keys) > 0).all()  # sorted, and no pair twice
    assert np.diff(matrix.indptr).min() >= min(20, max(1, interactions // (2 * users)))
    assert data.users.ids.tolist() == list(range(1, users + 1))
    assert data.items.ids.tolist() == list(range(1, items + 1))
    assert data.times.dtype == np.float64
    assert (data.times == np.floor(data.times)).all()
    assert 915_148_800 <= data.times.min() <= data.times.max() < 1_546_300_800
    schema = {"title": pl.String, "year": pl.Int32, "genres": pl.List(pl.String)}
    assert dict(data.item_metadata.schema) == schema
    assert data.item_metadata["title"].n_unique() == items
    assert truth.users.shape == (users, truth.items.shape[1])
    assert truth.items.shape[0] == len(truth.popularity) == items
    assert truth.users.dtype == truth.items.dtype == np.float32


def test_defaults(usual):
    data = usual.interactions
    assert repr(data) == "Interactions(1,000 users × 2,000 items, 100,000 interactions)"
    counts = np.diff(data.matrix.indptr)
    assert counts.min() >= 20
    assert 45 <= np.median(counts) <= 70  # the mean is 100
    assert counts.max() > 500
    popular = np.sort(np.bincount(data.matrix.indices, minlength=2000))[::-1]
    assert 0.40 < popular[:200].sum() / 100_000 < 0.55
    assert (popular > 0).mean() > 0.98


def test_simulate_returns_the_interactions_of_simulation(usual):
    data = simulate()
    assert digest(Simulation(data, usual.truth)) == digest(usual)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"users": 0}, "users=0 must be a whole number of at least 1"),
        ({"items": -3}, "items=-3 must be a whole number of at least 1"),
        ({"interactions": 0}, "interactions=0 must be a whole number of at least 1"),
        ({"users": 10.5}, "users=10.5 must be a whole number of at least 1"),
        ({"items": True}, "items=True must be a whole number of at least 1"),
        ({"seed": -1}, "seed=-1 must be a whole number of at least 0"),
        ({"seed": None}, "seed=None must be a whole number of at least 0"),
        (
            {"users": 100, "items": 50, "interactions": 5001},
            "interactions=5,001 do not fit: 100 users × 50 items are 5,000 different pairs, the most",
        ),
        (
            {"users": 1000, "interactions": 999},
            "interactions=999 are too few for 1,000 users with at least one each; pass at least 1,",
        ),
    ],
)
def test_invalid_counts(arguments, message):
    with pytest.raises(SettingError, match=re.escape(message)):
        simulate(**arguments)


def test_numpy_integers_as_counts():
    assert len(simulate(np.int8(100), np.int16(120), np.int32(1_000), np.uint8(3))) == 1_000


# The same again


def test_equal_seeds_give_equal_bytes_with_any_threads(monkeypatch):
    digests = set()
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("SEGUE_THREADS", threads)
        digests.add(digest(simulation(301, 407, 9_000, seed=5)))
    assert len(digests) == 1
    assert digest(simulation(301, 407, 9_000, seed=6)) not in digests


def test_other_seeds_give_other_interactions():
    first, second = simulation(50, 60, 600, 1), simulation(50, 60, 600, 2)
    assert not first.interactions.item_metadata.equals(second.interactions.item_metadata)
    assert not np.array_equal(first.interactions.matrix.indices, second.interactions.matrix.indices)
    assert not np.allclose(first.truth.users, second.truth.users)


# Like MovieLens


def test_large_catalog_has_the_long_tail_of_movielens(wide):
    matrix = wide.interactions.matrix
    popular = np.sort(np.bincount(matrix.indices, minlength=62_423))[::-1] / matrix.nnz
    assert 0.57 < popular[:1000].sum() < 0.63
    assert 0.87 < popular[:4000].sum() < 0.93
    assert popular[0] * matrix.nnz < 0.7 * matrix.shape[0]
    counts = np.diff(matrix.indptr)
    assert counts.min() == 20
    assert 60 < np.median(counts) < 85  # MovieLens: 71
    assert counts.max() > 30 * counts.mean()


def test_stars_have_the_shares_of_movielens(usual):
    stars = usual.interactions.matrix.data
    shares = np.bincount((stars * 2).astype(int), minlength=11)[1:] / len(stars)
    assert sum(RATINGS) == pytest.approx(1.0)
    np.testing.assert_allclose(shares, RATINGS, atol=0.001)
    assert stars.mean() == pytest.approx(3.53, abs=0.01)


def test_no_interaction_before_the_year_of_the_item(usual, wide):
    for made in (usual, wide):
        data = made.interactions
        begins = years_start(data.item_metadata["year"].to_numpy())
        assert (data.times >= begins[data.matrix.indices]).all()


def test_session_at_the_end_stays_within_2018():
    user = SimpleNamespace(visits=np.array([[LAST_DAY - 9.5, np.inf]]), counts=np.array([500]))
    item = SimpleNamespace(released=np.zeros(1))
    times = _times(np.zeros(500, int), np.zeros(500, int), item, user, np.random.default_rng(0))
    assert LAST_DAY - 10 <= times.min() <= times.max() == LAST_DAY - 1
    assert years_start(np.array([2019]))[0] == LAST_DAY


def test_unreleased_items_are_used_only_if_no_others_remain():
    data = simulate(10, 30, 300)
    assert np.diff(data.matrix.indptr).tolist() == [30] * 10
    begins = years_start(data.item_metadata["year"].to_numpy())
    assert (data.times < begins[data.matrix.indices]).any()


def test_each_user_has_a_few_sessions(usual):
    data = usual.interactions
    indptr, day = data.matrix.indptr, 86_400
    bursts, spans = [], []
    for start, stop in pairwise(indptr):
        moments = np.sort(data.times[start:stop])
        bursts.append(1 + (np.diff(moments) > day).sum())
        spans.append(moments[-1] - moments[0])
    assert max(bursts) <= 10
    assert 1.5 < np.mean(bursts) < 5
    assert np.median(spans) > 30 * day
    assert data.times.max() - data.times.min() > 19 * 365 * day


def test_time_split_has_many_known_test_users(usual):
    train, test = usual.interactions.split(0.2, by="time")
    tested = np.diff(test.matrix.indptr) > 0
    assert (np.diff(train.matrix.indptr)[tested] > 0).mean() > 0.4


# The planted truth


def test_observed_items_have_higher_affinity(usual):
    affinity = usual.truth.users @ usual.truth.items.T
    observed = usual.interactions.matrix.toarray() > 0
    areas = []
    for row, has in zip(affinity, observed, strict=True):
        ranks = np.empty(len(row))
        ranks[np.argsort(row)] = np.arange(len(row))
        n = has.sum()
        areas.append((ranks[has].sum() - n * (n - 1) / 2) / (n * (len(row) - n)))
    assert np.mean(areas) > 0.72
    assert np.quantile(areas, 0.02) > 0.5


def test_popularity_follows_the_ground_truth(usual):
    seen = np.bincount(usual.interactions.matrix.indices, minlength=2000)
    old = usual.interactions.item_metadata["year"].to_numpy() < 1999  # all users could see these
    correlation = np.corrcoef(np.log(usual.truth.popularity[old]), np.log1p(seen[old]))[0, 1]
    assert correlation > 0.7


def test_stars_follow_the_affinity(usual):
    data, truth = usual.interactions, usual.truth
    affinity = np.einsum("nf,nf->n", truth.users[rows_of(data.matrix)], truth.items[data.matrix.indices])
    assert np.corrcoef(affinity, data.matrix.data)[0, 1] > 0.4


def test_popular_items_are_rated_better(usual):
    matrix = usual.interactions.matrix
    seen = np.bincount(matrix.indices, minlength=2000)
    mean = np.bincount(matrix.indices, matrix.data, minlength=2000)[seen >= 20] / seen[seen >= 20]
    assert np.corrcoef(np.log(seen[seen >= 20]), mean)[0, 1] > 0.2


def test_items_of_a_genre_are_close(usual):
    vectors = usual.truth.items / np.linalg.norm(usual.truth.items, axis=1, keepdims=True)
    main = usual.interactions.item_metadata["genres"].list.first().to_numpy()
    same = main[:, None] == main[None, :]
    alike = vectors @ vectors.T
    np.fill_diagonal(same, val=False)
    assert alike[same].mean() > alike[main[:, None] != main[None, :]].mean() + 0.3
    np.fill_diagonal(alike, -1)
    assert (main[alike.argmax(1)] == main).mean() > 0.8


def recall(scores: np.ndarray, train: sp.csr_matrix, test: sp.csr_matrix, k: int = 10) -> float:
    scores = np.where(train.toarray() > 0, -np.inf, scores)
    top = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    wanted = test.toarray() > 0
    counted = (wanted.sum(1) > 0) & (np.diff(train.indptr) > 0)
    hits = np.take_along_axis(wanted, top, 1).sum(1)
    return float((hits / np.maximum(np.minimum(wanted.sum(1), k), 1))[counted].mean())


@pytest.mark.parametrize(("by", "better"), [("random", 1.35), ("time", 1.25)])
def test_collaborative_models_beat_popularity(usual, by, better):
    train, test = (part.matrix for part in usual.interactions.split(0.2, by=by))
    known = (train > 0).astype(np.float64)
    popularity = np.broadcast_to(np.asarray(known.sum(0)), known.shape)
    left, strength, right = svds(known, k=16, v0=np.ones(min(known.shape)))
    popular, learned = recall(popularity, train, test), recall(left * strength @ right, train, test)
    assert popular > 0.15
    assert learned > better * popular


def test_genres_predict_preferences(usual):
    """Items of the genres of a user contain a larger share of the held-out ones than all items do."""
    train, test = (part.matrix for part in usual.interactions.split(0.2))
    genres = usual.interactions.item_metadata["genres"].to_list()
    has = np.array([[genre in row for genre in GENRES] for row in genres], float)
    has /= np.linalg.norm(has, axis=1, keepdims=True)
    known = (train > 0).astype(np.float64)
    seen = np.asarray(known.sum(0))
    liked = known @ has @ has.T
    popular = recall(np.broadcast_to(seen, known.shape), train, test)
    assert recall(liked * seen**0.7, train, test) > 1.08 * popular


# The draws


def chances(weights: np.ndarray, k: int) -> np.ndarray:
    """Return the probability of each item among k draws without replacement, summed over all orders."""
    total = np.zeros(len(weights))
    for order in permutations(range(len(weights)), k):
        chance, left = 1.0, weights.sum()
        for item in order:
            chance *= weights[item] / left
            left -= weights[item]
        total[list(order)] += chance
    return total


def drawn(k: int, users: int, until: float, lead: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the frequency of seven items in two groups, and their weights."""
    items = np.array(
        [[1.5, 0], [0.2, 0.4], [-0.5, 1], [0, 0.3], [0.1, -1], [2.2, 0.1], [0.3, 0.3]], np.float32
    )
    weights = np.array([0.2, 1.0, 0.5, 2.0, 0.7, 0.1, 0.4])
    groups = np.array([0, 1, 1, 0, 1, 0, 1])
    taste = np.array([0.9, -0.4], np.float32)
    centres = np.array([items[groups == g].mean(0) for g in (0, 1)])
    members = np.argsort(groups, kind="stable")
    cumulative = np.concatenate([np.cumsum(weights[groups == g]) for g in (0, 1)])
    released = np.array([0.0, 0, 9, 0, 0, 0, 0])
    taken = np.full(k * users, -1, np.int32)
    seeds = np.random.default_rng(k).integers(0, 2**64, users, dtype=np.uint64)
    draw(
        0, users, np.arange(users + 1) * k, seeds, np.full(users, until), np.tile(taste, (users, 1)), items,
        released, weights, groups, centres, members, np.array([0, 3, 7]), cumulative, lead, taken,
    )  # fmt: skip
    assert all(len(set(row)) == k for row in taken.reshape(users, k).tolist())
    centre = centres[groups] @ taste
    true = weights * np.exp(centre + np.minimum(items @ taste - centre, lead))
    return np.bincount(taken, minlength=7) / users, true


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("lead", [0.3, 5.0])
def test_draws_have_the_probabilities_of_weighted_sampling(k, lead):
    """Three trials for seven items: some draws use rejection trials, some exponential clocks."""
    users = 30_000
    frequency, weights = drawn(k, users, until=10.0, lead=lead)
    expected = chances(weights, k)
    error = np.sqrt(expected * (1 - expected) / users)
    assert np.all(np.abs(frequency - expected) < 4.5 * error)


def test_unreleased_items_are_drawn_last():
    frequency, weights = drawn(3, 20_000, until=5.0, lead=0.3)
    weights[2] = 0.0
    there = np.delete(np.arange(7), 2)
    expected = chances(weights[there], 3)
    assert frequency[2] == 0
    assert np.all(np.abs(frequency[there] - expected) < 4.5 * np.sqrt(expected * (1 - expected) / 20_000))
    assert drawn(7, 50, until=5.0, lead=0.3)[0].tolist() == [1.0] * 7


# The titles


def test_vocabulary_is_complete():
    assert " ".join(GENRES) == MOVIELENS
    assert sum(percent for *_, percent in FORMS) == 100
    assert {kind.places for kind in KINDS} == set(PLACES)
    assert {kind.mood for kind in KINDS} == set(MOODS)
    for kind in KINDS:
        assert 1 <= len(kind.genres) <= 3
        assert len(set(kind.nouns)) == len(kind.nouns) == 12
        assert len(set(kind.adjectives)) == len(kind.adjectives) == 10
        assert not set(kind.nouns) & set(kind.adjectives)
        assert 1930 <= kind.years[0] < kind.years[1] <= 2018
    for words in [*PLACES.values(), *MOODS.values(), *SHARED.values()]:
        assert len(set(words.split())) == len(words.split())


@pytest.mark.parametrize(
    ("form", "noun", "second", "title"),
    [
        ("{a} {noun} {at} {second}", "Heist", "Lisbon", "A Heist in Lisbon"),
        ("{a} {noun} {at} {second}", "Android", "Oslo", "An Android in Oslo"),
        ("{a} {noun} {at} {second}", "Unicorn", "Kaldor", "A Unicorn in Kaldor"),
        ("{a} {noun} {at} {second}", "Hourglass", "Cairo", "An Hourglass in Cairo"),
        ("{a} {noun} {at} {second}", "Upload", "Cairo", "An Upload in Cairo"),
        ("{a} {noun} {at} {second}", "Underdog", "Cairo", "An Underdog in Cairo"),
        ("{second} {nouns}", "Witness", "Three", "Three Witnesses"),
        ("{second} {nouns}", "Colony", "Two", "Two Colonies"),
        ("{second} {nouns}", "Alley", "Two", "Two Alleys"),
        ("{second} {nouns}", "Ferryman", "Ten", "Ten Ferrymen"),
        ("{second}'s {noun}", "Harvest", "Clara", "Clara's Harvest"),
    ],
)
def test_titles_are_grammatical(form, noun, second, title):
    assert _format_title(form, noun, second, "in") == title


def test_titles_are_distinct_when_words_run_out():
    rng = np.random.default_rng(0)
    kinds = np.repeat([0, 7, 30], 6_000)
    made = make_titles(kinds, rng.random(len(kinds)) < 0.1, rng)
    assert len(set(made.titles)) == len(kinds)
    assert max(len(list(_base_titles(KINDS[kind], rng))) for kind in (0, 7, 30)) < 6_000
    for film in range(0, len(kinds), 37):
        first = made.titles[made.first[film]]
        assert kinds[made.first[film]] == kinds[film]
        assert (
            made.titles[film] == first if made.part[film] == 0 else made.titles[film].startswith(first + " ")
        )


def test_large_catalog_has_distinct_titles(wide):
    titles = wide.interactions.item_metadata["title"]
    assert titles.n_unique() == 62_423
    assert not [title for title in titles if re.fullmatch(r"The (.+) and the \1( [IV]+)?", title)]


def test_sequels_are_later_and_of_the_same_genres(usual):
    table = usual.interactions.item_metadata
    known = {title: (year, genres) for title, year, genres in table.rows()}
    sequels = [title for title in known if re.search(r" (II|III|IV)$", title)]
    assert 60 < len(sequels) < 180
    for title in sequels:
        first = re.sub(r" [IV]+$", "", title)
        assert known[first][0] <= known[title][0] <= 2018
        assert known[first][1] == known[title][1]


def test_titles_match_genres(usual):
    """Every title has a noun of a kind with the genres of the movie."""
    for title, year, genres in usual.interactions.item_metadata.rows():
        fitting = [kind for kind in KINDS if kind.genres[0] == genres[0] and set(genres) <= set(kind.genres)]
        assert any(noun in title or _plural(noun) in title for kind in fitting for noun in kind.nouns), title
        assert any(kind.years[0] <= year for kind in fitting)
    assert set(usual.interactions.item_metadata["genres"].explode()) == set(GENRES)
    lengths = usual.interactions.item_metadata["genres"].list.len()
    assert (lengths.min(), lengths.max()) == (1, 3)
