"""Annoy's interface: its files and its answers, its errors, and files that are none."""

import json
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.compat.annoy import AnnoyIndex
from segue.compat.annoy.errors import IndexFileError
from segue.errors import DataError, SegueError, SettingError

METRICS = ["angular", "euclidean", "manhattan", "hamming", "dot"]
KEPT = Path(__file__).parent / "annoy_files"
ANSWERS = json.loads((KEPT / "answers.json").read_text(encoding="utf-8"))


def drawn(metric, count, f, seed=0):
    values = np.random.default_rng(seed).standard_normal((count, f)).astype(np.float32)
    return (values > 0).astype(np.float32) if metric == "hamming" else values


def built(metric, vectors, trees=5, **options):
    index = AnnoyIndex(vectors.shape[1], metric)
    for i, vector in enumerate(vectors):
        index.add_item(i, vector)
    index.build(trees, **options)
    return index


def true_distances(metric, query, vectors):
    q, x = query.astype(np.float64), vectors.astype(np.float64)
    if metric == "dot":
        return x @ q
    if metric == "angular":
        return np.sqrt(np.maximum(2 - 2 * (x @ q) / np.linalg.norm(x, axis=1) / np.linalg.norm(q), 0))
    apart = np.abs(x - q)
    return np.sqrt((apart**2).sum(1)) if metric == "euclidean" else apart.sum(1)


@pytest.mark.parametrize("metric", METRICS)
def test_files_of_annoy_give_the_answers_of_annoy(metric):
    told = ANSWERS[metric]
    index = AnnoyIndex(told["f"], metric)
    assert index.load(str(KEPT / f"{metric}.ann"))
    assert (index.get_n_items(), index.get_n_trees()) == (told["items"], told["trees"])
    asked = [(query, *search) for query in told["queries"] for search in told["searches"]]
    for (query, n, search_k), (ids, distances) in zip(asked, told["answers"], strict=True):
        own_ids, own = index.get_nns_by_vector(query, n, search_k, include_distances=True)
        assert own_ids == ids
        np.testing.assert_allclose(own, distances, rtol=3e-7, atol=1e-6)
    assert index.get_nns_by_item(40, 10, 60) == told["by_item"][0]
    assert index.get_item_vector(40) == told["vector"]
    assert index.get_distance(3, 40) == pytest.approx(told["distance"], rel=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_a_file_that_went_through_us_is_the_same_to_the_last_byte(metric, tmp_path):
    index = AnnoyIndex(ANSWERS[metric]["f"], metric)
    index.load(KEPT / f"{metric}.ann")
    index.save(tmp_path / "again.ann")
    assert (tmp_path / "again.ann").read_bytes() == (KEPT / f"{metric}.ann").read_bytes()
    assert index.serialize() == (KEPT / f"{metric}.ann").read_bytes()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("f", [1, 2, 5, 7, 13, 64, 130])
def test_everything_is_found_when_everything_is_looked_at(metric, f, tmp_path):
    vectors, query = drawn(metric, 300, f), drawn(metric, 1, f, 1)[0]
    index = built(metric, vectors)
    truth = true_distances(metric, query, vectors)
    for _ in range(2):  # as built, and as loaded
        ids, distances = index.get_nns_by_vector(query, 300, 10**6, include_distances=True)
        assert sorted(ids) == [*range(300)]
        np.testing.assert_allclose(distances, truth[ids], rtol=1e-4, atol=1e-3)
        assert distances == sorted(distances, reverse=metric == "dot")
        index.save(tmp_path / "x.ann")


@pytest.mark.parametrize("metric", METRICS)
def test_trees_find_most_of_it(metric):
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((30, 20))[rng.integers(0, 30, 4000)] + 0.4 * rng.standard_normal((4000, 20))
    vectors = (vectors > 0).astype(np.float32) if metric == "hamming" else vectors.astype(np.float32)
    index, found = built(metric, vectors, 20), 0
    for query in vectors[:100]:
        truth = np.sort(true_distances(metric, query, vectors) * (-1 if metric == "dot" else 1))[9]
        _, distances = index.get_nns_by_vector(query, 10, 800, include_distances=True)
        found += (np.array(distances) * (-1 if metric == "dot" else 1) <= truth + 1e-4).sum()
    assert found >= 850


@pytest.mark.parametrize("metric", METRICS)
def test_the_same_bytes_with_any_number_of_threads_and_another_with_another_seed(metric):
    vectors = drawn(metric, 500, 8)
    one, three = built(metric, vectors, n_jobs=1), built(metric, vectors, n_jobs=3)
    assert one.serialize() == three.serialize() == built(metric, vectors).serialize()
    other = AnnoyIndex(8, metric)
    other.set_seed(7)
    for i, vector in enumerate(vectors):
        other.add_item(i, vector)
    other.build(5)
    assert other.serialize() != one.serialize()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 30, 400])
