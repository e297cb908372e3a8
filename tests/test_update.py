"""New users and items after training: every model takes them in, and what it knew stays."""

import dataclasses
import json

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from typer.testing import CliRunner

import segue
from segue.cli.commands import app
from segue.data.interactions import from_csr
from segue.errors import CorruptModelError, DataError, SettingError
from segue.models import MODELS, served_models

LONG = {
    "als": {"dim": 8},
    "biasedmf": {"dim": 4},
    "blend": {"dim": 8, "svd_dim": 8},
    "bpr": {"dim": 8, "epochs": 60, "learning_rate": 0.1},
    "contrastive": {"dim": 8, "epochs": 20, "batch_size": 16},
    "ials": {"dim": 8},
    "item2vec": {"dim": 8, "epochs": 40},
    "koswarp": {"dim": 8, "epochs": 40, "learning_rate": 0.1, "k": 2, "n": 3},
    "logistic": {"dim": 8, "epochs": 60, "learning_rate": 0.1},
    "popularity": {},
    "svdae": {"dim": 8},
    "text": {"columns": "title"},
    "warp": {"dim": 8, "epochs": 40, "learning_rate": 0.1},
}
WORDS = ["volcano eruption lava", "wedding bride comedy", "submarine torpedo navy", "vampire castle blood"]
GROUPS = 4
TOLD = sorted(set(served_models()) - {"popularity", "biasedmf"})  # who can tell the groups apart


def settings(name):
    kind = MODELS[name].settings
    threads = {"threads": 1} if "threads" in {field.name for field in dataclasses.fields(kind)} else {}
    return kind(**LONG[name], **threads)


def groups(users, items, seed):
    """Everyone has most of the items of their own group: user and item ids modulo 4."""
    own = users[:, None] % GROUPS == items[None] % GROUPS
    dense = own & (np.random.default_rng(seed).random(own.shape) < 0.8)
    made = from_csr(dense.astype(np.float32), users=users, items=items)
    titles = pl.DataFrame({"title": [f"{WORDS[item % GROUPS]} {item}" for item in items]})
    return dataclasses.replace(made, item_metadata=titles)


@pytest.fixture(scope="module")
def data():
    return groups(np.arange(80), np.arange(60), 0)


@pytest.fixture(scope="module")
def new():
    """Users 100 to 107 with items there are and eight new ones, which user 3 (group 3) has, too."""
    made = groups(np.r_[100:108, 8:40], np.r_[0:20, 200:208], 1)
    pairs = made.matrix.tocoo()
    known = (made.users.ids[pairs.row] < 100) & (made.items.ids[pairs.col] < 100)
    return made.where(~known).compact()


@pytest.fixture(scope="module", params=served_models())
def trained(request, data):
    return segue.Recommender(settings(request.param)).fit(data)


@pytest.fixture(scope="module")
def updated(trained, new):
    return trained.partial_fit(new)


def name_of(one):
    return next(name for name, spec in MODELS.items() if spec.settings is type(one.settings.model))


def test_everybody_is_there_and_rows_keep_their_places(trained, updated, data, new):
    assert updated.users.ids.tolist() == [*range(80), *range(100, 108)]
    assert updated.items.ids.tolist() == [*range(60), *range(200, 208)]
    assert updated.interactions.shape == (88, 68)
    assert updated.interactions.nnz == len(data) + len(new)
    assert np.isfinite(updated.embeddings.users).all()
    assert updated.embeddings.items[60:].any(1).all()
    assert len(trained.items) == 60
    assert updated.version is None


def test_what_nothing_new_is_of_stands_still(trained, updated, new):
    if name_of(trained) == "popularity":
        return
    users, items = (
        np.setdiff1d(known.ids, fresh.ids)
        for known, fresh in ((trained.users, new.users), (trained.items, new.items))
    )
    assert len(users) > 40
    assert len(items) >= 40
    np.testing.assert_array_equal(updated.embeddings.users[users], trained.embeddings.users[users])
    np.testing.assert_array_equal(updated.embeddings.items[items], trained.embeddings.items[items])


def test_new_users_get_what_their_group_likes(updated):
    name = name_of(updated)
    found = updated.recommend(range(100, 108), k=5)
    assert found.height == 40
    right = (found["user_id"] % GROUPS == found["item_id"] % GROUPS).mean()
    if name in TOLD:
        assert right >= 0.9, name


