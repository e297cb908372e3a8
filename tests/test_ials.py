"""iALS against the formula: a naive solver, the objective, and data whose answer is known."""

import numpy as np
import pytest
import scipy.sparse as sp

import segue
from segue.data.interactions import from_csr
from segue.errors import DataError, SettingError
from segue.kernels import ials as kernels
from segue.models.feature_priors import Centres
from segue.models.ials import principal_axes, rotate


def random_matrix(users, items, density, seed, weighted=False):
    rng = np.random.default_rng(seed)
    made = sp.random(users, items, density, "csr", np.float32, rng, rng.random if weighted else None)
    if weighted:
        made.data = (rng.random(made.nnz) * 4 + 0.5).astype(np.float32)
    else:
        made.data[:] = 1
    made.sort_indices()
    return made


def naive(Y, row, a0, reg, nu, centre=0):
    """One row by the normal equations, in float64."""
    n, d = Y.shape
    Y = Y.astype(np.float64)
    seen = row.indices
    if not len(seen):
        return np.zeros(d)
    lam = max(reg * (len(seen) + a0 * n) ** nu, 1e-8)
    A = a0 * Y.T @ Y + lam * np.eye(d) + (Y[seen] * row.data[:, None]).T @ Y[seen]
    return np.linalg.solve(A, Y[seen].T @ row.data + lam * centre)


def solve(kernel, Y, matrix, a0, reg, nu, *extra, start=None, centres=None):
    """Run a kernel as the model does: in the principal axes of Y, turned back at the end."""
    gram, axes = principal_axes(Y)
    X = np.zeros((matrix.shape[0], Y.shape[1]), np.float32) if start is None else (start @ axes)
    f = np.float32
    centres = np.empty((0, Y.shape[1]), np.float32) if centres is None else (centres @ axes)
    kernel(
        X, Y @ axes, centres, f(a0) * gram, matrix.indptr.astype(np.int64), matrix.indices, matrix.data,
        f(a0), f(reg), f(nu), *extra, 0, len(X),
    )  # fmt: skip
    return X @ axes.T


KERNELS = {
    "cg": (kernels.solve_cg, (300, np.float32(1e-14))),
    "cholesky": (kernels.solve_cholesky, ()),
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("d", [1, 2, 5, 7, 13, 32])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("a0", "reg", "nu"), [(0.1, 0.01, 1.0), (1.0, 0.1, 0.0), (0.0, 0.5, 0.5)])
def test_kernels_solve_the_normal_equations(name, d, weighted, a0, reg, nu):
    kernel, extra = KERNELS[name]
    matrix = random_matrix(40, 60, 0.1, seed=d, weighted=weighted)
    Y = np.random.default_rng(d).standard_normal((60, d)).astype(np.float32)
    expected = np.array([naive(Y, matrix[u], a0, reg, nu) for u in range(40)])
    found = solve(kernel, Y, matrix, a0, reg, nu, *extra)
    assert not (np.diff(matrix.indptr) == 0).all()
    np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize("count", [1, 3, 4, 5, 255, 256, 257, 600])
def test_rows_of_every_length_around_the_buffer(count):
    """`ROOM` items fit the buffer: shorter rows keep it, longer ones fill it anew in each step."""
    rng = np.random.default_rng(count)
    Y = rng.standard_normal((700, 9)).astype(np.float32)
    columns = np.sort(rng.choice(700, count, replace=False)).astype(np.int32)
    matrix = sp.csr_matrix((np.ones(count, np.float32), columns, [0, 0, count, count]), (3, 700))
    found = solve(kernels.solve_cg, Y, matrix, 0.1, 0.01, 1.0, 300, np.float32(1e-14))
    assert not found[0].any()
    assert not found[2].any()
    expected = naive(Y, matrix[1], 0.1, 0.01, 1.0)
    np.testing.assert_allclose(found[1], expected, atol=2e-4 * np.abs(expected).max())


