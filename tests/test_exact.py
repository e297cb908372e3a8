"""Exact search: codes and bounds against naive twins, forms against each other, and the limits."""

import os
import subprocess
import sys
from itertools import pairwise

import numba
import numpy as np
import pytest
import scipy.sparse as sp

from segue.errors import DataError, SettingError
from segue.index import Exact
from segue.index.form import chosen_form
from segue.index.layout import build_layout
from segue.kernels import scan, simd
from segue.kernels.codes import encode


@pytest.fixture(params=simd.usable())
def form(request, monkeypatch):
    monkeypatch.setenv("SEGUE_SIMD", request.param)
    return request.param


def whole_numbers(n, d, q, seed, largest=3):
    """Vectors whose products are exact in float32, with many ties."""
    rng = np.random.default_rng(seed)
    draw = rng.integers(-largest, largest + 1, (n + q, d)).astype(np.float32)
    return draw[:n], draw[n:]


def like_a_recommender(n, d, q, seed):
    """Vectors in clusters, of all lengths, in many of which the best are not the longest."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((30, d)) * np.linspace(2, 0.2, d)
    vectors = (centers[rng.integers(30, size=n)] + 0.4 * rng.standard_normal((n, d))) * rng.lognormal(
        0, 0.5, (n, 1)
    )
    queries = centers[rng.integers(30, size=q)] + 0.5 * rng.standard_normal((q, d))
    return vectors.astype(np.float32), queries.astype(np.float32)


def best(scores, k):
    """Ids by score descending, then by id: (q, k)."""
    return np.lexsort((np.broadcast_to(np.arange(scores.shape[1]), scores.shape), -scores))[:, :k]


@pytest.mark.parametrize("k", [1, 10, 200, 3000])
@pytest.mark.parametrize(("n", "d"), [(3000, 3), (3000, 16), (2500, 33), (1500, 130)])
def test_the_same_ids_as_brute_force_and_ties_by_id(form, n, d, k):
    vectors, queries = whole_numbers(n, d, 150, seed=n + d)
    found = Exact().build(vectors, queries=queries).search(queries, k)
    scores = queries @ vectors.T
    expected = best(scores, k)
    np.testing.assert_array_equal(found.ids[:, : expected.shape[1]], expected)
    np.testing.assert_array_equal(
        found.scores[:, : expected.shape[1]], np.take_along_axis(scores, expected, 1)
    )


@pytest.mark.parametrize("metric", ["dot", "cosine", "euclidean"])
@pytest.mark.parametrize("d", [8, 20, 64, 200])
def test_bounds_never_prune_a_better_item(form, metric, d):
    vectors, queries = like_a_recommender(6000, d, 130, seed=d)
    found = Exact(metric).build(vectors, queries=queries).search(queries, 10)
    x, q = vectors.astype(np.float64), queries.astype(np.float64)
    if metric == "cosine":
        x, q = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, q))
    scores = q @ x.T
    if metric == "euclidean":
        scores = -np.sqrt(np.maximum((q**2).sum(1)[:, None] + (x**2).sum(1) - 2 * scores, 0))
    tenth = np.sort(scores, axis=1)[:, -10]
    slack = 1e-5 * np.abs(scores).max()
    got = np.take_along_axis(scores, found.ids.astype(np.int64), 1)
    assert (got >= tenth[:, None] - slack).all()
    np.testing.assert_allclose(found.scores, got, atol=slack)
    assert found.examined.mean() < 0.1 * len(vectors)  # the bounds do rule most out


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("metric", ["dot", "euclidean"])
def test_long_vectors_behind_short_ones_are_found(metric, sign):
    """Inside a band direction decides the order, so that shelves of small norms can come first."""
    rng = np.random.default_rng(12)
    long = np.eye(8)[0] * rng.uniform(1, 2, (400, 1)) + 0.3 * rng.standard_normal((400, 8))
    short = -0.1 * np.eye(8)[0] + 0.01 * rng.standard_normal((400, 8))
    vectors = sign * np.concatenate([short, long]).astype(np.float32)
    queries = sign * (np.eye(8)[0] * 2 + 0.5 * rng.standard_normal((50, 8))).astype(np.float32)
    found = Exact(metric).build(vectors).search(queries, 60)
    apart = ((queries[:, None].astype(np.float64) - vectors[None]) ** 2).sum(2)
    scores = queries.astype(np.float64) @ vectors.T if metric == "dot" else -np.sqrt(apart)
    np.testing.assert_allclose(found.scores, -np.sort(-scores, axis=1)[:, :60], rtol=1e-4, atol=1e-5)


def test_all_forms_give_the_same_bytes(monkeypatch):
    vectors, queries = like_a_recommender(5000, 40, 100, seed=1)
    answers = {}
    for name in simd.usable():
        monkeypatch.setenv("SEGUE_SIMD", name)
        answers[name] = Exact().build(vectors, queries=queries).search(queries, 20)
    for found in answers.values():
        np.testing.assert_array_equal(found.ids, answers["plain"].ids)
        np.testing.assert_array_equal(found.scores, answers["plain"].scores)


def test_form_setting_and_invalid_forms(monkeypatch):
    monkeypatch.setenv("SEGUE_SIMD", "plain")
    assert chosen_form() == simd.FORMS["plain"]
    monkeypatch.setenv("SEGUE_SIMD", "")
    assert chosen_form().name == simd.usable()[0]
    monkeypatch.setenv("SEGUE_SIMD", "neon")
    with pytest.raises(SettingError, match=r"SEGUE_SIMD='neon' must be one of .*plain on this processor"):
        chosen_form()


COMPILE = """
import numba, numpy as np
from segue.kernels.arrays import readonly
from segue.kernels import scan, simd
layout = [readonly(np.empty((0,) * ndim, kind)) for kind, ndim in
          [("u1", 1), ("i4", 1), ("f4", 2), ("f4", 2), ("f4", 2), ("i8", 1), ("f4", 2), ("f4", 2), ("f4", 1)]]
