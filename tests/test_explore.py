"""Exploration and diversity against naive twins, and their propensities against counting."""

import dataclasses
import itertools

import numpy as np
import pytest

import segue
from segue.errors import DataError, SettingError
from segue.kernels.arrays import readonly
from segue.kernels.inclusion import fewer_than_k
from segue.online import DIVERSIFIERS, EXPLORERS, explore
from segue.online.candidates import CandidateContext
from segue.online.diversity import DPP, MMR, diversify
from segue.online.exploration import (
    Buckets,
    Gaussian,
    Gumbel,
    Optimism,
    RankBuckets,
    Reserved,
    ShiftedGaussian,
    Thompson,
)
from segue.online.inclusion import gumbel_inclusion


def person(count=60, dim=5, seed=0, banned=()):
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((count, dim)).astype(np.float32)
    counts = rng.integers(0, 50, count)
    allow = np.ones(count, bool)
    allow[list(banned)] = False
    plain, wide = segue.Exact().build(items), Optimism.index(items, counts)

    def find(vectors, k):
        neighbors = (plain if vectors.shape[1] == dim else wide).search(vectors, k, allow=allow)
        return neighbors.ids, neighbors.scores

    root = rng.standard_normal((dim, dim))
    precision = root @ root.T + np.eye(dim)
    return CandidateContext(rng.standard_normal(dim).astype(np.float32), items, find, precision, counts)


def best(who, banned=()):
    scores = who.items @ who.vector
    return [row for row in np.argsort(-scores, kind="stable") if row not in banned]


@pytest.mark.parametrize("name", EXPLORERS)
@pytest.mark.parametrize("dim", [1, 2, 5, 13])
class TestEveryExplorer:
    def test_k_allowed_items_once_each(self, name, dim):
        who = person(dim=dim, banned=[3, 4])
        for seed in range(5):
            chosen = explore(name, who, 8, seed)
            assert len(set(chosen.ids.tolist())) == 8
            assert not {3, 4} & set(chosen.ids.tolist())
            assert ((chosen.propensities > 0) & (chosen.propensities <= 1)).all()
            np.testing.assert_allclose(
                chosen.scores, who.items[chosen.ids] @ who.vector, rtol=1e-4, atol=1e-5
            )

    def test_the_same_seed_chooses_the_same(self, name, dim):
        first, again = (explore(name, person(dim=dim), 6, 7) for _ in range(2))
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_fewer_items_than_k(self, name, dim):
        for count in (1, 4):
            who = person(count, dim)
            chosen = explore(name, who, 10, 0)
            assert sorted(chosen.ids.tolist()) == list(range(count))
            np.testing.assert_allclose(chosen.propensities, 1.0)

    def test_no_item_at_all(self, name, dim):
        chosen = explore(name, person(4, dim, banned=range(4)), 3, 0)
        assert len(chosen.ids) == len(chosen.propensities) == 0


@pytest.mark.parametrize(
    "quiet",
    [Gaussian(0.0), Buckets(0.0), RankBuckets(1), Thompson(0.0), Optimism(0.0), Gumbel(1e-6), Reserved(0)],
    ids=repr,
)
def test_without_chance_the_best_are_shown(quiet):
    who = person()
    chosen = explore(quiet, who, 7, 1)
    assert chosen.ids.tolist() == best(who)[:7]
    np.testing.assert_allclose(chosen.propensities, 1.0, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [(Gaussian(0.5), 0.06), (Thompson(0.5), 0.06), (Gumbel(0.5, 30), 0.05),
     (Buckets(0.4), 0.06), (ShiftedGaussian(0.5), 0.06), (RankBuckets(4), 0.05), (Reserved(3, 20), 0.05)],
    ids=repr,
)  # fmt: skip
def test_propensities_are_the_shares_of_many_seeds(settings, tolerance):
    who = person()
    shown, told = np.zeros(60), [[] for _ in range(60)]
    seeds = 800
    for seed in range(seeds):
        chosen = explore(settings, who, 5, seed)
        shown[chosen.ids] += 1
        for row, propensity in zip(chosen.ids, chosen.propensities, strict=True):
            told[row].append(propensity)
    often = [row for row in range(60) if shown[row] > 40]
    assert len(often) > 5
    for row in often:
        assert np.mean(told[row]) == pytest.approx(shown[row] / seeds, abs=tolerance)


def test_gumbel_inclusion_is_the_sum_over_all_orders():
    logits = np.array([1.0, 0.2, -0.5, 2.0, 0.0])
    weights = np.exp(logits)
    exact = np.zeros(5)
    for order in itertools.permutations(range(5), 2):
        first = weights[order[0]] / weights.sum()
        second = weights[order[1]] / (weights.sum() - weights[order[0]])
        exact[list(order)] += first * second
    for places in ([0, 1], [2, 3], [4, 0]):
        np.testing.assert_allclose(gumbel_inclusion(logits, np.array(places)), exact[places], rtol=1e-6)