def test_built_on_disk_it_is_the_same_file(metric, count, tmp_path):
    vectors = drawn(metric, count, 6)
    index = AnnoyIndex(6, metric)
    index.on_disk_build(tmp_path / "disk.ann")
    for i, vector in enumerate(vectors):
        index.add_item(i, vector)
    index.build(4)
    in_memory = built(metric, vectors, 4)
    assert (tmp_path / "disk.ann").read_bytes() == in_memory.serialize()
    answers = [each.get_nns_by_vector(vectors[0], 5) for each in (index, in_memory)]
    assert answers[0] == answers[1]
    assert index.save(tmp_path / "elsewhere.ann")
    index.unload()
    assert (index.get_n_items(), index.get_n_trees()) == (0, 0)
    index.load(tmp_path / "disk.ann")
    assert sorted(index.get_nns_by_vector(vectors[0], count, 10**6)) == [*range(count)]


@pytest.mark.parametrize("metric", METRICS)
def test_holes_are_never_found(metric, tmp_path):
    for numbers in ([1000], [3, 1000], [0, 2], [7], [*range(0, 900, 3)]):
        index = AnnoyIndex(10, metric)
        for number, vector in zip(numbers, drawn(metric, len(numbers), 10), strict=True):
            index.add_item(number, vector)
        index.build(6)
        for _ in range(2):
            assert index.get_n_items() == numbers[-1] + 1
            for query in drawn(metric, 5, 10, 3):
                assert sorted(index.get_nns_by_vector(query, 5000)) == numbers
            index.save(tmp_path / "holes.ann")


def test_no_items_at_all(tmp_path):
    index = AnnoyIndex(5, "angular")
    index.build(10)
    index.save(tmp_path / "none.ann")
    assert index.get_n_items() == 0
    assert index.get_nns_by_vector([1, 2, 3, 4, 5], 3, include_distances=True) == ([], [])


@pytest.mark.parametrize("metric", METRICS)
def test_items_that_no_plane_divides(metric, tmp_path):
    index = built(metric, np.ones((500, 3), np.float32), 3)
    index.save(tmp_path / "same.ann")
    assert sorted(index.get_nns_by_item(0, 500, 10**6)) == [*range(500)]


def test_as_many_trees_as_double_the_room():
    index = built("euclidean", drawn("euclidean", 2000, 10), -1)
    assert 4 <= index.get_n_trees() <= 20
    again = built("euclidean", drawn("euclidean", 2000, 10), -1, n_jobs=3)
    assert again.serialize() == index.serialize()
    assert len(index.serialize()) // (4 * 14) >= 4000


def test_unbuild_and_build_again_with_more_items():
    index = built("angular", drawn("angular", 100, 4))
    before = index.serialize()
    assert index.unbuild()
    assert index.get_n_trees() == 0
    assert index.get_nns_by_item(0, 5) == []
    index.build(5)
    assert index.serialize() == before
    index.unbuild()
    index.add_item(100, [1, 2, 3, 4])
    index.build(5)
    assert index.get_nns_by_item(100, 1) == [100]
    assert index.get_n_items() == 101


def test_a_file_that_is_replaced_stays_with_who_has_loaded_it(tmp_path):
    first, second = drawn("angular", 80, 5), drawn("angular", 200, 5, 1)
    path = tmp_path / "a.ann"
    built("angular", first).save(path)
    holder = AnnoyIndex(5, "angular")
    holder.load(path)
    before = holder.get_nns_by_vector(first[0], 80, include_distances=True)
    built("angular", second).save(path)
    assert holder.get_nns_by_vector(first[0], 80, include_distances=True) == before
    assert [each.name for each in tmp_path.iterdir()] == ["a.ann"]