def test_new_items_are_given_to_their_group(updated):
    name = name_of(updated)
    fresh = list(range(200, 208))
    found = updated.recommend(range(40, 80), k=2, allow=fresh)
    right = (found["user_id"] % GROUPS == found["item_id"] % GROUPS).mean()
    if name in TOLD:
        assert right > 0.8, name
    everything = updated.recommend(range(40, 80), k=3)
    wrong = everything.filter(
        (pl.col("item_id") >= 200) & (pl.col("user_id") % GROUPS != pl.col("item_id") % GROUPS)
    )
    if name in TOLD:  # new items do not push themselves on everybody
        assert wrong.height < 0.1 * everything.height


def test_scores_are_those_of_the_index_and_seen_items_are_left_out(updated):
    found = updated.recommend(k=5)
    users, items = updated.users.rows(found["user_id"]), updated.items.rows(found["item_id"])
    expected = updated.embeddings.users @ updated.embeddings.items.T
    np.testing.assert_allclose(found["score"], expected[users, items], rtol=1e-5, atol=1e-6)
    assert not np.asarray(updated.interactions[users, items]).any()


def test_it_is_saved_and_goes_on(updated, new, tmp_path):
    updated.save(tmp_path / "model")
    loaded = segue.load(tmp_path / "model")
    assert loaded.recommend(k=3).equals(updated.recommend(k=3))
    again = loaded.partial_fit(new, duplicates="last")
    assert len(again.users) == len(updated.users)
    assert (again.interactions != updated.interactions).nnz == 0


def test_interactions_of_known_pairs_change_nothing_but_their_users_and_items(trained, data):
    some = data.where(np.repeat(np.arange(80), np.diff(data.matrix.indptr)) < 2).compact()
    last, summed = (trained.partial_fit(some, duplicates=policy) for policy in ("last", "sum"))
    assert (last.interactions != data.matrix).nnz == 0
    assert summed.interactions.sum() == data.matrix.sum() + len(some)
    np.testing.assert_array_equal(last.embeddings.users[2:], trained.embeddings.users[2:])


def test_the_index_is_kept_where_no_item_moves(trained, data):
    one = from_csr(np.ones((1, 2)), users=[500], items=[0, 4])
    updated = trained.partial_fit(one)
    same = np.array_equal(updated.embeddings.items, trained.embeddings.items)
    assert (updated.index is trained.index) == same
    if name_of(trained) != "biasedmf":  # where all ratings are alike
        assert same == (name_of(trained) not in ("als", "blend", "ials", "popularity"))


def test_ials_solves_the_normal_equations_of_new_rows(data, new):
    trained = segue.Recommender(segue.IALS(dim=5, reg=0.05)).fit(data)
    updated = trained.partial_fit(new)
    model, Y = trained.settings.model, updated.embeddings.items.astype(np.float64)
    for row in (*range(80, 88), 10):
        seen = updated.interactions[row].indices
        penalty = model.reg * (len(seen) + model.unobserved_weight * len(Y))
        moved = updated.embeddings.users[row]
        users = updated.embeddings.users.astype(np.float64)
        A = model.unobserved_weight * Y.T @ Y + penalty * np.eye(5) + Y[seen].T @ Y[seen]
        assert np.abs(np.linalg.solve(A, Y[seen].sum(0)) - moved).max() < 0.02
    by_item = updated.interactions.T.tocsr()
    for row in range(60, 68):  # items come last, so they are exact
        had = by_item[row].indices
        penalty = model.reg * (len(had) + model.unobserved_weight * len(users))
        A = model.unobserved_weight * users.T @ users + penalty * np.eye(5) + users[had].T @ users[had]
        np.testing.assert_allclose(
            updated.embeddings.items[row], np.linalg.solve(A, users[had].sum(0)), atol=1e-4
        )


def test_ratings_are_solved_for_new_rows():
    """Planted: a rating is 3, plus the item's bias, plus the user's."""
    rng = np.random.default_rng(0)
    users, items = rng.normal(0, 0.8, 60), rng.normal(0, 0.8, 50)
    stars = 3 + users[:, None] + items[None]
    dense = np.where(rng.random(stars.shape) < 0.5, stars, 0).astype(np.float32)
    both = from_csr(dense)
    pairs = both.matrix.tocoo()
    late = (pairs.row >= 50) | (pairs.col >= 45)
    model = segue.BiasedMF(dim=2, reg=5.0, bias_reg=0.1)
    updated = (
        segue.Recommender(model).fit(both.where(~late).compact()).partial_fit(both.where(late).compact())
    )
    rows, columns = updated.users.rows(np.arange(60)), updated.items.rows(np.arange(50))
    predicted = updated.embeddings.users[rows] @ updated.embeddings.items[columns].T
    assert np.sqrt(np.mean((predicted - stars)[50:] ** 2)) < 0.15
    assert np.sqrt(np.mean((predicted - stars)[:, 45:] ** 2)) < 0.15


