"""The SGD losses: gradients against numbers, data whose answer is known, features, stopping, going on."""

from dataclasses import replace

import numba
import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

import segue
from segue.data import Features
from segue.data.interactions import from_csr
from segue.errors import DataError, SettingError
from segue.kernels import sgd as kernels
from segue.kernels.arrays import readonly
from segue.kernels.sgd import Pairs
from segue.models import BPR, KOSWARP, WARP, Logistic
from segue.models.sgd import passes
from segue.models.sgd.parameters import new_side, side_of
from segue.models.sgd.passes import rank_losses
from segue.models.sgd.training import learn

RATE, SQUARES = 1e-3, 1e6  # with so large a sum of squares, adagrad's step is -RATE × gradient
ITEMS = 50


@numba.njit
def call(part, *arguments):
    """Parts of kernels can be called by compiled code only."""
    return part(*arguments)


ALL_MODELS = (WARP, KOSWARP, BPR, Logistic)


def clusters(users=60, items=40, groups=4, seed=0):
    """Everyone has three quarters of the items of their own group; the others are the right answers."""
    rng = np.random.default_rng(seed)
    own = (np.arange(users)[:, None] % groups) == (np.arange(items)[None] % groups)
    hidden = own & (rng.random((users, items)) < 0.25)
    return from_csr((own & ~hidden).astype(np.float32)), own


def side(count, dim, summed, rng):
    """Parameters with larger values than training starts from, and maybe features."""
    features = sp.csr_matrix(rng.random((count, 6)) * (rng.random((count, 6)) < 0.5)) if summed else None
    rows = count if features is None else 6
    start = rng.standard_normal((rows, dim)) * 0.3, rng.standard_normal(rows) * 0.1
    made = new_side(BPR(dim=dim), count, features, np.ones(count), start, rng)
    made.vectors[:, 1] = made.biases[:, 1] = SQUARES
    return made, features


def represented(values, features, row):
    vectors, biases = (one.astype(np.float64) for one in values)
    if features is None:
        return vectors[row], biases[row]
    weights = features[row].toarray()[0]
    return weights @ vectors, weights @ biases


def score(users, items, features, u, i):
    (x, b), (y, c) = represented(users, features[0], u), represented(items, features[1], i)
    return x @ y + b + c


def loss(kind, users, items, features, weight):
    """What the head of the kernels' file states, for user 0, positive item 0 and negative item 1."""
    s, t = (score(users, items, features, 0, item) for item in (0, 1))
    if kind is Logistic:
        return abs(weight) * np.log1p(np.exp(-np.sign(weight) * s))
    if kind is BPR:
        return weight * np.log1p(np.exp(t - s))
    return weight * np.log(ITEMS - 1) * max(0, 1 - s + t)


@pytest.mark.parametrize(
    ("kind", "weight"), [(BPR, 1.7), (WARP, 1.7), (KOSWARP, 0.6), (Logistic, 1.7), (Logistic, -0.6)]
)
@pytest.mark.parametrize("dim", [1, 2, 5, 7, 13, 64])
@pytest.mark.parametrize("summed", [(False, False), (True, False), (False, True), (True, True)])
def test_a_step_goes_against_the_numerical_gradient(kind, weight, dim, summed):
    rng = np.random.default_rng(dim)
    (users, fu), (items, fi) = side(1, dim, summed[0], rng), side(ITEMS, dim, summed[1], rng)
    users.vectors[:, 0] *= 0.1  # scores near 0: WARP's margin is violated
    before = users.values(), items.values()
    pairs = Pairs(
        *map(readonly, (np.array([0], np.int32), np.array([weight], np.float32), np.array([0, 1]))),
        np.zeros(1, np.int64),
    )
    settings = kind(
        dim=dim, learning_rate=RATE * np.sqrt(SQUARES), **({"negatives": 0} if kind is Logistic else {})
    )
    sampling = settings.sampling(readonly(np.array([1], np.int32)))
    found = learn(settings, sampling, pairs, users, items, 0)
    after = users.values(), items.values()
    np.testing.assert_allclose(found[0], loss(kind, *before, (fu, fi), np.sign(weight)), rtol=1e-4)
    assert found[2] == 1
    for where, values in enumerate(before):
        for part, array in enumerate(values):
            step = (array - after[where][part]) / RATE
            gradient = np.zeros(array.shape)
            for place in np.ndindex(array.shape):
                ends = []
                for move in (1e-4, -1e-4):
                    moved = [[one.astype(np.float64) for one in pair] for pair in before]
                    moved[where][part][place] += move
                    ends.append(loss(kind, *moved, (fu, fi), weight))
                gradient[place] = (ends[0] - ends[1]) / 2e-4
            if where == 0 and part == 1 and kind is not Logistic:
                gradient[:] = 0  # cancels out
            np.testing.assert_allclose(step, gradient, atol=2e-3 * max(1, np.abs(gradient).max()))


