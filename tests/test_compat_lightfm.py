"""LightFM's interface: known answers, its formulas, planted tastes, every error."""

import pickle
import re

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GridSearchCV

import segue
from segue.compat.lightfm import LightFM
from segue.compat.lightfm.cross_validation import random_train_test_split
from segue.compat.lightfm.data import Dataset
from segue.compat.lightfm.errors import ParameterError, UnsupportedError
from segue.compat.lightfm.evaluation import auc_score, precision_at_k, recall_at_k, reciprocal_rank
from segue.errors import CorruptModelError, DataError, NotAModelError, SegueError, SettingError

LOSSES = ("logistic", "bpr", "warp", "warp-kos")
SLOTS = [
    f"{side}_{slot}"
    for side in ("item", "user")
    for slot in (
        "embeddings", "embedding_gradients", "embedding_momentum",
        "biases", "bias_gradients", "bias_momentum",
    )
]  # fmt: skip


def taste(users=40, items=30, seed=0):
    """Users and items of two kinds, 1 where of the same, -1 where not; a third of all pairs is known."""
    rng = np.random.default_rng(seed)
    same = np.arange(users)[:, None] % 2 == np.arange(items)[None] % 2
    rows, columns = np.nonzero(rng.random((users, items)) < 1 / 3)
    signs = np.where(same, 1, -1)[rows, columns].astype(np.float32)
    return sp.coo_matrix((signs, (rows, columns)), same.shape)


def likes(matrix):
    kept = matrix.data > 0
    return sp.coo_matrix((matrix.data[kept], (matrix.row[kept], matrix.col[kept])), matrix.shape)


def message(text):
    return f"^{re.escape(text)}$"


@pytest.fixture(scope="module")
def trained():
    return LightFM(random_state=1).fit(taste(), epochs=3)


@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_finds_the_planted_taste(loss, schedule):
    known = taste(120, 60)
    train = known if loss in ("logistic", "warp") else likes(known)
    same = np.arange(120)[:, None] % 2 == np.arange(60)[None] % 2
    new = sp.csr_matrix(same & (known.toarray() == 0))
    model = LightFM(4, loss=loss, learning_schedule=schedule, random_state=0).fit(train, epochs=25)
    assert auc_score(model, new, likes(known)).mean() > 0.9
    assert auc_score(LightFM(random_state=0).fit(train, epochs=0), new, likes(known)).mean() < 0.7


@pytest.mark.parametrize("loss", LOSSES)
def test_features_carry_over_to_new_items(loss):
    known = taste()
    known = known if loss == "logistic" else likes(known)
    seen = known.col < 20
    train = sp.coo_matrix((known.data[seen], (known.row[seen], known.col[seen])), known.shape)
    kinds = sp.csr_matrix(np.eye(2)[np.arange(30) % 2])
    model = LightFM(loss=loss, random_state=0).fit(train, item_features=kinds, epochs=30)
    assert model.item_embeddings.shape == (2, 10)
    users, items = np.nonzero(np.ones((40, 10)))
    scores = model.predict(users, items + 20, item_features=kinds).reshape(40, 10)
    assert scores.dtype == np.float32
    right = scores[:, 0] > scores[:, 1]
    assert (right == (np.arange(40) % 2 == 0)).mean() > 0.9


def test_predictions_are_the_formula(trained):
    users, items = np.array([0, 3, 39, 3]), np.array([29, 0, 7, 0])
    expected = (trained.user_embeddings[users] * trained.item_embeddings[items]).sum(1)
    expected += trained.user_biases[users] + trained.item_biases[items]
    for threads in (1, 2):
        np.testing.assert_allclose(trained.predict(users, items, num_threads=threads), expected, rtol=1e-5)
    np.testing.assert_array_equal(trained.predict(list(users), tuple(items)), trained.predict(users, items))
    for one in (3, np.int64(3)):
        every = trained.predict(one, np.arange(30))
        np.testing.assert_array_equal(every, trained.predict(np.full(30, 3), np.arange(30)))
    assert trained.predict([], []).shape == (0,)
    replaced = pickle.loads(pickle.dumps(trained))
    replaced.item_biases = replaced.item_biases + 1
    np.testing.assert_allclose(replaced.predict(users, items), expected + 1, rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([1, 2, 5, 7, 13]), st.booleans())
