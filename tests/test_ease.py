"""EASE against its formula, and against the least squares that it solves."""

import numpy as np
import pytest
import scipy.sparse as sp

import segue
from segue.data.interactions import from_csr
from segue.errors import DataError, SettingError


def dense(data):
    return (data.matrix.toarray() > 0).astype(np.float64)


def naive(X, reg):
    P = np.linalg.inv(X.T @ X + reg * np.eye(X.shape[1]))
    weights = -P / np.diag(P)
    np.fill_diagonal(weights, 0)
    return weights


@pytest.mark.parametrize(
    ("users", "items", "pairs"), [(2, 2, 3), (7, 5, 20), (60, 13, 300), (200, 700, 8000)]
)
@pytest.mark.parametrize("reg", [1.0, 200.0])
def test_weights_against_the_formula(users, items, pairs, reg):
    made = sp.random(users, items, pairs / users / items, "csr", np.float32, np.random.default_rng(items))
    found = segue.EASE(reg=reg, threads=2).fit(from_csr(made)).matrix
    assert found.dtype == np.float32
    assert not np.diag(found).any()
    np.testing.assert_allclose(found, naive((made.toarray() > 0) * 1.0, reg), atol=2e-5)


def test_each_column_is_the_ridge_regression_of_an_item_on_the_others():
    data = segue.data.simulate(80, 12, 400, seed=1)
    X, found = dense(data), segue.EASE(reg=3.0).fit(data).matrix
    for item in range(12):
        others = np.delete(X, item, axis=1)
        expected = np.linalg.solve(others.T @ others + 3 * np.eye(11), others.T @ X[:, item])
        np.testing.assert_allclose(np.delete(found[:, item], item), expected, atol=1e-4)


def test_weights_of_interactions_do_not_count():
    data = segue.data.simulate(50, 20, 300, seed=2)
    heavy = from_csr(data.matrix * 7)
    np.testing.assert_array_equal(segue.EASE().fit(data).matrix, segue.EASE().fit(heavy).matrix)


def test_scores_are_the_history_times_the_weights():
    data = segue.data.simulate(50, 20, 300, seed=3)
    similarity = segue.EASE(reg=5.0).fit(data)
    histories = sp.csr_matrix(([3.0, 2.0], ([0, 0], [4, 7])), (2, 20), dtype=np.float32)
    scores = similarity.scores(histories)
    assert scores.shape == (2, 20)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores[0], similarity.matrix[4] + similarity.matrix[7], rtol=1e-6)
    assert not scores[1].any()


def test_items_that_go_together_are_found():
    """Users have items 0-3 or 4-7 but one of each: the missing one scores best."""
    X = np.kron(np.eye(2), np.ones((8, 4)))
    hidden = np.array([[block * 4 + user % 4 for user in range(8)] for block in range(2)]).ravel()
    X[np.arange(16), hidden] = 0
    data = from_csr(X)
    scores = segue.EASE(reg=1.0).fit(data).scores(data.matrix)
    scores[X > 0] = -np.inf
    assert (scores.argmax(1) == hidden).all()


def test_same_bytes_with_any_number_of_threads():
    data = segue.data.simulate(300, 600, 9000, seed=4)
    one, two = (segue.EASE(threads=workers).fit(data).matrix for workers in (1, 2))
    assert one.tobytes() == two.tobytes()


def test_what_cannot_be():
    with pytest.raises(SettingError, match=r"EASE\(reg=-1.0\) must be at least 0.0"):
        segue.EASE(reg=-1.0)
    with pytest.raises(SettingError, match=r"EASE\(max_items=1\) must be at least 2"):
        segue.EASE(max_items=1)
    data = from_csr(sp.identity(40_981, format="csr", dtype=np.float32))
    with pytest.raises(DataError, match=r"40,981 items take 6.7 GB, and max_items=25,000 is the limit; keep"):
        segue.EASE().fit(data)
    twins = from_csr(np.ones((3, 2)))
    with pytest.raises(DataError, match=r"cannot be inverted with EASE\(reg=0.0\); give more"):
        segue.EASE(reg=0.0).fit(twins)


def test_progress():
    told = []
    segue.EASE().fit(segue.data.simulate(30, 20, 200), progress=lambda *step: told.append(step))
    assert told == [("solving", done, 2) for done in range(3)]
