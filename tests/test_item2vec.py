"""Item2Vec against naive code, and sequences whose answer is known."""

import numpy as np
import pytest
import scipy.sparse as sp

import segue
from segue.data.interactions import Interactions, from_csr
from segue.errors import DataError, SettingError
from segue.kernels import item2vec as kernels
from segue.models.item2vec import NOISE, in_time, kept_shares, noise_table

DIMS = [1, 2, 5, 7, 13]
STEP, MASK = 0x9E3779B97F4A7C15, (1 << 64) - 1


class Draws:
    """Splitmix64, as the kernels draw."""

    def __init__(self, seed):
        self.state = int(seed)

    def uniform(self):
        self.state = (self.state + STEP) & MASK
        bits = self.state
        bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & MASK
        bits ^= bits >> 31
        return ((bits >> 12) + 0.5) * 2.0**-52

    def below(self, n):
        return int(self.uniform() * n)


def naive_pair(V, i, o, noise, negatives, rate, draws):
    change = np.zeros(V.shape[1])
    others = [(o, 1.0)]
    drawn = [int(noise[draws.below(len(noise))]) for _ in range(negatives)]
    others += [(n, 0.0) for n in drawn if n not in (i, o)]
    for other, label in others:
        g = rate * (label - 1 / (1 + np.exp(-(V[i] @ V[other]))))
        change += g * V[other]
        V[other] += g * V[i]
    V[i] += change


def naive_learn(V, order, sequences, in_order, keep, noise, window, negatives, first, last, seeds):
    for p, u in enumerate(order):
        draws = Draws(seeds[u])
        rate = first + (last - first) * p / len(order)
        kept = [i for i in sequences[u] if draws.uniform() < keep[i]]
        if len(kept) < 2:
            continue
        for c, centre in enumerate(kept):
            if in_order:
                b = 1 + draws.below(window)
                places = [a for a in range(max(0, c - b), min(len(kept), c + b + 1)) if a != c]
            else:
                places = None
            for turn in range(window if places is None else len(places)):
                if places is None:
                    a = draws.below(len(kept) - 1)
                    a += a >= c
                else:
                    a = places[turn]
                naive_pair(V, centre, kept[a], noise, negatives, rate, draws)


@pytest.mark.parametrize("d", DIMS)
@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("kept", [1.0, 0.6])
def test_kernel_against_naive(d, in_order, kept):
    rng = np.random.default_rng(d)
    sequences = [rng.choice(15, n, replace=False).astype(np.int32) for n in (0, 1, 2, 3, 9, 12)]
    indptr = np.concatenate([[0], np.cumsum([len(one) for one in sequences])]).astype(np.int64)
    V = rng.standard_normal((15, d)).astype(np.float32)
    expected = V.astype(np.float64)
    order, seeds = rng.permutation(6), rng.integers(2**63, size=6, dtype=np.uint64)
    keep = np.full(15, kept, np.float32)
    noise = rng.integers(15, size=64).astype(np.int32)
    rates = np.float32(0.2), np.float32(0.05)
    kernels.learn(
        V, order, indptr, np.concatenate(sequences), in_order, keep, noise, 3, 4, *rates, seeds, 0, 6
    )
    naive_learn(expected, order, sequences, in_order, keep, noise, 3, 4, *rates, seeds)
    np.testing.assert_allclose(V, expected, rtol=2e-3, atol=2e-4)


def test_only_the_users_of_the_range_are_learned_from():
    V = np.ones((6, 2), np.float32)
    indptr, items = np.array([0, 2, 4, 6]), np.arange(6, dtype=np.int32)
    keep, noise = np.ones(6, np.float32), np.array([0, 1], np.int32)
    order, seeds = np.array([2, 0, 1]), np.arange(3, dtype=np.uint64)
    rates = np.float32(0.1), np.float32(0.1)
    kernels.learn(V, order, indptr, items, True, keep, noise, 1, 0, *rates, seeds, 0, 1)
    assert (V[:4] == 1).all()
    assert (V[4:] > 1).all()


@pytest.mark.parametrize("exponent", [0.75, 0.0, -0.5])
def test_noise_is_drawn_by_the_counts_to_a_power(exponent):
    counts = np.array([0, 1, 0, 16, 81, 0])
    table = noise_table(counts, exponent)
    assert len(table) == NOISE
    expected = np.where(counts > 0, np.maximum(counts, 1.0) ** exponent, 0)
    np.testing.assert_allclose(
        np.bincount(table, minlength=6) / NOISE, expected / expected.sum(), atol=2 / NOISE
    )


def test_frequent_items_are_often_left_out():
    counts = np.array([0, 1, 99, 900])
    np.testing.assert_array_equal(kept_shares(counts, 0.0), 1)
    shares = kept_shares(counts, 0.01)
    assert shares[0] == shares[1] == 1
    frequency = np.array([0.099, 0.9])
    np.testing.assert_allclose(shares[2:], np.sqrt(0.01 / frequency) + 0.01 / frequency, rtol=1e-6)


def timed(sequences, n_items):
    """Users who had some items one after the other."""
    users = np.repeat(np.arange(len(sequences)), [len(one) for one in sequences])
    items, order = np.concatenate(sequences), np.concatenate([np.arange(len(one)) for one in sequences])
    made = from_csr(sp.csr_matrix((np.ones(len(items)), (users, items)), (len(sequences), n_items)))
    pairs = made.matrix.tocoo()
    times = {pair: time for *pair, time in zip(users, items, order, strict=True) for pair in [tuple(pair)]}
    found = np.array([times[pair] for pair in zip(pairs.row, pairs.col, strict=True)], float)
    return Interactions(made.matrix, made.users, made.items, found)