def test_predictions_with_features_are_the_formula(seed, dim, many):
    rng = np.random.default_rng(seed)
    U, V = (sp.random(n, f, 0.4, "csr", random_state=rng) for n, f in ((5, 3), (1 + 6 * many, 4)))
    model = LightFM(no_components=dim, random_state=seed)
    model.fit_partial(sp.coo_matrix((5, V.shape[0])), U, V, epochs=2)
    model.user_biases, model.item_biases = (rng.random(n).astype(np.float32) for n in (3, 4))
    (bu, x), (bi, y) = model.get_user_representations(U), model.get_item_representations(V)
    np.testing.assert_allclose(x, U.toarray() @ model.user_embeddings, atol=1e-6)
    assert x.dtype == y.dtype == bu.dtype == bi.dtype == np.float32
    scores = x @ y.T + bu[:, None] + bi
    pairs = np.indices(scores.shape).reshape(2, -1)
    told = model.predict(*pairs, item_features=V, user_features=U)
    np.testing.assert_allclose(told.reshape(scores.shape), scores, atol=1e-5)
    full = sp.csr_matrix(np.ones(scores.shape))
    ranks = model.predict_rank(full, item_features=V, user_features=U).toarray()
    np.testing.assert_array_equal(
        ranks, [[(row >= row[i]).sum() - 1 for i in range(len(row))] for row in (x @ y.T + bi)]
    )


def test_ranks_leave_out_training_items_and_count_ties_against(trained):
    train, full = likes(taste()).tocsr(), sp.csr_matrix(np.ones((40, 30)))
    ranks = trained.predict_rank(full, num_threads=2)
    assert ranks.dtype == np.float32
    assert ranks.format == "csr"
    np.testing.assert_array_equal(np.sort(ranks.toarray()), np.tile(np.arange(30), (40, 1)))
    masked = trained.predict_rank(full, train, check_intersections=False).toarray()
    scores = trained.predict(np.repeat(np.arange(40), 30), np.tile(np.arange(30), 40)).reshape(40, 30)
    for u, i in ((0, 0), (7, 3), (39, 29)):
        others = [j for j in range(30) if j != i and not train[u, j]]
        assert masked[u, i] == sum(scores[u, j] >= scores[u, i] for j in others)
    assert not trained.predict_rank(full, full, check_intersections=False).toarray().any()
    level = pickle.loads(pickle.dumps(trained))
    for name in ("user_embeddings", "item_embeddings", "user_biases", "item_biases"):
        setattr(level, name, np.zeros_like(getattr(level, name)))
    assert (level.predict_rank(full).toarray() == 29).all()
    assert level.predict_rank(sp.csr_matrix((40, 30))).nnz == 0


class Ranked:
    """A model that ranks items by their row, for every user, without those of the training set."""

    def predict_rank(self, test, train=None, item_features=None, user_features=None, threads=1, check=True):
        ranks = test.tocsr().astype(np.float32)
        for u in range(ranks.shape[0]):
            hidden = set() if train is None else set(train.tocsr()[u].indices)
            row = slice(ranks.indptr[u], ranks.indptr[u + 1])
            ranks.data[row] = [sum(j not in hidden for j in range(i)) for i in ranks.indices[row]]
        return ranks


