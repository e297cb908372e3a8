"""The forest: its trees against their definition, its search against naive code, what it refuses."""

import numpy as np
import pytest
import scipy.sparse as sp
from numba import njit

import segue
from segue.errors import DataError, SettingError
from segue.index import Exact, Forest
from segue.index.trees import grow_tree, squared_norms
from segue.kernels import queue, trees
from test_index import similarity

METRICS = ["dot", "cosine", "euclidean", "manhattan", "hamming"]
NO_FLOATS, NO_WORDS = np.empty((0, 0), np.float32), np.empty((0, 0), np.uint64)


def clustered(metric, n, d, seed=0):
    """Return vectors around a few centers, and queries near some of them."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((40, d))
    vectors = centers[rng.integers(0, 40, n)] + 0.5 * rng.standard_normal((n, d))
    queries = vectors[rng.integers(0, n, 60)] + 0.1 * rng.standard_normal((60, d))
    if metric == "hamming":
        flips = rng.random(queries.shape) < 0.02
        vectors, queries = vectors > 0, (queries > 0) ^ flips
    return vectors.astype(np.float32), queries.astype(np.float32)


def recall(found, metric, vectors, queries, k):
    scores = similarity(metric, queries, vectors)
    worst = np.sort(scores, axis=1)[:, -k]
    own = np.take_along_axis(scores, found.ids.astype(np.int64), axis=1)
    return (own >= worst[:, None] - 1e-5).mean()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("d", [16, 100])
def test_recall_has_a_floor_and_grows_with_effort_and_trees(metric, d):
    vectors, queries = clustered(metric, 6000, d)
    few, many = (Forest(trees=trees, metric=metric).build(vectors) for trees in (2, 30))
    efforts = [
        recall(many.search(queries, 10, effort=effort), metric, vectors, queries, 10)
        for effort in (50, 300, 1500)
    ]
    assert efforts == sorted(efforts)
    assert efforts[-1] >= 0.9
    assert recall(few.search(queries, 10, effort=300), metric, vectors, queries, 10) <= efforts[1] + 0.02
    found = many.search(queries, 10, effort=300)
    assert (found.examined >= 300).all()
    assert found.examined.mean() < 1500
    assert recall(many.search(queries, 10, effort=6000), metric, vectors, queries, 10) == 1


@pytest.mark.parametrize("spread", [0, 0.6, 1])
def test_inner_products_of_vectors_of_very_different_length(spread):
    rng = np.random.default_rng(8)
    vectors = (rng.standard_normal((5000, 16)) * rng.lognormal(0, spread, (5000, 1))).astype(np.float32)
    queries = rng.standard_normal((100, 16)).astype(np.float32)
    found = Forest(metric="dot", trees=20).build(vectors).search(queries, 10, effort=600)
    assert recall(found, "dot", vectors, queries, 10) >= 0.8


@pytest.mark.parametrize("metric", METRICS)
def test_scores_are_those_of_exact_search(metric):
    vectors, queries = clustered(metric, 3000, 70, seed=1)
    found = Forest(metric=metric, trees=10).build(vectors).search(queries, 10, effort=500)
    exact = Exact(metric=metric).build(vectors).search(queries, 3000)
    for q in range(len(queries)):
        scores = dict(zip(exact.ids[q].tolist(), exact.scores[q].tolist(), strict=True))
        assert [scores[i] for i in found.ids[q].tolist()] == found.scores[q].tolist()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("d", [1, 2, 7, 13, 64, 65, 130])
def test_bounds_prune_nothing_better(metric, d):
    """Whoever has been told to score nearly everything must find the best of it."""
    rng = np.random.default_rng(d)
    vectors, queries = rng.standard_normal((2500, d)), rng.standard_normal((20, d))
    vectors *= rng.lognormal(0, 1, (2500, 1))
    if metric == "hamming":
        vectors, queries = vectors > 0, queries > 0
    vectors, queries = vectors.astype(np.float32), queries.astype(np.float32)
    found = Forest(metric=metric, trees=1, leaf=2400).build(vectors).search(queries, 20, effort=2499)
    assert (found.examined == 2500).all()
    exact = Exact(metric=metric).build(vectors).search(queries, 20)
    np.testing.assert_array_equal(found.scores, exact.scores)
    np.testing.assert_array_equal(found.ids, exact.ids)


@pytest.mark.parametrize("metric", METRICS)
def test_filters_keep_k_results_without_scoring_all(metric):
    vectors, queries = clustered(metric, 5000, 12, seed=2)
    rng = np.random.default_rng(3)
    index = Forest(metric=metric, trees=5).build(vectors)
    allow = rng.random((60, 5000)) < 0.3
    excluded = sp.random(60, 5000, 0.9, "csr", np.float32, rng)
    found = index.search(queries, 30, effort=40, allow=allow, exclude=excluded)
    eligible = allow & (excluded.toarray() == 0)
    for q in range(60):
        ids = found.ids[q]
        assert len(set(ids.tolist())) == 30
        assert eligible[q, ids].all()
        assert (np.diff(found.scores[q]) <= 0).all()
    nobody = index.search(queries[:1], 5, effort=40, exclude=sp.csr_matrix(np.ones((1, 5000))))
    assert (nobody.ids == -1).all()
    assert (nobody.scores == -np.inf).all()
    one = np.zeros(5000, bool)
    one[4321] = True
    assert index.search(queries, 3, effort=40, allow=one).ids.tolist() == [[4321, -1, -1]] * 60
    wide = index.search(queries, 30, effort=40, exclude=sp.csr_matrix(np.ones((60, 5000)) - one))
    assert wide.ids[:, 0].tolist() == [4321] * 60
    assert (wide.ids[:, 1:] == -1).all()


@pytest.mark.parametrize("metric", METRICS)
def test_the_same_bytes_with_any_number_of_threads(metric, monkeypatch):
    vectors, queries = clustered(metric, 3000, 20, seed=4)
    kept = []
    for count in ("1", "3"):
        monkeypatch.setenv("SEGUE_THREADS", count)
        index = Forest(metric=metric, trees=7, seed=5).build(vectors)
        kept.append({name: array.tobytes() for name, array in index.arrays().items()})
    assert kept[0] == kept[1]
    other = Forest(metric=metric, trees=7, seed=6).build(vectors).arrays()
    assert other["nodes"].tobytes() != kept[0]["nodes"]
    alone = index.search(queries[7:8], 10, effort=100)
    among = index.search(queries, 10, effort=100)
    assert alone.ids.tobytes() == among.ids[7].tobytes()
    assert alone.examined[0] == among.examined[7]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_vectors_that_no_plane_splits(metric, value):
    vectors = np.full((5000, 3), value, np.float32)
    found = Forest(metric=metric, trees=3).build(vectors).search(vectors[:2], 5, effort=100)
    assert (found.ids >= 0).all()
    assert len(set(found.ids[0].tolist())) == 5


@pytest.mark.parametrize("metric", METRICS)
def test_one_item_and_k_above_the_number_of_items(metric):
    found = Forest(metric=metric).build(np.ones((1, 3), np.float32)).search(np.ones((2, 3)), 4, effort=1)
    assert found.ids.tolist() == [[0, -1, -1, -1]] * 2


def test_tree_matches_its_definition():
    """Every item lies where its own margins lead, spans nest, and no leaf is larger than asked."""
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((1000, 8)).astype(np.float32)
    tree = grow_tree(trees.EUCLIDEAN, vectors, squared_norms(vectors), NO_WORDS, 10, 3)
    assert sorted(tree.rows.tolist()) == [*range(1000)]
    assert tree.bounds[0, [0, 2]].tolist() == [0, 1000]
    for node, ((first, middle, last), links) in enumerate(zip(tree.bounds, tree.links, strict=True)):
        margins = vectors[tree.rows[first:last]] @ tree.planes[node] + tree.offsets[node]
        clear = np.abs(margins) > 1e-5
        assert ((margins > 0) == (np.arange(first, last) >= middle))[clear].all()
        for (begin, end), link in zip(((first, middle), (middle, last)), links, strict=True):
            assert end > begin
            if link < 0:
                assert end - begin <= 10
            else:
                assert link > node
                assert tree.bounds[link, [0, 2]].tolist() == [begin, end]


def test_tree_of_bits_matches_its_definition():
    words = np.random.default_rng(6).integers(0, 2**63, (300, 2), dtype=np.int64).astype(np.uint64)
    tree = grow_tree(trees.BITS, np.empty((300, 0), np.float32), np.empty(0, np.float32), words, 5, 1)
    for node, (first, middle, last) in enumerate(tree.bounds):
        bit = int(tree.offsets[node])
        own = [int(words[row, bit // 64]) >> (63 - bit % 64) & 1 for row in tree.rows[first:last]]
        assert own == [0] * (middle - first) + [1] * (last - middle)


def naive_kiss(seed, count):
    """Marsaglia's 64-bit KISS, as Annoy has it."""
    x, y, z, c = seed, 362436362436362436, 1066149217761810, 123456123456123456
    top, drawn = 2**64, []
    for _ in range(count):
        z = (6906969069 * z + 1234567) % top
        y ^= y << 13 & top - 1
        y ^= y >> 17
        y ^= y << 43 & top - 1
        t = ((x << 58) + c) % top  # Annoy lets go of what this carries
        x, before = (x + t) % top, x
        c = (before >> 6) + (x < t)
        drawn.append((x + y + z) % top)
    return drawn


