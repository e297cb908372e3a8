"""The contrastive loss against naive code, numerical gradients, and data whose answer is known."""

import numpy as np
import pytest
import scipy.sparse as sp

import segue
from segue.data.interactions import from_csr
from segue.errors import DataError, SettingError
from segue.kernels import contrastive as kernels
from segue.models.contrastive import Training, normalised_adjacency

DIMS = [1, 2, 5, 7, 13, 32]


def random_matrix(users, items, density, seed):
    made = sp.random(users, items, density, "csr", np.float32, np.random.default_rng(seed))
    made.data[:] = 1
    made.sort_indices()
    return made


@pytest.mark.parametrize("d", DIMS)
def test_sums_of_neighbours(d):
    """Rows of 0 to 9 neighbors: with and without a rest after the fours."""
    rng = np.random.default_rng(d)
    counts = np.arange(10)
    columns = np.concatenate([np.sort(rng.choice(30, n, replace=False)) for n in counts]).astype(np.int32)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    matrix = sp.csr_matrix((rng.random(len(columns)).astype(np.float32), columns, indptr), (10, 30))
    X = rng.standard_normal((30, d)).astype(np.float32)
    out = np.full((10, d), 9, np.float32)
    kernels.add_neighbours(matrix.indptr, matrix.indices, matrix.data, X, 2, 10, out)
    assert (out[:2] == 9).all()
    np.testing.assert_allclose(out[2:], (matrix @ X)[2:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("d", DIMS)
def test_unit_vectors_and_the_gradient_through_them(d):
    rng = np.random.default_rng(d)
    X, G = (rng.standard_normal((6, d)).astype(np.float32) for _ in range(2))
    X[3] = 0
    unit, inverse = np.empty_like(X), np.empty(6, np.float32)
    kernels.normalise(X, 0, 6, unit, inverse)
    lengths = np.linalg.norm(X, axis=1)
    np.testing.assert_allclose(unit, X / np.where(lengths, lengths, 1)[:, None], rtol=1e-5)
    assert not unit[3].any()
    found = G.copy()
    kernels.normalise_back(found, unit, inverse, 0, 6)
    assert not found[3].any()
    X, step = X.astype(np.float64), 1e-6
    for r in (0, 1, 5):
        for j in range(d):
            moved = [X[r] + sign * step * (np.arange(d) == j) for sign in (1, -1)]
            up, down = (G[r] @ (x / np.linalg.norm(x)) for x in moved)
            assert found[r, j] == pytest.approx((up - down) / (2 * step), abs=1e-4)


@pytest.mark.parametrize(("scale", "shift"), [(10, -10), (1, 0), (40, -40), (7.5, 3)])
@pytest.mark.parametrize("width", [1, 3, 16, 1001])
def test_exponentials(scale, shift, width):
    S = (np.random.default_rng(width).random((3, width)) * 2 - 1).astype(np.float32)
    expected = np.exp(S.astype(np.float64) * scale + shift)
    sums = np.empty(3, np.float32)
    kernels.exponentials(S, np.float32(scale), np.float32(shift), sums)
    np.testing.assert_allclose(S, expected, rtol=2e-5)
    np.testing.assert_allclose(sums, expected.sum(1), rtol=2e-5)


def test_exponentials_of_what_is_far_below_are_next_to_nothing():
    S = np.array([[-1e4, -1e30, -np.inf, 0]], np.float32)
    sums = np.empty(1, np.float32)
    kernels.exponentials(S, np.float32(1), np.float32(0), sums)
    np.testing.assert_allclose(S, [[0, 0, 0, 1]], atol=1e-37)
    assert sums[0] == pytest.approx(1, rel=1e-6)


def test_adam_against_its_definition():
    rng = np.random.default_rng(1)
    P = rng.standard_normal((4, 3)).astype(np.float32)
    expected, m, v = P.astype(np.float64), np.zeros((4, 3)), np.zeros((4, 3))
    M, V = np.zeros((4, 3), np.float32), np.zeros((4, 3), np.float32)
    for t in range(1, 6):
        G = rng.standard_normal((4, 3)).astype(np.float32)
        m, v = 0.9 * m + 0.1 * G, 0.999 * v + 0.001 * G.astype(np.float64) ** 2
        expected -= 0.05 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        scale = map(np.float32, (0.05, 1 / (1 - 0.9**t), 1 / (1 - 0.999**t)))
        kernels.adam(P, G, M, V, *scale, 0, 4)
    np.testing.assert_allclose(P, expected, rtol=1e-5, atol=1e-6)


def naive_loss(settings, matrix, parameters, users):
    """The loss that the docstring of Contrastive states, over one batch, in float64."""
    n_users = matrix.shape[0]
    adjacency = normalised_adjacency(matrix).toarray().astype(np.float64)
    vectors = now = parameters.astype(np.float64)
    for _ in range(settings.layers):
        now = adjacency @ now
        vectors = vectors + now
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    had = matrix.toarray() > 0
    known = had.any(0)
    total = weight = 0.0
    for u in users:
        scores = vectors[n_users:] @ vectors[u] / settings.temperature
        each = had[u].sum() ** (settings.user_exponent - 1)
        total += each * (np.log(np.exp(scores[known]).sum()) - scores[had[u]]).sum()
        weight += each * had[u].sum()
    return total / weight


@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("exponent", [1.0, 0.5])
def test_gradients_against_differences(layers, exponent):
    matrix = random_matrix(12, 15, 0.3, seed=layers).tolil()
    matrix[:, 4] = 0
    matrix = sp.csr_matrix(matrix)
    settings = segue.Contrastive(
        dim=5, layers=layers, temperature=0.3, user_exponent=exponent, start="random"
    )
    training = Training(settings, from_csr(matrix))
    users = np.array([0, 3, 4, 7, 11])
    loss, gradient = training.loss(users)
    assert loss == pytest.approx(naive_loss(settings, matrix, training.parameters, users), rel=1e-5)
    assert not gradient[12 + 4].any()
    rng = np.random.default_rng(0)
    for row in [0, 1, 3, 11, 12, 17, 20, 26]:
        along = rng.standard_normal(5)
        moved = [training.parameters.astype(np.float64) for _ in range(2)]
        moved[0][row] += 1e-5 * along
        moved[1][row] -= 1e-5 * along
        up, down = (naive_loss(settings, matrix, parameters, users) for parameters in moved)
        assert gradient[row] @ along == pytest.approx((up - down) / 2e-5, rel=2e-3, abs=2e-5)


def test_sampled_candidates_are_some_of_the_items_that_anybody_had():
    matrix = random_matrix(20, 30, 0.2, seed=1).tolil()
    matrix[:, :10] = 0
    training = Training(segue.Contrastive(negatives=7), from_csr(sp.csr_matrix(matrix)))
    first, second = training.candidates(), training.candidates()
    assert len(set(first)) == 7
    assert first.min() >= 10
    assert not np.array_equal(first, second)
    everything = Training(segue.Contrastive(), from_csr(sp.csr_matrix(matrix))).candidates()
    np.testing.assert_array_equal(everything, np.flatnonzero(matrix.toarray().any(0)))


def test_a_sample_gives_the_gradient_of_a_softmax_over_it():
    matrix = random_matrix(20, 30, 0.2, seed=2)
    sampled = Training(
        segue.Contrastive(dim=4, layers=0, negatives=6, temperature=0.1, start="random"), from_csr(matrix)
    )
    chosen = np.sort(np.random.default_rng(3).choice(30, 6, replace=False))
    sampled.candidates = lambda: chosen
    users = np.arange(5)
    loss, gradient = sampled.loss(users)
    had = matrix[:5].toarray() > 0
    drawn = np.zeros(30, bool)
    drawn[chosen] = True
    assert gradient[20:][drawn].any(1).all()
    assert not gradient[20:][~drawn & ~had.any(0)].any()
    assert not gradient[5:20].any()
    unit = sampled.parameters / np.linalg.norm(sampled.parameters, axis=1, keepdims=True)
    scores = unit[:5] @ unit[20:].T * 10
    expected = (had * (np.log(np.exp(scores[:, chosen]).sum(1))[:, None] - scores)).sum() / had.sum()
    assert loss == pytest.approx(expected, rel=1e-5)


def checkerboard(n):
    """User u has the items of its own parity but one, which is the only right answer."""
    users, items = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    dense = (users % 2 == items % 2).astype(np.float32)
    hidden = (np.arange(n) + 2) % n
    dense[np.arange(n), hidden] = 0
    return sp.csr_matrix(dense), hidden


@pytest.mark.parametrize(
    "settings", [{}, {"layers": 0}, {"batch_size": 3, "negatives": 5, "user_exponent": 0.5}]
)
def test_checkerboard(settings):
    matrix, hidden = checkerboard(20)
    learned = segue.Contrastive(dim=8, **settings).fit(from_csr(matrix))
    scores = learned.users @ learned.items.T
    scores[matrix.nonzero()] = -np.inf
    assert (scores.argmax(1) == hidden).all()


def test_vectors_have_the_length_one_and_zeros_where_there_is_nothing():
    matrix = random_matrix(30, 25, 0.2, seed=4).tolil()
    matrix[3] = 0
    matrix[:, 7] = 0
    learned = segue.Contrastive(dim=4, epochs=3).fit(from_csr(sp.csr_matrix(matrix)))
    for vectors, empty in ((learned.users, 3), (learned.items, 7)):
        lengths = np.linalg.norm(vectors, axis=1)
        assert lengths[empty] == 0
        np.testing.assert_allclose(np.delete(lengths, empty), 1, rtol=1e-5)


def test_it_beats_popularity_on_simulated_data():
    data = segue.data.simulate(400, 200, 8000, seed=5)
    train, test = data.split(test=0.2, seed=0)
    model = segue.Contrastive(dim=16)
    found = segue.evaluate(segue.Recommender(model).fit(train), test, 10)
    assert found["ndcg@10"] > 1.1 * found.beside["popularity"]["ndcg@10"]


def test_the_temperature_follows_from_the_number_of_items():
    for items, temperature in ((200, 0.49), (6_000, 0.177), (40_000, 0.1), (10**6, 0.1), (2, 0.5)):
        had = from_csr(sp.csr_matrix(np.ones((2, items), np.float32)))
        assert segue.Contrastive().resolved(had).temperature == temperature
        assert segue.Contrastive(temperature=0.3).resolved(had).temperature == 0.3


def test_histories_fold_in_near_their_users():
    data = segue.data.simulate(300, 150, 6000, seed=6)
    settings = segue.Contrastive(dim=16, batch_size=64).resolved(data)
    learned = settings.fit(data)
    folding = settings.prepare_fold_in(learned)
    folded = folding.fold_in(data.matrix)
    np.testing.assert_allclose(np.linalg.norm(folded, axis=1), 1, rtol=1e-5)
    expected = learned.items[data.matrix[0].indices].sum(0)
    np.testing.assert_allclose(folded[0], expected / np.linalg.norm(expected), rtol=1e-4, atol=1e-6)
    assert np.einsum("ij,ij->i", folded, learned.users).mean() > 0.8
    assert not folding.fold_in(sp.csr_matrix((2, 150), dtype=np.float32)).any()


def test_same_seed_same_bytes_whatever_the_threads_and_other_seeds_differ():
    data = segue.data.simulate(300, 200, 6000, seed=7)
    first, second, other = (
        segue.Contrastive(dim=8, epochs=3, negatives=50, seed=seed, threads=workers).fit(data)
        for seed, workers in ((0, 1), (0, 2), (1, 1))
    )
    assert first.users.tobytes() == second.users.tobytes()
    assert first.items.tobytes() == second.items.tobytes()
    assert first.items.tobytes() != other.items.tobytes()


def test_progress_counts_epochs():
    told = []
    data = segue.data.simulate(30, 20, 200)
    segue.Contrastive(dim=2, epochs=3).fit(data, progress=lambda *step: told.append(step))
    assert told == [("training", done, 3) for done in range(4)]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"dim": 0}, r"Contrastive\(dim=0\) must be at least 1"),
        ({"layers": -1}, r"Contrastive\(layers=-1\) must be at least 0"),
        ({"temperature": 0.0}, r"Contrastive\(temperature=0.0\) must be at least 0.025"),
        ({"learning_rate": 0.0}, r"Contrastive\(learning_rate=0.0\) must be at least 1e-06"),
        ({"learning_rate": float("nan")}, r"Contrastive\(learning_rate=nan\)"),
        ({"negatives": 0}, r"Contrastive\(negatives=0\) must be at least 1"),
        ({"start": "svd"}, r"Contrastive\(start=.svd.\) must be one of .ials., .random."),
        ({"batch_size": 1.5}, r"Contrastive\(batch_size=1.5\) must be a whole number"),
    ],
)
def test_settings_that_cannot_be(setting, message):
    with pytest.raises(SettingError, match=message):
        segue.Contrastive(**setting)