asked = [readonly(np.empty((0,) * ndim, kind)) for kind, ndim in [("f4", 2), ("?", 2), ("i8", 1), ("i4", 1)]]
answers = [np.empty(0, kind) for kind in ("i4", "f4", "i8")]
arguments = [simd.MARKS["avx512"], *layout, 0.5, 127, False, False, *asked, 0, 4, *answers]
scan.search.compile(tuple(numba.typeof(value) for value in arguments))
print("".join(scan.search.inspect_asm().values()).count("vpdpbusd"))
"""


def test_the_avx512_form_compiles_to_its_instruction(tmp_path):
    """It cannot run everywhere, but it can be compiled for a processor that has it."""
    env = {
        **os.environ,
        "NUMBA_CPU_NAME": "icelake-server",
        "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+avx512f,+avx512bw,+avx512vl,+avx512vnni",
        "SEGUE_SIMD": "plain",
        "NUMBA_CACHE_DIR": str(tmp_path),  # code from a cache cannot be read
    }
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 5  # four blocks at once, and one


def tail_lengths(vectors, lead, parts):
    """The lengths (n, parts) of equal parts of the dimensions from `lead` on."""
    edges = [lead + (vectors.shape[1] - lead) * part // parts for part in range(parts + 1)]
    return np.stack([np.linalg.norm(vectors[:, a:b], axis=1) for a, b in pairwise(edges)], axis=1)


@pytest.mark.parametrize("d", [1, 4, 7, 64, 70, 600])
def test_codes_approximate_the_vectors_within_the_bounds(d):
    vectors, _ = like_a_recommender(1500, d, 1, seed=3)
    layout = build_layout(vectors, vectors, is_distance=False)
    placed = vectors @ layout.axes.T if len(layout.axes) else vectors
    groups, segments = int(layout.segment_starts[-1]), len(layout.segment_starts) - 1
    tails = layout.codes.size // (layout.bound_table.shape[0] * scan.ROW_BYTES) - groups - segments
    assert tails == (0 if segments == 1 else max(1, d // 256))
    lines = layout.codes.reshape(-1, groups + tails + segments, scan.TILE, 4).transpose(0, 2, 1, 3)
    lines = lines.reshape(-1, groups + tails + segments, 4)[: len(vectors)]
    starts = [0, *(int(cut) + tails + s for s, cut in enumerate(layout.segment_starts[1:-1], 1))]
    begins = np.ascontiguousarray(lines[:, starts]).view(np.int16)
    codes = np.delete(lines, starts, 1).reshape(len(vectors), -1).astype(np.float64)
    lead = 4 * int(layout.segment_starts[1])
    tail, codes = codes[:, lead : lead + 4 * tails], np.delete(codes, slice(lead, lead + 4 * tails), 1)
    shelf = np.arange(len(vectors)) // scan.TILE
    row = layout.bound_table[shelf].astype(np.float64)
    stands = codes / row[:, scan.INVERSE, None]
    wide = np.zeros_like(stands)
    wide[:, :d] = placed[layout.order[: len(vectors)]]
    assert (codes[:, d:] == 0).all()
    assert sorted(layout.order[: len(vectors)].tolist()) == list(range(len(vectors)))
    slack = 1e-5 * np.abs(wide).max() * np.sqrt(d)
    assert (np.linalg.norm(wide, axis=1) <= row[:, scan.NORM] + slack).all()
    assert (np.diff(layout.bound_table[:, scan.CEILING]) <= 0).all()
    assert (layout.bound_table[:, scan.CEILING] >= layout.bound_table[:, scan.NORM]).all()
    if tails:  # each is the length of a part of what is beyond the first segment, rounded up
        lengths = tail_lengths(wide[:, :d], lead, 4 * tails) * row[:, scan.INVERSE, None]
        assert (tail >= lengths - 1e-4).all()
        assert (tail <= lengths + 1 + 1e-4).all()
    means = np.array([placed[layout.order[: len(vectors)]][shelf == b].mean(0) for b in range(shelf[-1] + 1)])
    np.testing.assert_allclose(layout.tile_means, means, atol=slack)
    apart = np.linalg.norm(wide[:, :d] - layout.tile_means[shelf], axis=1)
    assert (apart <= row[:, scan.RADIUS] + slack).all()
    for s in range(segments):
        cut = 4 * int(layout.segment_starts[s + 1])
        known, error, rest = (row[:, scan.BOUNDS + 3 * s + column] for column in range(3))
        assert (np.linalg.norm(wide[:, :cut], axis=1) <= known + slack).all()
        assert (np.linalg.norm((wide - stands)[:, :cut], axis=1) <= error + slack).all()
        assert s == 0 or (np.linalg.norm(wide[:, cut:], axis=1) <= rest + slack).all()
        for half in (0, 1):
            columns = [j for j in range(4 * int(layout.segment_starts[s]), cut) if (j >> 1) % 2 == half]
            summed = codes[:, columns]
            if s < 2:
                summed = np.hstack([summed, tail[:, np.arange(4 * tails) >> 1 & 1 == half]])
            assert np.sqrt((summed**2).sum(1).max()) <= layout.max_code_norms[s, half]
            np.testing.assert_array_equal(begins[:, s, half], -summed.sum(1))


@numba.njit
def encode_queries(queries, cuts, norm_rows, widest, top, int16_accumulate, words, inverses, parts):
    encode(queries, cuts, norm_rows, widest, top, int16_accumulate, words, inverses, parts)


@pytest.mark.parametrize("tails", [0, 1, 2])
@pytest.mark.parametrize("form_name", list(simd.FORMS))
def test_query_codes_approximate_the_queries(form_name, tails):
    form = simd.FORMS[form_name]
    rng = np.random.default_rng(4)
    queries = (rng.standard_normal((50, 30)) * rng.lognormal(0, 2, (50, 1))).astype(np.float32)
    queries[7] = 0
    cuts, widest = np.array([0, 3, 8]), np.array([[900.0, 800.0], [400.0, 1100.0]], np.float32)
    coded, inverses, parts = np.empty((50, 32 + 8 * tails), np.uint8), np.empty(50), np.empty((2, 3, 50))
    words = coded.view(np.int32)
    encode_queries(queries, cuts, tails, widest, form.top, form.int16_accumulate, words, inverses, parts)
    codes = coded.astype(np.int64) - form.top - 1
    wide = np.zeros((50, 32))
    wide[:, :30] = queries
    assert np.abs(codes).max() <= form.top
    tail, opposite = codes[:, 12 : 12 + 4 * tails], codes[:, 32 + 4 * tails :]
    np.testing.assert_array_equal(tail, -opposite)
    if tails:
        lengths = tail_lengths(wide[:, :30], 12, 4 * tails) * inverses[:, None]
        np.testing.assert_array_equal(tail, np.ceil(lengths - 1e-6))
    codes = np.delete(codes[:, : 32 + 4 * tails], slice(12, 12 + 4 * tails), 1)
    stands = codes / inverses[:, None]
    for s in range(2):
        cut = 4 * cuts[s + 1]
        np.testing.assert_allclose(parts[s, 0], np.linalg.norm((wide - stands)[:, :cut], axis=1), rtol=1e-9)
        np.testing.assert_allclose(parts[s, 1], np.linalg.norm(stands[:, :cut], axis=1), rtol=1e-9)
        assert (parts[s, 2] == 0).all()  # a tail is among the codes, and nothing is beyond the last segment
        part = codes[:, 4 * cuts[s] : cut]
        if form.int16_accumulate:  # no sum of a half can leave int16
            for half in (0, 1):
                lengths = np.linalg.norm(part.reshape(50, -1, 2, 2)[:, :, half], axis=(1, 2))
                squares = lengths**2 + (tail[:, np.arange(4 * tails) >> 1 & 1 == half] ** 2).sum(1)
                assert (np.sqrt(squares) * widest[s, half]).max() <= 32767


def test_many_dimensions_and_many_answers():
    vectors, queries = whole_numbers(12_000, 2048, 3, seed=5, largest=2)
    scores = queries @ vectors.T
    found = Exact().build(vectors).search(queries, 10_000)
    np.testing.assert_array_equal(found.ids, best(scores, 10_000))


@pytest.mark.parametrize("metric", ["dot", "euclidean"])
@pytest.mark.parametrize("each", [False, True])
def test_a_short_allow_list_scores_only_its_members(metric, each):
    vectors, queries = whole_numbers(4000, 12, 40, seed=6)
    rng = np.random.default_rng(7)
    allow = np.zeros((40, 4000), bool)
    allow[:, rng.choice(4000, 20, replace=False)] = True
    if each:
        allow = rng.permuted(allow, axis=1)
    excluded = sp.csr_matrix((allow & (rng.random((40, 4000)) < 0.3)).astype(np.float32))
    found = (
        Exact(metric).build(vectors).search(queries, 30, exclude=excluded, allow=allow if each else allow[0])
    )
    apart = (queries[:, None] - vectors[None]) ** 2
    scores = queries @ vectors.T if metric == "dot" else -np.sqrt(apart.sum(2))
    for q in range(40):
        kept = np.flatnonzero(allow[q] & (excluded[[q]].toarray()[0] == 0))
        order = kept[np.lexsort((kept, -scores[q, kept]))]
        assert found.ids[q].tolist() == [*order.tolist(), *[-1] * (30 - len(order))]
    assert (found.examined == 20).all()


def test_empty_allow_list_returns_nothing():
    vectors, queries = whole_numbers(300, 4, 2, seed=8)
    found = Exact().build(vectors).search(queries, 3, allow=np.zeros(300, bool))
    assert (found.ids == -1).all()
    assert (found.examined == 0).all()


def test_sample_of_queries_changes_no_result():
    vectors, queries = like_a_recommender(4000, 48, 60, seed=9)
    expected = Exact().build(vectors).search(queries, 15)
    for sample in (queries, np.zeros((5, 48), np.float32), np.empty((0, 48), np.float32), -queries[:1]):
        found = Exact().build(vectors, queries=sample).search(queries, 15)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.scores, expected.scores)
    with pytest.raises(DataError, match="queries have 3 dimensions, but the index holds vectors of 48"):
        Exact().build(vectors, queries=np.ones((1, 3)))


@pytest.mark.parametrize(
    "name",
    ["codes", "order", "bound_table", "tile_means", "segment_starts", "max_code_norms", "axes", "center"],
)
def test_inconsistent_arrays_raise(name):
    vectors, _ = like_a_recommender(2000, 16, 1, seed=10)
    arrays = Exact().build(vectors).arrays()
    with pytest.raises(DataError, match=f"the index lacks the arrays {name}; build it again"):
        Exact().from_arrays({key: value for key, value in arrays.items() if key != name})
    wrong = arrays[name].copy()
    wrong = np.concatenate([wrong, wrong[-1:]]) if name != "order" else np.where(wrong == 5, 6, wrong)
    if name == "center":
        wrong = np.ones(3, np.float32)
    with pytest.raises(DataError, match="do not fit together"):
        Exact().from_arrays({**arrays, name: wrong})


def test_hamming_takes_only_zeros_and_ones():
    with pytest.raises(DataError, match="the vectors must hold only 0 and 1 for metric='hamming'"):
        Exact("hamming").build(np.array([[0.0, 2.0]]))
    index = Exact("hamming").build(np.array([[0.0, 1.0]]))
    with pytest.raises(DataError, match="queries must hold only 0 and 1"):
        index.search(np.array([[0.5, 1.0]]), 1)


@pytest.mark.parametrize("d", [1, 63, 64, 65, 200])
def test_hamming_counts_bits(d):
    rng = np.random.default_rng(d)
    vectors, queries = rng.random((500, d)) < 0.5, rng.random((20, d)) < 0.5
    found = Exact("hamming").build(vectors.astype(np.float32)).search(queries.astype(np.float32), 25)
    scores = -(queries[:, None] ^ vectors[None]).sum(2).astype(np.float64)
    np.testing.assert_array_equal(found.ids, best(scores, 25))
    np.testing.assert_array_equal(found.scores, np.take_along_axis(scores, found.ids.astype(np.int64), 1))


@pytest.mark.parametrize("d", [1, 31, 32, 33, 100])
def test_manhattan_sums_absolute_differences(d):
    vectors, queries = whole_numbers(700, d, 20, seed=d)
    found = Exact("manhattan").build(vectors).search(queries, 25)
    scores = -np.abs(queries[:, None] - vectors[None]).sum(2).astype(np.float64)
    np.testing.assert_array_equal(found.ids, best(scores, 25))