@pytest.mark.parametrize("seed", [0, 1, 42, 1234567890987654321, 2**64 - 1])
def test_random_generator_matches_annoy(seed):
    @njit
    def many(seed, out):
        state = np.empty(4, np.uint64)
        trees.seeded(state, seed)
        for i in range(len(out)):
            out[i] = trees.drawn(state)

    out = np.empty(200, np.uint64)
    many(np.uint64(seed), out)
    assert out.tolist() == naive_kiss(seed, 200)


def test_queue_order_with_ties():
    @njit
    def through(values, out):
        priorities, numbers = np.empty(len(values), np.float32), np.empty(len(values), np.int32)
        size = 0
        for i in range(len(values)):
            size = queue.push(priorities, numbers, size, values[i], i)
        for i in range(len(values)):
            out[i] = numbers[0]
            size = queue.drop(priorities, numbers, size)
        return size

    values = np.random.default_rng(7).integers(0, 20, 500).astype(np.float32)
    values[3], values[4] = np.inf, -np.inf
    out = np.empty(500, np.int64)
    assert through(values, out) == 0
    assert out.tolist() == sorted(range(500), key=lambda i: (-values[i], -i))


def damages():
    """What may be wrong with arrays, and how it comes about."""

    def set_to(name, place, value):
        def damage(arrays):
            arrays[name][place] = value

        return damage

    def cut(name):
        def damage(arrays):
            arrays[name] = arrays[name][:-1]

        return damage

    def retype(name, kind):
        def damage(arrays):
            arrays[name] = arrays[name].astype(kind)

        return damage

    for name in (
        "order",
        "center",
        "codes",
        "scales",
        "half_sq_norms",
        "nodes",
        "planes",
        "members",
        "roots",
        "limits",
    ):
        yield f"{name} cut", cut(name)
    for name in ("order", "codes", "nodes", "planes", "members", "roots", "limits", "residual_norms"):
        yield f"{name} of another type", retype(name, np.int16)
    yield "an item twice", set_to("order", 0, 5)
    yield "an item beyond", set_to("order", 0, 10**6)
    yield "an item below", set_to("order", 0, -1)
    yield "a link to itself", set_to("nodes", (3, 0), 3)
    yield "a link back", set_to("nodes", (9, 1), 2)
    yield "a link beyond", set_to("nodes", (0, 0), 10**6)
    yield "a leaf beyond", set_to("nodes", (0, 0), -(10**6))
    yield "a link into a leaf", set_to("nodes", (0, 0), -3)
    yield "the lowest link", set_to("nodes", (0, 0), -(2**31))
    yield "a root twice", set_to("roots", 1, 0)
    yield "a root beyond", set_to("roots", 0, 10**6)
    yield "a long leaf", set_to("members", 0, 10**6)
    yield "an empty leaf", set_to("members", 0, 0)
    yield "a position beyond", set_to("members", 1, 10**6)
    yield "a position below", set_to("members", 1, -1)
    yield "NaN in scales", set_to("scales", 0, np.nan)
    yield "leaves larger than any", set_to("limits", 5, 1e12)
    yield "leaves smaller than some", set_to("limits", 5, 2)


