"""Features through the recommender: training, the model folder, new people and items, the command line."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import segue
from segue.cli import app
from segue.data import Features
from segue.data.interactions import from_csr
from segue.errors import DataError, SettingError


@pytest.fixture(scope="module")
def data():
    """Users and items of four groups; everyone has most of their own group's items."""
    rng = np.random.default_rng(0)
    own = np.arange(60)[:, None] % 4 == np.arange(40)[None] % 4
    made = from_csr((own & (rng.random(own.shape) < 0.8)).astype(np.float32))
    table = pl.DataFrame({"title": [f"t{i}" for i in range(40)], "group": [f"g{i % 4}" for i in range(40)]})
    return replace(made, item_metadata=table)


@pytest.fixture(scope="module")
def trained(data):
    items = Features.from_frame(data.item_metadata, "group", ids=data.items)
    people = pl.DataFrame({"user": range(60), "kind": [f"k{u % 4}" for u in range(60)]})
    users = Features.from_frame(people, "kind", ids=data.users, id="user")
    model = segue.WARP(dim=8, epochs=60, learning_rate=0.1, threads=1)
    return segue.Recommender(model).fit(data, item_features=items, user_features=users)


def test_new_people_and_items_by_features_alone(trained):
    found = trained.recommend_for(features={"kind": "k2"}, k=10)
    assert (found["item_id"] % 4 == 2).all()
    frame = pl.DataFrame({"kind": ["k2", "k1"]})
    assert trained.users_of(frame).shape == (2, 10)
    bigger = trained.with_items([100, 101], {"group": ["g1", "unheard of"]})
    assert len(bigger.items) == len(trained.items) + 2
    assert 100 in bigger.recommend(1, k=12)["item_id"].to_list()
    assert 100 not in bigger.recommend(2, k=8)["item_id"].to_list()
    assert (bigger.similar(100, k=9)["neighbor_id"] % 4 == 1).all()
    assert bigger.titles(np.array([40, 0])).to_list() == [None, "t0"]
    same = trained.recommend(5, k=3)
    assert bigger.recommend(5, k=3, exclude=[100, 101]).equals(same)


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda r: r.recommend_for(features={"age": 3}), DataError, "no column 'kind' for features"),
        (lambda r: r.recommend_for([1], features={"kind": "k1"}), SettingError, "not both: leave one out"),
        (
            lambda r: r.recommend_for(features={"kind": ["k1", "k2"]}),
            DataError,
            "features= has 2 rows, but recommend_for takes those of one user",
        ),
        (
            lambda r: r.with_items(["x"], {"group": "g1"}),
            DataError,
            "item ids of the model are integers, but 'x' is not",
        ),
        (lambda r: r.with_items([3], {"group": "g1"}), DataError, "the item 3 is in the model already"),
        (
            lambda r: r.with_items([100], {"group": ["g1", "g2"]}),
            DataError,
            "2 rows of features do not fit 1 new",
        ),
    ],
)
def test_what_cannot_be_asked(trained, ask, error, message):
    with pytest.raises(error, match=message):
        ask(trained)


def test_a_model_without_features_says_so(data):
    plain = segue.Recommender(segue.BPR(dim=2, epochs=1)).fit(data)
    for ask in (lambda: plain.users_of({"kind": "k1"}), lambda: plain.with_items([100], {"group": "g1"})):
        with pytest.raises(
            DataError, match=r"trained without (user|item) features; fit it with \w+_features="
        ):
            ask()
    assert plain.feature_biases().is_empty()
    with pytest.raises(
        SettingError, match=r"Contrastive does not take item_features; models that do: BPR, IALS, KOSWARP, Lo"
    ):
        segue.Recommender("contrastive").fit(data, item_features=Features.from_csr(np.eye(40)))
    fitted = segue.Recommender(segue.IALS(dim=2, iterations=1)).fit(data)
    with pytest.raises(SettingError, match="has no biases to measure by themselves"):
        segue.evaluate(fitted, data, exclude_seen=False, baselines=["biases"])


def test_biases_of_features_are_reported_apart(data):
    """Items of one group are had by everybody: its bias is the largest."""
    dense = data.matrix.toarray()
    dense[:, np.arange(40) % 4 == 3] = 1
    loved = replace(from_csr(dense), item_metadata=data.item_metadata)
    features = Features.from_frame(data.item_metadata, "group", ids=loved.items)
    model = segue.BPR(dim=4, epochs=30, threads=1)
    made = segue.Recommender(model).fit(loved, item_features=features)
    table = made.feature_biases()
    assert table.columns == ["side", "column", "value", "bias", "length"]
    assert table["value"].to_list()[0] == "g3"
    assert table["bias"].is_sorted(descending=True)
    result = segue.evaluate(made, loved, k=5, exclude_seen=False, baselines=["biases"])
    best = np.isin(np.argsort(-made.embeddings.items[:, -1])[:5], np.flatnonzero(np.arange(40) % 4 == 3))
    assert best.all()
    assert result.beside["biases"]["precision@5"] == 1


def test_the_folder_keeps_features(trained, tmp_path):
    trained.save(tmp_path / "model")
    loaded = segue.load(tmp_path / "model")
    assert loaded.embeddings.biases == 2
    assert loaded.feature_biases().equals(trained.feature_biases())
    for ask in (
        lambda r: r.recommend_for(features={"kind": "k3"}, k=5),
        lambda r: r.with_items([100], {"group": "g2"}).recommend(2, k=5),
        lambda r: r.recommend_for([1, 5], k=5),
        lambda r: r.similar([1], k=5),
    ):
        assert ask(loaded).equals(ask(trained))


def test_similarity_leaves_the_biases_out(trained):
    found = trained.similar([1], k=3)
    y = trained.embeddings.items[:, :8]
    cosine = y @ y[1] / (np.linalg.norm(y, axis=1) * np.linalg.norm(y[1]))
    np.testing.assert_allclose(found["score"], np.sort(np.delete(cosine, 1))[::-1][:3], rtol=1e-5)


def command(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def files(data, tmp_path):
    pairs = data.matrix.tocoo()
    pl.DataFrame({"user_id": pairs.row, "item_id": pairs.col}).write_csv(tmp_path / "pairs.csv")
    data.item_metadata.with_columns(item_id=pl.int_range(40)).write_csv(tmp_path / "items.csv")
    pl.DataFrame({"person": range(60), "kind": [f"k{u % 4}" for u in range(60)]}).write_csv(
        tmp_path / "users.csv"
    )
    return tmp_path


def test_fit_with_features_from_the_command_line(files):
    done = command(
        "fit", files / "pairs.csv", "-o", files / "model", "--model", "warp", "--dim", 4, "--epochs", 3,
        "--learning-rate", 0.1, "--items", files / "items.csv", "--item-features", "group",
        "--users", files / "users.csv", "--user-features", "kind", "--json", "-q",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "epochs=3, learning_rate=0.1" in json.loads(done.output)["settings"]
    made = segue.load(files / "model")
    assert made.feature_biases()["value"].sort().to_list() == ["g0", "g1", "g2", "g3", "k0", "k1", "k2", "k3"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--item-features", "group"],
            "--item-features needs item metadata: name their file with --items",
        ),
        (["--user-features", "kind"], "--users and --user-features go together"),
        (["--model", "ials", "--epochs", "3"], "ials has no setting 'epochs'"),
    ],
)
def test_what_the_command_line_refuses(files, options, message):
    done = command("fit", files / "pairs.csv", "-o", files / "model", *options)
    assert isinstance(done.exception, SettingError)
    assert message in str(done.exception)
