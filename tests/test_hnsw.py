"""HNSW: kernels against naive twins, recall of the graph, growth, removals, and crafted arrays."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from segue.errors import DataError, SettingError
from segue.index import HNSW, Exact
from segue.index.graph import Graph, group_by_target, record_width
from segue.kernels import hnsw, simd

METRICS = ["dot", "cosine", "euclidean"]
FORMS = simd.usable()
SMALL = HNSW(m=6, ef_construction=60, ef=40)  # so small that the graph is used among a few hundred


def cloud(n, d, seed, skew=0.8):
    """Return vectors around some centers, of very different lengths, and similar queries."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((12, d))
    x = centers[rng.integers(12, size=n)] + 0.6 * rng.standard_normal((n, d))
    q = centers[rng.integers(12, size=60)] + 0.6 * rng.standard_normal((60, d))
    return (x * rng.lognormal(0, skew, (n, 1))).astype(np.float32), q.astype(np.float32)


def recall(found, true):
    """The share of the true k best, of which ties count."""
    return (found.scores >= true.scores[:, -1:] - 1e-5 * np.abs(true.scores[:, -1:])).mean()


@njit
def similarity(mark, codes, floats, width, i, shorts, column):
    return hnsw.similarity(
        mark, codes, floats, width, i, shorts, column, np.float32(0.5), np.float32(2), np.float32(3)
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("d", [1, 2, 5, 7, 13, 56, 57, 64, 784])
def test_products_of_codes(form, d):
    rng = np.random.default_rng(d)
    width, steps = record_width(d), -(-d // hnsw.STEP) * hnsw.STEP
    assert width % hnsw.STEP == 0
    assert width >= d + hnsw.META
    codes = rng.integers(-127, 128, (9, width)).astype(np.int8)  # what lies beyond the codes must not count
    floats = codes.view(np.float32)
    floats[:, -2], floats[:, -1] = rng.random(9), rng.random(9)
    shorts = np.zeros(steps, np.int16)
    shorts[:d] = rng.integers(-2000, 2000, d)

    for i in range(9):
        exact = codes[i, :d].astype(np.int64) @ shorts[:d].astype(np.int64)
        for column in (0, 1):
            got = similarity(
                simd.MARKS[form], codes.reshape(-1), floats.reshape(-1), width, i, shorts, column
            )
            want = exact * 0.5 * floats[i, column - 2] + 2 * floats[i, -1] + 3
            assert got == pytest.approx(want, rel=1e-5, abs=1e-4)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=20))
def test_keys_have_the_order_of_scores(values):
    scores = np.array(values, np.float32)
    keys = [key_of(score, 5) for score in scores]
    for a, one in zip(scores, keys, strict=True):
        assert node_of(one) == 5
        for b, other in zip(scores, keys, strict=True):
            if a != b:
                assert (a < b) == (one < other)


@njit
def key_of(score, node):
    return hnsw.key_of(score, node)


@njit
def node_of(key):
    return hnsw.node_of(key)


@njit
def put_all(keys, most, pool):
    count, places = 0, np.empty(len(keys), np.int64)
    for z in range(len(keys)):
        places[z] = hnsw.put(pool, count, most, keys[z])
        if places[z] < most:
            count = min(count + 1, most)
    return count, places


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=60, unique=True), st.integers(1, 20))
def test_the_best_candidates_in_order(keys, most):
    pool = np.full(most + 1, -7, np.int64)
    count, places = put_all(np.array(keys, np.int64), most, pool)
    naive = []
    for key, place in zip(keys, places, strict=True):
        naive = sorted([*naive, key], reverse=True)[:most]
        assert place == (naive.index(key) if key in naive else most)
    assert pool[:count].tolist() == naive
    assert pool[most] == -7, "nothing is written beyond the pool"


