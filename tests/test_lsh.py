"""LSH: codes and the order of probes against naive code, ranges of lengths, recall, arrays."""

import itertools

import numba
import numpy as np
import pytest

from segue.errors import DataError, SettingError
from segue.index import LSH, Exact
from segue.kernels import lsh


def recommender_like(n, d, q, seed):
    """Vectors whose lengths differ, and queries."""
    rng = np.random.default_rng(seed)
    axes = rng.standard_normal((d, d)) * np.linspace(2, 0.2, d)
    vectors = rng.standard_normal((n, d)) @ axes * rng.lognormal(0, 0.5, (n, 1))
    return vectors.astype(np.float32), (rng.standard_normal((q, d)) @ axes).astype(np.float32)


def recall(found, exact):
    return float((found.scores >= exact.scores[:, -1:] - 1e-6).mean())


@pytest.mark.parametrize("d", [1, 2, 5, 7, 13])
def test_codes_are_the_sides_of_the_planes(d):
    rng = np.random.default_rng(d)
    X, lifts = rng.standard_normal((50, d)).astype(np.float32), rng.random(50).astype(np.float32)
    planes = rng.standard_normal((3 * 6, d + 1)).astype(np.float32)
    codes = np.zeros((3, 50), np.int32)
    lsh.hash_items(X, lifts, planes, 6, 10, 50, codes)
    sides = np.column_stack([X, lifts]).astype(np.float64) @ planes.T.astype(np.float64) > 0
    naive = (sides.reshape(50, 3, 6) << np.arange(6)).sum(2).T
    np.testing.assert_array_equal(codes[:, 10:], naive[:, 10:])
    assert (codes[:, :10] == 0).all()


