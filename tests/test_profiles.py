"""Profiles against their formulas, and what every kind of profile owes."""

import json

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import segue
from segue.errors import DataError, SettingError
from segue.online import PROFILES, Profile, Space, to_json
from segue.online.averages import DAY, EMA, HalfLife, Neighbors, Recent
from segue.online.interests import Interests
from segue.online.posterior import Posterior

KINDS = {
    **{name: kind() for name, kind in PROFILES.items()},
    "fading posterior": Posterior(half_life=5.0),
    "forgetful posterior": Posterior(picks=3.0),
    "next of recent": Neighbors("next", base=Recent(4)),
    "mean of fading": Neighbors("mean", 3, base=HalfLife(3.0)),
    "short": Recent(3, 1.0),
    "quick interests": Interests(half_life=2.0, size=7),
}


def space_of(dim=7, count=40, seed=0, biases=0):
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((count, dim + biases)).astype(np.float32)
    return Space(items, biases, model=segue.IALS(dim=dim, unobserved_weight=0.1))


def unit(vector):
    return vector / np.linalg.norm(vector)


def read(kind, space, picks, now=None, start=None):
    """The vectors after picks of (row, weight, time)."""
    profile = Profile(kind, space)
    state = profile.start(start)
    for row, weight, time in picks:
        state = profile.update(state, row, weight, time)
    return profile.vectors(state, now).vectors


def some_picks(count, seed=0, items=40):
    rng = np.random.default_rng(seed)
    weights = rng.choice([1.0, 2.0, 0.5, -1.0], count)
    return [*zip(rng.integers(0, items, count).tolist(), weights, np.arange(count, dtype=float), strict=True)]


def test_ema_is_the_formula():
    space = space_of()
    units = space.items / np.linalg.norm(space.items, axis=1, keepdims=True)
    expected = units[3].astype(np.float64)
    for row in (5, 7, 7):
        expected = (8 * expected + units[row]) / 9
    (found,) = read(EMA(8.0), space, [(3, 1, 0), (5, 1, 0), (7, 1, 0), (7, 1, 0)])
    np.testing.assert_allclose(found, unit(expected), atol=1e-6)
    disliked = (8 * expected - 2 * units[9]) / 10
    picks = [(3, 1, 0), (5, 1, 0), (7, 1, 0), (7, 1, 0), (9, -2, 0)]
    np.testing.assert_allclose(read(EMA(8.0), space, picks)[0], unit(disliked), atol=1e-6)


def test_ema_moves_a_trained_vector():
    space = space_of()
    start = np.arange(1.0, 8.0)
    expected = unit(8 * unit(start) + unit(space.items[2]))
    np.testing.assert_allclose(read(EMA(8.0), space, [(2, 1, 0)], start=start)[0], expected, atol=1e-6)


def test_half_life_halves_in_its_time():
    space = space_of()
    picks = [(1, 1.0, 0.0), (2, 1.0, 10 * DAY), (3, -2.0, 15 * DAY)]
    shares = np.array([0.5**2, 0.5**1, -2 * 0.5**0.5])
    expected = shares @ (space.items[1:4] / np.linalg.norm(space.items[1:4], axis=1, keepdims=True))
    found = read(HalfLife(10 * DAY), space, picks, now=20 * DAY)
    np.testing.assert_allclose(found[0], unit(expected), atol=1e-6)


def test_half_life_goes_back_to_where_it_started():
    space = space_of()
    start = unit(np.arange(1.0, 8.0))
    picks = [(4, 1.0, 0.0)] * 3
    near = [float(read(HalfLife(1.0), space, picks, now, start)[0] @ start) for now in (0.0, 2.0, 5.0, 60.0)]
    assert near == sorted(near)
    assert near[0] < 0.999
    assert near[-1] == pytest.approx(1, abs=1e-6)