def test_item_folding_gives_what_training_gives(data):
    for model in (segue.IALS(dim=6, iterations=40), segue.BiasedMF(dim=3, iterations=30)):
        resolved = model.resolved(data)
        learned = resolved.fit(data)
        folded = resolved.prepare_item_fold_in(learned).fold_in(data.matrix.T.tocsr())
        np.testing.assert_allclose(folded, learned.items, atol=0.02)


@pytest.fixture(scope="module")
def hybrid(data):
    table = pl.DataFrame({"title": [f"t{i}" for i in range(60)], "group": [f"g{i % 4}" for i in range(60)]})
    known = dataclasses.replace(data, item_metadata=table)
    features = segue.Features.from_frame(table, "group", ids=known.items)
    people = segue.Features.from_frame({"kind": [f"k{u % 4}" for u in range(80)]}, "kind", ids=known.users)
    return {
        name: segue.Recommender(settings(name)).fit(known, item_features=features, user_features=people)
        for name in ("ials", "warp")
    }


@pytest.mark.parametrize("name", ["ials", "warp"])
def test_features_of_new_rows_are_taken(hybrid, new, name):
    group = [f"g{i % 4}" for i in new.items.ids]
    kinds = {"kind": [f"k{u % 4}" for u in new.users.ids]}
    table = pl.DataFrame({"title": [f"new {i}" for i in new.items.ids], "group": group})
    told = dataclasses.replace(new, item_metadata=table)
    updated = hybrid[name].partial_fit(told, user_features=kinds)
    assert updated.item_metadata["title"].to_list()[-2:] == ["new 206", "new 207"]
    found = updated.recommend(range(100, 108), k=5)
    assert (found["user_id"] % GROUPS == found["item_id"] % GROUPS).mean() > 0.9
    assert updated.recommend_for(features={"kind": "k1"}, k=3).height == 3
    with pytest.raises(DataError, match=r"trained with item features, so the items with new inter"):
        hybrid[name].partial_fit(dataclasses.replace(new, item_metadata=None), user_features=kinds)
    with pytest.raises(DataError, match=r"trained with user features, .*: give user_features="):
        hybrid[name].partial_fit(told)
    with pytest.raises(DataError, match=r"2 rows of features do not fit 39 users"):
        hybrid[name].partial_fit(told, user_features={"kind": ["k1", "k2"]})


def test_what_cannot_be_taken_in(data, new):
    trained = segue.Recommender(segue.IALS(dim=2, iterations=1)).fit(data)
    with pytest.raises(DataError, match="the user ids of the model are integers, but 'ann' is not"):
        trained.partial_fit(from_csr(np.ones((1, 1)), users=["ann"], items=[1]))
    with pytest.raises(SettingError, match="duplicates='max' must be one of 'sum', 'last' in an update"):
        trained.partial_fit(new, duplicates="max")
    with pytest.raises(DataError, match="models of implicit feedback take positive weights only"):
        trained.partial_fit(from_csr(np.array([[-1.0]]), users=[500], items=[1]))
    with pytest.raises(DataError, match=r"trained without user features; fit it with user_features="):
        trained.partial_fit(new, user_features={"kind": ["k1"] * 40})
    broken = trained.interactions.copy()
    broken.indices = broken.indices + 1000
    with pytest.raises(CorruptModelError, match="the table of interactions is damaged; run `segue verify`"):
        dataclasses.replace(trained, interactions=broken).partial_fit(new)


def test_metadata_grows_with_the_items(data, new):
    table = pl.DataFrame({"title": [f"t{i}" for i in range(60)], "year": range(60)})
    trained = segue.Recommender("popularity").fit(dataclasses.replace(data, item_metadata=table))
    untold = dataclasses.replace(new, item_metadata=None)
    titles = trained.partial_fit(untold).item_metadata["title"].to_list()
    assert titles[58:62] == ["t58", "t59", None, None]
    known = pl.DataFrame({"year": [str(i) for i in new.items.ids], "other": ["x"] * len(new.items)})
    grown = trained.partial_fit(dataclasses.replace(new, item_metadata=known)).item_metadata
    assert grown.columns == ["title", "year"]
    assert grown["year"].to_list()[59:] == [59, *range(200, 208)]