@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
def test_steps_follow_their_schedule_and_the_penalty(schedule):
    rng = np.random.default_rng(0)
    settings = WARP(dim=3, schedule=schedule, rho=0.9, epsilon=1e-3, learning_rate=0.5)
    P = new_side(settings, 2, None, np.ones(2), (rng.random((2, 3)), np.zeros(2)), rng).vectors
    S = rng.random((1, 1, 3)).astype(np.float32)
    x, G = P[1, 0].astype(np.float64), P[1, 1].astype(np.float64)
    M = np.zeros(3)
    for _ in range(3):
        call(kernels.step, P, 1, S, 0, np.float32(0.7), np.array([0.5, 0.9, 1e-3, 0.2], np.float32))
        g = 0.7 * S[0, 0] + 0.2 * x
        if schedule == "adagrad":
            x, G = x - 0.5 * g / np.sqrt(G), G + g * g
        else:
            G = 0.9 * G + 0.1 * g * g
            move = np.sqrt((M + 1e-3) / (G + 1e-3)) * g
            x, M = x - 0.5 * move, 0.9 * M + 0.1 * move * move
    np.testing.assert_allclose(P[1, 0], x, rtol=1e-5)
    np.testing.assert_allclose(P[1, 1], G, rtol=1e-5)


def test_small_steps_of_the_kernels():
    indices = np.array([9, 1, 4, 6, 2], np.int32)  # the row is [1:4]
    for item in range(10):
        assert call(kernels.known, indices, 1, 4, item) == (item in (1, 4, 6))
        assert not call(kernels.known, indices, 2, 2, item)
    state = np.array([88172645463325252], np.uint64)
    counts = np.bincount([call(kernels.draw, state, 7) for _ in range(7000)], minlength=7)
    assert len(counts) == 7
    assert ((counts - 1000) ** 2 / 1000).sum() < 22  # chi-squared, 6 degrees, p = .001
    np.testing.assert_allclose(rank_losses(101, 3), [0, np.log(100), np.log(50), np.log(33)], rtol=1e-6)
    assert rank_losses(10**6, 1)[1] == 10
    assert rank_losses(2, 5).tolist() == [0] * 6


def test_the_queue_holds_each_interaction_of_the_users_once_in_another_order():
    indptr = np.array([0, 3, 3, 7, 12])
    weights = np.ones(12, np.float32)
    queue = np.zeros((8, 2), np.int32)
    state = np.array([123456789], np.uint64)
    firsts = set()
    for _ in range(200):
        assert call(kernels.enqueue, weights, indptr, np.array([1, 3, 0, 2]), 0, 3, state, queue) == 8
        assert sorted(map(tuple, queue.tolist())) == [(0, e) for e in range(3)] + [
            (3, e) for e in range(7, 12)
        ]
        firsts.add(int(queue[0, 1]))
    assert firsts == {0, 1, 2, 7, 8, 9, 10, 11}
    weights[[1, 7, 11]] = 0  # known only
    assert call(kernels.enqueue, weights, indptr, np.array([1, 3, 0, 2]), 0, 3, state, queue) == 5
    assert sorted(queue[:5, 1].tolist()) == [0, 2, 8, 9, 10]


