"""Biased matrix factorisation against its normal equations, its objective, and planted ratings."""

import numpy as np
import pytest
import scipy.sparse as sp

import segue
from segue.data.interactions import from_csr
from segue.errors import DataError, SettingError
from segue.kernels import explicit as kernels


def rated(users, items, density, seed):
    """Ratings from 1 to 5, some users and items without any."""
    rng = np.random.default_rng(seed)
    made = sp.random(users, items, density, "csr", np.float32, rng)
    made.data = rng.integers(1, 6, made.nnz).astype(np.float32)
    made.sort_indices()
    return made


def naive(Y, row, mean, reg, nu, bias_reg):
    """One row [x, b] by the normal equations, in float64."""
    d = Y.shape[1] - 1
    seen = row.indices
    if not len(seen):
        return np.zeros(d + 1)
    Z = np.hstack([Y[seen, :d], np.ones((len(seen), 1))]).astype(np.float64)
    penalty = np.diag([reg * len(seen) ** nu] * d + [bias_reg])
    return np.linalg.solve(Z.T @ Z + penalty, Z.T @ (row.data - mean - Y[seen, d]))


@pytest.mark.parametrize("d", [1, 2, 5, 7, 13])
@pytest.mark.parametrize(("reg", "nu", "bias_reg"), [(0.1, 1.0, 5.0), (2.0, 0.5, 0.1), (3.0, 0.0, 1.0)])
def test_kernel_solves_the_normal_equations(d, reg, nu, bias_reg):
    matrix = rated(30, 50, 0.05, seed=d)
    Y = np.random.default_rng(d).standard_normal((50, d + 1)).astype(np.float32)
    X = np.full((30, d + 1), 9, np.float32)
    settings = [np.float32(x) for x in (3.4, reg, nu, bias_reg)]
    kernels.solve_ratings(X, Y, matrix.indptr.astype(np.int64), matrix.indices, matrix.data, *settings, 2, 30)
    assert (X[:2] == 9).all()
    assert (np.diff(matrix.indptr) == 0).any()
    expected = np.array([naive(Y, matrix[u], 3.4, reg, nu, bias_reg) for u in range(30)])
    np.testing.assert_allclose(X[2:], expected[2:], atol=1e-4 * np.abs(expected).max())


def objective(settings, matrix, embeddings):
    """The loss that the docstring of BiasedMF states."""
    users, items = (vectors.astype(np.float64) for vectors in (embeddings.users, embeddings.items))
    x, b, y, c = users[:, :-2], users[:, -2] - settings.mean, items[:, :-2], items[:, -1]
    pairs = matrix.tocoo()
    misfit = pairs.data - (users[pairs.row] * items[pairs.col]).sum(1)
    counts = np.diff(matrix.indptr), np.bincount(matrix.indices, minlength=matrix.shape[1])
    nu = settings.reg_exponent
    sizes = sum((n**nu * (v**2).sum(1))[n > 0].sum() for n, v in zip(counts, (x, y), strict=True))
    return (misfit**2).sum() + settings.reg * sizes + settings.bias_reg * ((b**2).sum() + (c**2).sum())


def test_the_objective_falls_and_no_small_change_lowers_it_further():
    matrix = rated(60, 40, 0.2, seed=3)
    data = from_csr(matrix)
    losses = []
    for iterations in (1, 2, 4, 8, 400):
        settings = segue.BiasedMF(dim=3, reg=0.5, bias_reg=2.0, iterations=iterations).resolved(data)
        learned = settings.fit(data)
        losses.append(objective(settings, matrix, learned))
    assert losses == sorted(losses, reverse=True)
    rng = np.random.default_rng(0)
    for _ in range(20):
        moved = [
            vectors + np.float32(0.01) * rng.standard_normal(vectors.shape).astype(np.float32)
            for vectors in (learned.users, learned.items)
        ]
        moved[0][:, -1], moved[1][:, -2] = 1, 1
        assert objective(settings, matrix, segue.Embeddings(*moved)) > losses[-1]


def test_biases_alone_are_found_again():
    rng = np.random.default_rng(5)
    b, c = rng.normal(0, 0.5, 40), rng.normal(0, 0.5, 30)
    b, c = b - b.mean(), c - c.mean()
    data = from_csr(3.5 + b[:, None] + c[None])
    learned = segue.BiasedMF(dim=1, reg=100.0, bias_reg=0.0).fit(data)
    np.testing.assert_allclose(learned.users @ learned.items.T, data.matrix.toarray(), atol=1e-3)
    spread = (learned.users[:, 1] - 3.5) - b  # the constant may be the users' or the items'
    np.testing.assert_allclose(spread, spread[0], atol=1e-3)


def planted(seed=6):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(0, 1, (150, 3)), rng.normal(0, 1, (80, 3))
    full = 3.0 + rng.normal(0, 0.5, 150)[:, None] + rng.normal(0, 0.5, 80) + x @ y.T
    kept = rng.random(full.shape) < 0.4
    return full, kept