def test_the_command_says_what_changed_and_keeps_both_versions(data, new, tmp_path):
    for name, part in (("old", data), ("new", new)):
        pairs = part.matrix.tocoo()
        frame = {"user_id": part.users.ids[pairs.row], "item_id": part.items.ids[pairs.col]}
        pl.DataFrame(frame).write_csv(tmp_path / f"{name}.csv")
    old, fresh, model = (str(tmp_path / name) for name in ("old.csv", "new.csv", "model"))
    run = CliRunner().invoke
    assert run(app, ["fit", old, "-o", model, "--dim", "4", "-q"]).exit_code == 0
    first = segue.load(model).version
    done = run(app, ["update", model, fresh, "-q", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert told["new_users"] == 8
    assert told["new_items"] == 8
    assert told["interactions"] == len(new)
    assert told["version"] == segue.load(model).version != first
    assert len(segue.load(model).users) == 88
    done = run(app, ["update", model, fresh, "-q"])
    assert "0 new and 39 known users, 0 new and 27 known items" in done.output.replace("\n", " ")


@pytest.mark.parametrize("kind", ["warp", "koswarp", "bpr", "logistic"])
@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
def test_five_epochs_and_five_more_are_ten(data, tmp_path, kind, schedule):
    ten = dataclasses.replace(settings(kind), epochs=10, schedule=schedule)
    five = dataclasses.replace(ten, epochs=5)
    features = segue.Features.from_frame({"group": [f"g{i % 4}" for i in range(60)]}, "group", ids=data.items)
    for given in ({}, {"item_features": features}):
        whole = segue.Recommender(ten).fit(data, **given)
        half = segue.Recommender(five).fit(data, keep_state=True, **given)
        half.save(tmp_path / "half")
        loaded = segue.load(tmp_path / "half")
        for start in (half, loaded):
            more = segue.Recommender(five).fit(data, start=start, **given)
            assert more.embeddings.users.tobytes() == whole.embeddings.users.tobytes()
            assert more.embeddings.items.tobytes() == whole.embeddings.items.tobytes()
            assert more.embeddings.state is None
    without = segue.Recommender(five).fit(data, start=segue.Recommender(five).fit(data))
    whole = segue.Recommender(ten).fit(data)
    assert without.embeddings.items.tobytes() != whole.embeddings.items.tobytes()


def test_a_start_that_does_not_fit(data, new):
    model = segue.BPR(dim=4, epochs=1)
    half = segue.Recommender(model).fit(data, keep_state=True)
    with pytest.raises(DataError, match=r"was not trained on the users and items of .*use its partial_fit"):
        segue.Recommender(model).fit(new, start=half)
    other = segue.BPR(dim=4, epochs=1, schedule="adadelta")
    with pytest.raises(DataError, match=r"has user_vectors of the shape \(80, 2, 4\), but \(80, 3, 4\) is"):
        segue.Recommender(other).fit(data, start=half)
    lost = dataclasses.replace(half.embeddings, state={"order": np.arange(80)})
    with pytest.raises(DataError, match=r"has no 'item_biases'; it must come from fit\(keep_state=True\)"):
        model.fit(data, start=lost)
    with pytest.raises(SettingError, match=r"IALS does not take keep_state; models that do: BPR, KOSWARP"):
        segue.Recommender("ials").fit(data, keep_state=True)
    assert half.partial_fit(new).embeddings.state is None


def test_rows_are_placed_as_those_that_were_trained():
    """Planted: vectors are a linear function of the mean of what a row is with, and of the count."""
    from segue.models.cold_start import predict_vectors

    rng = np.random.default_rng(0)
    others = rng.standard_normal((30, 3)).astype(np.float32)
    rows = sp.random(200, 30, 0.2, "csr", np.float32, rng)
    counts = np.diff(rows.indptr)
    means = np.array([others[rows[i].indices].mean(0) if counts[i] else np.zeros(3) for i in range(200)])
    weights = rng.standard_normal((3, 4))
    vectors = (means @ weights + np.log1p(counts)[:, None] + 0.5).astype(np.float32)
    found = predict_vectors(vectors[:150], others, rows[:150], rows[150:])
    there = counts[150:] > 0
    np.testing.assert_allclose(found[there], vectors[150:][there], atol=0.05)
    assert not found[~there].any()