def test_k_os_takes_the_kth_of_those_it_draws():
    V = np.zeros((5, 1, 1), np.float32)
    V[:, 0, 0] = [3, 1, 4, 1.5, 9]
    bias, one = np.zeros((5, 1), np.float32), np.ones((1, 1, 1), np.float32)
    side = side_of(V, bias, None)
    state, best = np.array([1], np.uint64), np.zeros((400, 2))
    items = np.arange(400, dtype=np.int32) % 5
    seen = []
    for k in (1, 100, 180, 260, 400):  # of 400 draws about 80 fall on each of the five
        e = call(kernels.kth_best, items, 0, 400, one, 0, side, k, best, state)
        seen.append(int(items[e]))
        assert (np.diff(best[:, 0]) <= 0).all()
    assert seen == [4, 2, 0, 3, 1]


@pytest.mark.parametrize("kind", ALL_MODELS)
@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
@pytest.mark.parametrize("dim", [5, 16])
def test_every_loss_learns_planted_clusters(kind, schedule, dim):
    data, own = clusters()
    settings = kind(dim=dim, epochs=60, schedule=schedule, threads=1, learning_rate=0.1)
    learned = settings.fit(data)
    hidden = own & (data.matrix.toarray() == 0)
    assert auc(learned.users @ learned.items.T, hidden, ~own) > 0.95
    folded = settings.prepare_fold_in(learned).fold_in(data.matrix[:20])
    assert auc(folded @ learned.items.T, hidden[:20], ~own[:20]) > 0.95


def auc(scores, wanted, others):
    """How often a wanted item stands above one of the others, as the mean over those who want any."""
    rows = np.flatnonzero(wanted.any(1))
    return np.mean([np.mean(scores[u][wanted[u]][:, None] > scores[u][others[u]]) for u in rows])


@pytest.mark.parametrize("kind", ALL_MODELS)
def test_one_thread_and_a_seed_give_the_same_bytes(kind, monkeypatch):
    monkeypatch.setattr(passes, "USERS", 100)  # several parts
    data = segue.data.simulate(300, 80, 3000, seed=1)
    settings = kind(dim=6, epochs=2, threads=1)
    first, again, other = (replace(settings, seed=seed).fit(data) for seed in (0, 0, 1))
    assert first.users.tobytes() == again.users.tobytes()
    assert first.items.tobytes() == again.items.tobytes()
    assert first.items.tobytes() != other.items.tobytes()


def test_two_threads_learn_as_well_as_one():
    data = segue.data.simulate(1200, 150, 24_000, seed=2)
    train, test = data.split(test=0.2, seed=0)
    found = [
        segue.evaluate(
            segue.Recommender(WARP(dim=16, epochs=15, threads=workers)).fit(train),
            test,
            baselines=["popularity"],
        )
        for workers in (1, 2)
    ]
    for one in found:
        assert one["ndcg@10"] > one.beside["popularity"]["ndcg@10"]
    assert found[1]["ndcg@10"] > 0.9 * found[0]["ndcg@10"]


def test_the_score_is_the_vectors_product_and_both_biases():
    data, _ = clusters()
    learned = Logistic(dim=4, epochs=3, threads=1).fit(data)
    assert learned.biases == 2
    assert learned.users.shape == (60, 6)
    np.testing.assert_array_equal(learned.users[:, 5], 1)
    np.testing.assert_array_equal(learned.items[:, 4], 1)
    assert learned.users[:, 4].any()
    x, y = learned.users[3], learned.items[7]
    np.testing.assert_allclose(x @ y, x[:4] @ y[:4] + x[4] + y[5], rtol=1e-5)


def test_dislikes_of_the_logistic_loss_are_pushed_down():
    liked = np.zeros((12, 6), np.float32)
    liked[:, :3], liked[:, 3:5] = 1, -1
    learned = Logistic(dim=2, epochs=40, negatives=0, threads=1).fit(from_csr(liked))
    scores = learned.users @ learned.items.T
    assert scores[:, :3].min() > 0.5
    assert scores[:, 3:5].max() < -0.5
    with pytest.raises(DataError, match="models of implicit feedback take positive weights only"):
        BPR().fit(from_csr(liked))


