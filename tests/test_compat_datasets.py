"""LightFM's data sets, from files as LightFM keeps them."""

import zipfile

import numpy as np
import pytest
import scipy.sparse as sp

from segue.compat.lightfm import datasets
from segue.compat.lightfm.datasets import fetch_movielens, fetch_stackexchange
from segue.errors import DataError, SegueError

MOVIELENS = {
    "ua.base": "1\t3\t5\t880\n1\t1\t2\t881\n3\t2\t4\t882\n",
    "ua.test": "2\t4\t3\t883\n1\t2\t4\t884\n",
    "u.item": "1|Amélie (2001)|2001||x|0|1|0\n2|Brazil|||x|0|0|1\n3|Crash|||x|0|1|1\n4|?|||x|1|0|0\n\n",
    "u.genre": "unknown|0\nComedy|1\nDrama|2\n\n",
}


@pytest.fixture
def home(tmp_path):
    """A folder with a small MovieLens and a small StackExchange."""
    folder = tmp_path / "movielens100k"
    folder.mkdir()
    with zipfile.ZipFile(folder / "movielens.zip", "w") as archive:
        for name, text in MOVIELENS.items():
            archive.writestr(f"ml-100k/{name}", text.encode("latin-1"))
    other = tmp_path / "stackexchange" / "crossvalidated"
    other.mkdir(parents=True)
    np.savez(
        other / "data.npz",
        interactions_row=[0, 0, 0, 1, 1, 2], interactions_col=[0, 1, 2, 1, 3, 0],
        interactions_data=[10, 20, 50, 30, 40, 60], interactions_shape=[[3, 4]],
        features_row=[0, 1, 3], features_col=[0, 1, 1], features_data=np.ones(3, np.float32),
        features_shape=[4, 2], labels=np.array(["r", "bayes"]),
    )  # fmt: skip
    return tmp_path


def test_movielens(home):
    found = fetch_movielens(home)
    assert set(found) == {"train", "test", "item_features", "item_feature_labels", "item_labels"}
    assert isinstance(found["train"], sp.coo_matrix)
    assert found["train"].dtype == np.int32
    np.testing.assert_array_equal(found["train"].toarray(), [[2, 0, 5, 0], [0, 0, 0, 0], [0, 4, 0, 0]])
    np.testing.assert_array_equal(found["test"].toarray(), [[0, 4, 0, 0], [0, 0, 0, 3], [0, 0, 0, 0]])
    assert found["train"].col.tolist() == [0, 2, 1]
    assert found["item_labels"].tolist() == ["Amélie (2001)", "Brazil", "Crash", "?"]
    assert found["item_feature_labels"] is found["item_labels"]
    np.testing.assert_array_equal(found["item_features"].toarray(), np.eye(4))
    best = fetch_movielens(home, min_rating=4.0)
    np.testing.assert_array_equal(best["train"].toarray(), [[0, 0, 5, 0], [0, 0, 0, 0], [0, 4, 0, 0]])


@pytest.mark.parametrize("own", [True, False])
def test_movielens_with_genres(home, own):
    found = fetch_movielens(home, indicator_features=own, genre_features=True)
    genres = np.array([[0, 1, 0], [0, 0, 1], [0, 1, 1], [1, 0, 0]])
    expected = np.hstack([np.eye(4), genres]) if own else genres
    assert found["item_features"].format == "csr"
    assert found["item_features"].dtype == np.float32
    np.testing.assert_array_equal(found["item_features"].toarray(), expected)
    assert found["item_feature_labels"].tolist()[4 * own :] == [
        "genre:unknown", "genre:Comedy", "genre:Drama",
    ]  # fmt: skip


def test_stackexchange(home):
    found = fetch_stackexchange("crossvalidated", 0.5, 0, data_home=home)
    np.testing.assert_array_equal(found["train"].toarray(), [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(found["test"].toarray(), [[0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]])
    assert found["train"].dtype == np.float32
    assert found["item_feature_labels"].tolist() == [f"question_id:{n}" for n in range(4)]
    active = fetch_stackexchange("crossvalidated", 0.5, data_home=home, tag_features=True)
    np.testing.assert_array_equal(active["train"].toarray(), [[1, 1, 0, 0]])
    assert active["item_features"].shape == (4, 6)
    tags = fetch_stackexchange("crossvalidated", data_home=home, tag_features=True, indicator_features=False)
    np.testing.assert_array_equal(tags["item_features"].toarray(), [[1, 0], [0, 1], [0, 0], [0, 1]])
    assert tags["item_feature_labels"].tolist() == ["r", "bayes"]


def test_what_is_missing_is_fetched_once_and_kept(home, tmp_path_factory, monkeypatch):
    asked = []
    content = (home / "movielens100k" / "movielens.zip").read_bytes()
    monkeypatch.setattr(datasets, "fetch", lambda url, limit: asked.append(url) or content)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("USERPROFILE", str(tmp_path_factory.mktemp("home")))
    for _ in range(2):
        assert fetch_movielens()["train"].shape == (3, 4)
    assert asked == ["https://github.com/maciejkula/lightfm_datasets/releases/download/v0.1.0/movielens.zip"]


def test_refused(home, tmp_path):
    with pytest.raises(
        ValueError, match=r"^there are no features left: pass indicator_features=True or genre"
    ):
        fetch_movielens(home, indicator_features=False)
    with pytest.raises(ValueError, match=r"^there are no features left: pass indicator_features=True or tag"):
        fetch_stackexchange("crossvalidated", data_home=home, indicator_features=False)
    with pytest.raises(
        ValueError, match=r"^dataset='cooking' must be one of 'crossvalidated', 'stackoverflow'$"
    ):
        fetch_stackexchange("cooking", data_home=home)
    with pytest.raises(ValueError, match=r"^test_set_fraction=1 must be above 0 and below 1$"):
        fetch_stackexchange("crossvalidated", 1, data_home=home)
    absent = tmp_path / "none"
    with pytest.raises(
        OSError, match=r"movielens.zip is missing: put it there, or pass download_if_missing"
    ) as told:
        fetch_movielens(absent, download_if_missing=False)
    assert isinstance(told.value, SegueError)
    assert not absent.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"<html>"])
def test_other_files_are_told(home, content):
    for name, fetch in (
        ("movielens100k/movielens.zip", lambda: fetch_movielens(home)),
        (
            "stackexchange/crossvalidated/data.npz",
            lambda: fetch_stackexchange("crossvalidated", data_home=home),
        ),
    ):
        (home / name).write_bytes(content)
        with pytest.raises(DataError, match=r" is not the expected data: .*; delete it to download it anew$"):
            fetch()