def test_each_step_of_cg_comes_nearer():
    matrix = random_matrix(30, 50, 0.3, seed=1)
    Y = np.random.default_rng(1).standard_normal((50, 16)).astype(np.float32)
    expected = np.array([naive(Y, matrix[u], 0.1, 0.01, 1.0) for u in range(30)])
    errors = [
        np.linalg.norm(solve(kernels.solve_cg, Y, matrix, 0.1, 0.01, 1.0, steps, np.float32(0)) - expected)
        for steps in (1, 2, 4, 8, 16)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01 * errors[0]


def test_cg_starts_from_where_the_row_stands():
    matrix = random_matrix(30, 50, 0.3, seed=2)
    Y = np.random.default_rng(2).standard_normal((50, 16)).astype(np.float32)
    expected = np.array([naive(Y, matrix[u], 0.1, 0.01, 1.0) for u in range(30)])
    near = (expected + 1e-3).astype(np.float32)
    cold = solve(kernels.solve_cg, Y, matrix, 0.1, 0.01, 1.0, 1, np.float32(0))
    warm = solve(kernels.solve_cg, Y, matrix, 0.1, 0.01, 1.0, 1, np.float32(0), start=near)
    assert np.linalg.norm(warm - expected) < 0.1 * np.linalg.norm(cold - expected)


def objective(settings, matrix, embeddings):
    """The loss that the docstring of IALS states."""
    a0, reg, nu = settings.unobserved_weight, settings.reg, settings.reg_exponent
    X, Y = embeddings.users.astype(np.float64), embeddings.items.astype(np.float64)
    scores = X @ Y.T
    rows, columns = matrix.nonzero()
    seen_u, seen_i = np.diff(matrix.indptr), np.bincount(matrix.indices, minlength=len(Y))
    penalty = ((seen_u + a0 * len(Y)) ** nu * (X**2).sum(1)).sum()
    penalty += ((seen_i + a0 * len(X)) ** nu * (Y**2).sum(1)).sum()
    return ((1 - scores[rows, columns]) ** 2).sum() + a0 * (scores**2).sum() + reg * penalty


def test_the_objective_falls_and_no_small_change_lowers_it_further():
    matrix = random_matrix(60, 40, 0.15, seed=3)
    data = from_csr(matrix)
    losses = []
    for iterations in (1, 2, 4, 8, 200):
        settings = segue.IALS(dim=6, unobserved_weight=0.2, reg=0.02, iterations=iterations, cg_steps=4)
        learned = settings.fit(data)
        losses.append(objective(settings, matrix, learned))
    assert losses == sorted(losses, reverse=True)
    rng = np.random.default_rng(0)
    for _ in range(20):  # at the end the gradient is nought: a step in any direction costs
        moved = segue.Embeddings(
            learned.users + 1e-2 * rng.standard_normal(learned.users.shape).astype(np.float32),
            learned.items + 1e-2 * rng.standard_normal(learned.items.shape).astype(np.float32),
        )
        assert objective(settings, matrix, moved) > losses[-1]


def checkerboard(n):
    """User u has the items of its own parity but one, which is the only right answer."""
    users, items = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    dense = (users % 2 == items % 2).astype(np.float32)
    hidden = (np.arange(n) + 2) % n
    dense[np.arange(n), hidden] = 0
    return sp.csr_matrix(dense), hidden


@pytest.mark.parametrize("solver", ["cg", "cholesky"])
@pytest.mark.parametrize("confidence", ["binary", "weights"])
def test_checkerboard(solver, confidence):
    matrix, hidden = checkerboard(20)
    settings = segue.IALS(dim=2, solver=solver, confidence=confidence, unobserved_weight=0.1, reg=0.001)
    learned = settings.fit(from_csr(matrix))
    scores = learned.users @ learned.items.T
    scores[matrix.nonzero()] = -np.inf
    assert (scores.argmax(1) == hidden).all()


def test_confidence_weights_are_used_and_binary_ignores_them():
    matrix = random_matrix(30, 20, 0.3, seed=4)
    heavy = matrix.copy()
    heavy.data = np.full(matrix.nnz, 7.0, np.float32)
    as_binary = [segue.IALS(dim=4).fit(from_csr(m)) for m in (matrix, heavy)]
    np.testing.assert_array_equal(as_binary[0].users, as_binary[1].users)
    light, strong = (segue.IALS(dim=4, confidence="weights").fit(from_csr(m)) for m in (matrix, heavy))
    rows, columns = matrix.nonzero()
    misfit = [np.abs(1 - (e.users @ e.items.T)[rows, columns]).mean() for e in (light, strong)]
    assert misfit[1] < misfit[0]


def test_same_seed_same_bytes_whatever_the_threads_and_other_seeds_differ():
    data = segue.data.simulate(300, 200, 6000, seed=1)
    first, second, other = (
        segue.IALS(dim=8, iterations=3, seed=seed, threads=workers).fit(data)
        for seed, workers in ((0, 1), (0, 2), (1, 1))
    )
    assert first.users.tobytes() == second.users.tobytes()
    assert first.items.tobytes() == second.items.tobytes()
    assert first.items.tobytes() != other.items.tobytes()


def test_users_and_items_without_interactions_get_zeros():
    matrix = random_matrix(10, 12, 0.4, seed=5).tolil()
    matrix[3] = 0
    matrix[:, 7] = 0
    data = from_csr(sp.csr_matrix(matrix))
    learned = segue.IALS(dim=4).fit(data)
    assert not learned.users[3].any()
    assert not learned.items[7].any()
    assert learned.users[0].any()


def test_folding_in_a_training_history_gives_the_trained_user():
    data = segue.data.simulate(400, 200, 8000, seed=2)
    settings = segue.IALS(dim=16, iterations=30).resolved(data)
    learned = settings.fit(data)
    folded = settings.prepare_fold_in(learned).fold_in(data.matrix[:50])
    last = segue.IALS(dim=16, iterations=30, solver="cholesky")
    assert last.dim == folded.shape[1]
    for row in range(50):
        exact = naive(learned.items, binary(data.matrix[row]), settings.unobserved_weight, settings.reg, 1.0)
        np.testing.assert_allclose(folded[row], exact, atol=1e-4)
    cosine = (folded * learned.users[:50]).sum(1) / (
        np.linalg.norm(folded, axis=1) * np.linalg.norm(learned.users[:50], axis=1)
    )
    assert cosine.min() > 0.99


def binary(row):
    return sp.csr_matrix((np.ones(row.nnz, np.float32), row.indices, row.indptr), row.shape)


def test_an_empty_history_folds_into_zeros():
    data = segue.data.simulate(50, 40, 500, seed=3)
    settings = segue.IALS(dim=4).resolved(data)
    folding = settings.prepare_fold_in(settings.fit(data))
    assert not folding.fold_in(sp.csr_matrix((2, 40), dtype=np.float32)).any()


def test_items_come_in_principal_axes():
    learned = segue.IALS(dim=8).fit(segue.data.simulate(200, 100, 4000, seed=4))
    gram = learned.items.T @ learned.items
    off = gram - np.diag(np.diag(gram))
    assert np.abs(off).max() < 1e-3 * np.diag(gram).max()
    assert (np.diff(np.diag(gram)) <= 1e-4).all()


def test_the_unobserved_weight_follows_the_density():
    data = from_csr(random_matrix(100, 50, 0.01, seed=6))
    assert segue.IALS().resolved(data).unobserved_weight == pytest.approx(0.2, rel=1e-3)
    assert segue.IALS().resolved(from_csr(np.ones((5, 5)))).unobserved_weight == 1.0
    assert segue.IALS(unobserved_weight=0.3).resolved(data).unobserved_weight == 0.3
    with pytest.raises(SettingError, match="resolved"):
        segue.IALS().prepare_fold_in(segue.IALS().fit(data))


def test_zero_regularisation_stays_finite():
    data = from_csr(random_matrix(20, 15, 0.2, seed=7))
    for solver in ("cg", "cholesky"):
        learned = segue.IALS(dim=30, reg=0.0, solver=solver).fit(data)
        assert np.isfinite(learned.users).all()
        assert np.isfinite(learned.items).all()


@pytest.mark.parametrize(
    ("shape", "weight", "reg"), [((200, 500, 4000), 0.8, 0.3), ((60, 400, 1500), 0.8, 0.3)]
)
def test_vectors_that_a_strong_penalty_shrinks_to_nothing_stay_finite(shape, weight, reg):
    data = segue.data.simulate(*shape, seed=1)
    learned = segue.IALS(dim=32, iterations=25, reg=reg, unobserved_weight=weight).fit(data)
    assert np.isfinite(learned.users).all()
    assert np.isfinite(learned.items).all()


def test_progress_counts_iterations():
    told = []
    segue.IALS(dim=2, iterations=3).fit(
        segue.data.simulate(30, 20, 200), progress=lambda *step: told.append(step)
    )
    assert told == [("training", done, 3) for done in range(4)]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"dim": 0}, r"IALS\(dim=0\) must be at least 1"),
        ({"dim": 2.5}, r"IALS\(dim=2.5\) must be a whole number"),
        ({"dim": True}, r"IALS\(dim=True\) must be a whole number"),
        ({"iterations": 0}, r"IALS\(iterations=0\) must be at least 1"),
        ({"reg": -1.0}, r"IALS\(reg=-1.0\) must be at least 0.0"),
        ({"reg": float("nan")}, r"IALS\(reg=nan\)"),
        ({"reg": float("inf")}, r"IALS\(reg=inf\)"),
        ({"unobserved_weight": "much"}, r"IALS\(unobserved_weight='much'\) must be a number"),
        (
            {"reg": 0.0, "unobserved_weight": 0},
            r"IALS\(reg=0, unobserved_weight=0\) leaves nothing that holds",
        ),
        ({"solver": "lu"}, r"IALS\(solver='lu'\) must be one of 'cg', 'cholesky'"),
        ({"confidence": "log"}, r"IALS\(confidence='log'\) must be one of 'binary', 'weights'"),
    ],
)
def test_settings_that_cannot_be(setting, message):
    with pytest.raises(SettingError, match=message):
        segue.IALS(**setting)