def test_half_life_does_not_care_in_which_order_picks_arrive():
    space = space_of()
    picks = some_picks(12)
    forwards, backwards = read(HalfLife(3.0), space, picks), read(HalfLife(3.0), space, picks[::-1])
    np.testing.assert_allclose(forwards, backwards, atol=1e-6)
    assert not np.allclose(forwards, read(HalfLife(30.0), space, picks), atol=1e-3)


def test_recent_is_the_gaussian_mean_of_the_latest():
    space = space_of()
    picks = some_picks(9)
    shares = np.array([weight for _, weight, _ in picks])[-5:] * np.exp(
        -0.5 * (np.arange(5)[::-1] / 2.0) ** 2
    )
    vectors = np.array([unit(space.items[row]) for row, _, _ in picks[-5:]])
    np.testing.assert_allclose(read(Recent(5, 2.0), space, picks)[0], unit(shares @ vectors), atol=1e-6)
    np.testing.assert_allclose(
        read(Recent(5, 2.0), space, picks[::-1]), read(Recent(5, 2.0), space, picks), atol=1e-6
    )


def test_recent_keeps_picks_of_one_time_as_they_came_and_forgets_the_oldest():
    profile = Profile(Recent(2, 1.0), space_of())
    state = profile.update(profile.start(), [1, 2, 3], 1.0, [5.0, 5.0, 5.0])
    np.testing.assert_allclose(
        state["vectors"], [unit(profile.space.items[row]) for row in (2, 3)], atol=1e-6
    )
    late = profile.update(state, 4, 1.0, 1.0)
    for name, array in state.items():
        np.testing.assert_array_equal(late[name], array)


@pytest.mark.parametrize(("how", "count"), [("next", 1), ("mean", 4), ("weighted", 4)])
def test_neighbours_take_what_lies_around(how, count):
    space = space_of()
    units = (space.items / np.linalg.norm(space.items, axis=1, keepdims=True)).astype(np.float64)
    cosines = units @ units[6]
    nearest = [row for row in np.argsort(-cosines) if row != 6][:count]
    shares = np.maximum(cosines[nearest], 0) if how == "weighted" else np.ones(count)
    (found,) = read(Neighbors(how, count), space, [(6, 1.0, 0.0)])
    np.testing.assert_allclose(found, unit(shares @ units[nearest]), atol=1e-5)


def test_interests_are_medoids_by_importance():
    rng = np.random.default_rng(3)
    axes = np.eye(6)[:3]
    items = np.repeat(axes, [5, 3, 4], axis=0) + 0.05 * rng.standard_normal((12, 6))
    space = Space(items.astype(np.float32))
    picks = [(row, 1.0, 100.0) for row in range(8)] + [(row, 1.0, 90.0) for row in range(8, 12)]
    profile = Profile(Interests(half_life=10.0), space)
    state = profile.update(profile.start(), *map(list, zip(*picks, strict=True)))
    found = profile.vectors(state)
    np.testing.assert_allclose(found.weights, np.array([5, 3, 2]) / 10, atol=1e-6)
    units = items / np.linalg.norm(items, axis=1, keepdims=True)
    for vector, members in zip(found.vectors, (range(5), range(5, 8), range(8, 12)), strict=True):
        spread = [((units[[*members]] - units[row]) ** 2).sum() for row in members]
        np.testing.assert_allclose(vector, units[members[int(np.argmin(spread))]], atol=1e-5)
    disliked = profile.update(state, [0, 1, 2, 3, 4], -1.0, 100.0)
    assert len(profile.vectors(disliked).vectors) == 2
    only = Profile(Interests(most=1, half_life=10.0), space).vectors(state)
    assert only.vectors.shape == (1, 6)
    assert only.weights == [1.0]


def test_interests_keep_the_start_as_one_of_them():
    space = space_of()
    start = np.arange(1.0, 8.0)
    profile = Profile(Interests(n=2.0), space)
    state = profile.update(profile.start(start), [1, 1, 1, 1], 1.0, 0.0)
    found = profile.vectors(state)
    np.testing.assert_allclose(found.weights, [2 / 3, 1 / 3])
    np.testing.assert_allclose(found.vectors[1], unit(start), atol=1e-6)