def test_weights_scale_the_steps():
    base = np.ones((6, 8), np.float32)
    base[:, 4:] = 0
    heavy = base.copy()
    heavy[:, 0] = 20
    settings = BPR(dim=2, epochs=1, negative_sampling="uniform", threads=1)
    light, strong = (settings.fit(from_csr(one)) for one in (base, heavy))
    lead = [one.items[0, -1] - one.items[1:4, -1].mean() for one in (light, strong)]
    assert lead[1] > lead[0] + 0.1


def test_the_unit_of_the_weights_is_no_matter():
    data, _ = clusters()
    settings = WARP(dim=4, epochs=3, threads=1)
    one, four = (settings.fit(from_csr(data.matrix * np.float32(unit))) for unit in (1, 4))
    np.testing.assert_array_equal(one.items, four.items)
    folding = settings.prepare_fold_in(one)
    histories = data.matrix[:3]
    np.testing.assert_array_equal(folding.fold_in(histories), folding.fold_in(histories * np.float32(4)))


def test_who_has_nothing_gets_zeros():
    matrix = clusters()[0].matrix.tolil()
    matrix[5], matrix[:, 7] = 0, 0
    data = from_csr(sp.csr_matrix(matrix))
    learned = BPR(dim=3, epochs=2, negative_sampling="popular").fit(data)
    assert not learned.users[5].any()
    assert not learned.items[7].any()
    assert learned.items[8].any()
    pushed = WARP(dim=3, epochs=20, threads=1).fit(data)
    assert pushed.items[7, -1] < pushed.items[8, -1]
    folding = WARP(dim=3).prepare_fold_in(pushed)
    assert not folding.fold_in(sp.csr_matrix((2, 40), dtype=np.float32)).any()


def test_a_history_folds_in_alike_whoever_is_beside_it_and_in_any_order():
    data, _ = clusters()
    settings = WARP(dim=4, epochs=5, threads=1)
    folding = settings.prepare_fold_in(settings.fit(data))
    together = folding.fold_in(data.matrix[:5])
    for row in range(5):
        np.testing.assert_array_equal(folding.fold_in(data.matrix[row])[0], together[row])
    turned = data.matrix[2].copy()
    turned.indices, turned.data = turned.indices[::-1].copy(), turned.data[::-1].copy()
    np.testing.assert_array_equal(folding.fold_in(turned)[0], together[2])


def test_progress_tells_loss_and_violations_that_fall():
    data, _ = clusters()
    told = []
    BPR(dim=4, epochs=12, learning_rate=0.2, threads=1).fit(data, progress=lambda *step: told.append(step))
    assert [step[:3] for step in told] == [("training", done, 12) for done in range(13)]
    values = [step[3] for step in told[1:]]
    assert set(values[0]) == {"loss", "violations"}
    assert values[0]["loss"] == pytest.approx(np.log(2), rel=0.1)  # nothing is known at first
    assert values[-1]["loss"] < 0.8 * values[0]["loss"]
    assert 0 <= values[-1]["violations"] < values[0]["violations"] <= 1


def test_training_stops_when_validation_gets_no_better_and_keeps_the_best():
    data = segue.data.simulate(300, 100, 3000, seed=3)
    train, held = data.split(test=0.3, seed=0)
    told = []
    settings = WARP(dim=32, epochs=60, patience=3, learning_rate=0.3, threads=1)
    best = settings.fit(train, validation=held, progress=lambda *step: told.append(step))
    scores = [step[3]["ndcg@10"] for step in told if len(step) == 4]
    scores.pop()  # the last is told twice: training ends before its last epoch
    assert told[-1][:3] == ("training", 60, 60)
    assert len(scores) < 60
    assert len(scores) - 1 - int(np.argmax(scores)) == 3
    exact = replace(settings, epochs=1 + int(np.argmax(scores))).fit(train)
    np.testing.assert_array_equal(best.items, exact.items)
    np.testing.assert_array_equal(best.users, exact.users)