@pytest.mark.parametrize("damage", [pytest.param(damage, id=name) for name, damage in damages()])
def test_damaged_arrays_raise(damage):
    made = Forest(metric="euclidean", trees=3, leaf=8)
    vectors, _ = clustered("euclidean", 200, 70)
    arrays = {name: array.copy() for name, array in made.build(vectors).arrays().items()}
    made.from_arrays({**arrays})
    damage(arrays)
    with pytest.raises(DataError, match="the index's arrays do not fit together; build it again"):
        made.from_arrays(arrays)


def test_missing_or_foreign_arrays_raise():
    made = Forest(metric="hamming", trees=2)
    arrays = made.build(np.eye(100, dtype=np.float32)).arrays()
    with pytest.raises(DataError, match="lacks the arrays vectors, dim; build it again"):
        made.from_arrays({})
    with pytest.raises(DataError, match="lacks the arrays nodes, roots; build it again"):
        made.from_arrays({name: array for name, array in arrays.items() if name not in ("nodes", "roots")})
    with pytest.raises(DataError, match="not of 100 dimensions for metric='cosine'"):
        Forest(metric="cosine").from_arrays(arrays)
    arrays["nodes"] = arrays["nodes"].copy()
    arrays["nodes"][0, 2] = 128
    with pytest.raises(DataError, match="do not fit together"):
        made.from_arrays(arrays)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "taxicab"}, "must be one of 'dot', 'cosine', 'euclidean', 'manhattan', 'hamming'"),
        ({"trees": 0}, r"Forest\(trees=0\) must be a whole number from 1 to 100000"),
        ({"trees": 2.5}, r"Forest\(trees=2.5\) must be a whole number"),
        ({"leaf": 1}, r"Forest\(leaf=1\) must be a whole number from 2 to"),
        ({"seed": -1}, r"Forest\(seed=-1\) must be a whole number from 0 to"),
        ({"trees": True}, r"Forest\(trees=True\) must be"),
    ],
)
def test_invalid_settings(arguments, message):
    with pytest.raises(SettingError, match=message):
        Forest(**arguments)