@pytest.mark.parametrize("dim", [1, 2, 5, 7, 13])
def test_the_posterior_is_the_fold_in(dim):
    rng = np.random.default_rng(dim)
    data = segue.read_interactions(sp.random(60, 50, 0.1, "csr", random_state=rng))
    model = segue.IALS(dim=dim, iterations=4)
    recommender = segue.Recommender(model).fit(data)
    history = np.flatnonzero(recommender.embeddings.items.any(1))[:6]
    row = sp.csr_matrix((np.ones(6, np.float32), (np.zeros(6, int), history)), (1, 50))
    space = Space.of(recommender.embeddings, recommender.settings.model)
    (found,) = read("posterior", space, [(item, 1.0, 0.0) for item in history])
    np.testing.assert_allclose(found, recommender.fold_in(row)[0], rtol=1e-3, atol=1e-4)


def test_a_fading_posterior_is_one_with_smaller_confidence():
    space = space_of()
    model = space.model
    weights, ages, rows = np.array([1.0, 2.0, -1.0]), np.array([10.0, 5.0, 0.0]), [1, 2, 3]
    shares = np.abs(weights) * 0.5 ** (ages / 5.0)
    y = space.items[rows].astype(np.float64)
    lam = model.reg * (shares.sum() + 0.1 * 40)
    a = 0.1 * space.items.astype(float).T @ space.items + lam * np.eye(7) + (y * shares[:, None]).T @ y
    expected = np.linalg.solve(a, (shares * np.sign(weights)) @ y)
    picks = [*zip(rows, weights, 10 - ages, strict=True)]
    for order in (picks, picks[::-1]):
        np.testing.assert_allclose(read(Posterior(5.0), space, order)[0], expected, rtol=1e-4)
    found, factor = Posterior(5.0).solve(space, state_after(Posterior(5.0), space, picks), None)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    factor = np.tril(factor)
    np.testing.assert_allclose(factor @ factor.T, a, rtol=1e-6, atol=1e-9)
    start = np.arange(1.0, 8.0)
    np.testing.assert_allclose(read(Posterior(), space, [], start=start)[0], start, rtol=1e-5)


def test_a_forgetful_posterior_halves_confidence_by_the_picks_that_came_later():
    space = space_of()
    model = space.model
    weights, rows = np.array([1.0, -2.0, 1.0, 3.0]), [1, 2, 3, 1]
    shares = np.abs(weights) * 0.5 ** (np.array([3, 2, 1, 0]) / 2.0)
    y = space.items[rows].astype(np.float64)
    lam = model.reg * (shares.sum() + 0.1 * 40)
    a = 0.1 * space.items.astype(float).T @ space.items + lam * np.eye(7) + (y * shares[:, None]).T @ y
    expected = np.linalg.solve(a, (shares * np.sign(weights)) @ y)
    state = state_after(Posterior(picks=2.0), space, [*zip(rows, weights, [0.0] * 4, strict=True)])
    np.testing.assert_allclose(Posterior(picks=2.0).solve(space, state, None)[0], expected, rtol=1e-6)
    matrix, _ = Posterior(picks=2.0).system(space, state, None)
    np.testing.assert_allclose(matrix, a, rtol=1e-6, atol=1e-9)


def state_after(kind, space, picks):
    profile = Profile(kind, space)
    return profile.update(profile.start(), *map(list, zip(*picks, strict=True)))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("dim", [1, 2, 5, 7, 13])
