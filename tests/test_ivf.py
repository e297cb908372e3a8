"""IVF: the codes of partitions against naive code, k-means on planted clusters, recall, widening, arrays."""

import numpy as np
import pytest
import scipy.sparse as sp

from segue.errors import DataError, SettingError
from segue.index import IVF, Exact
from segue.index.base import Neighbors
from segue.index.effort import least_effort
from segue.index.form import chosen_form
from segue.index.partitions import (
    average,
    encode,
    encode_centroids,
    k_means,
    nearest,
    pad_to_blocks,
    segment_starts,
)  # fmt: skip
from segue.kernels import ivf, scan, simd


def clustered(n, d, q, seed, clusters=50, norms=0.4):
    """Return vectors and queries of different lengths around the same centers."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((clusters, d))
    lengths = rng.lognormal(0, norms, (n, 1))
    vectors = (centers[rng.integers(clusters, size=n)] + 0.5 * rng.standard_normal((n, d))) * lengths
    queries = centers[rng.integers(clusters, size=q)] + 0.5 * rng.standard_normal((q, d))
    return vectors.astype(np.float32), queries.astype(np.float32)


def recall(found, exact):
    """The share of the true k best, by their scores."""
    return float((found.scores >= exact.scores[:, -1:] - 1e-6).mean())


@pytest.fixture(params=simd.usable())
def form(request, monkeypatch):
    monkeypatch.setenv("SEGUE_SIMD", request.param)
    return chosen_form()


@pytest.mark.parametrize("d", [1, 2, 5, 7, 13, 64, 65, 130])
def test_codes_approximate_the_vectors_within_their_bounds(d):
    rng = np.random.default_rng(d)
    vectors = (rng.standard_normal((300, d)) * rng.lognormal(0, 1, (300, 1))).astype(np.float32)
    where = rng.integers(0, 5, 300) * 2  # partitions 1, 3, … are empty
    _, _, sizes, ids = average(vectors, where, 10)
    order, bounds = pad_to_blocks(ids, sizes)
    cuts = segment_starts(d)
    coded = encode(vectors, order, bounds, cuts)
    assert sorted(order[order >= 0].tolist()) == list(range(300))
    groups, lines, seen = int(cuts[-1]), int(cuts[-1]) + len(cuts) - 1, 0
    for p in range(10):
        blocks = int(bounds[p + 1] - bounds[p])
        assert (where[order[bounds[p] * 16 : bounds[p + 1] * 16]][: sizes[p]] == p).all()
        part = coded.codes[bounds[p] * lines * 64 : bounds[p + 1] * lines * 64]
        first = part[: blocks * (cuts[1] + 1) * 64].reshape(blocks, cuts[1] + 1, 16, 4)
        rest = part[blocks * (cuts[1] + 1) * 64 :].reshape(blocks, lines - cuts[1] - 1, 16, 4)
        both = np.concatenate([first, rest], 1).transpose(0, 2, 1, 3).reshape(blocks * 16, lines, 4)
        starts = [int(cut) + s for s, cut in enumerate(cuts[:-1])]
        codes = np.delete(both, starts, 1).reshape(blocks * 16, groups * 4).astype(np.int64)
        for s, start in enumerate(starts):
            pairs = codes.reshape(blocks * 16, groups, 2, 2)[:, cuts[s] : cuts[s + 1]]
            begins = np.ascontiguousarray(both[:, start]).view(np.int16)
            np.testing.assert_array_equal(begins, -pairs.sum((1, 3)))
        members = order[bounds[p] * 16 : bounds[p] * 16 + sizes[p]]
        assert (codes[sizes[p] :] == 0).all()
        assert (codes[:, d:] == 0).all()
        stands = codes[: sizes[p], :d] / coded.bound_table[p, scan.INVERSE]
        slack = 1e-5 * (np.abs(vectors[members]).max() if len(members) else 0) * np.sqrt(d)
        for s in range(len(cuts) - 1):
            cut = min(d, 4 * int(cuts[s + 1]))
            known, error, beyond = coded.bound_table[p, scan.BOUNDS + 3 * s : scan.BOUNDS + 3 * s + 3]
            x = vectors[members].astype(np.float64)
            assert (np.linalg.norm(x[:, :cut], axis=1) <= known + slack).all()
            assert (np.linalg.norm((x - stands)[:, :cut], axis=1) <= error + slack).all()
            assert (np.linalg.norm(x[:, cut:], axis=1) <= beyond + slack).all()
        half_sq_norms = coded.half_sq_norms[bounds[p] * 16 : bounds[p] * 16 + sizes[p]]
        np.testing.assert_allclose(
            half_sq_norms, (vectors[members].astype(np.float64) ** 2).sum(1) / 2, rtol=1e-5
        )
        seen += sizes[p]
    assert seen == 300


@pytest.mark.parametrize("d", [1, 2, 7, 50, 66, 130])
@pytest.mark.parametrize("count", [1, 15, 16, 17, 70])
def test_nearest_mean_is_found_up_to_rounding(form, d, count):
    rng = np.random.default_rng(count)
    vectors = rng.standard_normal((400, d)).astype(np.float32)
    means = rng.standard_normal((count, d)).astype(np.float32)
    where = nearest(vectors, means, form)
    apart = ((vectors[:, None].astype(np.float64) - means[None]) ** 2).sum(2)
    taken = apart[np.arange(400), where]
    lengths = np.linalg.norm(vectors, axis=1) * np.abs(means).max() * np.sqrt(d)
    assert (taken <= apart.min(1) + 0.05 * lengths + 0.05).all()
    if d > 1:
        assert (taken == apart.min(1)).mean() > 0.8


def test_means_and_spreads_of_the_members():
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((500, 9)).astype(np.float32) * 3
    where = rng.integers(0, 70, 500)
    where[where == 4] = 5
    means, spreads, sizes, ids = average(vectors, where, 70)
    assert sizes[4] == 0
    for p in np.flatnonzero(sizes):
        members = vectors[where == p].astype(np.float64)
        np.testing.assert_allclose(means[p], members.mean(0), atol=1e-5)
        np.testing.assert_allclose(spreads[p], np.sqrt(((members - members.mean(0)) ** 2).mean()), atol=1e-5)
        assert (where[ids[sizes[:p].sum() : sizes[: p + 1].sum()]] == p).all()


def test_k_means_finds_planted_clusters(form):
    rng = np.random.default_rng(2)
    centers = 20 * rng.standard_normal((12, 10))
    vectors = (np.repeat(centers, 40, axis=0) + 0.1 * rng.standard_normal((480, 10))).astype(np.float32)
    turns = []
    means = k_means(vectors, 12, form, seed=0, report=turns.append)
    assert turns == [*range(1, 9)]
    apart = np.sqrt(((centers[:, None] - means[None]) ** 2).sum(2)).min(1)
    assert (apart < 1).sum() >= 10  # a few may share one, as k-means from random beginnings has it


@pytest.mark.parametrize("count", [1, 2, 17, 200])
def test_chosen_partitions_are_the_best(count):
    import numba

    choose = numba.njit(
        lambda sums, wanted, along, order: ivf.choose(sums, len(sums) - 3, wanted, along, order)
    )
    rng = np.random.default_rng(count)
    spiked = rng.integers(-9, 9, 221)
    spiked[100] = 10**6
    for sums in (rng.integers(-(10**6), 10**6, 221), rng.integers(0, 3, 221), np.zeros(221, int), spiked):
        given = np.r_[sums, np.full(3, 2**30)].astype(np.int32)  # three of the last block are none
        order = np.empty(224, np.int32)
        choose(given, count, np.empty(224, np.float32), order)
        chosen = order[:count]
        assert len(set(chosen.tolist())) == count
        assert (chosen < 221).all()
        best = np.sort(sums)[::-1]
        assert sorted(sums[chosen].tolist(), reverse=True) == best[:count].tolist()
        assert sums[chosen[0]] == best[0]
        assert sorted(sums[chosen[:8]].tolist(), reverse=True) == best[: min(8, count)].tolist()


@pytest.mark.parametrize("metric", ["dot", "cosine", "euclidean"])
@pytest.mark.parametrize("d", [1, 2, 13, 50, 70])
def test_all_partitions_together_are_exact_in_every_form(form, metric, d):
    vectors, queries = clustered(3000, d, 40, seed=d)
    index = IVF(partitions=40, probes=3, metric=metric).build(vectors)
    exact = Exact(metric=metric).build(vectors).search(queries, 12)
    for effort in (len(index.partitions.centroids), 10**9):
        found = index.search(queries, 12, effort=effort)
        np.testing.assert_array_equal(found.ids, exact.ids)
        np.testing.assert_array_equal(found.scores, exact.scores)
        assert (found.examined >= 3000).all()


@pytest.mark.parametrize("metric", ["dot", "cosine", "euclidean"])
def test_recall_reaches_its_target_and_grows_with_effort(metric):
    vectors, queries = clustered(20_000, 24, 600, seed=3)
    exact = Exact(metric=metric).build(vectors).search(queries[:300], 10)
    for target in (0.8, 0.99):
        index = IVF(metric=metric, recall=target).build(vectors, queries=queries[300:])
        assert recall(index.search(queries[:300], 10), exact) >= target - 0.02
    found = [recall(index.search(queries[:300], 10, effort=effort), exact) for effort in (1, 4, 16, 64)]
    assert found == sorted(found)
    assert found[0] < 0.9 < found[-1]
    most = index.search(queries[:300], 10, effort=len(index.partitions.centroids) - 1)
    assert recall(most, exact) >= 0.998
    few = index.search(queries[:300], 10, effort=4)
    assert few.examined.mean() < 0.1 * len(vectors)


def test_vectors_replace_missing_sample_queries():
    vectors, queries = clustered(10_000, 16, 300, seed=4)
    index = IVF(recall=0.9).build(vectors)
    exact = Exact().build(vectors).search(queries, 10)
    assert 1 <= index.probes < len(index.partitions.centroids)
    assert recall(index.search(queries, 10), exact) > 0.7


class Fading:
    """An index that finds each of the 10 best with the probability effort / 1000, the same ones each time."""

    def __init__(self, seed, count):
        self.vectors = np.zeros((1, 2), np.float32)
        self.luck = np.random.default_rng(seed).random((count, 10))

    def search(self, queries, k, *, exclude, effort):
        scores = np.where(self.luck[: len(queries)] * 1000 < effort, np.arange(20, 10, -1), 0.0)
        return Neighbors(
            np.zeros(scores.shape, np.int32), np.float32(scores), np.zeros(len(queries), np.int64)
        )


def test_least_effort_allows_for_sampling_error():
    queries = np.zeros((500, 2), np.float32)
    chosen = [least_effort(Fading(seed, 500), queries, 1000, 0.9, 500) for seed in range(40)]
    assert np.mean(np.array(chosen) >= 900) > 0.9  # half of them without room
    assert np.mean(chosen) < 920
    assert least_effort(Fading(0, 500), queries, 1000, 1.0, 500) == 1000


def test_few_partitions_still_give_k_results():
    vectors, queries = clustered(5000, 8, 30, seed=5)
    index = IVF(partitions=100, probes=1).build(vectors)
    rng = np.random.default_rng(6)
    excluded = sp.random(30, 5000, 0.3, "csr", np.float32, rng)
    for k in (10, 400):
        found = index.search(queries, k, exclude=excluded)
        assert (found.ids >= 0).all()
        scores = (queries @ vectors.T)[np.arange(30)[:, None], found.ids]
        np.testing.assert_allclose(found.scores, scores, rtol=1e-4, atol=1e-4)
        for row in range(30):
            assert len(set(found.ids[row].tolist())) == k
            left_out = excluded.indices[excluded.indptr[row] : excluded.indptr[row + 1]]
            assert not set(found.ids[row].tolist()) & set(left_out.tolist())
    everything = index.search(queries, 5000)
    np.testing.assert_array_equal(np.sort(everything.ids, axis=1), np.tile(np.arange(5000), (30, 1)))
    assert (everything.examined <= 5000 + 100 * 16).all()


def test_an_allow_list_keeps_its_recall():
    vectors, queries = clustered(20_000, 24, 600, seed=7)
    index = IVF(recall=0.95).build(vectors, queries=queries[300:])
    allow = np.random.default_rng(8).random(20_000) < 0.05
    found = index.search(queries[:300], 10, allow=allow)
    assert allow[found.ids].all()
    assert recall(found, Exact().build(vectors).search(queries[:300], 10, allow=allow)) > 0.9


@pytest.mark.parametrize("metric", ["dot", "euclidean"])
def test_the_same_bytes_from_any_number_of_threads_and_queries(metric, monkeypatch):
    vectors, queries = clustered(6000, 20, 200, seed=9)
    made = IVF(metric=metric)
    monkeypatch.setenv("SEGUE_THREADS", "1")
    one = made.build(vectors)
    alone = [one.search(queries[q : q + 1], 10) for q in range(20)]
    monkeypatch.setenv("SEGUE_THREADS", "3")
    three = made.build(vectors)
    for name, array in one.arrays().items():
        assert array.tobytes() == three.arrays()[name].tobytes(), name
    together = three.search(queries, 10)
    for q, found in enumerate(alone):
        np.testing.assert_array_equal(found.ids[0], together.ids[q])
        np.testing.assert_array_equal(found.scores[0], together.scores[q])
        assert found.examined[0] == together.examined[q]


def test_equal_vectors_make_one_partition():
    vectors = np.tile(np.array([[1.0, -2.0, 0.5]], np.float32), (2000, 1))
    index = IVF(partitions=20).build(vectors)
    assert len(index.partitions.centroids) == 1
    assert index.search(vectors[:1], 5).ids.tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metric": "hamming"}, r"IVF\(metric='hamming'\) must be one of 'dot', 'cosine', 'euclidean'"),
        ({"partitions": 0}, r"IVF\(partitions=0\) must be a whole number of at least 1"),
        ({"probes": 1.5}, r"IVF\(probes=1.5\) must be a whole number of at least 1"),
        ({"recall": 0}, r"IVF\(recall=0\) must be above 0 and at most 1"),
        ({"recall": "much"}, r"IVF\(recall='much'\) must be above 0 and at most 1"),
    ],
)
def test_invalid_settings(settings, message):
    with pytest.raises(SettingError, match=message):
        IVF(**settings)


def test_invalid_effort():
    index = IVF().build(np.eye(4, dtype=np.float32))
    with pytest.raises(SettingError, match="effort=0 must be a whole number of at least 1"):
        index.search(np.ones((1, 4)), 1, effort=0)


def test_efforts_go_from_one_partition_to_all():
    index = IVF(partitions=50, probes=1).build(clustered(2000, 6, 1, seed=10)[0])
    efforts = index.efforts(10)
    assert (efforts[0], efforts[-1]) == (1, len(index.partitions.centroids))
    assert efforts == sorted(set(efforts))


def broken(name, array):
    """Yield invalid versions of an array."""
    yield array[:-1] if array.size else np.zeros(3, array.dtype)
    yield array.astype(np.float16)
    if name in ("order", "block_starts", "probes"):
        for value in (-5, 10**6):
            wrong = array.copy()
            wrong[len(wrong) // 2] = value
            yield wrong
    if name == "order":
        yield np.where(array == 5, 6, array)
    if array.dtype.kind == "f" and array.size:
        wrong = array.copy()
        wrong.flat[0] = np.nan
        yield wrong


@pytest.mark.parametrize("metric", ["dot", "euclidean"])
def test_inconsistent_arrays_raise(metric):
    made = IVF(metric=metric, partitions=30, probes=2)
    arrays = made.build(clustered(1000, 70, 1, seed=11)[0]).arrays()
    for name in arrays:
        with pytest.raises(DataError, match=f"the index lacks the arrays {name}; build it again"):
            made.from_arrays({key: value for key, value in arrays.items() if key != name})
        for wrong in broken(name, arrays[name]) if name != "vectors" else [arrays[name][:-1]]:
            with pytest.raises(DataError, match="do not fit together"):
                made.from_arrays({**arrays, name: wrong})


def test_centroids_are_encoded_like_one_partition_of_four_blocks():
    means = np.random.default_rng(12).standard_normal((20, 6)).astype(np.float32)
    coded = encode_centroids(means, segment_starts(6))
    assert coded.codes.shape == (4 * 3 * 64,)
    assert (coded.codes.reshape(4, 3, 16, 4).transpose(0, 2, 1, 3).reshape(64, 12)[20:] == 0).all()
    assert coded.bound_table.shape == (1, scan.BOUNDS + 3)
    np.testing.assert_allclose(
        coded.half_sq_norms[:20], (means.astype(np.float64) ** 2).sum(1) / 2, rtol=1e-6
    )