def test_planted_factors_predict_what_was_never_rated():
    full, kept = planted()
    data = from_csr(full * kept)
    learned = segue.BiasedMF(dim=3, reg=0.05, bias_reg=0.1, iterations=30).fit(data)
    error = (learned.users @ learned.items.T - full)[~kept]
    assert np.sqrt((error**2).mean()) < 0.1 * full.std()
    biases = segue.BiasedMF(dim=1, reg=1e6, bias_reg=0.1).fit(data)
    error = (biases.users @ biases.items.T - full)[~kept]
    assert np.sqrt((error**2).mean()) > 0.5 * full.std()


def test_vectors_hold_the_mean_and_the_biases_in_their_last_columns():
    data = from_csr(rated(20, 15, 0.3, seed=7))
    settings = segue.BiasedMF(dim=4).resolved(data)
    assert settings.mean == pytest.approx(data.matrix.data.mean(), rel=1e-6)
    learned = settings.fit(data)
    assert learned.users.shape == (20, 6)
    assert (learned.users[:, -1] == 1).all()
    assert (learned.items[:, -2] == 1).all()
    assert segue.BiasedMF(mean=2.0).resolved(data).mean == 2.0


def test_users_and_items_without_ratings_have_no_bias():
    matrix = rated(20, 15, 0.4, seed=8).tolil()
    matrix[3] = 0
    matrix[:, 7] = 0
    data = from_csr(sp.csr_matrix(matrix))
    learned = segue.BiasedMF(dim=2, mean=3.25).fit(data)
    np.testing.assert_array_equal(learned.users[3], [0, 0, 3.25, 1])
    np.testing.assert_array_equal(learned.items[7], [0, 0, 1, 0])


def test_folding_in_solves_for_the_ratings():
    data = from_csr(rated(50, 30, 0.3, seed=9))
    settings = segue.BiasedMF(dim=4, iterations=60).resolved(data)
    learned = settings.fit(data)
    folded = settings.prepare_fold_in(learned).fold_in(data.matrix)
    np.testing.assert_allclose(folded, learned.users, atol=0.05)  # the items moved last
    Y = np.hstack([learned.items[:, :-2], learned.items[:, -1:]])
    expected = np.array(
        [
            naive(Y, data.matrix[u], settings.mean, settings.reg, settings.reg_exponent, settings.bias_reg)
            for u in range(50)
        ]
    )
    np.testing.assert_allclose(folded[:, :-2], expected[:, :-1], atol=1e-4)
    np.testing.assert_allclose(folded[:, -2], expected[:, -1] + settings.mean, atol=1e-4)
    empty = settings.prepare_fold_in(learned).fold_in(sp.csr_matrix((1, 30), dtype=np.float32))
    np.testing.assert_allclose(empty[0], [0, 0, 0, 0, settings.mean, 1], rtol=1e-6)
    with pytest.raises(SettingError, match=r"BiasedMF\(mean=None\) cannot fold in: use the settings"):
        segue.BiasedMF().prepare_fold_in(learned)


def test_negative_ratings_and_small_data_are_welcome():
    learned = segue.BiasedMF(dim=2, bias_reg=0.01).fit(from_csr(np.array([[-1.0, 1.0], [-1.0, 1.0]])))
    np.testing.assert_allclose(learned.users @ learned.items.T, [[-1, 1], [-1, 1]], atol=0.05)
    for shape in [(1, 3), (3, 1), (1, 1)]:
        single = segue.BiasedMF(dim=5).fit(from_csr(np.full(shape, 4.0)))
        np.testing.assert_allclose(single.users @ single.items.T, 4, atol=1e-4)


def test_same_seed_same_bytes_whatever_the_threads():
    data = from_csr(rated(700, 300, 0.05, seed=10))
    first, second, other = (
        segue.BiasedMF(dim=4, iterations=3, seed=seed, threads=workers).fit(data)
        for seed, workers in ((0, 1), (0, 2), (1, 1))
    )
    assert first.users.tobytes() == second.users.tobytes()
    assert first.items.tobytes() != other.items.tobytes()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"dim": 0}, r"BiasedMF\(dim=0\) must be at least 1"),
        ({"reg": -0.1}, r"BiasedMF\(reg=-0.1\) must be at least 0.0"),
        ({"bias_reg": float("nan")}, r"BiasedMF\(bias_reg=nan\)"),
        ({"mean": float("inf")}, r"BiasedMF\(mean=inf\) must be a finite number, or None"),
        ({"mean": "4"}, r"BiasedMF\(mean='4'\) must be a finite number, or None"),
    ],
)
def test_settings_that_cannot_be(setting, message):
    with pytest.raises(SettingError, match=message):
        segue.BiasedMF(**setting)


def test_nothing_to_learn_from():
    data = from_csr(np.ones((2, 2)))
    with pytest.raises(DataError, match="there are no ratings to learn from"):
        segue.BiasedMF().fit(data.where(np.zeros(4, bool)))