class TestEveryKind:
    def test_the_same_state_from_any_batches(self, name, dim):
        space = space_of(dim)
        picks = some_picks(15, seed=dim)
        rows, weights, times = map(list, zip(*picks, strict=True))
        profile = Profile(KINDS[name], space)
        whole = profile.update(profile.start(), rows, weights, times)
        for cuts in ([5, 6], [1, 2, 3], []):
            state = profile.start()
            for part in np.split(np.arange(15), cuts):
                state = profile.update(
                    state, np.array(rows)[part], np.array(weights)[part], np.array(times)[part]
                )
            assert state.keys() == whole.keys()
            for key in state:
                np.testing.assert_array_equal(state[key], whole[key])

    def test_states_are_values(self, name, dim):
        space = space_of(dim)
        profile = Profile(KINDS[name], space)
        first = profile.update(profile.start(), 1, 1.0, 5.0)
        before = {key: array.copy() for key, array in first.items()}
        profile.update(first, [2, 3], [1.0, -1.0], [9.0, 1.0])
        profile.vectors(first, 100.0)
        for key, array in before.items():
            np.testing.assert_array_equal(first[key], array)

    def test_kept_as_json_it_is_the_same(self, name, dim):
        space = space_of(dim)
        profile = Profile(KINDS[name], space)
        for picks in ([], some_picks(9, seed=dim)):
            state = profile.start()
            for row, weight, time in picks:
                state = profile.update(state, row, weight, time)
            again = profile.from_json(json.loads(json.dumps(to_json(state))))
            for key, array in state.items():
                np.testing.assert_array_equal(again[key], array)
                assert again[key].shape == array.shape
            after, later = profile.update(state, 3, 1.0, 99.0), profile.update(again, 3, 1.0, 99.0)
            np.testing.assert_array_equal(profile.vectors(after).vectors, profile.vectors(later).vectors)

    def test_what_is_unknown_has_no_vectors(self, name, dim):
        profile = Profile(KINDS[name], space_of(dim))
        for state in (profile.start(), profile.update(profile.start(), [], [], [])):
            found = profile.vectors(state, 5.0)
            assert found.vectors.shape == (0, dim)
            assert found.weights.shape == (0,)
        zero = profile.update(profile.start(), 1, 0.0, 3.0)
        assert profile.vectors(zero).vectors.shape == (0, dim)

    def test_a_clock_that_goes_back_changes_nothing_that_is_read(self, name, dim):
        profile = Profile(KINDS[name], space_of(dim))
        state = profile.update(profile.start(), [1, 2, 3, 4], 1.0, [50.0, 20.0, 1e9, 30.0])
        latest, before = profile.vectors(state, 1e9), profile.vectors(state, 7.0)
        np.testing.assert_array_equal(latest.vectors, before.vectors)
        np.testing.assert_array_equal(latest.weights, before.weights)
        assert np.isfinite(latest.vectors).all()

    def test_queries_fit_the_items_and_their_weights_add_up(self, name, dim):
        space = space_of(dim)
        profile = Profile(KINDS[name], space)
        state = profile.update(profile.start(np.ones(dim)), [1, 5, 9], 1.0, [1.0, 2.0, 3.0])
        found = profile.vectors(state, 4.0)
        assert found.vectors.dtype == np.float32
        assert found.vectors.shape[1] == dim
        assert found.weights.sum() == pytest.approx(1)
        segue.Exact().build(space.items).search(found.vectors, 3)


@pytest.mark.parametrize("name", [name for name in KINDS if "interests" not in name])
def test_likes_attract_and_dislikes_repel(name):
    space = space_of()
    profile = Profile(KINDS[name], space)
    start = profile.update(profile.start(), [1, 2, 3], 1.0, [1.0, 2.0, 3.0])
    around = space.neighbors(9, 3)[0] if isinstance(profile.kind, Neighbors) else [9]

    def score(state):
        return float(np.mean(space.items[around] @ unit(profile.vectors(state).vectors[0])))

    liked, disliked = (profile.update(start, 9, weight, 3.0) for weight in (1.0, -1.0))
    assert score(disliked) < score(start) < score(liked)


