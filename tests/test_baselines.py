"""Popularity and item-kNN against naive code and a case worked out by hand."""

import numpy as np
import pytest
import scipy.sparse as sp

import segue
from segue.data.interactions import from_csr
from segue.errors import SettingError

HAND = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 5.0]])


def naive_neighbours(matrix, neighbors, shrink):
    seen = (matrix.toarray() > 0).astype(np.float64)
    common, lengths = seen.T @ seen, np.sqrt(seen.sum(0))
    denominator = np.outer(lengths, lengths) + shrink
    similarity = np.divide(common, denominator, out=np.zeros_like(common), where=denominator > 0)
    np.fill_diagonal(similarity, 0)
    for row in similarity:
        order = np.lexsort((np.arange(len(row)), -row.astype(np.float32)))
        row[order[neighbors:]] = 0
    return similarity


def test_popularity_counts_users_not_weights():
    learned = segue.Popularity().fit(from_csr(HAND))
    assert learned.items.ravel().tolist() == [3, 2, 1, 1]
    assert learned.users.ravel().tolist() == [1, 1, 1, 1]


def test_similarities_by_hand():
    found = segue.ItemKNN().fit(from_csr(HAND)).matrix.toarray()
    expected = np.zeros((4, 4))
    expected[0, 1] = expected[1, 0] = 2 / np.sqrt(3 * 2)
    expected[0, 2] = expected[2, 0] = 1 / np.sqrt(3)
    expected[1, 2] = expected[2, 1] = 1 / np.sqrt(2)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("neighbors", [1, 3, 100])
@pytest.mark.parametrize("shrink", [0.0, 2.5])
def test_similarities_against_naive(neighbors, shrink):
    matrix = sp.random(50, 150, 0.08, "csr", np.float32, np.random.default_rng(1))
    found = segue.ItemKNN(neighbors=neighbors, shrink=shrink, threads=2).fit(from_csr(matrix))
    np.testing.assert_allclose(found.matrix.toarray(), naive_neighbours(matrix, neighbors, shrink), rtol=1e-5)


def test_scores_sum_the_similarities_of_the_history():
    similarity = segue.ItemKNN().fit(from_csr(HAND))
    scores = similarity.scores(sp.csr_matrix(np.array([[3.0, 0, 2, 0], [0, 0, 0, 0]])))
    dense = similarity.matrix.toarray()
    np.testing.assert_allclose(scores[0], dense[0] + dense[2], rtol=1e-6)
    assert not scores[1].any()


def test_settings_that_cannot_be():
    with pytest.raises(SettingError, match=r"ItemKNN\(neighbors=0\)"):
        segue.ItemKNN(neighbors=0)
    with pytest.raises(SettingError, match=r"ItemKNN\(shrink=-1\)"):
        segue.ItemKNN(shrink=-1)