def test_data_that_cannot_be_learned_from():
    with pytest.raises(DataError, match=r"1 user\(s\) and 3 item\(s\) leave nothing to learn"):
        segue.Contrastive().fit(from_csr(np.ones((1, 3))))


def test_it_starts_from_the_directions_of_ials_or_from_chance():
    data = segue.data.simulate(60, 50, 900, seed=8).compact()
    learned = segue.IALS(dim=6, iterations=8, seed=3).fit(data)
    begun = Training(segue.Contrastive(dim=6, seed=3), data).parameters
    vectors = np.vstack([learned.users, learned.items])
    cosines = (begun * vectors).sum(1) / np.linalg.norm(begun, axis=1) / np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(cosines, 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(begun, axis=1), 0.3 * np.sqrt(6), rtol=1e-5)
    chance = Training(segue.Contrastive(dim=6, seed=3, start="random"), data).parameters
    assert chance.std() == pytest.approx(0.1, rel=0.1)
    assert abs(np.corrcoef(chance.ravel(), begun.ravel())[0, 1]) < 0.2


@pytest.mark.parametrize(("users", "items"), [(1, 1), (5, 7), (130, 2048), (129, 4097)])
def test_softmax_against_naive_in_one_tile_and_many(users, items):
    training = Training(segue.Contrastive(dim=3), from_csr(random_matrix(9, 8, 0.5, seed=9)))
    rng = np.random.default_rng(users)
    theirs, others = (
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        for vectors in (rng.standard_normal((n, 3)).astype(np.float32) for n in (users, items))
    )
    totals = rng.random(users).astype(np.float32)
    losses, pushes, pulls = training.softmax(theirs, others, totals, np.float32(5), np.float32(0.2))
    scores = np.exp(theirs.astype(np.float64) @ others.T * 5)
    shares = 0.2 * totals[:, None] * scores / scores.sum(1, keepdims=True)
    np.testing.assert_allclose(losses, totals * np.log(scores.sum(1)), rtol=1e-4)
    np.testing.assert_allclose(pushes, shares @ others, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(pulls, shares.T @ theirs, rtol=1e-3, atol=1e-6)


def test_the_rate_falls_to_zero():
    training = Training(segue.Contrastive(dim=4, epochs=5, batch_size=10), segue.data.simulate(60, 50, 900))
    moved = []
    for _ in range(5):
        for users in training.batches():
            before = training.parameters.copy()
            training.step(users)
            moved.append(np.abs(training.parameters - before).max())
    assert len(moved) == training.total
    assert moved[0] == pytest.approx(0.03, rel=0.01), "the first step of Adam is the rate itself"
    assert moved[-1] < 0.03 / training.total * 5
    assert np.mean(moved[:5]) > 5 * np.mean(moved[-5:])
