"""The map between external ids and rows, compared with a dictionary."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.data.ids import FEW, IdMap, clean_ids
from segue.errors import DataError, UnknownIdError

ORDERS = {
    "sorted": [-3, 0, 5, 12, 100],
    "unsorted": [100, -3, 12, 0, 5],
    "sorted text": ["", "007", "12", "a", "é", "漢"],
    "unsorted text": ["b", "漢", "12", "", "a", "é"],
    "one": [7],
}


@pytest.mark.parametrize("ids", ORDERS.values(), ids=ORDERS)
def test_find_and_rows(ids):
    ids_map = IdMap(ids, noun="item")
    expected = list(range(len(ids)))
    assert [ids_map.find(one) for one in ids] == expected
    assert [ids_map[row] for row in expected] == ids
    assert ids_map.ids.tolist() == ids
    assert len(ids_map) == len(ids)
    assert all(one in ids_map for one in ids)
    for times in (1, FEW + 1):  # few are looked up one by one, many are joined
        asked = [*reversed(ids)] * times
        rows = ids_map.rows(asked)
        assert rows.dtype == np.int32
        assert rows.tolist() == [*reversed(expected)] * times
        assert ids_map.rows(pl.Series(asked)).tolist() == rows.tolist()
        assert ids_map.rows(np.array(asked)).tolist() == rows.tolist()
        assert ids_map.rows(iter(asked)).tolist() == rows.tolist()
        assert ids_map.require(asked).tolist() == rows.tolist()


@pytest.mark.parametrize("many", [1, FEW + 1])
def test_lookup_by_the_other_type(many):
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
    ids_map, naive = IdMap(ids), {one: row for row, one in enumerate(ids)}
    others = st.integers(-9, 9) if kinds == {int} else st.text(max_size=2)
    asked = data.draw(st.lists(st.sampled_from(ids) | others if ids else others, max_size=60))
    assert ids_map.rows(asked).tolist() == [naive.get(one, -1) for one in asked]


def test_lookup_in_an_empty_map():
    empty = IdMap([])
    assert len(empty) == 0
    assert empty.rows([1, "a"]).tolist() == [-1, -1]
    assert empty.rows([]).tolist() == []
    assert IdMap([1]).rows([]).tolist() == []
    assert IdMap(["a"]).rows(np.arange(100)).max() == -1


def test_require_names_unknown_ids():
    ids_map = IdMap(["a", "b", "c", "d"], noun="user")
    with pytest.raises(UnknownIdError) as raised:
        ids_map.require(["a", "x", "y"])
    assert str(raised.value) == "unknown user: 'x', 'y'. The model knows 4 users, such as 'a', 'b', 'c'"
    with pytest.raises(UnknownIdError, match=r"unknown user: 0, 1, 2 and 97 more\. The model"):
        ids_map.require(range(100))
    with pytest.raises(UnknownIdError, match="unknown user: 'x'"):
        ids_map.require("x")


def test_invalid_ids():
    with pytest.raises(DataError, match="the item 'a' occurs more than once; every item must be unique"):
        IdMap(["a", "b", "a"], noun="item")
    with pytest.raises(DataError, match=r"1 of 3 user ids are missing \(null\), the first in row 2"):
        IdMap([1, None, 3], noun="user")
    with pytest.raises(DataError, match=r"user ids must be strings or integers, but row 2 holds inf"):
        IdMap([1.0, math.inf], noun="user")
    with pytest.raises(DataError, match="user ids must be strings or integers, but these are Date"):
        clean_ids(pl.Series([0]).cast(pl.Date), "user")


def test_ids_become_integers_or_text():
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


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
@pytest.mark.parametrize("kind", [int, "u{}".format])
@pytest.mark.parametrize("many", [17, 150, 151, 3000])
def test_few_and_many_lookups_agree(order, kind, many):
    rng = np.random.default_rng(many)
    ids = [kind(one) for one in (rng.permutation(1000) if order == "shuffled" else np.arange(1000)) * 3]
    ids = sorted(ids) if order == "sorted" else ids
    naive = {one: row for row, one in enumerate(ids)}
    asked = [kind(one) for one in rng.integers(-50, 3100, many)]
    assert IdMap(ids).rows(asked).tolist() == [naive.get(one, -1) for one in asked]
    nulls = pl.Series([*asked, None])
    assert IdMap(ids).rows(nulls).tolist() == [*(naive.get(one, -1) for one in asked), -1]