def test_data_that_cannot_be_learned_from():
    with pytest.raises(DataError, match=r"1 user\(s\) and 3 item\(s\) leave nothing to learn"):
        segue.IALS().fit(from_csr(np.ones((1, 3))))
    with pytest.raises(DataError, match=r"3 user\(s\) and 1 item\(s\)"):
        segue.IALS().fit(from_csr(np.ones((3, 1))))
    with pytest.raises(DataError, match=r"user 1 and item 0 have -2.0"):
        segue.IALS().fit(from_csr(np.array([[1.0, 1], [-2, 0]])))


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("d", [1, 2, 5, 7, 13])
def test_kernels_solve_the_normal_equations_around_centres(name, d):
    kernel, extra = KERNELS[name]
    matrix = random_matrix(40, 60, 0.1, seed=d)
    rng = np.random.default_rng(d)
    Y, centres = (rng.standard_normal((n, d)).astype(np.float32) for n in (60, 40))
    filled = np.flatnonzero(np.diff(matrix.indptr))
    expected = np.array([naive(Y, matrix[u], 0.1, 0.05, 1.0, centres[u]) for u in filled])
    found = solve(kernel, Y, matrix, 0.1, 0.05, 1.0, *extra, centres=centres)
    np.testing.assert_allclose(found[filled], expected, atol=3e-4 * np.abs(expected).max())


