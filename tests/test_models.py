"""One contract for all models that serve as dot products."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
from polars.testing import assert_frame_equal

import segue
from segue.data.interactions import from_csr
from segue.errors import DataError, SettingError, UnknownIdError
from segue.models import MODELS, served_models

SHORT = {
    "als": {"iterations": 3},
    "biasedmf": {"iterations": 3},
    "blend": {"iterations": 3, "svd_dim": 6},
    "bpr": {"epochs": 2},
    "contrastive": {"epochs": 2, "batch_size": 32},
    "ease": {},
    "ials": {"iterations": 3},
    "item2vec": {"epochs": 2},
    "itemknn": {},
    "koswarp": {"epochs": 2},
    "logistic": {"epochs": 2},
    "popularity": {},
    "svdae": {},
    "text": {"columns": "title"},
    "warp": {"epochs": 2},
}
ITERATIVE = sorted(name for name, spec in MODELS.items() if spec.served and spec.iterative)
DIMS = [1, 2, 5, 7, 13]


def settings(name, dim=4, threads=1):
    """A model's settings, quick to train."""
    settings_class = MODELS[name].settings
    names = {field.name for field in dataclasses.fields(settings_class)}
    sizes = {"dim": dim, "threads": threads}
    return settings_class(**SHORT[name], **{key: value for key, value in sizes.items() if key in names})


def lists(trained):
    """A history, as the model takes it."""
    items = trained.items.ids[:4]
    return dict.fromkeys(items, 4.0)


@pytest.fixture(scope="module")
def data():
    return segue.data.simulate(50, 40, 700, seed=1)


@pytest.fixture(scope="module", params=served_models())
def trained(request, data):
    return segue.Recommender(settings(request.param)).fit(data)


def test_the_contract_is_of_all_models():
    assert set(SHORT) == set(MODELS)


@pytest.mark.parametrize("name", served_models())
@pytest.mark.parametrize("dim", DIMS)
def test_vectors_of_any_length(name, dim, data):
    model = settings(name, dim).resolved(data)
    assert model.resolved(data) == model
    learned = model.fit(data)
    assert learned.users.shape == (50, learned.dim)
    assert learned.items.shape == (40, learned.dim)
    folded = model.prepare_fold_in(learned).fold_in(data.matrix[:7])
    assert folded.shape == (7, learned.dim)
    assert folded.dtype == np.float32
    for vectors in (learned.users, learned.items, folded):
        assert np.isfinite(vectors).all()


@pytest.mark.parametrize("name", served_models())
def test_same_seed_and_one_thread_same_bytes(name, data):
    first, second = (settings(name).fit(data) for _ in range(2))
    assert first.users.tobytes() == second.users.tobytes()
    assert first.items.tobytes() == second.items.tobytes()


@pytest.mark.parametrize(
    "name", sorted(name for name, spec in MODELS.items() if spec.served and not spec.lock_free)
)
def test_same_bytes_with_any_number_of_threads(name):
    many = segue.data.simulate(2500, 300, 20_000, seed=2)
    first, second = (settings(name, threads=threads).fit(many) for threads in (1, 2))
    assert first.users.tobytes() == second.users.tobytes()
    assert first.items.tobytes() == second.items.tobytes()


@pytest.mark.parametrize(
    "name", sorted(name for name, spec in MODELS.items() if spec.served and not spec.needs_text)
)
def test_the_smallest_data_and_rows_without_anything(name):
    smallest = settings(name).fit(from_csr(np.array([[1.0, 0], [1, 1]])))
    assert smallest.users.shape[0] == smallest.items.shape[0] == 2
    matrix = segue.data.simulate(30, 20, 200, seed=3).matrix.tolil()
    matrix[4], matrix[:, 6] = 0, 0
    learned = settings(name).fit(from_csr(sp.csr_matrix(matrix)))
    assert np.isfinite(learned.users).all()
    assert np.isfinite(learned.items).all()