def test_metrics_by_hand():
    test = sp.coo_matrix([[0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
    train = sp.csr_matrix([[1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    model = Ranked()
    np.testing.assert_allclose(precision_at_k(model, test, k=2), [1 / 2, 1])
    np.testing.assert_allclose(precision_at_k(model, test, train, k=3, preserve_rows=True), [2 / 3, 0, 1])
    np.testing.assert_allclose(recall_at_k(model, test, k=2), [1 / 2, 2 / 5])
    np.testing.assert_allclose(recall_at_k(model, test, k=2, preserve_rows=True), [1 / 2, 0, 2 / 5])
    np.testing.assert_allclose(reciprocal_rank(model, test), [1 / 2, 1])
    np.testing.assert_allclose(reciprocal_rank(model, test, train, preserve_rows=True), [1, 0, 1])
    np.testing.assert_allclose(auc_score(model, test), [3 / 6, 0.5])  # negatives 0, 2, 4
    np.testing.assert_allclose(auc_score(model, test, train, preserve_rows=True), [3 / 4, 0.5, 0.5])
    kinds = [
        metric(model, test).dtype for metric in (precision_at_k, recall_at_k, auc_score, reciprocal_rank)
    ]
    assert kinds == [np.float32, np.float64, np.float32, np.float32]  # as LightFM's


def test_metrics_follow_the_scores(trained):
    held = likes(taste(seed=9)).tocsr()
    scores = trained.predict(np.repeat(np.arange(40), 30), np.tile(np.arange(30), 40)).reshape(40, 30)
    best, dense = np.argsort(-scores, axis=1)[:, :4], held.toarray()
    hits = np.take_along_axis(dense, best, 1).sum(1)
    np.testing.assert_allclose(precision_at_k(trained, held, k=4), hits[dense.any(1)] / 4)
    pairs = [
        (s[d > 0][:, None] > s[d == 0]).mean() for s, d in zip(scores, dense, strict=True) if 0 < d.sum() < 30
    ]
    np.testing.assert_allclose(auc_score(trained, held, num_threads=2), pairs, rtol=1e-5)


@pytest.mark.parametrize("metric", [precision_at_k, recall_at_k, auc_score, reciprocal_rank])
def test_metrics_refuse_shared_interactions(metric, trained):
    shared = likes(taste())
    with pytest.raises(ValueError, match="check the split, or pass check_intersections=False"):
        metric(trained, shared, train_interactions=shared)
    assert len(metric(trained, shared, train_interactions=shared, check_intersections=False)) == 40
    with pytest.raises(ValueError, match=message("num_threads=0 must be 1 or larger")):
        metric(trained, shared, num_threads=0)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("kind", ["coo", "csr", "csc", "lil"])
def test_any_sparse_matrix_of_any_numbers(kind, dtype):
    empty, signed = sp.coo_matrix((10, 100), dtype=dtype), taste().astype(dtype).asformat(kind)
    wide = [sp.coo_matrix((n, 20), dtype=dtype).asformat(kind) for n in (10, 100)]
    model = LightFM(loss="bpr").fit_partial(empty.asformat(kind), *wide, sample_weight=empty, epochs=2)
    assert not model.predict(np.arange(10), np.arange(10), wide[1], wide[0]).any()
    model.predict_rank(empty.asformat(kind), item_features=wide[1], user_features=wide[0])
    one, other = (LightFM(random_state=0).fit(matrix) for matrix in (taste(), signed))
    np.testing.assert_array_equal(one.item_embeddings, other.item_embeddings)
    assert signed.dtype == dtype


@pytest.mark.parametrize("loss", LOSSES)
def test_duplicates_and_any_order_of_the_entries(loss):
    known, rng = likes(taste()), np.random.default_rng(0)
    order = rng.permutation(known.nnz)
    mixed = sp.coo_matrix((known.data[order], (known.row[order], known.col[order])), known.shape)
    one, other = (LightFM(loss=loss, random_state=0).fit(each, epochs=3) for each in (known, mixed))
    np.testing.assert_array_equal(one.user_embeddings, other.user_embeddings)
    twice = np.concatenate([order, order[:50]])
    doubled = sp.coo_matrix((known.data[twice], (known.row[twice], known.col[twice])), known.shape)
    model = LightFM(loss=loss, random_state=0).fit(doubled, epochs=3)
    assert doubled.nnz == known.nnz + 50
    assert np.isfinite(model.user_embeddings).all()
    assert (model.user_embeddings != one.user_embeddings).any()


def test_the_state_of_the_schedules():
    for schedule, first in (("adagrad", 1), ("adadelta", 0)):
        model = LightFM(learning_schedule=schedule, random_state=0).fit(taste(), epochs=0)
        for name in SLOTS:
            if name.endswith("gradients"):
                assert (getattr(model, name) == first).all()
            if name.endswith(("momentum", "biases")):
                assert not getattr(model, name).any()
            assert getattr(model, name).dtype == np.float32
        model.fit_partial(taste())
        for name in SLOTS:
            moved = (getattr(model, name) > (first if name.endswith("gradients") else 0)).any()
            assert moved == (schedule == "adadelta" or not name.endswith("momentum")), name
        assert (model.fit(taste(), epochs=0).item_embedding_gradients == first).all()


def test_the_start_is_the_generators():
    model, rng = LightFM(no_components=7, random_state=3).fit(taste(), epochs=0), np.random.RandomState(3)
    np.testing.assert_array_equal(model.item_embeddings, ((rng.rand(30, 7) - 0.5) / 7).astype(np.float32))
    np.testing.assert_array_equal(model.user_embeddings, ((rng.rand(40, 7) - 0.5) / 7).astype(np.float32))


@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
def test_the_same_state_learns_the_same_and_goes_on(schedule):
    one, two = (LightFM(loss="warp", learning_schedule=schedule, random_state=7) for _ in range(2))
    assert one.fit(likes(taste()), epochs=4) is one
    for _ in range(4):
        assert two.fit_partial(likes(taste())) is two
        two = pickle.loads(pickle.dumps(two))  # arrays of its own, which are packed anew
    for name in SLOTS:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    before = one.random_state.get_state()
    one.fit_partial(likes(taste()))
    after = one.random_state.get_state()
    assert before[2] != after[2] or (before[1] != after[1]).any()


def test_arrays_that_are_replaced_are_gone_on_from():
    model = LightFM(random_state=0).fit(taste())
    model.item_biases = np.full(30, 5, np.float32)
    model.learning_schedule = "adadelta"
    model.fit_partial(taste(), epochs=0)
    assert (model.item_biases == 5).all()
    model.item_embeddings[:] = 0
    model.user_embeddings[:] = 0
    model.fit_partial(taste())
    assert not model.item_embeddings.any()
    assert (model.item_biases != 5).any()
    assert model.item_embedding_gradients.max() > 0


def test_negatives_of_a_pairwise_loss_are_neither_learned_from_nor_drawn():
    dense = np.array([[1, -1, 0], [1, -1, 0]], np.float32)
    for loss in ("bpr", "warp"):
        model = LightFM(loss=loss, random_state=0).fit(sp.coo_matrix(dense), epochs=20)
        assert (model.item_bias_gradients[1] == 1).all()
        assert model.item_biases[1] == 0
        moved = loss == "warp"  # BPR has only the two known items to draw from
        assert (model.item_biases[0] > 0) == moved
        assert (model.user_biases < 0).all() == moved


def test_sample_weights():
    known = taste()
    weights = known.copy()
    weights.data = (known.row % 2 == 0).astype(np.float32)
    for loss in ("logistic", "bpr", "warp"):
        model = LightFM(loss=loss, random_state=0).fit(known, sample_weight=weights, epochs=2)
        for gradients in (model.user_embedding_gradients, model.user_bias_gradients):
            assert (gradients[1::2] == 1).all()
            assert (gradients[::2] > 1).all()
    weights.data[:] = 3
    one, three, five = (
        LightFM(loss="warp", random_state=0).fit(matrix, sample_weight=given)
        for matrix, given in ((known, None), (known, weights), (5 * known, None))
    )
    np.testing.assert_array_equal(one.item_embeddings, five.item_embeddings)  # values are signs only
    assert three.user_embedding_gradients.mean() > one.user_embedding_gradients.mean()


def test_a_step_is_lightfms():
    """One user and one item: the logistic loss's gradients by hand."""
    train = sp.coo_matrix(np.array([[1.0]]))
    model = LightFM(no_components=2, random_state=0).fit(train, epochs=0)
    x, y = model.user_embeddings.astype(float), model.item_embeddings.astype(float)
    pull = 1 / (1 + np.exp((x * y).sum()))
    model.fit_partial(train)
    np.testing.assert_allclose(model.user_biases, [0.05 * pull], rtol=1e-6)
    np.testing.assert_allclose(model.item_embeddings, y + 0.05 * pull * x, rtol=1e-6)
    np.testing.assert_allclose(model.user_embeddings, x + 0.05 * pull * y, rtol=1e-6)
    np.testing.assert_allclose(model.item_embedding_gradients, 1 + (pull * x) ** 2, rtol=1e-6)


def lazily_penalised(train, model, epochs):
    """LightFM's logistic loss with adagrad and its penalty, step by step: both sides' vectors and biases."""
    rng = np.random.default_rng(0)
    x = [  # the bias is the last column
        np.column_stack([getattr(model, f"{side}_embeddings"), getattr(model, f"{side}_biases")]).astype(
            float
        )
        for side in ("user", "item")
    ]
    squares = [np.ones_like(one) for one in x]
    alphas, rate = (model.user_alpha, model.item_alpha), model.learning_rate
    for _ in range(epochs):
        scales = np.ones(2)
        for e in rng.permutation(train.nnz):
            rows = train.row[e], train.col[e]
            u, i = (x[side][rows[side]] * scales[side] for side in (0, 1))
            c = 1 / (1 + np.exp(-(u[:-1] @ i[:-1] + u[-1] + i[-1]))) - (train.data[e] > 0)
            rates = []
            for side, other in ((0, i), (1, u)):
                row = rows[side]
                g = c * np.append(other[:-1], 1)
                local = rate / np.sqrt(squares[side][row])
                x[side][row] = (x[side][row] - local * g) * (1 + alphas[side] * local)
                squares[side][row] += g**2
                rates.append(local)
            scales *= 1 + np.array(alphas) * np.mean(rates)
        x = [one / scale for one, scale in zip(x, scales, strict=True)]
    return x


@pytest.mark.parametrize("alphas", [(0, 0), (3e-3, 0), (1e-3, 5e-3), (0.02, 0.02)])
def test_penalties_are_lightfms(alphas):
    train = taste(80, 60)
    begun = LightFM(6, user_alpha=alphas[0], item_alpha=alphas[1], random_state=1).fit(train, epochs=0)
    expected = lazily_penalised(train, begun, 10)
    model = LightFM(6, user_alpha=alphas[0], item_alpha=alphas[1], random_state=1).fit(train, epochs=10)
    for side, one in zip(("user", "item"), expected, strict=True):
        found = getattr(model, f"{side}_embeddings"), getattr(model, f"{side}_biases")
        for values, wanted in zip(found, (one[:, :-1], one[:, -1]), strict=True):
            assert np.corrcoef(values.ravel(), wanted.ravel())[0, 1] > 0.98
            sizes = (np.sqrt(np.mean(one.astype(float) ** 2)) for one in (values, wanted))
            assert next(sizes) == pytest.approx(next(sizes), rel=0.03)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("alpha", [0.03, 0.3, 10.0])
def test_whatever_the_penalty_parameters_stay_finite(loss, alpha):
    model = LightFM(5, loss=loss, item_alpha=alpha, user_alpha=alpha, random_state=0)
    model.fit(taste(300, 200), epochs=3)
    assert abs(model.item_embeddings).max() < 1
    assert abs(model.user_embeddings).max() < 1


@pytest.mark.parametrize("loss", LOSSES)
def test_with_a_moderate_penalty_the_taste_is_found(loss):
    train = taste(300, 200)
    liked = likes(train)
    model = LightFM(5, loss=loss, item_alpha=1e-3, user_alpha=1e-3, random_state=0)
    model.fit(train if loss == "logistic" else liked, epochs=10)
    assert abs(model.item_embeddings).mean() > 0.05
    assert auc_score(model, liked).mean() > 0.6


def test_the_penalty_shrinks_whoever_is_not_learned_from():
    known = taste()
    wide = sp.coo_matrix((known.data, (known.row, known.col)), (41, 30))
    free, held = (LightFM(user_alpha=alpha, random_state=0).fit(wide, epochs=5) for alpha in (0, 1e-2))
    start = LightFM(random_state=0).fit(wide, epochs=0)
    np.testing.assert_array_equal(free.user_embeddings[40], start.user_embeddings[40])
    ratio = held.user_embeddings[40] / start.user_embeddings[40]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
    rate = 0.05 / np.sqrt(np.concatenate([m.user_embedding_gradients[:40] for m in (free, held)]).mean())
    assert ratio[0] == pytest.approx(np.exp(-1e-2 * rate * known.nnz * 5), rel=0.2)
    assert abs(held.user_embeddings).mean() < abs(free.user_embeddings).mean()


def test_no_draws_and_no_epochs_learn_nothing():
    model = LightFM(loss="warp", random_state=0)
    model.max_sampled = 0
    start = LightFM(loss="warp", random_state=0).fit(taste(), epochs=0)
    np.testing.assert_array_equal(model.fit(taste(), epochs=3).item_embeddings, start.item_embeddings)


def test_identity_features_are_none_and_rows_may_be_more():
    known = taste()
    one, two = (
        LightFM(random_state=0).fit(known, *features)
        for features in ((), (sp.identity(40), sp.identity(30, format="csr")))
    )
    np.testing.assert_array_equal(one.user_embeddings, two.user_embeddings)
    more = LightFM(random_state=0).fit(known, sp.identity(45), sp.identity(33))
    assert more.user_embeddings.shape == (45, 10)
    assert (more.user_embedding_gradients[40:] == 1).all()
    more.predict([44], [32])


def test_parameters():
    rng = np.random.RandomState(1)
    model = LightFM(5, k=2.0, loss="warp", random_state=rng)
    assert model.random_state is rng
    assert model.get_params() == {
        "loss": "warp", "learning_schedule": "adagrad", "no_components": 5, "learning_rate": 0.05,
        "k": 2, "n": 10, "rho": 0.95, "epsilon": 1e-6, "max_sampled": 10,
        "item_alpha": 0.0, "user_alpha": 0.0,
        "random_state": rng,
    }  # fmt: skip
    assert LightFM(**model.get_params()).get_params() == model.get_params()
    assert model.set_params(loss="bpr", random_state=4) is model
    assert model.loss == "bpr"
    assert model.random_state.rand() == np.random.RandomState(4).rand()
    names = ", ".join(model.get_params())
    with pytest.raises(ValueError, match=message(f"LightFM has no parameter 'lss'; it has {names}")):
        model.set_params(lss="bpr")


def test_scikit_learn_searches_its_parameters():
    known = likes(taste()).tocsr()
    whole = [(np.arange(40), np.arange(40))] * 2
    search = GridSearchCV(
        LightFM(loss="warp", random_state=0, no_components=4),
        {"learning_rate": [1e-9, 0.1]},
        scoring=lambda model, matrix: precision_at_k(model, matrix, k=5).mean(),
        cv=whole,
    )
    search.fit(known)
    assert search.best_params_ == {"learning_rate": 0.1}
    assert auc_score(search.best_estimator_, known).mean() > 0.5


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"no_components": 0}, "LightFM(no_components=0) must be at least 1"),
        ({"k": 0}, "LightFM(k=0) must be at least 1"),
        ({"n": 0}, "LightFM(n=0) must be at least 1"),
        ({"user_alpha": -1.0}, "LightFM(user_alpha=-1.0) must be at least 0"),
        ({"item_alpha": -1.0}, "LightFM(item_alpha=-1.0) must be at least 0"),
        ({"rho": 1.0}, "LightFM(rho=1.0) must be above 0 and below 1"),
        ({"epsilon": -1.0}, "LightFM(epsilon=-1.0) must be at least 0"),
        ({"max_sampled": -1}, "LightFM(max_sampled=-1) must be at least 1"),
        (
            {"learning_schedule": "sgd"},
            "LightFM(learning_schedule='sgd') must be one of 'adagrad', 'adadelta'",
        ),
        ({"loss": "mse"}, "LightFM(loss='mse') must be one of 'logistic', 'warp', 'bpr', 'warp-kos'"),
    ],
)
def test_wrong_parameters(given, told):
    for kind in (ParameterError, AssertionError, ValueError, SegueError):
        with pytest.raises(kind, match=message(told)):
            LightFM(**given)


NAN = sp.coo_matrix(np.array([[np.nan, 1.0], [1.0, 1.0]]))
SMALL = sp.coo_matrix(np.array([[1.0, 0.0], [1.0, 1.0]]))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"interactions": np.ones((2, 2))}, "interactions must be a scipy.sparse matrix, not ndarray"),
        ({"interactions": NAN}, "interactions must be finite, but has NaN or infinite values"),
        ({"user_features": NAN}, "user_features must be finite, but has NaN or infinite values"),
        ({"item_features": NAN}, "item_features must be finite, but has NaN or infinite values"),
        ({"item_features": np.eye(2)}, "item_features must be a scipy.sparse matrix, not ndarray"),
        ({"user_features": sp.identity(1)}, "user_features has 1 rows, but there are 2 users"),
        ({"num_threads": 0}, "num_threads=0 must be 1 or larger"),
        (
            {"sample_weight": np.ones(3)},
            ("sample_weight must be a scipy.sparse COO matrix, not ndarray: call .tocoo() on the matrix "
             "that the interactions come from"),
        ),
        (
            {"sample_weight": sp.coo_matrix((1, 2))},
            "sample_weight of shape (1, 2) must have the shape of the interactions, (2, 2)",
        ),
        (
            {"sample_weight": sp.coo_matrix((SMALL.data, (SMALL.row[::-1], SMALL.col)))},
            ("sample_weight must have the entries of the interactions in the same order: "
             "its row and col must equal theirs"),
        ),
        (
            {"sample_weight": -SMALL},
            ("sample_weight must not be negative for the loss 'logistic', but the least is -1.0; "
             "give dislikes as interactions of -1"),
        ),
    ],
)  # fmt: skip
def test_wrong_input(given, told):
    with pytest.raises(ValueError, match=message(told)) as raised:
        LightFM().fit(**{"interactions": SMALL, **given})
    assert isinstance(raised.value, SegueError)