def test_centres_are_a_weighted_ridge_regression():
    rng = np.random.default_rng(0)
    F = sp.random(50, 8, 0.3, "csr", np.float32, rng)
    rows, weights = rng.standard_normal((50, 3)).astype(np.float32), rng.random(50)
    centres = Centres(F, weights, 0.7, np.zeros((8, 3), np.float32))
    centres.regress(rows)
    dense = F.toarray().astype(np.float64)
    expected = np.linalg.solve(
        dense.T @ (weights[:, None] * dense) + 0.7 * np.eye(8), dense.T @ (weights[:, None] * rows)
    )
    np.testing.assert_allclose(centres.vectors, expected, atol=1e-4)


@pytest.fixture(scope="module")
def grouped():
    """Four groups of items, and users who have most of one; items 36 to 39 nobody has."""
    rng = np.random.default_rng(0)
    own = np.arange(80)[:, None] % 4 == np.arange(40)[None] % 4
    dense = (own & (rng.random(own.shape) < 0.8)).astype(np.float32)
    dense[:, 36:] = 0
    data = from_csr(dense)
    table = {"group": [f"g{i % 4}" for i in range(40)]}
    return data, segue.Features.from_frame(table, "group", ids=data.items)


def test_items_that_nobody_had_stand_where_their_features_put_them(grouped):
    data, features = grouped
    learned = segue.IALS(dim=6).fit(data, item_features=features)
    scores = learned.users @ learned.items[36:].T
    assert (scores.argmax(1) == np.arange(80) % 4).all()
    assert not segue.IALS(dim=6).fit(data).items[36:].any()
    np.testing.assert_allclose(learned.items_of(features.matrix), learned.items, atol=1e-5)
    new = features.encoding.encode({"group": ["g0", "g1", "g2", "g3"]})
    np.testing.assert_allclose(learned.items_of(new), learned.items[36:], atol=1e-5)