@pytest.mark.parametrize("name", ITERATIVE)
def test_training_reports_its_passes_and_does_not_touch_the_data(name, data):
    told = []
    before = data.matrix.copy()
    settings(name).fit(data, progress=lambda *step: told.append(step))
    assert told[0][:3] == ("training", 0, told[0][2])
    assert [step[1] for step in told] == list(range(told[0][2] + 1))
    assert (before != data.matrix).nnz == 0


@pytest.mark.parametrize("name", ITERATIVE)
def test_nothing_to_learn_from(name):
    data = from_csr(np.ones((3, 3)))
    with pytest.raises(DataError, match=r"there are no (interactions|ratings) to learn from"):
        settings(name).fit(data.where(np.zeros(9, bool)))


@pytest.mark.parametrize("name", sorted(name for name, spec in MODELS.items() if not spec.signed_weights))
def test_models_of_implicit_feedback_refuse_negative_weights(name):
    with pytest.raises(DataError, match="models of implicit feedback take positive weights only"):
        settings(name).fit(from_csr(np.array([[1.0, -1], [1, 1]])))


def test_scores_are_inner_products_and_seen_items_are_left_out(trained, data):
    found = trained.recommend(k=5)
    assert found.height == 5 * 50
    users, items = (
        ids.rows(found[column]) for ids, column in ((trained.users, "user_id"), (trained.items, "item_id"))
    )
    expected = trained.embeddings.users @ trained.embeddings.items.T
    np.testing.assert_allclose(found["score"], expected[users, items], rtol=1e-5, atol=1e-6)
    assert not np.asarray(data.matrix[users, items]).any()


@pytest.mark.parametrize("name", sorted(set(MODELS) - set(served_models())))
def test_baselines_score_all_items(name, data):
    scores = settings(name).fit(data).scores(data.matrix[:5])
    assert scores.shape == (5, 40)
    assert scores.dtype == np.float32
    with pytest.raises(SettingError, match="cannot be served; use one of als, "):
        segue.Recommender(settings(name))


def test_predicted_scores(trained):
    users, items = trained.users.ids[:6], trained.items.ids[3:9]
    expected = trained.embeddings.users[:6] @ trained.embeddings.items[3:9].T
    found = trained.predict(users, items)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.diag(expected), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(trained.predict(users[0], items[0]), expected[:1, 0], rtol=1e-5, atol=1e-6)
    with pytest.raises(DataError, match="2 users and 3 items make no pairs: give one item for each user"):
        trained.predict(users[:2], items[:3])
    with pytest.raises(UnknownIdError):
        trained.predict([999_999], items[:1])


def test_saved_and_loaded_it_answers_the_same(trained, tmp_path):
    loaded = segue.load(trained.save(tmp_path / "m") and tmp_path / "m")
    assert loaded.settings == trained.settings
    for question in (
        lambda one: one.recommend(k=4),
        lambda one: one.recommend_for(lists(one), k=4),
        lambda one: one.recommend_for({}, k=4),
        lambda one: one.similar(k=3),
    ):
        assert_frame_equal(question(loaded), question(trained), check_exact=True)
    assert trained.recommend_for(lists(trained), k=4).height == 4


def test_it_is_evaluated_beside_the_baselines(trained, data):
    test = from_csr(sp.csr_matrix(data.matrix.toarray()[:, ::-1]))
    names = {"users": data.users, "items": data.items}
    found = segue.evaluate(trained, dataclasses.replace(test, **names), 5, exclude_seen=False)
    assert 0 < found["ndcg@5"] <= 1


def test_ratings_are_wanted_where_the_model_predicts_them(data):
    trained = segue.Recommender(settings("biasedmf")).fit(data)
    with pytest.raises(DataError, match=r"a list of items has none; give the history as a mapping"):
        trained.recommend_for(trained.items.ids[:3])
