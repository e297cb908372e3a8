"""Ids, the matrix of interactions, and the splits: against naive code, and with answers known beforehand."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.data.assembly import from_frame
from segue.data.cleaning import clean_numbers, clean_times
from segue.data.ids import FEW, IdMap, clean_ids
from segue.data.interactions import Interactions, from_csr
from segue.errors import DataError, SettingError, UnknownIdError

# Ids


ORDERS = {
    "sorted": [-3, 0, 5, 12, 100],
    "unsorted": [100, -3, 12, 0, 5],
    "sorted text": ["", "007", "12", "a", "é", "漢"],
    "unsorted text": ["b", "漢", "12", "", "a", "é"],
    "one": [7],
}


@pytest.mark.parametrize("ids", ORDERS.values(), ids=ORDERS)
def test_every_id_is_found_at_its_row(ids):
    made = IdMap(ids, noun="item")
    expected = list(range(len(ids)))
    assert [made.find(one) for one in ids] == expected
    assert [made[row] for row in expected] == ids
    assert made.ids.tolist() == ids
    assert len(made) == len(ids)
    assert all(one in made for one in ids)
    for times in (1, FEW + 1):  # few are looked up one by one, many are joined
        asked = [*reversed(ids)] * times
        rows = made.rows(asked)
        assert rows.dtype == np.int32
        assert rows.tolist() == [*reversed(expected)] * times
        assert made.rows(pl.Series(asked)).tolist() == rows.tolist()
        assert made.rows(np.array(asked)).tolist() == rows.tolist()
        assert made.rows(iter(asked)).tolist() == rows.tolist()
        assert made.require(asked).tolist() == rows.tolist()


@pytest.mark.parametrize("many", [1, FEW + 1])
def test_integers_and_their_text_stand_for_each_other_where_that_is_plain(many):
    numbers, texts = IdMap([30, 4, 7]), IdMap(["30", "04", "x"])
    asked = {"4": 1, "30": 0, "04": -1, "7.0": -1, " 7": -1, "+7": -1, "x": -1, "": -1, "-7": -1}
    assert numbers.rows([*asked] * many).tolist() == [*asked.values()] * many
    assert texts.rows([30, 4, 7] * many).tolist() == [0, -1, -1] * many
    assert numbers.rows(np.array([7, 8], np.uint64).repeat(many)).tolist() == [2] * many + [-1] * many
    assert [numbers.find("4"), numbers.find("04"), texts.find(30), texts.find(4)] == [1, -1, 0, -1]
    assert numbers.rows("4").tolist() == numbers.rows(4).tolist() == numbers.rows(np.int64(4)).tolist() == [1]
    assert "4" in numbers
    assert None not in numbers
    assert 2.5 not in numbers


@given(st.sets(st.integers(-(2**63), 2**63 - 1) | st.text(max_size=4), max_size=40), st.data())
@settings(max_examples=60, deadline=None)
def test_lookups_equal_a_dict(ids, data):
    kinds = {type(one) for one in ids}
    ids = [*{str(one) for one in ids}] if len(kinds) > 1 else [*ids]
    made, naive = IdMap(ids), {one: row for row, one in enumerate(ids)}
    others = st.integers(-9, 9) if kinds == {int} else st.text(max_size=2)
    asked = data.draw(st.lists(st.sampled_from(ids) | others if ids else others, max_size=60))
    assert made.rows(asked).tolist() == [naive.get(one, -1) for one in asked]


def test_nobody_is_found_in_no_ids():
    empty = IdMap([])
    assert len(empty) == 0
    assert empty.rows([1, "a"]).tolist() == [-1, -1]
    assert empty.rows([]).tolist() == []
    assert IdMap([1]).rows([]).tolist() == []
    assert IdMap(["a"]).rows(np.arange(100)).max() == -1


def test_unknown_ids_are_named():
    made = IdMap(["a", "b", "c", "d"], noun="user")
    with pytest.raises(UnknownIdError) as raised:
        made.require(["a", "x", "y"])
    assert str(raised.value) == "unknown user: 'x', 'y'. The model knows 4 users, such as 'a', 'b', 'c'"
    with pytest.raises(UnknownIdError, match=r"unknown user: 0, 1, 2 and 97 more\. The model"):
        made.require(range(100))
    with pytest.raises(UnknownIdError, match="unknown user: 'x'"):
        made.require("x")


def test_ids_that_cannot_be_are_refused():
    with pytest.raises(DataError, match="the item 'a' occurs more than once; every item must be unique"):
        IdMap(["a", "b", "a"], noun="item")
    with pytest.raises(DataError, match=r"1 of 3 user ids are missing \(null\), the first in row 2"):
        IdMap([1, None, 3], noun="user")
    with pytest.raises(DataError, match=r"user ids must be strings or integers, but row 2 holds inf"):
        IdMap([1.0, math.inf], noun="user")
    with pytest.raises(DataError, match="user ids must be strings or integers, but these are Date"):
        clean_ids(pl.Series([0]).cast(pl.Date), "user")


def test_ids_of_every_kind_become_integers_or_text():
    for given_ids, kept in (
        (np.array([3, 1], np.uint8), [3, 1]),
        (np.array(["b", "a"]), ["b", "a"]),
        (np.array([3, "a"], object), ["3", "a"]),
        ([3, "a"], ["3", "a"]),
        ([3.0, 1.0], [3, 1]),
        (range(2), [0, 1]),
        ((str(one) for one in range(2)), ["0", "1"]),
        (pl.Series([3, 1], dtype=pl.Int8), [3, 1]),
        (pl.Series(["b", "a"], dtype=pl.Categorical), ["b", "a"]),
        (pl.Series([2**64 - 1, 1], dtype=pl.UInt64), [str(2**64 - 1), "1"]),
        (pl.Series([object], dtype=pl.Object), ["<class 'object'>"]),
    ):
        assert IdMap(given_ids).ids.tolist() == kept


# From rows to the matrix


def as_dict(made):
    rows = np.repeat(np.arange(len(made.users)), np.diff(made.matrix.indptr))
    return {
        (made.users[row], made.items[column]): weight
        for row, column, weight in zip(rows, made.matrix.indices, made.matrix.data.tolist(), strict=True)
    }


def times_of(made):
    return dict(zip(as_dict(made), made.times.tolist(), strict=True))


def frame(rows, *names):
    return pl.DataFrame(rows, schema=["user", "item", *names], orient="row")


def check_matrix(made):
    matrix = made.matrix
    assert matrix.dtype == np.float32
    assert matrix.indices.dtype == matrix.indptr.dtype == np.int32
    assert matrix.shape == (len(made.users), len(made.items))
    assert (matrix.data != 0).all()
    for row in range(matrix.shape[0]):
        assert (np.diff(matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]) > 0).all()
    assert matrix.data.flags.writeable


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
def test_pairs_come_back_as_a_dict_would_have_them(rows, duplicates, timed):
    table = frame(rows, "weight", "time")
    made = from_frame(table if timed else table.drop("time"), duplicates=duplicates)
    expected = naive(rows, duplicates, timed)
    assert as_dict(made) == expected
    check_matrix(made)
    assert made.users.ids.tolist() == sorted({row[0] for row in rows})
    assert made.items.ids.tolist() == sorted({row[1] for row in rows})
    if timed:
        latest = {}
        for user, item, _, moment in rows:
            latest[user, item] = max(moment, latest.get((user, item), 0))
        assert times_of(made) == latest
    else:
        assert made.times is None


@pytest.mark.parametrize(
    ("duplicates", "timed", "weight", "time"),
    [("sum", True, 9, 30), ("max", True, 5, 30), ("last", True, 1, 30),
     ("sum", False, 9, None), ("max", False, 5, None), ("last", False, 3, None)],
)  # fmt: skip
def test_repeated_rows_become_one(duplicates, timed, weight, time):
    table = frame(
        [("u", "i", 5, 10), ("u", "i", 1, 30), ("u", "i", 3, 20), ("u", "j", 2, 1)], "weight", "time"
    )
    made = from_frame(table if timed else table.drop("time"), duplicates=duplicates)
    assert as_dict(made) == {("u", "i"): weight, ("u", "j"): 2}
    assert time is None or times_of(made) == {("u", "i"): time, ("u", "j"): 1}


def test_many_rows_in_no_order_keep_their_order():
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


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
@pytest.mark.parametrize("kind", [int, "u{}".format])
@pytest.mark.parametrize("many", [17, 150, 151, 3000])
def test_few_of_many_ids_are_found_as_all_are(order, kind, many):
    rng = np.random.default_rng(many)
    ids = [kind(one) for one in (rng.permutation(1000) if order == "shuffled" else np.arange(1000)) * 3]
    ids = sorted(ids) if order == "sorted" else ids
    naive = {one: row for row, one in enumerate(ids)}
    asked = [kind(one) for one in rng.integers(-50, 3100, many)]
    assert IdMap(ids).rows(asked).tolist() == [naive.get(one, -1) for one in asked]
    nulls = pl.Series([*asked, None])
    assert IdMap(ids).rows(nulls).tolist() == [*(naive.get(one, -1) for one in asked), -1]


def test_without_weights_rows_are_counted():
    rows = [(1, "a"), (1, "a"), (2, "a")]
    assert as_dict(from_frame(frame(rows))) == {(1, "a"): 2, (2, "a"): 1}
    assert as_dict(from_frame(frame(rows), duplicates="max")) == {(1, "a"): 1, (2, "a"): 1}
    with pytest.raises(DataError, match="min_weight=2 needs a weight column, and there is none; name it"):
        from_frame(frame(rows), min_weight=2)


def test_rows_below_min_weight_go_before_the_rest_is_summed():
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


def test_weights_that_cancel_out_leave_nothing():
    table = frame([(1, "a", 2), (1, "a", -2), (2, "b", 1)], "weight")
    made = from_frame(table)
    assert as_dict(made) == {(2, "b"): 1}
    assert made.matrix.shape == (1, 1)
    with pytest.raises(DataError, match="the weights of every user and item add up to zero"):
        from_frame(table.head(2))
    with pytest.raises(DataError, match="exceed float32 when summed"):
        from_frame(frame([(1, "a", 3e38), (1, "a", 3e38)], "weight"))


def test_sums_are_taken_in_float64():
    table = frame([(1, 1, 1.0), (1, 1, 2.0**24), (1, 1, 1.0)], "weight")
    assert from_frame(table).matrix.data.tolist() == [2**24 + 2]


def test_one_row_is_enough_and_none_is_not():
    made = from_frame(frame([("only", 1)]))
    assert as_dict(made) == {("only", 1): 1}
    assert repr(made) == "Interactions(1 users × 1 items, 1 interactions)"
    with pytest.raises(DataError, match="there are no interactions in it \\(0 rows\\)"):
        from_frame(frame([]))
    with pytest.raises(SettingError, match="duplicates='first' must be one of 'sum', 'last', 'max'"):
        from_frame(frame([(1, 1)]), duplicates="first")


def test_numbers_are_cleaned_or_their_row_is_named():
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


def test_times_are_seconds_whatever_they_come_as():
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


# From a matrix


def test_a_matrix_is_taken_whatever_its_form():
    dense = np.array([[0, 2, 0], [1, 0, 3]])
    for form in (sp.csr_matrix, sp.csc_matrix, sp.coo_matrix, sp.csr_array, sp.lil_matrix):
        made = from_csr(form(dense))
        assert as_dict(made) == {(0, 1): 2, (1, 0): 1, (1, 2): 3}
        check_matrix(made)


def test_a_matrix_is_copied_and_put_in_order():
    given_one = sp.csr_matrix((np.float32([3, 1, 5, 0]), [2, 0, 2, 1], [0, 4, 4]), (2, 3))
    made = from_csr(given_one)
    assert as_dict(made) == {(0, 0): 1, (0, 2): 8}
    check_matrix(made)
    assert len(made.users) == 2  # a row without anything is still a user
    assert given_one.data.tolist() == [3, 1, 5, 0]


def test_a_matrix_that_cannot_be_is_refused():
    with pytest.raises(DataError, match="the weight of row 1, column 2 is nan; weights must be finite"):
        from_csr(sp.csr_matrix([[0, 1, 0], [1, 0, np.nan]]))
    with pytest.raises(DataError, match=r"the matrix of shape \(2, 3\) contains no interactions"):
        from_csr(sp.csr_matrix((2, 3)))
    with pytest.raises(
        DataError,
        match=r"\(2, 3\) \(users × items\) does not fit 3 user ids and 2 item ids: the rows are items",
    ):
        from_csr(sp.csr_matrix(np.ones((2, 3))), users="abc", items="xy")
    made = from_csr(sp.csr_matrix(np.ones((2, 3))))
    with pytest.raises(DataError, match="5 times do not fit 6 interactions"):
        Interactions(made.matrix, made.users, made.items, np.zeros(5))
    with pytest.raises(DataError, match="1 rows of item metadata do not fit 3 items"):
        Interactions(made.matrix, made.users, made.items, None, pl.DataFrame({"title": ["a"]}))


# Less of it


ROWS = [
    ("u1", "a", 1, 10),
    ("u1", "b", 2, 40),
    ("u1", "c", 3, 20),
    ("u2", "a", 4, 50),
    ("u2", "b", 5, 30),
    ("u3", "d", 6, 60),
]
TITLES = pl.DataFrame({"item": ["d", "b", "a", "c"], "title": ["D", "B", "A", "C"]})
MADE = from_frame(frame(ROWS, "weight", "time")).with_metadata(TITLES, "item")


def test_where_keeps_entries_and_all_ids():
    mask = MADE.matrix.data > 2
    some = MADE.where(mask)
    assert as_dict(some) == {pair: weight for pair, weight in as_dict(MADE).items() if weight > 2}
    assert some.times.tolist() == MADE.times[mask].tolist()
    assert some.matrix.shape == MADE.matrix.shape
    assert len(MADE.where(np.zeros(6, bool))) == 0


def test_compact_drops_ids_without_anything():
    some = MADE.where(MADE.matrix.data > 4).compact()
    assert as_dict(some) == {("u2", "b"): 5, ("u3", "d"): 6}
    assert some.times.tolist() == [30, 60]
    assert some.item_metadata["title"].to_list() == ["B", "D"]
    check_matrix(some)
    assert MADE.compact() is MADE


def test_core_knows_its_answer():
    assert as_dict(MADE.core(2, 2)) == {("u1", "a"): 1, ("u1", "b"): 2, ("u2", "a"): 4, ("u2", "b"): 5}
    assert MADE.core(2, 2).item_metadata["title"].to_list() == ["A", "B"]
    assert set(as_dict(MADE.core(3, 1))) == {("u1", "a"), ("u1", "b"), ("u1", "c")}
    assert MADE.core(0, 0) is MADE
    with pytest.raises(
        DataError, match="none of 6 is in a core of at least 3 per user and 2 per item; lower core="
    ):
        MADE.core(3, 2)
    with pytest.raises(SettingError, match="a core of -1 per user and 2 per item must not be negative"):
        MADE.core(-1, 2)


@given(
    st.sets(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1), st.integers(0, 4), st.integers(0, 4)
)
@settings(max_examples=80, deadline=None)
def test_core_equals_peeling_by_hand(pairs, users, items):
    left = set(pairs)
    while True:
        rows, columns = Counter(u for u, _ in left), Counter(i for _, i in left)
        kept = {(u, i) for u, i in left if rows[u] >= users and columns[i] >= items}
        if kept == left:
            break
        left = kept
    made = from_frame(frame([*pairs]))
    if left:
        core = made.core(users, items)
        assert set(as_dict(core)) == left
        check_matrix(core)
    else:
        with pytest.raises(DataError, match="no interaction is left"):
            made.core(users, items)


def test_metadata_follows_the_items():
    table = pl.DataFrame(
        {"id": ["zzz", "c", "a", "zzz"], "n": [9, 3, 1, 9], "tags": [[], ["x"], ["y", "z"], []]}
    )
    made = MADE.with_metadata(table, "id")
    assert made.item_metadata.rows() == [(1, ["y", "z"]), (None, None), (3, ["x"]), (None, None)]
    assert MADE.item_metadata["title"].to_list() == ["A", "B", "C", "D"]
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
        MADE.with_metadata(pl.DataFrame({"id": ["c", "c"], "n": [1, 2]}), "id")
    with pytest.raises(DataError, match="no column 'item' in the item metadata; its columns are id, n"):
        MADE.with_metadata(pl.DataFrame({"id": ["c", "c"], "n": [1, 2]}), "item")
    with pytest.raises(DataError, match="the item metadata has no column beside 'id'"):
        MADE.with_metadata(pl.DataFrame({"id": ["c"]}), "id")


# Splits


def many(users=40, items=30, seed=0):
    rng = np.random.default_rng(seed)
    cells = rng.choice(users * items, users * items // 3, replace=False)
    table = pl.DataFrame(
        {"user": cells // items, "item": cells % items, "time": rng.integers(0, 99, len(cells))}
    )
    return from_frame(table)


BY = {"random": 0.3, "time": 0.3, "last": 2, "users": 0.3}


@pytest.mark.parametrize("by", BY)
def test_every_split_parts_the_whole_and_repeats(by):
    made = many()
    train, test = made.split(test=BY[by], by=by, seed=3)
    assert as_dict(train).keys() | as_dict(test).keys() == as_dict(made).keys()
    assert not as_dict(train).keys() & as_dict(test).keys()
    assert times_of(train) | times_of(test) == times_of(made)
    for side in (train, test):
        assert side.users == made.users
        assert side.items == made.items
        check_matrix(side)
    again = made.split(test=BY[by], by=by, seed=3)[1]
    assert as_dict(again) == as_dict(test)
    other = made.split(test=BY[by], by=by, seed=4)[1]
    assert (as_dict(other) == as_dict(test)) == (by in ("time", "last"))  # only these need no luck
    assert as_dict(made.split(by=by)[1]) == as_dict(
        made.split(test=1 if by == "last" else 0.2, by=by, seed=0)[1]
    )


def test_a_random_split_takes_its_share_of_all():
    made = many()
    for share in (0.1, 0.25, 0.5):
        test = made.split(test=share, by="random", seed=1)[1]
        assert len(test) == len(made) - int((1 - share) * len(made))
    # each entry alike: over many seeds every one is in the test side about as often
    often = sum(
        made.split(test=0.5, seed=seed)[1].matrix.astype(bool).astype(int) for seed in range(200)
    ).data
    assert len(often) == len(made)
    assert 60 < often.min() <= often.max() < 140


def test_a_time_split_is_one_moment():
    made = many()
    train, test = made.split(test=0.3, by="time")
    assert train.times.max() < test.times.min()
    assert 0.6 * len(made) < len(train) <= len(made)
    known = from_frame(frame([(1, item, item) for item in range(10)], "time"))
    assert sorted(known.split(test=0.2, by="time")[1].times) == [8, 9]
    ties = from_frame(frame([(1, item, min(item, 5)) for item in range(10)], "time"))
    assert sorted(ties.split(test=0.2, by="time")[1].times) == [5] * 5  # no moment lies within a tie


def test_a_last_split_takes_the_end_of_every_user():
    train, test = MADE.split(by="last")
    assert set(as_dict(test)) == {("u1", "b"), ("u2", "a")}  # u3 has but one, which stays for training
    assert set(as_dict(MADE.split(test=2, by="last")[1])) == {("u1", "b"), ("u1", "c"), ("u2", "a")}
    assert set(as_dict(MADE.split(test=9, by="last")[0])) == {("u1", "a"), ("u2", "b"), ("u3", "d")}
    assert set(as_dict(MADE.split(test=0.7, by="last")[1])) == {("u1", "b"), ("u1", "c"), ("u2", "a")}
    ties = from_frame(frame([(1, item, 5) for item in "cab"], "time"))
    assert set(as_dict(ties.split(by="last")[1])) == {(1, "c")}
    assert np.diff(train.matrix.indptr).min() >= 1


@pytest.mark.parametrize("wanted", [1, 3, 0.25, 0.5])
def test_a_last_split_equals_sorting_by_hand(wanted):
    made = many(seed=5)
    expected = set()
    for user in made.users.ids:
        own = sorted((moment, item) for (one, item), moment in times_of(made).items() if one == user)
        count = int(wanted * len(own)) if wanted < 1 else wanted
        count = min(max(count, 1), len(own) - 1)
        expected |= {(user, item) for _, item in own[len(own) - count :]}
    assert set(as_dict(made.split(test=wanted, by="last")[1])) == expected


def test_a_users_split_takes_whole_users():
    made = many()
    train, test = made.split(test=0.25, by="users", seed=2)
    trained, tested = (np.diff(side.matrix.indptr) > 0 for side in (train, test))
    assert not (trained & tested).any()
    assert tested.sum() == 10
    fold_in, hidden = test.split(test=0.5, by="random", seed=0)
    assert len(fold_in) + len(hidden) == len(test)
    idle = sp.vstack([sp.csr_matrix((50, 3)), sp.eye(3)]).tocsr()  # users without anything are not drawn
    for seed in range(5):
        assert len(from_csr(idle).split(test=0.34, by="users", seed=seed)[1]) == 1


def test_splits_that_cannot_be_are_refused():
    with pytest.raises(
        SettingError, match="by='date' is not a split; choose one of 'random', 'time', 'last', 'users'"
    ):
        MADE.split(by="date")
    for by in ("random", "time", "users"):
        for share in (0, 1, 1.5, -0.1):
            with pytest.raises(SettingError, match="must be a share between 0 and 1"):
                MADE.split(test=share, by=by)
    for wanted in (0, -1, 1.5):
        with pytest.raises(
            SettingError, match=f"test={wanted} for by='last' must be a share below 1 or a whole"
        ):
            MADE.split(test=wanted, by="last")
    timeless = from_csr(sp.csr_matrix(np.ones((2, 2))))
    for by in ("time", "last"):
        with pytest.raises(DataError, match="read the data with a time column"):
            timeless.split(by=by)
    one = from_frame(frame([(1, 1, 5)], "time"))
    for by, side in (("random", "training"), ("time", "training"), ("last", "test"), ("users", "training")):
        with pytest.raises(DataError, match=f"leaves the {side} side empty"):
            one.split(by=by)
    same = from_frame(frame([(1, 1, 5), (1, 2, 5)], "time"))
    with pytest.raises(DataError, match="all have the same time"):
        same.split(by="time")