def test_weights_are_not_for_kos():
    told = "the loss 'warp-kos' takes no sample_weight; take 'warp', or leave it out"
    for kind in (NotImplementedError, UnsupportedError, ValueError):
        with pytest.raises(kind, match=message(told)):
            LightFM(loss="warp-kos").fit(SMALL, sample_weight=np.ones(1))


def test_what_does_not_fit_the_model(trained):
    known = "the model was trained with"
    for call, told in (
        (lambda: trained.predict([40], [0]), (f"there are 41 users, but {known} 40 user features; "
             "pass the user_features that it was trained with")),
        (lambda: trained.predict([0], [0], sp.identity(31)),
            f"item_features has 31 features, but {known} 30"),
        (lambda: trained.predict([0, 1], [0]), "2 user_ids and 1 item_ids must have the same length"),
        (lambda: trained.predict("foo", [0]),
            "user_ids must be a list or an array of row numbers, not 'foo'"),
        (lambda: trained.predict([0], 3), "item_ids must be a list or an array of row numbers, not 3"),
        (lambda: trained.predict([[0]], [0]),
            "user_ids must be a list or an array of row numbers, not [[0]]"),
        (lambda: trained.predict([0], [-1]), "user_ids and item_ids must not be negative, but there is -1"),
        (lambda: trained.predict(0, [1], num_threads=0), "num_threads=0 must be 1 or larger"),
        (lambda: trained.predict_rank(sp.csr_matrix((5, 5))),
            f"item_features has 5 features, but {known} 30"),
        (lambda: trained.predict_rank(sp.csr_matrix((40, 30)), sp.csr_matrix((5, 5))),
            "train_interactions of shape (5, 5) must have test's, (40, 30)"),
        (lambda: trained.fit_partial(sp.coo_matrix((3, 30))),
            f"user_features has 3 features, but {known} 40"),
        (lambda: trained.get_user_representations(sp.identity(3)),
            "user features of shape (3, 3) do not match the model's 40 features"),
    ):  # fmt: skip
        with pytest.raises(DataError if "threads" not in told else SettingError, match=message(told)):
            call()