@pytest.mark.parametrize("effort", [0, -1, 2.5, True, "all"])
def test_invalid_efforts(effort):
    with pytest.raises(SettingError, match="must be a whole number of at least 1"):
        Forest().build(np.ones((3, 2), np.float32)).search(np.ones((1, 2)), 1, effort=effort)


def test_progress_counts_trees():
    heard = []
    Forest(trees=4).build(
        np.eye(5, dtype=np.float32), progress=lambda what, done, total: heard.append((what, done, total))
    )
    assert heard[0] == ("indexing", 0, 5)
    assert heard[-1] == ("indexing", 5, 5)
    assert heard == sorted(heard)


def test_recommender_saves_its_forest(tmp_path):
    data = segue.data.simulate(300, 2500, 9000, seed=1)
    forest = Forest(trees=4)
    trained = segue.Recommender(model=segue.IALS(dim=16, iterations=2), index=forest).fit(data)
    before = trained.recommend(data.users.ids[:20], k=7)
    trained.save(tmp_path / "model")
    loaded = segue.load(tmp_path / "model")
    assert loaded.recommend(data.users.ids[:20], k=7).equals(before)
    assert loaded.settings.index == forest


def test_too_many_trees(monkeypatch):
    monkeypatch.setattr("segue.index.forest_arrays.MAX_LINKS", 1998)
    with pytest.raises(SettingError, match="10 trees over 100 vectors are too many; at most 9 fit"):
        Forest(trees=10).build(np.ones((100, 2), np.float32))
