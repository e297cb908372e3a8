"""Interactions from frames and matrices, compared with naive code."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from interactions import EXAMPLE, as_dict, check_matrix, frame, times_of
from segue.data.assembly import from_frame
from segue.data.cleaning import clean_numbers, clean_times
from segue.data.ids import IdMap
from segue.data.interactions import Interactions, from_csr
from segue.errors import DataError, SettingError


def naive(rows, duplicates, timed):
    kept = {}
    rows = sorted(rows, key=lambda row: row[3]) if timed else rows  # a stable sort
    for user, item, weight, _ in rows:
        kept.setdefault((user, item), []).append(weight)
    join = {"sum": sum, "max": max, "last": lambda weights: weights[-1]}[duplicates]
    return {pair: float(join(weights)) for pair, weights in kept.items()}


ROW = st.tuples(st.integers(-5, 5), st.sampled_from("abcde"), st.integers(1, 9), st.integers(0, 3))


@given(st.lists(ROW, min_size=1, max_size=60), st.sampled_from(["sum", "max", "last"]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_pairs_equal_a_dict(rows, duplicates, timed):
    table = frame(rows, "weight", "time")
    data = from_frame(table if timed else table.drop("time"), duplicates=duplicates)
    expected = naive(rows, duplicates, timed)
    assert as_dict(data) == expected
    check_matrix(data)
    assert data.users.ids.tolist() == sorted({row[0] for row in rows})
    assert data.items.ids.tolist() == sorted({row[1] for row in rows})
    if timed:
        latest = {}
        for user, item, _, moment in rows:
            latest[user, item] = max(moment, latest.get((user, item), 0))
        assert times_of(data) == latest
    else:
        assert data.times is None


@pytest.mark.parametrize(
    ("duplicates", "timed", "weight", "time"),
    [("sum", True, 9, 30), ("max", True, 5, 30), ("last", True, 1, 30),
     ("sum", False, 9, None), ("max", False, 5, None), ("last", False, 3, None)],
)  # fmt: skip
def test_repeated_rows_are_merged(duplicates, timed, weight, time):
    table = frame(
        [("u", "i", 5, 10), ("u", "i", 1, 30), ("u", "i", 3, 20), ("u", "j", 2, 1)], "weight", "time"
    )
    data = from_frame(table if timed else table.drop("time"), duplicates=duplicates)
    assert as_dict(data) == {("u", "i"): weight, ("u", "j"): 2}
    assert time is None or times_of(data) == {("u", "i"): time, ("u", "j"): 1}


def test_order_of_many_repeated_rows():
    rng = np.random.default_rng(0)
    rows = [
        *zip(
            rng.integers(0, 300, 30_000).tolist(),
            rng.integers(0, 9, 30_000).tolist(),
            range(1, 30_001),
            strict=True,
        )
    ]
    assert as_dict(from_frame(frame(rows, "weight"), duplicates="last")) == {row[:2]: row[2] for row in rows}
    shuffled = rng.permutation(30_000)
    assert IdMap(shuffled).rows(np.arange(30_000)).tolist() == np.argsort(shuffled).tolist()


def test_rows_without_weights_are_counted():
    rows = [(1, "a"), (1, "a"), (2, "a")]
    assert as_dict(from_frame(frame(rows))) == {(1, "a"): 2, (2, "a"): 1}
    assert as_dict(from_frame(frame(rows), duplicates="max")) == {(1, "a"): 1, (2, "a"): 1}
    with pytest.raises(DataError, match="min_weight=2 needs a weight column, and there is none; name it"):
        from_frame(frame(rows), min_weight=2)


def test_min_weight_applies_before_rows_are_summed():
    table = frame([(1, "a", 2), (1, "a", 3), (2, "b", 1), (3, "a", 0), (1, "c", -4)], "weight")
    assert as_dict(from_frame(table, min_weight=2)) == {(1, "a"): 5}
    assert as_dict(from_frame(table, min_weight=3)) == {(1, "a"): 3}
    assert as_dict(from_frame(table)) == {(1, "a"): 5, (2, "b"): 1, (1, "c"): -4}  # zero: nothing happened
    with pytest.raises(
        DataError, match=r"none of 5 rows has a weight of at least 4 \(the weights go from -4.0 to 3.0\)"
    ):
        from_frame(table, min_weight=4)
    with pytest.raises(DataError, match="none of 1 rows has a weight other than zero"):
        from_frame(frame([(1, "a", 0)], "weight"))


def test_weights_that_cancel():
    table = frame([(1, "a", 2), (1, "a", -2), (2, "b", 1)], "weight")
    data = from_frame(table)
    assert as_dict(data) == {(2, "b"): 1}
    assert data.matrix.shape == (1, 1)
    with pytest.raises(DataError, match="the weights of every user and item add up to zero"):
        from_frame(table.head(2))
    with pytest.raises(DataError, match="exceed float32 when summed"):
        from_frame(frame([(1, "a", 3e38), (1, "a", 3e38)], "weight"))


def test_sums_use_float64():
    table = frame([(1, 1, 1.0), (1, 1, 2.0**24), (1, 1, 1.0)], "weight")
    assert from_frame(table).matrix.data.tolist() == [2**24 + 2]


def test_one_row_and_no_rows():
    data = from_frame(frame([("only", 1)]))
    assert as_dict(data) == {("only", 1): 1}
    assert repr(data) == "Interactions(1 users × 1 items, 1 interactions)"
    with pytest.raises(DataError, match="there are no interactions in it \\(0 rows\\)"):
        from_frame(frame([]))
    with pytest.raises(SettingError, match="duplicates='first' must be one of 'sum', 'last', 'max'"):
        from_frame(frame([(1, 1)]), duplicates="first")


def test_clean_numbers():
    assert clean_numbers(pl.Series([" 1.5 ", "2"]), "weight").to_list() == [1.5, 2.0]
    assert clean_numbers(pl.Series([True, False]), "weight").to_list() == [1.0, 0.0]
    for bad, shown in (
        ("x", "'x'"),
        ("1e99", "'1e99'"),
        (None, "None"),
        (math.nan, "nan"),
        (1e99, r"1e\+99"),
    ):
        given_ones = ["1", bad] if isinstance(bad, str) else [1.0, bad]
        with pytest.raises(DataError, match=rf"the weight in row 2 is {shown}; .* \(1 of 2 rows are not\)"):
            clean_numbers(pl.Series(given_ones), "weight")


def test_clean_times():
    second = 1_589_711_400
    for unit in (1, 10**3, 10**6, 10**9):
        assert clean_times(pl.Series([second * unit, 0])).to_list() == [second, 0]
        assert clean_times(pl.Series([float(second * unit)])).to_list() == [second]
    moments = pl.Series([second]).cast(pl.Int64) * 1000
    for zone in (None, "UTC", "Asia/Tokyo"):
        for unit in ("ms", "us", "ns"):
            stamped = moments.cast(pl.Datetime("ms")).cast(pl.Datetime(unit))
            zoned = (
                stamped if zone is None else stamped.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
            )
            assert clean_times(zoned).to_list() == [second]
    assert clean_times(pl.Series([1]).cast(pl.Date)).to_list() == [86400]
    assert clean_times(pl.Series([" 5", "1e3"])).to_list() == [5, 1000]
    with pytest.raises(DataError, match=r"times must be numbers, dates or ISO text, but these are List"):
        clean_times(pl.Series([[1]]))
    for bad in (None, math.nan, math.inf):
        with pytest.raises(DataError, match=rf"the time in row 2 is {bad}, not a number, a date or ISO text"):
            clean_times(pl.Series([1.0, bad]))


def test_sparse_formats():
    dense = np.array([[0, 2, 0], [1, 0, 3]])
    for form in (sp.csr_matrix, sp.csc_matrix, sp.coo_matrix, sp.csr_array, sp.lil_matrix):
        data = from_csr(form(dense))
        assert as_dict(data) == {(0, 1): 2, (1, 0): 1, (1, 2): 3}
        check_matrix(data)


def test_matrix_is_copied_and_sorted():
    given_one = sp.csr_matrix((np.float32([3, 1, 5, 0]), [2, 0, 2, 1], [0, 4, 4]), (2, 3))
    data = from_csr(given_one)
    assert as_dict(data) == {(0, 0): 1, (0, 2): 8}
    check_matrix(data)
    assert len(data.users) == 2  # a row without anything is still a user
    assert given_one.data.tolist() == [3, 1, 5, 0]


def test_invalid_matrices():
    with pytest.raises(DataError, match="the weight of row 1, column 2 is nan; weights must be finite"):
        from_csr(sp.csr_matrix([[0, 1, 0], [1, 0, np.nan]]))
    with pytest.raises(DataError, match=r"the matrix of shape \(2, 3\) contains no interactions"):
        from_csr(sp.csr_matrix((2, 3)))
    with pytest.raises(
        DataError,
        match=r"\(2, 3\) \(users × items\) does not fit 3 user ids and 2 item ids: the rows are items",
    ):
        from_csr(sp.csr_matrix(np.ones((2, 3))), users="abc", items="xy")
    data = from_csr(sp.csr_matrix(np.ones((2, 3))))
    with pytest.raises(DataError, match="5 times do not fit 6 interactions"):
        Interactions(data.matrix, data.users, data.items, np.zeros(5))
    with pytest.raises(DataError, match="1 rows of item metadata do not fit 3 items"):
        Interactions(data.matrix, data.users, data.items, None, pl.DataFrame({"title": ["a"]}))


def test_where_keeps_all_ids():
    mask = EXAMPLE.matrix.data > 2
    some = EXAMPLE.where(mask)
    assert as_dict(some) == {pair: weight for pair, weight in as_dict(EXAMPLE).items() if weight > 2}
    assert some.times.tolist() == EXAMPLE.times[mask].tolist()
    assert some.matrix.shape == EXAMPLE.matrix.shape
    assert len(EXAMPLE.where(np.zeros(6, bool))) == 0


def test_compact_drops_unused_ids():
    some = EXAMPLE.where(EXAMPLE.matrix.data > 4).compact()
    assert as_dict(some) == {("u2", "b"): 5, ("u3", "d"): 6}
    assert some.times.tolist() == [30, 60]
    assert some.item_metadata["title"].to_list() == ["B", "D"]
    check_matrix(some)
    assert EXAMPLE.compact() is EXAMPLE


def test_core_of_a_known_example():
    assert as_dict(EXAMPLE.core(2, 2)) == {("u1", "a"): 1, ("u1", "b"): 2, ("u2", "a"): 4, ("u2", "b"): 5}
    assert EXAMPLE.core(2, 2).item_metadata["title"].to_list() == ["A", "B"]
    assert set(as_dict(EXAMPLE.core(3, 1))) == {("u1", "a"), ("u1", "b"), ("u1", "c")}
    assert EXAMPLE.core(0, 0) is EXAMPLE
    with pytest.raises(
        DataError, match="none of 6 is in a core of at least 3 per user and 2 per item; lower core="
    ):
        EXAMPLE.core(3, 2)
    with pytest.raises(SettingError, match="a core of -1 per user and 2 per item must not be negative"):
        EXAMPLE.core(-1, 2)


@given(
    st.sets(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1), st.integers(0, 4), st.integers(0, 4)
)
@settings(max_examples=80, deadline=None)
def test_core_equals_naive_peeling(pairs, users, items):
    left = set(pairs)
    while True:
        rows, columns = Counter(u for u, _ in left), Counter(i for _, i in left)
        kept = {(u, i) for u, i in left if rows[u] >= users and columns[i] >= items}
        if kept == left:
            break
        left = kept
    data = from_frame(frame([*pairs]))
    if left:
        core = data.core(users, items)
        assert set(as_dict(core)) == left
        check_matrix(core)
    else:
        with pytest.raises(DataError, match="no interaction is left"):
            data.core(users, items)


def test_metadata_is_aligned_with_items():
    table = pl.DataFrame(
        {"id": ["zzz", "c", "a", "zzz"], "n": [9, 3, 1, 9], "tags": [[], ["x"], ["y", "z"], []]}
    )
    data = EXAMPLE.with_metadata(table, "id")
    assert data.item_metadata.rows() == [(1, ["y", "z"]), (None, None), (3, ["x"]), (None, None)]
    assert EXAMPLE.item_metadata["title"].to_list() == ["A", "B", "C", "D"]
    numbers = from_frame(frame([(1, 7), (1, 12)])).with_metadata(
        pl.DataFrame({"i": ["007", "12"], "n": [0, 1]}), "i"
    )
    assert numbers.item_metadata["n"].to_list() == [None, 1]  # 7 is not 007
    many = from_frame(frame([(1, item) for item in range(100)]))
    shuffled = pl.DataFrame({"i": range(100), "n": [str(item) for item in range(100)]}).sample(
        fraction=1, shuffle=True, seed=0
    )
    assert many.with_metadata(shuffled, "i").item_metadata["n"].to_list() == [
        str(item) for item in range(100)
    ]
    with pytest.raises(DataError, match="the item 'c' has more than one row of metadata; keep one"):
        EXAMPLE.with_metadata(pl.DataFrame({"id": ["c", "c"], "n": [1, 2]}), "id")
    with pytest.raises(DataError, match="no column 'item' in the item metadata; its columns are id, n"):
        EXAMPLE.with_metadata(pl.DataFrame({"id": ["c", "c"], "n": [1, 2]}), "item")
    with pytest.raises(DataError, match="the item metadata has no column beside 'id'"):
        EXAMPLE.with_metadata(pl.DataFrame({"id": ["c"]}), "id")