def test_before_training():
    told, model = "this LightFM has not been trained; call fit or fit_partial first", LightFM()
    for call in (
        lambda: model.predict([0], [0]),
        lambda: model.predict_rank(1),
        model.get_user_representations,
        model.get_item_representations,
        lambda: model.save("nowhere"),
    ):
        with pytest.raises(ValueError, match=message(told)):
            call()


def test_arrays_that_do_not_fit_each_other():
    model = LightFM(random_state=0).fit(SMALL)
    model.item_biases = np.zeros(1, np.float32)
    with pytest.raises(
        DataError, match=r"^the arrays of item features do not fit each other: item_embeddings has"
    ):
        model.predict([0], [1])


def test_divergence_is_said():
    known = sp.random(10, 100, format="csr", random_state=42)
    for seed in range(5):
        with pytest.raises(
            ValueError, match=r"^LightFM\(learning_rate=10000000\.0\) diverged: \w+ are not all finite; "
        ):
            LightFM(learning_rate=1e7, loss="warp", random_state=seed).fit(known, epochs=10)


def test_verbose_draws_a_bar_and_nothing_else_speaks(capsys):
    LightFM().fit(SMALL, epochs=2)
    assert capsys.readouterr() == ("", "")
    LightFM().fit(SMALL, epochs=2, verbose=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("training: 2 in ")


def test_save_and_load(tmp_path, trained):
    for schedule in ("adagrad", "adadelta"):
        model = LightFM(loss="warp", learning_schedule=schedule, no_components=np.int64(3), random_state=2)
        model.fit(likes(taste()), epochs=2)
        model.save(tmp_path / schedule)
        loaded = LightFM.load(tmp_path / schedule)
        for each in (model, loaded):
            each.fit_partial(likes(taste()))
        for name in SLOTS:
            np.testing.assert_array_equal(getattr(model, name), getattr(loaded, name))
        theirs, ours = (
            {name: value for name, value in each.get_params().items() if name != "random_state"}
            for each in (model, loaded)
        )
        assert theirs == ours
    other = LightFM(random_state=np.random.RandomState(np.random.PCG64(1))).fit(SMALL)
    with pytest.raises(
        SettingError, match=message("a random_state of the kind PCG64 cannot be saved; only MT19937 can")
    ):
        other.save(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_other_folders_are_refused(tmp_path):
    segue.store.write(tmp_path / "foreign", {"a": np.zeros(3)}, {}, {"kind": "other"})
    with pytest.raises(NotAModelError, match=r"holds a model of another type; open it with segue\.load$"):
        LightFM.load(tmp_path / "foreign")
    segue.store.write(tmp_path / "cut", {"a": np.zeros(3)}, {}, {"kind": "lightfm", "parameters": {}})
    with pytest.raises(CorruptModelError, match="is not a valid LightFM model"):
        LightFM.load(tmp_path / "cut")


def test_random_split():
    known = taste()
    train, test = random_train_test_split(known, 0.25, random_state=3)
    assert test.nnz == known.nnz - int(0.75 * known.nnz)
    assert {train.format, test.format} == {"coo"}
    assert train.dtype == test.dtype == known.dtype
    assert train.multiply(test).nnz == 0
    assert ((train + test) != known).nnz == 0
    weights = known.copy()
    weights.data = np.arange(known.nnz, dtype=np.float64)
    parts = random_train_test_split(weights.tocsr(), 0.25, random_state=np.random.RandomState(3))
    for part, other in zip(parts, (train, test), strict=True):
        np.testing.assert_array_equal(part.row, other.row)
        np.testing.assert_array_equal(part.col, other.col)
        np.testing.assert_array_equal(np.sign(known.tocsr()[part.row, part.col]).A1, other.data)
    told = (
        "interactions must be a scipy.sparse matrix (users × items), not list: "
        "wrap it in scipy.sparse.coo_matrix"
    )
    with pytest.raises(ValueError, match=message(told)):
        random_train_test_split([1, 2])


def test_dataset_numbers_in_the_order_of_arrival():
    data = Dataset(item_identity_features=False)
    assert data.fit(["b", "a", "b"], range(3), ["old"], ["x"]) is None
    data.fit_partial(users=["c"], item_features=["y", "x"])
    assert data.interactions_shape() == (3, 3)
    assert data.user_features_shape() == (3, 4)
    assert data.item_features_shape() == (3, 2)
    assert data.model_dimensions() == (4, 2)
    assert data.mapping() == (
        {"b": 0, "a": 1, "c": 2}, {"b": 0, "a": 1, "old": 2, "c": 3}, {0: 0, 1: 1, 2: 2}, {"x": 0, "y": 1},
    )  # fmt: skip
    ones, weights = data.build_interactions(pair for pair in [("c", 2), ("a", 0, 2.5), ("a", 0)])
    assert (ones.format, ones.dtype, weights.format, weights.dtype) == ("coo", np.int32, "coo", np.float32)
    assert (ones.row.tolist(), ones.col.tolist(), ones.data.tolist()) == ([2, 1, 1], [2, 0, 0], [1, 1, 1])
    assert weights.data.tolist() == [1, 2.5, 1]
    assert data.build_interactions([])[0].nnz == 0
    LightFM().fit(ones, sample_weight=weights)
    data.fit(["z"], [1])
    assert data.mapping() == ({"z": 0}, {"z": 0}, {1: 0}, {})


def test_dataset_builds_features():
    data = Dataset()
    data.fit(["a", "b"], [1, 2], ["young", "old"], ["red", "blue"])
    users = data.build_user_features([("a", ["old"]), ("b", {"young": 3.0})])
    assert (users.format, users.dtype) == ("csr", np.float32)
    np.testing.assert_allclose(users.toarray(), [[0.5, 0, 0, 0.5], [0, 0.25, 0.75, 0]])
    items = data.build_item_features([(2, ["red", "red"])], normalize=False)
    np.testing.assert_array_equal(items.toarray(), [[1, 0, 0, 0], [0, 1, 2, 0]])
    negative = data.build_item_features([(1, {"red": -1.0}), (2, {2: -1.0})])
    np.testing.assert_allclose(negative.toarray(), [[0.5, 0, -0.5, 0], [0, 0, 0, 0]])
    model = LightFM(random_state=0).fit(data.build_interactions([("a", 1)])[0], users, items)
    assert (model.user_embeddings.shape, model.item_embeddings.shape) == ((4, 10), (4, 10))


def test_dataset_errors():
    data = Dataset(user_identity_features=False)
    data.fit(["a", "b"], [1], ["old"], ["red"])
    for call, told in (
        (lambda: data.build_interactions([("a", 1, 2, 3)]),
            "expected (user_id, item_id) or (user_id, item_id, weight), got ('a', 1, 2, 3)"),
        (lambda: data.build_interactions([("x", 1)]),
            "user id 'x' is not in the user id mapping: pass it to fit or fit_partial"),
        (lambda: data.build_interactions([("a", 9)]),
            "item id 9 is not in the item id mapping: pass it to fit or fit_partial"),
        (lambda: data.build_user_features([("a",)]), "expected (user_id, features), got ('a',)"),
        (lambda: data.build_item_features([(9, ["red"])]),
            "item id 9 is not in the item id mapping: pass it to fit or fit_partial"),
        (lambda: data.build_user_features([("a", ["new"])]),
            "feature 'new' is not in the user feature mapping: pass it to fit or fit_partial"),
        (lambda: data.build_user_features([("a", ["old"])]),
            ("cannot normalize user features: 1 rows have none, such as row 1; give all users features, "
             "or pass normalize=False")),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message(told)) as raised:
            call()
        assert isinstance(raised.value, DataError)
    assert data.build_user_features([("a", ["old"])], normalize=False).nnz == 1