def test_users_that_had_nothing_stand_where_their_features_put_them(grouped):
    data, _ = grouped
    turned = from_csr(data.matrix.T.tocsr())
    features = segue.Features.from_frame(
        {"group": [f"g{i % 4}" for i in range(40)]}, "group", ids=turned.users, identity=False
    )
    learned = segue.IALS(dim=6).fit(turned, user_features=features)
    scores = learned.users[36:] @ learned.items.T
    assert (scores.argmax(1) % 4 == np.arange(4)).all()
    assert learned.user_features.shape == (4, 6)
    assert learned.item_features is None


def test_features_with_any_number_of_threads_give_the_same_bytes(grouped):
    data, features = grouped
    first, second = (
        segue.IALS(dim=5, iterations=3, threads=n).fit(data, item_features=features) for n in (1, 2)
    )
    assert first.items.tobytes() == second.items.tobytes()
    assert first.item_features.tobytes() == second.item_features.tobytes()


def test_features_that_do_not_fit(grouped):
    data, features = grouped
    with pytest.raises(DataError, match="40 rows of user features do not fit 80 users"):
        segue.IALS(dim=2).fit(data, user_features=features)


@pytest.mark.parametrize("dim", [127, 128, 130])
def test_axes_and_turning_by_kernels_and_by_blas(dim):
    rng = np.random.default_rng(dim)
    vectors = rng.standard_normal((1500, dim)).astype(np.float32)
    values, axes = principal_axes(vectors)
    expected = np.linalg.eigvalsh(vectors.T.astype(np.float64) @ vectors)[::-1]
    np.testing.assert_allclose(values, expected, rtol=1e-3)
    whole = vectors @ axes
    for workers in (1, 2):
        out = np.empty_like(vectors)
        rotate(vectors, axes, out, workers)
        np.testing.assert_allclose(out, whole, atol=1e-4)
        again = vectors.copy()
        rotate(again, axes, again, workers)
        assert again.tobytes() == out.tobytes()
