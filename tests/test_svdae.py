"""SVD-AE against a dense singular value decomposition, and its blend with iALS."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import segue
from segue.data.interactions import from_csr
from segue.errors import SettingError
from segue.models.blend import spread


def scores(learned):
    return learned.users @ learned.items.T


def dense(matrix, dim):
    """Scores by numpy's decomposition: U U' D^-1/4 R."""
    R = (matrix.toarray() > 0).astype(float)
    D, E = R.sum(1), R.sum(0)
    N = R / np.outer(np.maximum(1, D) ** 0.25, np.maximum(1, E) ** 0.5)
    U = np.linalg.svd(N, full_matrices=False)[0][:, :dim]
    return U @ (U.T @ (R / np.maximum(1, D)[:, None] ** 0.25))


@pytest.fixture(scope="module")
def data():
    return segue.data.simulate(300, 200, 5000, seed=3)


@pytest.mark.parametrize("dim", [1, 2, 5, 13, 40])
def test_scores_are_those_of_a_dense_decomposition(data, dim):
    learned = segue.SVDAE(dim, iterations=12).fit(data)
    np.testing.assert_allclose(scores(learned), dense(data.matrix, dim), atol=2e-3)
    assert np.abs(scores(learned)).max() > 0.05


def test_every_direction_there_is():
    matrix = sp.random(20, 9, 0.4, format="csr", random_state=1)
    matrix.data[:] = 3  # weights are not looked at
    learned = segue.SVDAE(500).fit(from_csr(matrix))
    assert learned.users.shape == (20, 9 + 1)
    R = (matrix.toarray() > 0) / np.maximum(1, np.diff(matrix.indptr))[:, None] ** 0.25
    np.testing.assert_allclose(scores(learned), R, atol=1e-4)  # the projection on all directions


def test_directions_beyond_the_rank_are_zeros():
    block = np.kron(np.eye(3), np.ones((4, 5)))  # three clusters: rank 3
    learned = segue.SVDAE(8).fit(from_csr(block))
    assert (np.abs(learned.users[:, :8]).max(0) > 1e-3).sum() == 3
    np.testing.assert_allclose(scores(learned), block / 5**0.25, atol=1e-4)


def test_training_histories_fold_in_to_their_vectors(data):
    settings = segue.SVDAE(7, iterations=12)
    learned = settings.fit(data)
    folded = settings.prepare_fold_in(learned).fold_in(data.matrix)
    np.testing.assert_allclose(folded, learned.users, atol=1e-3)
    assert not folded[:, -1].any()
    empty = settings.prepare_fold_in(learned).fold_in(sp.csr_matrix((2, 200), dtype=np.float32))
    assert not empty.any()


def test_degrees_are_kept_where_they_disturb_nothing(data):
    learned = segue.SVDAE(5).fit(data)
    degrees = np.bincount(data.matrix.indices, minlength=200)
    np.testing.assert_allclose(learned.items[:, -1], degrees * 2.0**-60)
    assert not learned.users[:, -1].any()
    assert (learned.items[:, -1] <= 1e-12 * np.linalg.norm(learned.items, axis=1)).all()


def test_the_blend_is_the_sum_of_both_in_units_of_their_spread(data):
    settings = segue.Blend(dim=6, svd_dim=9, share=0.25, seed=2).resolved(data)
    learned = settings.fit(data)
    ials = settings._ials().fit(data)
    svdae = segue.SVDAE(9, seed=2).fit(data)
    first, second = scores(ials), scores(svdae)
    expected = first + 0.25 / 0.75 * second * np.sqrt(np.mean(first**2) / np.mean(second**2))
    np.testing.assert_allclose(scores(learned), expected, atol=1e-4)
    assert spread(ials) == pytest.approx(np.sqrt((first**2).sum()), rel=1e-4)


def test_the_blend_folds_in_as_its_parts_do(data):
    settings = segue.Blend(dim=6, svd_dim=9, iterations=30).resolved(data)
    learned = settings.fit(data)
    folded = settings.prepare_fold_in(learned).fold_in(data.matrix)
    ials = settings._ials()
    np.testing.assert_allclose(
        folded[:, :6], ials.prepare_fold_in(ials.fit(data)).fold_in(data.matrix), atol=1e-5
    )
    np.testing.assert_allclose(folded[:, 6:], learned.users[:, 6:], atol=0.02)
    assert np.abs(learned.users[:, 6:]).max() > 0.1
    alone = replace(settings, share=0.0)
    np.testing.assert_allclose(scores(alone.fit(data)), scores(ials.fit(data)), atol=1e-6)


@pytest.mark.parametrize("share", [1.0, 1.5])
def test_a_share_below_one(share):
    with pytest.raises(SettingError, match=rf"^Blend\(share={share}\) must be below 1; SVDAE is the other"):
        segue.Blend(share=share)
    with pytest.raises(SettingError, match=r"^SVDAE\(dim=0\) must be at least 1$"):
        segue.SVDAE(0)
