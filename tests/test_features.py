"""Features: column types, alignment with ids, and invalid input."""

import logging

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp

import segue
from segue.data import Features, IdMap
from segue.errors import DataError, SettingError

IDS = IdMap(["a", "b", "c"], noun="item")


def table():
    return pl.DataFrame(
        {
            "item": ["c", "a", "z", "b"],
            "genres": ["Drama|Crime", "Drama", "War", None],
            "tags": [["x"], ["y", "x", "y"], ["q"], []],
            "year": [2000.0, 1990.0, 1.0, 2010.0],
            "seen": [True, False, True, True],
        }
    )


def dense(features):
    return dict(zip(features.names, features.matrix.toarray().T.tolist(), strict=True))


def test_texts_lists_and_booleans_become_one_feature_per_value():
    columns = ["genres", "tags", "seen"]
    features = Features.from_frame(table(), columns, ids=IDS, id="item", identity=False, normalize=False)
    assert dense(features) == {
        "genres=Crime": [0, 0, 1],
        "genres=Drama": [1, 0, 1],
        "tags=x": [1, 0, 1],
        "tags=y": [1, 0, 0],
        "seen=false": [1, 0, 0],
        "seen=true": [0, 1, 1],
    }
    assert features.matrix.dtype == np.float32


def test_numbers_are_standardized_with_missing_ones_at_the_mean():
    frame = pl.DataFrame({"year": [1.0, 3.0, None]})
    features = Features.from_frame(frame, "year", ids=IDS, identity=False, normalize=False)
    assert dense(features) == {"year": [-1, 1, 0]}
    nan = pd.DataFrame({"year": [1.0, 3.0, float("nan")]})
    assert dense(Features.from_frame(nan, "year", ids=IDS, identity=False, normalize=False)) == dense(
        features
    )
    constant = Features.from_frame(pl.DataFrame({"n": [4, 4, 4]}), "n", ids=IDS, identity=False)
    assert dense(constant) == {"n": [0, 0, 0]}


def test_identity_and_normalization_as_in_lightfm():
    features = Features.from_frame(table(), "genres", ids=IDS, id="item")
    third = np.float32(1 / 3)
    assert features.names == ["id=a", "id=b", "id=c", "genres=Crime", "genres=Drama"]
    expected = [[0.5, 0, 0, 0, 0.5], [0, 1, 0, 0, 0], [0, 0, third, third, third]]
    np.testing.assert_allclose(features.matrix.toarray(), expected, rtol=1e-6)


def test_new_rows_are_encoded_in_the_same_way():
    features = Features.from_frame(table(), ["genres", "year"], ids=IDS, id="item", normalize=False)
    new = {"genres": ["Crime|Musical", "War"], "year": [2000.0, None]}
    found = features.encoding.encode(pl.DataFrame(new)).toarray()
    by_name = dict(zip(features.names, found.T.tolist(), strict=True))
    assert by_name["genres=Crime"] == [1, 0]
    assert by_name["year"] == [0, 0]  # 2000 is the mean of the known items' years
    assert not found[1].any()
    with pytest.raises(DataError, match="'year' in row 2 is 'old'; it must be a finite number"):
        features.encoding.encode(pl.DataFrame({"genres": ["War"] * 2, "year": ["1999", "old"]}))
    again = features.encoding.encode(table().filter(pl.col("item") == "b"), pl.Series(["b"]))
    np.testing.assert_allclose(again.toarray()[0], features.matrix.toarray()[1])


def test_separators_and_names_with_spaces():
    frame = pl.DataFrame({"g": [" A ,B", "B,", ""]})
    features = Features.from_frame(frame, "g", ids=IDS, identity=False, normalize=False, separator=",")
    assert dense(features) == {"g=A": [1, 0, 0], "g=B": [1, 1, 0]}


def test_from_csr_uses_the_matrix_unchanged():
    features = Features.from_csr(np.array([[1, 0], [2, 3.0]]), ["p", "q"])
    assert features.names == ["feature=p", "feature=q"]
    assert features.matrix.toarray().tolist() == [[1, 0], [2, 3]]
    assert repr(features) == "Features(2 rows × 2 features)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"columns": "genre"},
            "there is no column 'genre' for features; the columns are item, genres, tags",
        ),
        ({"id": None}, r"4 rows of features do not fit 3 items; name the column of their ids \(id=\)"),
        ({"id": "genres", "frame": table().drop_nulls()}, "none of the 3 ids in 'genres' is a known item"),
        (
            {"frame": pl.concat([table(), table()])},
            "the item 'a' has more than one row of features; keep one",
        ),
        (
            {"columns": "year", "frame": table().with_columns(year=pl.lit(float("inf")))},
            "'year' in row 1 is inf; it must be a finite number",
        ),
        ({"columns": [], "identity": False}, "there are no features in no columns"),
        (
            {"columns": "genres", "frame": table().with_columns(genres=pl.lit("")), "identity": False},
            "there are no features in 'genres'",
        ),
    ],
)
def test_invalid_columns(change, message):
    given = {"frame": table(), "columns": "genres", "ids": IDS, "id": "item"} | change
    with pytest.raises(DataError, match=message):
        Features.from_frame(given.pop("frame"), given.pop("columns"), **given)


def test_invalid_matrices():
    with pytest.raises(SettingError, match="a column cannot have the name 'id' of identity features"):
        Features.from_frame(pl.DataFrame({"id": ["x"] * 3}), "id", ids=IDS)
    with pytest.raises(DataError, match="the weight of row 0, feature 1 is nan; weights must be finite"):
        Features.from_csr(np.array([[0, np.nan]]))
    features = Features.from_csr(np.ones((3, 2)))
    with pytest.raises(
        DataError, match=r"\(2, 3\) \(rows × features\) does not fit 2 features: the rows are"
    ):
        Features(features.matrix.T.tocsr(), features.encoding)


def test_features_that_do_not_fit_the_interactions(caplog):
    data = segue.data.simulate(20, 12, 100, seed=1)
    fit = segue.WARP(dim=2, epochs=1).fit
    turned = Features.from_csr(np.ones((3, len(data.items))))
    with pytest.raises(
        DataError, match=r"3 rows of item features do not fit \d+ items: the rows are features"
    ):
        fit(data, item_features=turned)
    with pytest.raises(DataError, match=r"2 rows of user features do not fit \d+ users$"):
        fit(data, user_features=Features.from_csr(np.ones((2, 7))))
    empty = sp.csr_matrix(np.r_[np.zeros((1, 2)), np.ones((len(data.items) - 1, 2))])
    with caplog.at_level(logging.WARNING, "segue"):
        learned = fit(data, item_features=Features.from_csr(empty))
    assert f"1 of {len(data.items)} items have no features, such as {data.items[0]!r}" in caplog.text
    assert not learned.items[0].any()