@pytest.mark.parametrize("is_distance", [False, True])
def test_records_approximate_their_vectors(is_distance):
    rng = np.random.default_rng(3)
    vectors = (rng.standard_normal((20, 13)) * rng.lognormal(0, 2, (20, 1))).astype(np.float32)
    vectors[4] = 0
    order = rng.permutation(20).astype(np.int32)
    center = vectors.mean(0) if is_distance else np.zeros(13, np.float32)
    records = np.zeros((20, record_width(13)), np.int8)
    floats = records.view(np.float32)
    hnsw.encode(vectors, order, center, 0.5, is_distance, 0, 20, records, floats)
    moved = (vectors - center)[order]
    scales = np.abs(moved).max(1) / 127
    np.testing.assert_allclose(floats[:, -2], scales, rtol=1e-6)
    apart = np.abs(records[:, :13] * floats[:, -2:-1] - moved)
    assert (apart <= 0.5001 * scales[:, None]).all()
    lengths = np.linalg.norm(moved.astype(np.float64), axis=1)
    if is_distance:
        np.testing.assert_allclose(floats[:, -1], -(lengths**2) / 2, rtol=1e-5)
    else:  # as if each length were its square root
        want = np.divide(scales, np.sqrt(lengths), out=np.zeros(20), where=lengths > 0)
        np.testing.assert_allclose(floats[:, -1], want, rtol=1e-5)


def compared(index):
    """By node: how links rank all pairs, and how near each is to each, whatever the lengths."""
    graph, d = index.graph, index.vectors.shape[1]
    floats = graph.records.view(np.float32)[:, -2:].astype(np.float64)
    if index.settings.metric == "euclidean":
        x = graph.records[:, :d] * floats[:, -2:-1]
        nearness = x @ x.T + floats[:, -1] + floats[:, -1:]
        return nearness, nearness
    x = graph.records[:, :d] * floats[:, -1:]
    return x @ x.T, x @ (x * (floats[:, -1:] / floats[:, -2:-1])).T