def test_sequences_are_in_the_order_of_time():
    data = timed([[4, 0, 2], [3, 1], [1, 2, 3, 0]], 5)
    assert in_time(data).tolist() == [4, 0, 2, 3, 1, 1, 2, 3, 0]
    untimed = Interactions(data.matrix, data.users, data.items)
    assert in_time(untimed).tolist() == [0, 2, 4, 1, 3, 0, 1, 2, 3]


def test_neighbours_in_time_become_neighbours():
    """All have all items, walking round a circle: only the order can tell what is near."""
    rng = np.random.default_rng(3)
    walks = [np.roll(np.arange(24), rng.integers(24)) for _ in range(200)]
    learned = segue.Item2Vec(dim=8, window=1, learning_rate=0.1, threads=1).fit(timed(walks, 24))
    unit = learned.items / np.linalg.norm(learned.items, axis=1, keepdims=True)
    alike = unit @ unit.T
    near, opposite = (np.mean([alike[i, (i + far) % 24] for i in range(24)]) for far in (1, 12))
    assert near > 0.5 > opposite + 0.3


@pytest.mark.parametrize("noise_exponent", [0.0, 0.75])
def test_groups_are_found(noise_exponent):
    rng = np.random.default_rng(4)
    X = np.zeros((120, 30))
    for user in range(120):
        X[user, rng.choice(10, 6, replace=False) + 10 * (user % 3)] = 1
    settings = segue.Item2Vec(dim=5, epochs=20, noise_exponent=noise_exponent, threads=1)
    learned = settings.fit(from_csr(X))
    best = np.argsort(-(learned.users @ learned.items.T), axis=1)[:, :10]
    assert (best // 10 == (np.arange(120) % 3)[:, None]).mean() > 0.99


def test_users_are_the_means_of_what_they_had_and_so_are_histories():
    data = segue.data.simulate(60, 40, 700, seed=5)
    settings = segue.Item2Vec(dim=4, epochs=3)
    learned = settings.fit(data)
    means = np.array([learned.items[data.matrix[u].indices].mean(0) for u in range(60)])
    np.testing.assert_allclose(learned.users, means, rtol=1e-4, atol=1e-6)
    folded = settings.prepare_fold_in(learned).fold_in(data.matrix * 5)
    np.testing.assert_allclose(folded, learned.users, rtol=1e-6)
    assert not settings.prepare_fold_in(learned).fold_in(sp.csr_matrix((2, 40), dtype=np.float32)).any()


def test_users_and_items_without_interactions_get_zeros():
    matrix = segue.data.simulate(30, 20, 200, seed=6).matrix.tolil()
    matrix[3], matrix[:, 7] = 0, 0
    learned = segue.Item2Vec(dim=3, epochs=2).fit(from_csr(sp.csr_matrix(matrix)))
    assert not learned.users[3].any()
    assert not learned.items[7].any()
    assert np.delete(learned.items, 7, 0).any(1).all()


def test_same_seed_and_one_thread_same_bytes():
    data = segue.data.simulate(300, 200, 6000, seed=7)
    first, second, other = (
        segue.Item2Vec(dim=8, epochs=3, seed=seed, threads=1).fit(data).items.tobytes() for seed in (0, 0, 1)
    )
    assert first == second
    assert first != other


def test_two_threads_learn_as_well_as_one():
    train, test = segue.data.simulate(500, 300, 15_000, seed=8).split(test=0.2, seed=0)
    found = [
        segue.evaluate(segue.Recommender(segue.Item2Vec(dim=16, threads=workers)).fit(train), test, 10)
        for workers in (1, 2)
    ]
    popular = found[0].beside["popularity"]["ndcg@10"]
    assert min(one["ndcg@10"] for one in found) > 1.1 * popular
    assert found[1]["ndcg@10"] == pytest.approx(found[0]["ndcg@10"], rel=0.1)


def test_progress_counts_epochs():
    told = []
    data = segue.data.simulate(30, 20, 200)
    segue.Item2Vec(dim=2, epochs=3).fit(data, progress=lambda *step: told.append(step))
    assert told == [("training", done, 3) for done in range(4)]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"dim": 0}, r"Item2Vec\(dim=0\) must be at least 1"),
        ({"window": 0}, r"Item2Vec\(window=0\) must be at least 1"),
        ({"negatives": 2.5}, r"Item2Vec\(negatives=2.5\) must be a whole number of at least 1"),
        ({"learning_rate": 0.0}, r"Item2Vec\(learning_rate=0.0\) must be at least 0.0001"),
        ({"subsample": -0.1}, r"Item2Vec\(subsample=-0.1\) must be at least 0.0"),
        ({"noise_exponent": float("nan")}, r"Item2Vec\(noise_exponent=nan\)"),
    ],
)
def test_settings_that_cannot_be(setting, message):
    with pytest.raises(SettingError, match=message):
        segue.Item2Vec(**setting)


def test_data_that_cannot_be_learned_from():
    with pytest.raises(DataError, match=r"1 user\(s\) and 3 item\(s\) leave nothing to learn"):
        segue.Item2Vec().fit(from_csr(np.ones((1, 3))))