@pytest.mark.parametrize("bits", [1, 2, 5, 8])
def test_flips_come_in_the_order_of_their_cost(bits):
    @numba.njit
    def cheapest(sides, probes):
        masks = np.empty(probes, np.int32)
        room = 2 * probes + 2
        order = np.empty(len(sides), np.int32)
        lsh.cheapest_flips(sides, order, np.empty(room, np.float32), np.empty(room, np.int32), masks)
        return masks

    sides = np.random.default_rng(bits).integers(1, 10**6, bits).astype(np.float32)
    sizes = range(bits + 1)
    sets = itertools.chain.from_iterable(itertools.combinations(range(bits), size) for size in sizes)
    costs = {sum(1 << b for b in flipped): sum(float(sides[b]) for b in flipped) for flipped in sets}
    for probes in (1, 2**bits // 2, 2**bits):
        masks = cheapest(sides, probes).tolist()
        assert len(set(masks)) == probes
        np.testing.assert_allclose([costs[mask] for mask in masks], sorted(costs.values())[:probes])


@pytest.mark.parametrize("metric", ["dot", "cosine", "euclidean"])
@pytest.mark.parametrize("d", [1, 2, 13, 40])
def test_all_buckets_together_are_exact(metric, d):
    vectors, queries = recommender_like(3000, d, 40, seed=d)
    index = LSH(tables=2, bits=5, probes=1, metric=metric).build(vectors)
    exact = Exact(metric=metric).build(vectors).search(queries, 12)
    for effort in (32, 10**9):
        found = index.search(queries, 12, effort=effort)
        np.testing.assert_array_equal(found.ids, exact.ids)
        np.testing.assert_array_equal(found.scores, exact.scores)


@pytest.mark.parametrize("metric", ["dot", "cosine", "euclidean"])
def test_recall_reaches_its_target_and_grows_with_effort(metric):
    vectors, queries = recommender_like(8000, 12, 400, seed=3)
    exact = Exact(metric=metric).build(vectors).search(queries[:200], 10)
    index = LSH(metric=metric, recall=0.9).build(vectors, queries=queries[200:])
    assert recall(index.search(queries[:200], 10), exact) >= 0.85
    found = [index.search(queries[:200], 10, effort=effort) for effort in (1, 2, 4, 8, 10**6)]
    assert [recall(one, exact) for one in found] == sorted(recall(one, exact) for one in found)
    assert found[0].examined.mean() < found[3].examined.mean() < len(vectors)
    assert recall(found[0], exact) < 0.95


def test_ranges_of_lengths_serve_an_inner_product():
    vectors, _ = recommender_like(20_000, 16, 1, seed=4)
    index = LSH(probes=4).build(vectors)
    assert index.buckets.starts.shape[1] == 32
    assert (np.diff(index.buckets.max_lengths) <= 0).all()
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    for r in range(32):
        members = index.buckets.items[0, index.buckets.starts[0, r, 0] : index.buckets.starts[0, r, -1]]
        assert len(members) == 625
        assert lengths[members].max() <= index.buckets.max_lengths[r]
        assert r == 31 or lengths[members].min() >= index.buckets.max_lengths[r + 1] * (1 - 1e-5)
    longest = np.argsort(-lengths)[:10]
    found = index.search(vectors[longest], 1, effort=10**6)
    assert (found.examined < 20_000).all(), "shorter ranges that cannot matter are left out"


def test_few_buckets_still_give_k_results():
    vectors, queries = recommender_like(2000, 8, 20, seed=5)
    index = LSH(tables=1, bits=9, probes=1, metric="cosine").build(vectors)
    exact = Exact("cosine").build(vectors)
    found = index.search(queries, 2000)
    np.testing.assert_array_equal(found.ids, exact.search(queries, 2000).ids)
    allow = np.random.default_rng(6).random(2000) < 0.2
    some = index.search(queries, 30, allow=allow)
    assert (some.ids >= 0).all()
    assert allow[some.ids].all()
    assert all(len(set(row)) == 30 for row in some.ids.tolist())


def test_the_same_bytes_from_any_number_of_threads_and_queries(monkeypatch):
    vectors, queries = recommender_like(4000, 10, 100, seed=7)
    monkeypatch.setenv("SEGUE_THREADS", "1")
    one = LSH().build(vectors)
    alone = [one.search(queries[q : q + 1], 10) for q in range(20)]
    monkeypatch.setenv("SEGUE_THREADS", "3")
    three = LSH().build(vectors)
    for name, array in one.arrays().items():
        assert array.tobytes() == three.arrays()[name].tobytes(), name
    together = three.search(queries, 10)
    for q, found in enumerate(alone):
        np.testing.assert_array_equal(found.ids[0], together.ids[q])
        assert found.examined[0] == together.examined[q]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metric": "manhattan"}, r"LSH\(metric='manhattan'\) must be one of 'dot', 'cosine', 'euclidean'"),
        ({"tables": 0}, r"LSH\(tables=0\) must be a whole number of at least 1"),
        ({"bits": True}, r"LSH\(bits=True\) must be a whole number from 1 to 20"),
        ({"bits": 21}, r"LSH\(bits=21\) must be a whole number from 1 to 20"),
        ({"probes": -1}, r"LSH\(probes=-1\) must be a whole number of at least 1"),
        ({"recall": 1.1}, r"LSH\(recall=1.1\) must be above 0 and at most 1"),
    ],
)
def test_invalid_settings(settings, message):
    with pytest.raises(SettingError, match=message):
        LSH(**settings)


@pytest.mark.parametrize("metric", ["dot", "euclidean"])
def test_inconsistent_arrays_raise(metric):
    made = LSH(metric=metric, tables=2, bits=4, probes=2)
    arrays = made.build(recommender_like(1200, 9, 1, seed=8)[0]).arrays()
    for name, array in arrays.items():
        with pytest.raises(DataError, match=f"the index lacks the arrays {name}; build it again"):
            made.from_arrays({key: value for key, value in arrays.items() if key != name})
        wrong = [array[:-1] if array.size else np.zeros(3, np.float32), array.astype(np.float16)]
        if array.dtype.kind == "i":
            for value in (-1, 10**6):
                spoilt = array.copy()
                spoilt.flat[array.size // 2] = value
                wrong.append(spoilt)
        elif name != "vectors" and array.size:
            spoilt = array.copy()
            spoilt.flat[0] = np.nan
            wrong.append(spoilt)
        for spoilt in wrong:
            with pytest.raises(DataError, match="do not fit together"):
                made.from_arrays({**arrays, name: spoilt})
