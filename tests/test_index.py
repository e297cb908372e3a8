"""The contract of every index: results of `search`, filters and errors."""

import threading

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.errors import DataError, SettingError
from segue.index import INDEXES, Exact

METRICS = ["dot", "cosine", "euclidean", "manhattan", "hamming"]
EVERYTHING = 10**6  # an effort that searches all items
each_metric = pytest.mark.parametrize(
    ("kind", "metric"),
    [(INDEXES[name], metric) for name in sorted(INDEXES) for metric in INDEXES[name].METRICS],
)


@pytest.fixture(scope="module", autouse=True)
def patient_auto():
    """Make Auto choose Exact, independent of the speed of the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("segue.index.auto.ENOUGH", {"batch": np.inf, "single": np.inf})
        yield


@pytest.fixture(params=sorted(INDEXES))
def kind(request):
    return INDEXES[request.param]


def similarity(metric, queries, vectors):
    """Scores in float64, higher is nearer."""
    q, x = queries.astype(np.float64), vectors.astype(np.float64)
    if metric == "dot":
        return q @ x.T
    if metric == "cosine":
        lengths = np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(x, axis=1)[None]
        return np.divide(q @ x.T, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    apart = q[:, None] - x[None]
    return -np.abs(apart).sum(2) if metric in ("manhattan", "hamming") else -np.sqrt((apart**2).sum(2))


def check_against_naive(found, scores, eligible, k):
    """Check each row: min(k, eligible) distinct eligible items, in order, and no better item is missing."""
    ids, values, _ = found
    for q in range(len(scores)):
        allowed = np.flatnonzero(eligible[q])
        count = min(k, len(allowed))
        got = ids[q, :count]
        assert (ids[q, count:] == -1).all()
        assert (values[q, count:] == -np.inf).all()
        assert len(set(got.tolist())) == count
        assert set(got.tolist()) <= set(allowed.tolist())
        tolerance = 1e-5 * max(1.0, np.abs(scores[q]).max())
        np.testing.assert_allclose(values[q, :count], scores[q, got], atol=30 * tolerance, rtol=1e-4)
        best = np.sort(scores[q, allowed])[::-1][:count]
        np.testing.assert_allclose(np.sort(scores[q, got])[::-1], best, atol=tolerance)
        pairs = list(zip((-values[q, :count]).tolist(), got.tolist(), strict=True))
        assert pairs == sorted(pairs), "order: score descending, then id ascending"


def random_case(n, d, q, seed, metric="dot"):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n, d)) * rng.lognormal(0, 0.7, (n, 1))
    queries = rng.standard_normal((q, d))
    if metric == "hamming":
        vectors, queries = vectors > 0, queries > 0
    return vectors.astype(np.float32), queries.astype(np.float32)


@each_metric
@pytest.mark.parametrize("d", [1, 2, 5, 7, 13, 64, 130])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (1, 5), (3, 2), (17, 17), (100, 10), (1000, 100), (50, 80)])
def test_answers_are_the_nearest(kind, metric, d, n, k):
    vectors, queries = random_case(n, d, 9, d * 1000 + n, metric)
    found = kind(metric=metric).build(vectors).search(queries, k, effort=EVERYTHING)
    assert found.ids.shape == found.scores.shape == (9, k)
    assert (found.ids.dtype, found.scores.dtype, found.examined.dtype) == (np.int32, np.float32, np.int64)
    assert found.examined.shape == (9,)
    check_against_naive(found, similarity(metric, queries, vectors), np.ones((9, n), bool), k)


@each_metric
def test_filters_keep_k_results(kind, metric):
    vectors, queries = random_case(200, 8, 40, 5, metric)
    rng = np.random.default_rng(6)
    excluded = sp.random(40, 200, 0.3, "csr", np.float32, rng).toarray()
    excluded[3] = np.ones(200)  # no item is eligible for query 3
    excluded[4] = np.r_[np.ones(199), 0]  # one item is eligible for query 4
    excluded = sp.csr_matrix(excluded)
    scores = similarity(metric, queries, vectors)
    kept = excluded.toarray() == 0
    one = rng.random(200) < 0.5
    each = rng.random((40, 200)) < np.linspace(0, 0.2, 40)[:, None]
    index, effort = kind(metric=metric).build(vectors), EVERYTHING
    for k in (1, 10, 150):
        check_against_naive(index.search(queries, k, exclude=excluded, effort=effort), scores, kept, k)
        check_against_naive(
            index.search(queries, k, allow=one, effort=effort), scores, np.tile(one, (40, 1)), k
        )
        check_against_naive(
            index.search(queries, k, allow=one[None], effort=effort), scores, np.tile(one, (40, 1)), k
        )
        check_against_naive(index.search(queries, k, allow=each, effort=effort), scores, each, k)
        found = index.search(queries, k, exclude=excluded, allow=each, effort=effort)
        check_against_naive(found, scores, kept & each, k)


def test_exclusions_with_unsorted_and_repeated_indices(kind):
    vectors, queries = random_case(20, 4, 2, seed=7)
    excluded = sp.csr_matrix((np.ones(5), np.array([9, 2, 2, 0, 19]), np.array([0, 3, 5])), (2, 20))
    kept = np.ones((2, 20), bool)
    kept[0, [9, 2]] = kept[1, [0, 19]] = False
    found = kind().build(vectors).search(queries, 20, exclude=excluded, effort=EVERYTHING)
    check_against_naive(found, similarity("dot", queries, vectors), kept, 20)


@each_metric
def test_ties_go_to_the_lower_id(kind, metric):
    vectors = np.tile(np.array([[1.0, 2.0, -1.0]], np.float32), (50, 1))
    vectors[30:] = [0.5, 0.1, 0.3]
    query = np.array([[1.0, 2.0, -1.0]], np.float32)
    if metric == "hamming":
        vectors, query = (vectors > 0.4).astype(np.float32), (query > 0).astype(np.float32)
    found = kind(metric=metric).build(vectors).search(query, 40, effort=EVERYTHING)
    assert found.ids[0].tolist() == [*range(30), *range(30, 40)]


@each_metric
def test_degenerate_vectors(kind, metric):
    rng = np.random.default_rng(8)
    ordinary = rng.standard_normal((60, 6)).astype(np.float32)
    giant, zeros, tiny = ordinary.copy(), ordinary.copy(), ordinary * np.float32(1e-30)
    giant[17] *= 1e6
    zeros[::2] = 0
    denormal = (ordinary * np.float32(1e-38)) * np.float32(1e-4)
    assert 0 < np.abs(denormal).max() < np.finfo(np.float32).tiny
    for vectors in (giant, zeros, tiny, denormal, np.zeros((60, 6), np.float32)):
        for queries in (ordinary[:5], giant[15:20], denormal[:3], np.zeros((2, 6), np.float32)):
            if metric == "hamming":
                vectors, queries = (vectors > 0).astype(np.float32), (queries > 0).astype(np.float32)
            found = kind(metric=metric).build(vectors).search(queries, 7, effort=EVERYTHING)
            eligible = np.ones((len(queries), 60), bool)
            check_against_naive(found, similarity(metric, queries, vectors), eligible, 7)


def test_single_query_and_batch_give_the_same_bytes(kind):
    vectors, queries = random_case(3000, 33, 200, seed=9)
    index = kind().build(vectors)
    many = index.search(queries, 20)
    for q in range(0, 200, 17):
        one = index.search(queries[q : q + 1], 20)
        assert one.ids.tobytes() == many.ids[q].tobytes()
        assert one.scores.tobytes() == many.scores[q].tobytes()


def test_no_queries(kind):
    found = kind().build(np.ones((3, 2), np.float32)).search(np.empty((0, 2), np.float32), 4)
    assert found.ids.shape == (0, 4)
    assert found.examined.shape == (0,)


def test_splitting_a_search_into_parts_changes_nothing(kind, monkeypatch):
    vectors, queries = random_case(100, 5, 30, seed=10)
    excluded = sp.random(30, 100, 0.2, "csr", np.float32, np.random.default_rng(1))
    allow = np.random.default_rng(2).random((30, 100)) < 0.5
    index = kind().build(vectors)
    whole = index.search(queries, 6, exclude=excluded, allow=allow)
    monkeypatch.setattr("segue.index.base.PART", 7)
    heard = []
    parts = index.search(
        queries,
        6,
        exclude=excluded,
        allow=allow,
        progress=lambda what, done, total: heard.append((done, total)),
    )
    assert heard == [(0, 30), (7, 30), (14, 30), (21, 30), (28, 30), (30, 30)]
    for ours, theirs in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_build_reports_progress(kind):
    vectors, _ = random_case(400, 6, 1, seed=12)
    heard = []
    kind().build(vectors, progress=lambda what, done, total, *values: heard.append((what, done, total)))
    assert {(what, total) for what, _, total in heard} == {("indexing", 400)}
    counts = [done for _, done, _ in heard]
    assert counts == sorted(counts)
    assert counts[0] in (0, 1)
    assert counts[-1] == 400


@each_metric
def test_arrays_round_trip(kind, metric):
    vectors, queries = random_case(80, 7, 5, 11, metric)
    made = kind(metric=metric)
    index = made.build(vectors)
    kept = {name: array.copy() for name, array in index.arrays().items()}
    for array in kept.values():
        array.flags.writeable = False
    again = made.from_arrays(kept)
    for ours, theirs in zip(index.search(queries, 9), again.search(queries, 9), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(DataError, match="dimensions"):
        again.search(np.ones((1, 8), np.float32), 1)


def test_searching_from_many_threads(kind):
    vectors, queries = random_case(500, 16, 64, seed=12)
    index = kind().build(vectors)
    expected = index.search(queries, 10).ids
    wrong = []

    def ask(me):
        found = [index.search(queries[me::8], 10).ids for _ in range(10)]
        wrong.extend(me for ids in found if not np.array_equal(ids, expected[me::8]))

    askers = [threading.Thread(target=ask, args=(me,)) for me in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(60)
    assert not wrong


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 40),
    d=st.integers(1, 9),
    k=st.integers(1, 50),
    coarse=st.booleans(),
    metric=st.sampled_from(METRICS),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_shape_with_any_filter(n, d, k, coarse, metric, seed):
    rng = np.random.default_rng(seed)
    vectors, queries = rng.standard_normal((n, d)), rng.standard_normal((4, d))
    if coarse:  # many equal scores
        vectors, queries = np.round(vectors), np.round(queries)
    if metric == "hamming":
        vectors, queries = vectors > 0, queries > 0
    vectors, queries = vectors.astype(np.float32), queries.astype(np.float32)
    excluded = sp.random(4, n, 0.3, "csr", np.float32, rng)
    allow = rng.random((4, n)) < 0.8
    eligible = allow & (excluded.toarray() == 0)
    for name in INDEXES:
        if metric in INDEXES[name].METRICS:
            index = INDEXES[name](metric=metric).build(vectors)
            found = index.search(queries, k, exclude=excluded, allow=allow, effort=EVERYTHING)
            check_against_naive(found, similarity(metric, queries, vectors), eligible, k)


BAD = np.array([[1.0, np.nan]], np.float32)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (
            np.ones(3, np.float32),
            r"the vectors must be \(n, dim\), one vector per row, not 1-dimensional \(3,\)",
        ),
        (np.ones((0, 3), np.float32), "no vectors to search in"),
        (np.ones((3, 0), np.float32), "the vectors have no dimensions"),
        (BAD, "the vectors must be finite, but row 0 holds NaN or infinity"),
        (np.array([[1.0], [np.inf]], np.float32), "row 1 holds NaN or infinity"),
        (
            np.array([[1.0, 2.0], [3.0, -2e15]], np.float32),
            r"the vectors may hold values up to 1e\+15, but row 1 has 2e\+15, whose products can overflow",
        ),
    ],
)
def test_invalid_vectors(kind, vectors, message):
    with pytest.raises(DataError, match=message):
        kind().build(vectors)


@pytest.mark.parametrize(
    ("error", "queries", "arguments", "message"),
    [
        (DataError, np.ones((1, 3)), {"k": 1}, "queries have 3 dimensions, but the index holds vectors of 2"),
        (DataError, BAD, {"k": 1}, "queries must be finite"),
        (SettingError, np.ones((1, 2)), {"k": 0}, "k=0 must be a whole number of at least 1"),
        (SettingError, np.ones((1, 2)), {"k": 1.5}, "k=1.5 must be a whole number"),
        (SettingError, np.ones((1, 2)), {"k": True}, "k=True must be a whole number"),
        (
            DataError,
            np.ones((1, 2)),
            {"k": 1, "exclude": sp.csr_matrix((2, 5))},
            r"queries × items, \(1, 5\)",
        ),
        (DataError, np.ones((1, 2)), {"k": 1, "allow": np.ones(4, bool)}, r"must be \(5,\) or \(1, 5\)"),
        (
            DataError,
            np.ones((1, 2)),
            {"k": 1, "allow": np.array([0, 1, 2, 3, 4])},
            "must be a bitmap of bool",
        ),
    ],
)
def test_invalid_searches(kind, error, queries, arguments, message):
    index = kind().build(np.ones((5, 2), np.float32))
    with pytest.raises(error, match=message):
        index.search(queries, **arguments)


def test_exclude_outside_the_items(kind):
    broken = sp.csr_matrix((1, 5), dtype=np.float32)
    broken.indices, broken.data = np.array([7], np.int32), np.ones(1, np.float32)
    broken.indptr = np.array([0, 1], np.int32)
    with pytest.raises(DataError, match=r"outside 0\.\.4"):
        kind().build(np.ones((5, 2), np.float32)).search(np.ones((1, 2)), 1, exclude=broken)


def test_unknown_metric_error_lists_the_metrics():
    with pytest.raises(SettingError, match="'dot', 'cosine', 'euclidean', 'manhattan', 'hamming'"):
        Exact(metric="taxicab")