@pytest.mark.parametrize("spread", [0.01, 1.0, 20.0, 300.0])
@pytest.mark.parametrize("k", [1, 3, 9])
def test_gumbel_inclusions_of_all_items_sum_to_k(spread, k):
    logits = spread * np.random.default_rng(k).standard_normal(27)
    parts = np.array_split(np.arange(27), 27 // k)
    assert sum(gumbel_inclusion(logits, part).sum() for part in parts) == pytest.approx(k, rel=1e-4)


@pytest.mark.parametrize(("m", "k"), [(2, 1), (6, 2), (7, 5), (5, 4)])
def test_the_counting_kernel_is_the_sum_over_all_subsets(m, k):
    come = np.random.default_rng(m).random((m, 3))
    places = np.arange(m)[::-1][:k].copy()
    out = np.empty((k, 3))
    fewer_than_k(readonly(come), readonly(places), out)
    for a, node in itertools.product(range(k), range(3)):
        others = np.delete(come[:, node], places[a])
        expected = 0.0
        for there in itertools.product([False, True], repeat=m - 1):
            if sum(there) < k:
                expected += np.prod(np.where(there, others, 1 - others))
        assert out[a, node] == pytest.approx(expected, rel=1e-10)


def test_propensities_can_be_left_out():
    who = person()
    for settings in (
        Gaussian(0.5, draws=0), Thompson(0.5, draws=0), Buckets(draws=0), ShiftedGaussian(draws=0),
    ):  # fmt: skip
        chosen = explore(settings, who, 5, 3)
        assert np.isnan(chosen.propensities).all()
        assert len(set(chosen.ids.tolist())) == 5


def test_noise_and_likeness_leave_biases_alone():
    who = person(dim=5)
    items = np.column_stack([who.items, np.ones(60), -100.0 * (np.arange(60) != 7)]).astype(np.float32)
    index = segue.Exact().build(items)

    def find(vectors, k):
        neighbors = index.search(vectors, k)
        return neighbors.ids, neighbors.scores

    biased = CandidateContext(np.append(who.vector, [0, 1]).astype(np.float32), items, find, biases=2)
    for seed in range(20):  # noise on the bias would turn its sign now and then
        for settings in (Gaussian(3.0), ShiftedGaussian(), Buckets(1.0)):
            assert explore(settings, biased, 3, seed).ids[0] == 7
    assert len(set(diversify(MMR(1.0), biased, 5).ids[1:].tolist())) == 4


@pytest.mark.parametrize("share", [0.1, 0.4, 1.0])
def test_buckets_replace_coordinates_within_the_bounds_of_the_items(share):
    context = person(dim=13)
    queries = []

    def find(vectors, k):
        queries.append(vectors)
        return context.find(vectors, k)

    explore(Buckets(share, draws=2000), dataclasses.replace(context, find=find), 3, 0)
    drawn = np.concatenate(queries)
    low, high = context.items.min(0), context.items.max(0)
    changed = drawn != context.vector
    assert ((drawn >= low) & (drawn <= high))[changed].all()
    draws = int(np.ceil(share * 13))
    assert changed.sum(1).max() <= draws  # with replacement: often fewer coordinates than draws
    assert changed.mean() == pytest.approx(1 - (1 - 1 / 13) ** draws, abs=0.02)
    replaced = [drawn[changed[:, j], j] for j in range(13)]
    means = [values.mean() for values in replaced]
    np.testing.assert_allclose(means, (low + high) / 2, atol=0.15 * (high - low).max())


def test_shifted_gaussian_noise_has_mean_one_and_one_sign_per_list():
    context = person(dim=13)
    queries = []

    def find(vectors, k):
        queries.append(vectors)
        return context.find(vectors, k)

    explore(ShiftedGaussian(0.5, draws=4000), dataclasses.replace(context, find=find), 3, 0)
    noise = np.concatenate(queries) - context.vector
    signs = np.sign(noise.mean(1))
    assert abs(signs.mean()) < 0.1
    positive = noise * signs[:, None]
    assert positive.mean() == pytest.approx(1, abs=0.1)
    assert positive.std() == pytest.approx(1.5, abs=0.1)


def test_optimism_is_the_best_of_score_and_bonus():
    who = person()
    chosen = explore(Optimism(3.0), who, 10, 0)
    spread = np.sort(who.items @ who.vector)[::-1][:100].std()
    bound = who.items @ who.vector + 3.0 * spread / np.sqrt(1 + who.counts)
    assert chosen.ids.tolist() == np.argsort(-bound)[:10].tolist()
    assert who.counts[chosen.ids].mean() < who.counts[best(who)[:10]].mean()


def test_thompson_draws_more_widely_where_less_is_known():
    who = person()
    sure = CandidateContext(who.vector, who.items, who.find, 1e10 * np.eye(5), who.counts)
    unsure = CandidateContext(who.vector, who.items, who.find, np.eye(5), who.counts)
    lists = [
        {tuple(explore(Thompson(1.0), one, 5, seed).ids.tolist()) for seed in range(30)}
        for one in (sure, unsure)
    ]
    assert len(lists[0]) == 1
    assert len(lists[1]) > 15


def naive_mmr(directions, relevance, k, strength):
    chosen = [int(np.argmax(relevance))]
    while len(chosen) < k:
        worth = [
            -np.inf
            if row in chosen
            else (1 - strength) * relevance[row]
            - strength * max(directions[row] @ directions[c] for c in chosen)
            for row in range(len(relevance))
        ]
        chosen.append(int(np.argmax(worth)))
    return chosen


def naive_dpp(directions, relevance, k, strength):
    def worth(rows):
        _, volume = np.linalg.slogdet(directions[rows] @ directions[rows].T)
        return (1 - strength) * relevance[rows].sum() + strength * volume

    chosen = []
    while len(chosen) < k:
        left = [row for row in range(len(relevance)) if row not in chosen]
        chosen.append(max(left, key=lambda row: worth([*chosen, row])))
    return chosen


@pytest.mark.parametrize(("method", "naive"), [(MMR, naive_mmr), (DPP, naive_dpp)])
@pytest.mark.parametrize("strength", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dim", [7, 13])
def test_diversity_is_its_naive_twin(method, naive, strength, dim):
    rng = np.random.default_rng(dim)
    directions = rng.standard_normal((30, dim))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    relevance = rng.random(30)
    expected = naive(directions, relevance, 6, strength)
    assert method(strength).order(directions, relevance, 6).tolist() == expected


@pytest.mark.parametrize("name", DIVERSIFIERS)
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_the_knob_trades_scores_for_diversity(name, dim):
    who = person(300, dim)
    lists = [diversify(DIVERSIFIERS[name](strength), who, 6) for strength in (0.0, 0.5, 1.0)]
    assert lists[0].ids.tolist() == best(who)[:6]
    assert all(len(set(one.ids.tolist())) == 6 for one in lists)
    assert all((one.propensities == 1).all() for one in lists)
    scores = [one.scores.sum() for one in lists]
    assert scores == sorted(scores, reverse=True)
    if dim > 1:
        units = who.items / np.linalg.norm(who.items, axis=1, keepdims=True)
        alike = [(units[one.ids] @ units[one.ids].T).sum() for one in lists]
        assert alike[2] < alike[0]


@pytest.mark.parametrize("name", DIVERSIFIERS)
def test_diversity_with_few_items_and_items_that_are_the_same(name):
    assert diversify(name, person(1), 5).ids.tolist() == [0]
    assert len(diversify(name, person(3, banned=range(3)), 5).ids) == 0
    items = np.ones((8, 3), np.float32)
    index = segue.Exact().build(items)

    def find(vectors, k):
        neighbors = index.search(vectors, k)
        return neighbors.ids, neighbors.scores

    same = diversify(name, CandidateContext(np.ones(3, np.float32), items, find), 8)
    assert sorted(same.ids.tolist()) == list(range(8))


def test_wrong_settings_say_what_is_wrong():
    who = person()
    bare = CandidateContext(who.vector, who.items, who.find)
    cases = [
        (
            lambda: explore("bold", who, 3, 0),
            SettingError,
            "there is no exploration 'bold'; there are buckets, ",
        ),
        (lambda: explore("gumbel", who, 3, -1), SettingError, "seed=-1 must be a whole number of at least 0"),
        (lambda: explore("gumbel", who, 0, 1), SettingError, "k=0 must be a whole number of at least 1"),
        (
            lambda: explore("thompson", bare, 3, 1),
            DataError,
            "the posterior of iALS, which is unknown here",
        ),
        (lambda: Gumbel(0), SettingError, "Gumbel(temperature=0) must be a finite number above 0"),
        (lambda: Gaussian(-1), SettingError, "Gaussian(scale=-1) must be at least 0.0"),
        (lambda: MMR(1.5), SettingError, "MMR(strength=1.5) must be from 0 to 1"),
        (
            lambda: diversify("mix", who, 3),
            SettingError,
            "there is no diversification 'mix'; there are dpp, mmr",
        ),
    ]
    for make, kind, message in cases:
        with pytest.raises(kind) as caught:
            make()
        assert message in str(caught.value)