@pytest.mark.parametrize("metric", METRICS)
def test_links_are_those_of_the_papers_heuristic(metric):
    """Nodes linked one by one by a naive twin, which looks at all that came before."""
    x, _ = cloud(40, 5, 1)
    index = HNSW(m=4, ef_construction=1000, metric=metric).build(x)
    ranks, near = compared(index)

    def chosen(node, candidates, most):
        kept = []
        for other in sorted(candidates, key=lambda other: -ranks[node, other]):
            if all(near[other, one] <= near[other, node] for one in kept):
                kept.append(other)
        return kept[:most]

    links, done = {0: []}, 1
    while done < 40:
        batch = range(done, min(40, done + max(1, done // 8)))
        fresh = {node: chosen(node, range(done), 4) for node in batch}
        links |= fresh
        for target in sorted({t for row in fresh.values() for t in row}):
            links[target] = links[target] + [node for node in batch if target in fresh[node]]
            if len(links[target]) > 8:
                links[target] = chosen(target, links[target], 8)
        done = batch.stop
    known = {t for row in links.values() for t in row}
    assert known == set(range(40)), "nobody is left out here, so that nobody is adopted"
    ours = [[t for t in row.tolist() if t >= 0] for row in index.graph.links]
    assert ours == [links[node] for node in range(40)]


def test_a_search_in_a_graph_visits_what_the_paper_says():
    x, q = cloud(800, 7, 2)
    index = HNSW(m=5, ef_construction=50).build(x)
    graph = index.graph
    floats = graph.records.view(np.float32)
    items = graph.records[:, :7] * floats[:, -2:-1].astype(np.float64)
    starts = np.concatenate([[0], np.cumsum(graph.sizes[1:])])
    for ef in (10, 25):
        found = index.search(q, 10, effort=ef)
        for row in range(len(q)):
            step = np.abs(q[row]).max().astype(np.float64) / 32767
            scores = items @ np.rint(q[row] / step)
            node = 0
            for level in range(len(graph.sizes) - 1, 0, -1):
                while True:
                    linked = [t for t in graph.upper[starts[level - 1] + node] if t >= 0]
                    best = max(linked, key=lambda t: scores[t], default=node)
                    if scores[best] <= scores[node]:
                        break
                    node = best
            seen, waiting, kept = {node}, {node}, [node]
            while waiting:
                next_ = max(waiting, key=lambda t: scores[t])
                if next_ not in kept:
                    break
                waiting.remove(next_)
                fresh = [t for t in graph.links[next_].tolist() if t >= 0 and t not in seen]
                seen |= set(fresh)
                waiting |= set(fresh)
                kept = sorted({*kept, *fresh}, key=lambda t: -scores[t])[:ef]
            true = x[graph.order[kept]] @ q[row]
            best = graph.order[kept][np.lexsort((graph.order[kept], -true))][:10]
            assert found.ids[row].tolist() == best.tolist()
            assert found.examined[row] == len(seen)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("d", [2, 7, 32, 100])
def test_recall_has_a_floor(metric, d):
    x, q = cloud(3000, d, d)
    index = HNSW(m=8, ef_construction=80, metric=metric).build(x)
    true = Exact(metric=metric).build(x).search(q, 10)
    found = index.search(q, 10, effort=60)
    assert recall(found, true) > (0.93 if d > 2 else 0.75)  # in a plane few links lead anywhere new
    assert found.examined.mean() < 1500, "the graph was searched, not everything"
    assert recall(index.search(q, 10, effort=150), true) > (0.98 if d > 2 else 0.9)
    np.testing.assert_allclose(
        found.scores[:, 0], true.scores[:, 0], atol=2 * np.abs(true.scores[:, 0]).mean()
    )


def test_very_different_lengths_lose_no_recall():
    x, q = cloud(4000, 16, 5, skew=1.5)
    index = HNSW(m=8, ef_construction=80).build(x)
    true = Exact().build(x).search(q, 10)
    assert recall(index.search(q, 10, effort=100), true) > 0.95
    allowed = np.zeros(4000, bool)
    allowed[np.argsort(np.linalg.norm(x, axis=1))[:2000]] = True  # what an inner product seldom finds
    true = Exact().build(x).search(q, 10, allow=allowed)
    found = index.search(q, 10, allow=allowed, effort=40)
    assert found.examined.max() < 4000
    assert allowed[found.ids].all()
    assert recall(found, true) > 0.8


@pytest.mark.parametrize("metric", METRICS)
def test_every_form_and_any_number_of_threads_build_the_same_bytes(metric, monkeypatch):
    x, q = cloud(1500, 9, 6)
    made = HNSW(m=5, ef_construction=40, metric=metric)
    first = made.build(x)
    for form in FORMS:
        for threads in ("1", "3"):
            monkeypatch.setenv("SEGUE_SIMD", form)
            monkeypatch.setenv("SEGUE_THREADS", threads)
            again = made.build(x)
            for name, array in first.arrays().items():
                assert array.tobytes() == again.arrays()[name].tobytes(), name
            np.testing.assert_array_equal(
                again.search(q, 5, effort=20).ids, first.search(q, 5, effort=20).ids
            )


def test_another_seed_gives_another_graph():
    x, _ = cloud(300, 4, 7)
    one, other = (HNSW(m=4, seed=seed).build(x).graph for seed in (0, 1))
    assert not np.array_equal(one.order, other.order)


def test_scores_are_those_of_exact_search():
    x, q = cloud(900, 33, 8)
    for metric in METRICS:
        found = HNSW(m=6, metric=metric).build(x).search(q, 8, effort=30)
        true = Exact(metric=metric).build(x).search(q, 900)
        for row in range(len(q)):
            known = dict(zip(true.ids[row].tolist(), true.scores[row].tolist(), strict=True))
            assert [known[item] for item in found.ids[row].tolist()] == found.scores[row].tolist()


@pytest.mark.parametrize("metric", METRICS)
def test_filters_in_the_graph(metric):
    x, q = cloud(2000, 8, 9)
    rng = np.random.default_rng(1)
    index = HNSW(m=6, ef_construction=60, metric=metric).build(x)
    exact = Exact(metric=metric).build(x)
    unseen = exact.search(q, 30).ids[:, ::2]  # the very best, every other one of them
    excluded = sp.csr_matrix(
        (np.ones(unseen.size, np.float32), unseen.reshape(-1), np.arange(0, unseen.size + 1, 15)), (60, 2000)
    )
    allow = rng.random((60, 2000)) < 0.7
    for filters in ({"exclude": excluded}, {"allow": allow}, {"allow": allow[0], "exclude": excluded}):
        found = index.search(q, 10, effort=40, **filters)
        assert found.examined.max() < 1400
        assert (found.ids >= 0).all()
        assert recall(found, exact.search(q, 10, **filters)) > 0.9
        for row in range(60):
            assert len(set(found.ids[row])) == 10
            if "allow" in filters:
                assert np.broadcast_to(filters["allow"], (60, 2000))[row, found.ids[row]].all()
            if "exclude" in filters:
                assert not set(found.ids[row]) & set(unseen[row])


def test_search_widens_until_it_has_k_results():
    x, q = cloud(2000, 6, 10)
    index = HNSW(m=4, ef_construction=30, ef=12).build(x)
    cut = Graph(**{**vars(index.graph), "links": np.full_like(index.graph.links, -1)})
    alone = type(index)(index.settings, index.vectors, cut, index.alive)  # nothing leads anywhere
    true = Exact().build(x).search(q, 12)
    found = alone.search(q, 12)
    np.testing.assert_array_equal(found.ids, true.ids)
    assert (found.examined >= 2000).all()
    far = Exact().build(x).search(q[:1], 2000).ids[0, 1000:]  # what the first query likes least
    allow = np.zeros(2000, bool)
    allow[far] = True
    found = index.search(q[:1], 12, allow=allow)
    assert (found.ids >= 0).all()
    assert allow[found.ids].all()


def test_few_allowed_items_are_all_scored():
    x, q = cloud(2000, 6, 11)
    index = HNSW(m=6, ef_construction=30).build(x)
    allow = np.zeros((60, 2000), bool)
    allow[:, ::40] = True
    for bits in (allow, allow[0]):
        found = index.search(q, 7, allow=bits)
        np.testing.assert_array_equal(found.ids, Exact().build(x).search(q, 7, allow=bits).ids)
        assert (found.examined == 50).all()


def test_every_item_is_reachable():
    for metric in METRICS:
        x, _ = cloud(3000, 12, 12, skew=1.5)
        graph = HNSW(m=6, ef_construction=40, metric=metric).build(x).graph
        known = np.bincount(graph.links[graph.links >= 0], minlength=3000)
        assert (known > 0).all()
        ended = graph.links < 0
        assert (ended[:, 1:] >= ended[:, :-1]).all(), "after the first -1 there is nothing more"
        assert (graph.links != np.arange(3000)[:, None]).all()


def test_item_without_incoming_links_gets_one():
    links = np.array([[1, 2], [0, 2], [0, 1], [0, 1]], np.int32)  # nobody leads to 3, and nobody has room
    hnsw.adopt(links.reshape(-1), 2, 4)
    known = np.bincount(links.reshape(-1), minlength=4)
    assert (known > 0).all()
    links = np.array([[1, -1, -1], [0, -1, -1], [0, -1, -1]], np.int32)
    hnsw.adopt(links.reshape(-1), 3, 3)
    assert links.tolist() == [[1, 2, -1], [0, -1, -1], [0, -1, -1]]


def test_group_by_target():
    chosen = np.array([[3, 1, -1], [-1, -1, -1], [1, 7, 3]])
    targets, sources, bounds = group_by_target(chosen, 10)
    assert (targets.tolist(), sources.tolist(), bounds.tolist()) == (
        [1, 3, 7],
        [10, 12, 10, 12, 12],
        [0, 2, 4, 5],
    )


@pytest.mark.parametrize("metric", METRICS)
def test_with_items(metric):
    x, q = cloud(2400, 10, 13)
    whole = Exact(metric=metric).build(x)
    true = whole.search(q, 10)
    index = HNSW(m=6, ef_construction=60, metric=metric).build(x[:1500])
    before = index.search(q, 10, effort=60)
    more = index.with_items(x[1500:2000]).with_items(x[2000:])
    assert len(more) == 2400
    found = more.search(q, 10, effort=80)
    assert recall(found, true) > 0.95
    assert (found.ids >= 1500).any()
    assert found.examined.mean() < 1500
    again = index.search(q, 10, effort=60)
    np.testing.assert_array_equal(again.ids, before.ids)  # the old index is what it was
    assert len(index.with_items(np.empty((0, 10), np.float32))) == 1500


def test_index_that_grew_too_much_is_rebuilt():
    x, q = cloud(1500, 6, 14)
    index = HNSW(m=4, ef_construction=40).build(x[:1])
    assert len(index.graph.sizes) == 1
    grown = index.with_items(x[1:])
    np.testing.assert_array_equal(grown.graph.links, HNSW(m=4, ef_construction=40).build(x).graph.links)
    assert recall(grown.search(q, 10, effort=60), Exact().build(x).search(q, 10)) > 0.9


def test_without_items():
    x, q = cloud(2000, 8, 15)
    index = HNSW(m=6, ef_construction=60).build(x)
    gone = np.unique(index.search(q, 5, effort=40).ids)
    left = index.without_items(gone)
    alive = np.ones(2000, bool)
    alive[gone] = False
    found = left.search(q, 10, effort=40)
    assert not np.isin(found.ids, gone).any()
    assert recall(found, Exact().build(x).search(q, 10, allow=alive)) > 0.9
    allow = np.random.default_rng(0).random(2000) < 0.8
    found = left.search(q, 10, effort=40, allow=allow)
    assert (alive & allow)[found.ids].all()
    assert np.isin(index.search(q, 5, effort=40).ids, gone).all(), "the old index is what it was"
    kept = left.settings.from_arrays(left.arrays())
    assert not np.isin(kept.search(q, 10).ids, gone).any()
    later = left.with_items(x[:3])
    assert not np.isin(later.search(q, 10, effort=40).ids, gone).any()
    none = left.without_items(range(2000))
    found = none.search(q, 3)
    assert (found.ids == -1).all()
    assert (found.scores == -np.inf).all()
    assert left.without_items([]).alive.sum() == alive.sum()


@pytest.mark.parametrize("ids", [[-1], [5], [0.5], ["a"]])
def test_without_invalid_ids(ids):
    with pytest.raises(DataError, match=r"the ids to remove must be whole numbers in 0\.\.4"):
        HNSW().build(np.ones((5, 2), np.float32)).without_items(ids)


def test_with_items_of_the_wrong_width():
    with pytest.raises(DataError, match="the vectors have 3 dimensions, but the index holds vectors of 2"):
        HNSW().build(np.ones((5, 2), np.float32)).with_items(np.ones((1, 3)))


@pytest.mark.parametrize("metric", METRICS)
def test_equal_vectors(metric):
    x = np.ones((1500, 3), np.float32)
    x[700:] = [1, 2, 0.5]
    index = HNSW(m=3, ef_construction=20, ef=15, metric=metric).build(x)
    found = index.search(x[[0, 900]], 12)
    for row, item in enumerate((0, 900)):
        score = {"dot": x.max(0) @ x[item], "cosine": 1, "euclidean": 0}[metric]
        if metric != "dot":
            np.testing.assert_allclose(found.scores[row], score, atol=1e-5)
        assert len(set(found.ids[row])) == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "hamming"}, r"HNSW\(metric='hamming'\) must be one of 'dot', 'cosine', 'euclidean'"),
        ({"m": 1}, r"HNSW\(m=1\) must be a whole number from 2 to 512"),
        ({"m": 16.0}, r"HNSW\(m=16.0\) must be a whole number"),
        ({"m": True}, r"HNSW\(m=True\) must be a whole number"),
        ({"ef_construction": 0}, r"HNSW\(ef_construction=0\) must be a whole number from 1 to 1000000"),
        ({"ef": 0}, r"HNSW\(ef=0\) must be"),
        ({"seed": -1}, r"HNSW\(seed=-1\) must be"),
    ],
)
def test_invalid_settings(arguments, message):
    with pytest.raises(SettingError, match=message):
        HNSW(**arguments)