def test_hamming_takes_numbers_above_a_half_for_ones():
    index = AnnoyIndex(70, "hamming")
    bits = np.random.default_rng(4).random((2, 70))
    index.add_item(0, bits[0])
    index.add_item(1, list(bits[1]))
    assert index.get_item_vector(1) == (bits[1] > 0.5).astype(float).tolist()
    assert index.get_distance(0, 1) == ((bits[0] > 0.5) != (bits[1] > 0.5)).sum()


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.uint8, np.int16, list, tuple])
def test_vectors_of_every_type(kind):
    index = AnnoyIndex(3, "euclidean")
    values = [1, 2, 250]
    index.add_item(0, kind(values) if kind in (list, tuple) else np.array(values, kind))
    assert index.get_item_vector(0) == [1.0, 2.0, 250.0]


class Sequence:
    """What has a length and items, and is neither list nor array."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, i):
        return self.values[i]


@pytest.mark.parametrize("f", [1, 2, 5, 7, 13, 70])
@pytest.mark.parametrize("metric", METRICS)
def test_every_kind_of_vector_is_the_same_vector(metric, f):
    vectors = drawn(metric, 40, f).astype(np.float64)
    kinds = (np.asarray, np.ndarray.tolist, tuple, Sequence, np.float32)
    made = [built(metric, vectors) for _ in kinds]
    for index, kind in zip(made, kinds, strict=True):
        index.unbuild()
        for i, vector in enumerate(vectors[::-1]):
            index.add_item(i, kind(vector))
        index.build(5)
        assert index.serialize() == made[0].serialize()
        queried = index.get_nns_by_vector(kind(vectors[3]), 9, -1, True)
        assert queried == made[0].get_nns_by_vector(vectors[3], 9, -1, True)


@pytest.mark.parametrize("metric", METRICS)
def test_an_items_distances_are_those_of_pairs(metric):
    vectors = drawn(metric, 60, 13)
    index = built(metric, vectors)
    ids, distances = index.get_nns_by_item(8, 60, 10**6, True)
    assert len(ids) == 60
    assert [index.get_distance(8, i) for i in ids] == distances


@pytest.mark.parametrize("vector", [[1, float("nan"), 2], (1, 1e300, 2), [1, float("-inf"), 2], [1, "2", 3]])
def test_a_vector_that_cannot_be_leaves_the_one_there_was(vector):
    index = AnnoyIndex(3, "euclidean")
    index.add_item(0, [4, 5, 6])
    with pytest.raises((DataError, TypeError)):
        index.add_item(0, vector)
    assert index.get_item_vector(0) == [4, 5, 6]


def test_a_query_has_the_arguments_of_annoy():
    index = built("angular", drawn("angular", 50, 4), n_jobs=2)
    vector = index.get_item_vector(7)
    found = index.get_nns_by_vector(vector=vector, n=5, search_k=-1, include_distances=False)
    assert found == index.get_nns_by_item(7, 5) == index.get_nns_by_item(i=7, n=5, include_distances=True)[0]
    assert index.get_nns_by_item(7, 0) == []
    assert len(index.get_nns_by_item(7, 999_999_999)) == 50
    assert len(index.get_nns_by_item(7, -1)) == 50
    assert index.f == 4
    assert index.verbose(True) is True
    assert index.unload() is True


def test_without_a_metric_it_warns_as_annoy_does():
    with pytest.warns(FutureWarning, match="The default argument for metric will be removed"):
        index = AnnoyIndex(3)
    index.add_item(0, [1, 0, 0])
    index.add_item(1, [0, 2, 0])
    assert index.get_distance(0, 1) == pytest.approx(2**0.5)


class WithoutLength:
    pass


class WithoutItems:
    def __len__(self):
        return 3


class Short(WithoutItems):
    def __getitem__(self, i):
        raise IndexError("too short")


@pytest.mark.parametrize(
    ("error", "vector", "message"),
    [
        (IndexError, [1, 2], r"Vector has wrong length \(expected 3, got 2\)"),
        (IndexError, [], r"Vector has wrong length \(expected 3, got 0\)"),
        (IndexError, np.ones((2, 3)), r"Vector has wrong length \(expected 3, got 2\)"),
        (TypeError, ["1", "2", "3"], "^must be real number, not str$"),
        (TypeError, WithoutLength(), "^object of type 'WithoutLength' has no len\\(\\)$"),
        (TypeError, WithoutItems(), "^'WithoutItems' object is not subscriptable$"),
        (IndexError, Short(), "too short"),
        (DataError, [1, float("nan"), 2], "NaN or infinity"),
        (DataError, np.array([1, 1e300, 2]), "NaN or infinity"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_vectors_that_cannot_be(error, vector, message):
    index = AnnoyIndex(3, "euclidean")
    index.add_item(0, [1, 2, 3])
    with pytest.raises(error, match=message):
        index.add_item(1, vector)
    index.build(2)
    with pytest.raises(error, match=message):
        index.get_nns_by_vector(vector, 1)
    assert index.get_n_items() == 1


@pytest.mark.parametrize("item", [-1000, -1, 20, 1020])
def test_items_that_are_not_there(item):
    index = built("euclidean", drawn("euclidean", 20, 3))
    word = "negative" if item < 0 else "larger than the largest"
    for ask in (
        index.get_item_vector,
        lambda i: index.get_nns_by_item(i, 1),
        lambda i: index.get_distance(0, i),
    ):
        with pytest.raises(IndexError, match=f"Item index.*{word}"):
            ask(item)
    with pytest.raises(IndexError, match="can not be negative"):
        AnnoyIndex(3, "euclidean").add_item(-1, [1, 2, 3])


def test_arguments_that_cannot_be():
    with pytest.raises(ValueError, match="No such metric: 'banana' must be one of 'angular'"):
        AnnoyIndex(3, "banana")
    with pytest.raises(SettingError, match="f=0 must be at least 1"):
        AnnoyIndex(0, "dot")
    index = AnnoyIndex(2, "dot")
    with pytest.raises(TypeError, match="i: 'float' object cannot be interpreted as an integer"):
        index.add_item(1.5, [1, 2])
    with pytest.raises(OverflowError, match="outside the range of 32-bit integers"):
        index.add_item(2**31, [1, 2])
    for trees in (0, -2):
        with pytest.raises(SettingError, match=f"n_trees={trees} must be at least 1, or -1"):
            index.build(trees)
    with pytest.raises(SettingError, match="n_jobs=0 must be at least 1"):
        index.build(3, n_jobs=0)
    with pytest.raises(TypeError, match="cannot be pickled: save"):
        pickle.dumps(index)


def test_what_a_built_or_a_loaded_index_cannot_do(tmp_path):
    index = AnnoyIndex(3, "angular")
    index.add_item(0, [1, 2, 3])
    for call, told in (
        (lambda: index.save(tmp_path / "x.ann"), "You can't save an index that hasn't been built"),
        (index.serialize, "You can't save an index that hasn't been built"),
        (lambda: index.on_disk_build(tmp_path / "x.ann"), "on_disk_build must come before the first item"),
    ):
        with pytest.raises(OSError, match=f"^{told}$") as raised:  # as Annoy's
            call()
        assert isinstance(raised.value, SegueError)
    index.build(2)
    with pytest.raises(SegueError, match="You can't build a built index"):
        index.build(2)
    with pytest.raises(SegueError, match="You can't add an item to a built index"):
        index.add_item(1, [1, 2, 3])
    index.save(tmp_path / "x.ann")
    for method, arguments in (("build", (2,)), ("unbuild", ()), ("add_item", (1, [1, 2, 3]))):
        with pytest.raises(SegueError, match=f"You can't {method.split('_')[0]} .*a loaded index"):
            getattr(index, method)(*arguments)


def test_files_that_cannot_be_opened_or_written(tmp_path):
    index = built("angular", drawn("angular", 10, 3))
    with pytest.raises(OSError, match="nonexists"):
        index.load(str(tmp_path / "nonexists.tree"))
    with pytest.raises(OSError, match="empty"):
        index.save("")
    with pytest.raises(OSError, match="No such file"):
        index.save(tmp_path / "nowhere" / "x.ann")
    with pytest.raises(OSError, match="No such file"):
        AnnoyIndex(3, "angular").on_disk_build(tmp_path / "nowhere" / "x.ann")
    if Path("/dev/full").exists():
        with pytest.raises(OSError, match="No space left"):
            index.save("/dev/full")
    assert [*tmp_path.iterdir()] == []
    assert index.get_nns_by_item(0, 1) == [0]


@pytest.mark.parametrize("metric", METRICS)
def test_cut_files_raise(metric, tmp_path):
    f = 10
    whole = built(metric, drawn(metric, 100, f), 10).serialize()
    size, path = 4 * AnnoyIndex(f, metric)._shape.size, tmp_path / "cut.ann"
    count = len(whole) // size
    for kept in range(count):
        path.write_bytes(whole[: kept * size])
        with pytest.raises(IndexFileError, match=r"cut or damaged|Size of file is zero"):
            AnnoyIndex(f, metric).load(path)
    path.write_bytes(whole[:-3])
    with pytest.raises(
        IndexFileError, match=f"not a multiple of vector size, {size}. Open it with its number of dim"
    ):
        AnnoyIndex(f, metric).load(path)
    loaded = AnnoyIndex(f, metric)
    loaded.deserialize(whole)
    with pytest.raises(IndexFileError):
        loaded.load(path)
    assert loaded.get_n_items() == 100  # a file that cannot be loaded changes nothing
    with pytest.raises(IndexFileError, match="no multiple"):
        loaded.deserialize(b"")


@pytest.mark.parametrize("metric", METRICS)
def test_files_of_another_metric_or_width_raise(metric, tmp_path):
    path, own = tmp_path / "x.ann", AnnoyIndex(12, metric)._shape
    path.write_bytes(built(metric, drawn(metric, 200, 12), 7).serialize())
    tried = 0
    for other in METRICS:
        for f in (1, 2, 5, 6, 7, 11, 12, 13, 24, 300):
            shape = AnnoyIndex(f, other)._shape
            if (shape.size, shape.lists) != (own.size, own.lists):  # else their nodes look alike
                tried += 1
                with pytest.raises(IndexFileError):
                    AnnoyIndex(f, other).load(path)
    assert tried >= 40


@settings(max_examples=300, deadline=None)
@given(
    metric=st.sampled_from(METRICS),
    changes=st.lists(
        st.tuples(
            st.floats(0, 1, exclude_max=True),
            st.integers(0, 3),
            st.sampled_from([0, 1, 2, -1, 7, 89, 10**6, 2**31 - 1, -(2**31)]),
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_crafted_files_raise_or_answer(metric, changes):
    """Words before the vectors, where counts and links stand, become anything; nothing crashes or hangs."""
    f = ANSWERS[metric]["f"]
    data = np.fromfile(KEPT / f"{metric}.ann", np.int32)
    shape = AnnoyIndex(f, metric)._shape
    rows = data.reshape(-1, shape.size)
    for place, word, value in changes:
        rows[int(place * len(rows)), word] = value
    index = AnnoyIndex(f, metric)
    try:
        index.deserialize(data.tobytes())
    except IndexFileError:
        return
    for n, search_k in ((5, -1), (1000, 10**6)):
        found = index.get_nns_by_vector([1.0] * f, n, search_k)
        assert all(0 <= i < index.get_n_items() for i in found)


def test_a_chain_of_nodes_that_would_be_walked_for_ever_raises():
    """Each node has the one before it twice: 2^60 ways down."""
    f, items = 4, 300
    index = built("euclidean", drawn("euclidean", items, f), 2)
    rows = np.frombuffer(index.serialize(), np.int32).reshape(-1, 8)
    chain = np.zeros((60, 8), np.int32)
    chain[:, 0], chain[0] = 200, rows[items]
    chain[1:, 2] = chain[1:, 3] = np.arange(items, items + 59)
    chain[-1, 0] = items
    crafted = np.concatenate([rows[:items], chain, chain[-1:]])
    with pytest.raises(IndexFileError, match="that Annoy does not write"):
        AnnoyIndex(f, "euclidean").deserialize(crafted.tobytes())


def test_inner_products_find_what_is_far_from_the_origin():
    """Norms that differ much are where trees without the extra coordinate fail."""
    rng = np.random.default_rng(8)
    vectors = (rng.standard_normal((5000, 16)) * rng.lognormal(0, 1, (5000, 1))).astype(np.float32)
    index, found = built("dot", vectors, 20), 0
    for query in rng.standard_normal((100, 16)):
        best = np.argsort(-(vectors @ query))[:10]
        found += len({*best.tolist()} & {*index.get_nns_by_vector(query, 10, 1000)})
    assert found >= 900


def test_many_indexes_come_and_go(tmp_path):
    path = tmp_path / "x.ann"
    built("angular", drawn("angular", 100, 10)).save(path)
    random.seed(0)
    for _ in range(2000):
        index = AnnoyIndex(10, "angular")
        index.load(path)
        index.unload()
        index.add_item(1000, [random.gauss(0, 1) for _ in range(10)])