@pytest.mark.parametrize("name", [name for name in KINDS if "posterior" not in name])
def test_biases_are_no_part_of_a_profile_but_count_in_its_query(name):
    space = Space(space_of(5, biases=2).items, 2, length=3.0)
    profile = Profile(KINDS[name], space)
    state = profile.update(profile.start(np.ones(7)), [1, 2], 1.0, 0.0)
    found = profile.vectors(state).vectors
    assert found.shape[1] == 7
    np.testing.assert_allclose(np.linalg.norm(found[:, :5], axis=1), 3.0, rtol=1e-6)
    np.testing.assert_array_equal(found[:, 5:], [[0, 1]] * len(found))


def test_the_usual_length_is_that_of_users_without_biases():
    users = np.array([[3, 4, 9, 9], [0, 0, 9, 9], [6, 8, 0, 0], [0, 1, 0, 0]], np.float32)
    made = Space.of(segue.Embeddings(users, np.ones((3, 4), np.float32), 2))
    assert made.length == 5.0
    assert Space.of(segue.Embeddings(np.zeros((2, 4), np.float32), np.ones((3, 4), np.float32))).length == 1.0


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(KINDS)),
    st.lists(
        st.tuples(st.integers(0, 9), st.floats(-1e3, 1e3, allow_subnormal=False), st.floats(-1e12, 1e12)),
        max_size=12,
    ),
    st.one_of(st.none(), st.floats(-1e12, 1e12)),
)
def test_any_events_give_finite_queries_in_any_batches(name, picks, now):
    space = space_of(3, 10)
    profile = Profile(KINDS[name], space)
    rows, weights, times = map(list, zip(*picks, strict=True)) if picks else ([], [], [])
    whole = profile.update(profile.start(), rows, weights, times)
    singles = profile.start()
    for row, weight, time in picks:
        singles = profile.update(singles, row, weight, time)
    for key in whole:
        np.testing.assert_array_equal(whole[key], singles[key])
    found = profile.vectors(whole, now)
    assert np.isfinite(found.vectors).all()
    assert not len(found.weights) or found.weights.sum() == pytest.approx(1)


POSTERIOR_OF_WARP = (
    "a posterior needs an iALS model, but these vectors are of WARP: "
    "train an ials model, or choose another profile or exploration"
)
WRONG_SETTINGS = [
    (lambda: HalfLife(0.0), "HalfLife(half_life=0.0) must be a finite number above 0"),
    (lambda: HalfLife(-5), "HalfLife(half_life=-5) must be a finite number above 0"),
    (lambda: HalfLife(float("inf")), "HalfLife(half_life=inf) must be a finite number above 0"),
    (lambda: Posterior(picks=0), "Posterior(picks=0) must be a finite number above 0"),
    (lambda: Posterior(float("nan")), "Posterior(half_life=nan) must be a finite number above 0"),
    (lambda: Interests(half_life=0), "Interests(half_life=0) must be a finite number above 0"),
    (lambda: EMA(0.0), "EMA(n=0.0) must be a finite number above 0"),
    (lambda: EMA("8"), "EMA(n='8') must be a finite number above 0"),
    (lambda: Recent(0), "Recent(size=0) must be at least 1"),
    (lambda: Recent(2.5), "Recent(size=2.5) must be a whole number of at least 1"),
    (lambda: Neighbors("far"), "Neighbors(how='far') must be one of 'next', 'mean', 'weighted'"),
    (
        lambda: Neighbors(base=Posterior()),
        "Neighbors(base=Posterior(half_life=None, picks=None)) must be an EMA, a HalfLife or a Recent",
    ),
    (
        lambda: Profile("emma", space_of()),
        "there is no profile 'emma'; there are ema, halflife, interests, neighbors, posterior, recent",
    ),
    (
        lambda: Profile("posterior", Space(space_of().items, model=segue.WARP())).start(),
        POSTERIOR_OF_WARP,
    ),
]


@pytest.mark.parametrize(("make", "message"), WRONG_SETTINGS, ids=range(len(WRONG_SETTINGS)))
def test_wrong_settings_say_what_is_wrong(make, message):
    with pytest.raises(SettingError) as caught:
        make()
    assert str(caught.value) == message