def test_invalid_effort():
    index = HNSW().build(np.ones((5, 2), np.float32))
    with pytest.raises(SettingError, match="effort=0 must be a whole number of at least 1"):
        index.search(np.ones((1, 2)), 1, effort=0)


def crafted():
    """Each: the array that is changed, and what it is changed to."""

    def changed(name, place, value):
        def craft(arrays):
            array = arrays[name].copy()
            array[place] = value
            return {**arrays, name: array}

        return pytest.param(craft, id=f"{name} {value}")

    def replaced(name, make):
        return pytest.param(lambda arrays: {**arrays, name: make(arrays[name])}, id=f"{name} {make.__name__}")

    def cut(array):
        return array[:-1]

    def wide(array):
        return array.astype(np.float64 if array.dtype.kind == "f" else np.int16)

    yield changed("links", (3, 0), 400)
    yield changed("links", (3, 0), -2)
    yield changed("upper", (0, 0), 399)
    yield changed("order", 7, 400)
    yield changed("order", 7, 8)
    yield changed("sizes", 0, 399)
    yield changed("sizes", -1, 0)
    yield changed("sizes", 1, 401)
    yield changed("sizes", 1, -5)
    yield changed("center", 0, np.nan)
    yield changed("records", (2, slice(-8, None)), -1)  # the bytes of NaN
    for name in ("records", "links", "upper", "order", "sizes", "center", "alive", "vectors"):
        yield replaced(name, cut)
        yield replaced(name, wide)
    yield replaced("sizes", np.atleast_2d)
    yield replaced("vectors", np.ravel)