def test_training_goes_on_from_earlier_vectors():
    data, _ = clusters()
    losses = []

    def listen(what, done, total, values=None):
        if values:
            losses.append(values["loss"])

    settings = BPR(dim=4, epochs=10, threads=1)
    first = settings.fit(data, progress=listen)
    settings.fit(data, start=first, progress=listen)
    assert losses[10] < 0.9 * losses[0]
    with pytest.raises(
        DataError, match=r"users of the shape \(60, 6\), but \(60, 7\) is expected \(5 dimensions"
    ):
        BPR(dim=5).fit(data, start=first)
    features = Features.from_csr(np.eye(40))
    with pytest.raises(DataError, match="start has item features of the shape None"):
        settings.fit(data, start=first, item_features=features)
    hybrid = settings.fit(data, item_features=features)
    assert settings.fit(data, start=hybrid, item_features=features).item_features.shape == (40, 6)


def test_identity_features_are_no_features_but_for_the_order_of_sums():
    """Matrices of ones on the diagonal are the plain model, with the same draws."""
    data, _ = clusters()
    settings = WARP(dim=5, epochs=3, threads=1)
    plain = settings.fit(data)
    given = {"user_features": Features.from_csr(sp.eye(60)), "item_features": Features.from_csr(sp.eye(40))}
    hybrid = settings.fit(data, **given)
    np.testing.assert_allclose(hybrid.users, plain.users, atol=1e-4)
    np.testing.assert_allclose(hybrid.items, plain.items, atol=1e-4)


@pytest.mark.parametrize("kind", ALL_MODELS)
def test_vectors_are_the_sums_of_features_and_place_new_items(kind):
    data, own = clusters(users=80, items=48)
    group = pl.DataFrame({"group": [str(item % 4) for item in range(48)]})
    features = Features.from_frame(group, "group", ids=data.items)
    held = np.arange(48) >= 40  # items that nobody had in training: their group says who likes them
    matrix = data.matrix.tolil()
    matrix[:, held] = 0
    learned = kind(dim=8, epochs=60, learning_rate=0.1, threads=1).fit(
        from_csr(sp.csr_matrix(matrix)), item_features=features
    )
    np.testing.assert_allclose(learned.items, learned.items_of(features.matrix), atol=1e-6)
    new = learned.items_of(features.encoding.encode(pl.DataFrame({"group": ["0", "1", "2", "3"]})))
    for vectors in (learned.items[held], new):
        scores = learned.users @ vectors.T
        wanted = own[:, held] if len(vectors) == 8 else own[:, :4]
        assert auc(scores, wanted, ~wanted) > 0.9


@pytest.mark.parametrize(
    ("kind", "setting", "message"),
    [
        (WARP, {"dim": 0}, r"WARP\(dim=0\) must be at least 1"),
        (BPR, {"epochs": 0}, r"BPR\(epochs=0\) must be at least 1"),
        (WARP, {"max_sampled": 0}, r"WARP\(max_sampled=0\) must be at least 1"),
        (KOSWARP, {"k": 11}, r"KOSWARP\(k=11, n=10\): k must be at most n"),
        (Logistic, {"negatives": -1}, r"Logistic\(negatives=-1\) must be at least 0"),
        (BPR, {"schedule": "adam"}, r"BPR\(schedule='adam'\) must be one of 'adagrad', 'adadelta'"),
        (BPR, {"rho": 1.0}, r"BPR\(rho=1.0, epsilon=1e-06\): adadelta needs a rho below 1"),
        (BPR, {"learning_rate": float("nan")}, r"BPR\(learning_rate=nan\) must be at least 0.0"),
        (
            BPR,
            {"negative_sampling": "hard"},
            r"BPR\(negative_sampling='hard'\) must be one of 'uniform', 'pop",
        ),
    ],
)
def test_settings_that_cannot_be(kind, setting, message):
    with pytest.raises(SettingError, match=message):
        kind(**setting)


def test_validation_that_does_not_fit():
    data, _ = clusters()
    with pytest.raises(
        DataError, match=r"must have the users and items of the training data \(Interactions\(60"
    ):
        BPR().fit(data, validation=clusters(users=20)[0])


def test_divergence_is_said_with_its_epoch():
    data = clusters()[0]
    with pytest.raises(SettingError, match=r"WARP\(learning_rate=1e\+20\) diverged in epoch 1: the loss is"):
        WARP(dim=2, learning_rate=1e20, epochs=3, threads=1).fit(data)