WRONG_PICKS = [
    ((40,), "there is no item row 40: the rows are 0..39"),
    ((-1,), "there is no item row -1: the rows are 0..39"),
    ((1.0,), "picks are item rows, which are integers, not float64 (1.0)"),
    ((True,), "picks are item rows, which are integers, not bool (True)"),
    (([1, 2], [1.0, 2.0, 3.0]), "3 weights came for 2 picks: give one for each, or one for all"),
    (([1, 2], 1.0, [1.0, 2.0, 3.0]), "3 times came for 2 picks: give one for each, or one for all"),
    ((1, float("nan")), "the weight of a pick is nan; it must be within ±1,000,000"),
    ((1, 1e7), "the weight of a pick is 10000000.0; it must be within ±1,000,000"),
    ((1, 1.0, float("inf")), "the time of a pick is inf; times must be finite numbers"),
    ((1, 1.0, "noon"), "the times of picks must be numbers, not 'noon'"),
]


@pytest.mark.parametrize(("given_", "message"), WRONG_PICKS, ids=range(len(WRONG_PICKS)))
@pytest.mark.parametrize("name", PROFILES)
def test_wrong_picks_say_what_is_wrong(name, given_, message):
    profile = Profile(name, space_of())
    with pytest.raises(DataError) as caught:
        profile.update(profile.start(), *given_)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", PROFILES)
def test_zero_vectors_are_refused(name):
    items = space_of().items.copy()
    items[5] = 0
    space = Space(items, model=segue.IALS(unobserved_weight=0.1))
    profile = Profile(name, space)
    with pytest.raises(DataError, match=r"item row 5 has a zero vector.*leave such picks out"):
        profile.update(profile.start(), [1, 5])
    np.testing.assert_array_equal(space.known([4, 5, 6]), [True, False, True])
    with pytest.raises(DataError, match="cannot start from a vector of zeros"):
        profile.start(np.zeros(7))
    with pytest.raises(DataError, match=r"finite vector of 7 dimensions, but \(6,\) came"):
        profile.start(np.ones(6))
    with pytest.raises(DataError, match=r"but \(7,\) with NaN or infinity came"):
        profile.start(np.full(7, np.nan))


def test_foreign_states_are_refused():
    profile = Profile("recent", space_of())
    good = to_json(profile.update(profile.start(), [1, 2]))
    told = "so it does not belong to Recent(size=20, width=7.0, n=8.0) in 7 dimensions"
    for wrong in (
        {},
        {**good, "start": [1.0]},
        {**good, "weights": [1.0]},
        {**good, "vectors": [[1.0], [2.0]]},
        {**good, "times": "yesterday"},
        {**good, "times": [None, 1.0]},
        {**good, "times": [float("nan"), 1.0]},
    ):
        with pytest.raises(DataError) as caught:
            profile.from_json(wrong)
        assert told in str(caught.value)
    fading = Profile("halflife", space_of())
    with pytest.raises(DataError, match="more than one time"):
        fading.from_json({**to_json(fading.start()), "time": [1.0, 2.0]})


def test_spaces_check_their_vectors():
    with pytest.raises(DataError, match="the item vectors must be finite"):
        Space(np.array([[1.0, np.nan]]))
    with pytest.raises(DataError, match="biases=2 must be less than the 2 columns"):
        Space(np.ones((3, 2)), 2)


def test_one_item_has_no_neighbours_but_itself():
    space = Space(np.array([[3.0, 4.0]], np.float32))
    for how in ("next", "mean", "weighted"):
        np.testing.assert_allclose(read(Neighbors(how), space, [(0, 1.0, 0.0)]), [[0.6, 0.8]], rtol=1e-6)


def test_what_suits_a_model_needs_nothing_that_it_lacks():
    assert Profile("auto", space_of()).kind == Posterior(picks=3.0)
    other = Profile("auto", Space(space_of().items, model=segue.WARP()))
    assert other.kind == EMA(2.0)
    assert len(other.vectors(other.update(other.start(), 1)).vectors) == 1