@pytest.mark.parametrize("craft", [*crafted()])
def test_crafted_arrays_raise(craft):
    x, _ = cloud(400, 6, 16)
    made = HNSW(m=4, ef_construction=20, metric="euclidean")
    arrays = made.build(x).arrays()
    made.from_arrays(arrays)
    with pytest.raises(DataError, match="the index's arrays do not fit together; build it again"):
        made.from_arrays(craft(arrays))


def test_missing_arrays_and_other_settings_raise():
    x, _ = cloud(100, 6, 17)
    arrays = HNSW(m=4).build(x).arrays()
    for name in arrays:
        with pytest.raises(DataError, match=f"lacks the arrays .*{name}"):
            HNSW(m=4).from_arrays({other: array for other, array in arrays.items() if other != name})
    with pytest.raises(DataError, match="do not fit together"):
        HNSW(m=5).from_arrays(arrays)


def test_recommender_saves_its_graph(tmp_path):
    import segue

    data = segue.data.simulate(60, 3000, 4000, seed=1)
    index = HNSW(m=6, ef_construction=40, ef=20)
    trained = segue.Recommender(model=segue.IALS(dim=8, iterations=2), index=index).fit(data)
    before = trained.recommend(data.users.ids[:9], k=5)
    trained.save(tmp_path / "model")
    again = segue.load(tmp_path / "model")
    assert again.settings.index == index
    assert before.equals(again.recommend(data.users.ids[:9], k=5))
