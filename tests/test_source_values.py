"""Read interactions: types of ids, weights and times, and invalid values."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import pandas as pd
import polars as pl
import pytest

from segue.data import delimited
from segue.data.sources import read_interactions
from sources import error_of, pairs


@pytest.mark.parametrize(
    ("written", "ids"),
    [
        (["12", "7", "-3"], [-3, 7, 12]),
        (["007", "12", "7"], ["007", "12", "7"]),
        (["12", "abc"], ["12", "abc"]),
        (["1.0", "1.00"], ["1.0", "1.00"]),
        (["1e3", "5"], ["1e3", "5"]),
        (["+5", "5"], ["+5", "5"]),
        (["-0", "0"], ["-0", "0"]),
        (["9223372036854775807"], [9223372036854775807]),
        (["9223372036854775808", "1"], ["1", "9223372036854775808"]),
        (["true", "false"], ["false", "true"]),
        (["nan", "inf"], ["inf", "nan"]),
        ([" 1", "1"], [" 1", "1"]),
        (["é", "漢"], ["é", "漢"]),
    ],
)
def test_ids_are_integers_only_if_all_are(written, ids, write):
    rows = "".join(f"{one},1\n" for one in written)
    assert read_interactions(write("user,item\n" + rows)).users.ids.tolist() == ids
    assert read_interactions(write("item,user\n" + rows)).items.ids.tolist() == ids


def test_all_rows_decide_the_type_of_a_column(write):
    plain = [str(number) for number in range(1, delimited.SAMPLE + 500)]
    for odd in ("007", "x"):
        data = read_interactions(
            write("user,item,plays\n" + "".join(f"{one},1,1\n" for one in [*plain, odd]))
        )
        assert set(data.users.ids) == {*plain, odd}
        assert data.items.ids.tolist() == [1]
    rows = "".join(f"{one},1,{one}\n" for one in plain)
    late = read_interactions(write(f"user,item,plays\n{rows}x,1,2.5\n"))
    assert late.matrix.data[late.users.find("x")] == 2.5
    assert f"the weight in row {len(plain) + 1} is 'many'" in error_of(
        write(f"user,item,plays\n{rows}0,1,many\n")
    )


def test_types_of_frames_are_kept():
    frame = pl.DataFrame({"user": ["1", "2"], "item": pl.Series([1, 2], dtype=pl.UInt16)})
    assert pairs(read_interactions(frame)) == {("1", 1), ("2", 2)}
    assert pairs(read_interactions(frame.cast({"user": pl.Categorical}))) == {("1", 1), ("2", 2)}
    floats = pd.DataFrame({"user": [1.0, 2.0], "item": ["a", "b"]})
    assert pairs(read_interactions(floats)) == {(1, "a"), (2, "b")}
    huge = pl.DataFrame({"user": pl.Series([2**64 - 1, 5], dtype=pl.UInt64), "item": [1, 2]})
    assert pairs(read_interactions(huge)) == {("18446744073709551615", 1), ("5", 2)}
    assert "user ids must be strings or integers, but row 2 holds 1.5" in error_of(
        pl.DataFrame({"user": [1.0, 1.5], "item": [1, 2]})
    )
    assert "item ids must be strings or integers, but these are Boolean" in error_of(
        pl.DataFrame({"user": [1], "item": [True]})
    )


def test_missing_ids(write):
    path = write("user,item\n1,2\n,3\n4,\n5,\n")
    assert error_of(path) == (
        f"{path}: 1 of 4 user ids are missing (null), the first in row 2; drop these rows or fill them in"
    )
    assert "2 of 3 item ids are missing (null), the first in row 2" in error_of(
        write("user,item\n1,2\n4,\n5,\n")
    )
    assert "user ids are missing (null), the first in row 2" in error_of(
        pd.DataFrame({"user": ["a", None], "item": 1})
    )
    assert "row 2" in error_of(pd.DataFrame({"user": [1, np.nan], "item": 1}))
    assert "item ids are missing (null), the first in row 1" in error_of(write("user,item\n1\n"))


def test_blank_lines_are_skipped(write):
    assert pairs(read_interactions(write("user,item,note\n1,2,x\n\n3,4,y\n\n\n"))) == {(1, 2), (3, 4)}
    # a row with something in it is a row
    assert "the first in row 2" in error_of(write("user,item,note\n1,2,x\n,,y\n"))


@pytest.mark.parametrize("weight", ["abc", "", "NaN", "inf", "-inf", "1,5", "4 stars"])
def test_invalid_weights_of_text_files(weight, write):
    path = write(f"user;item;weight\n1;1;2.5\n1;2; 3.0 \n2;1;{weight}\n")
    assert error_of(path) == (
        f"{path}: the weight in row 3 is {weight or None!r}; "
        "every weight must be a finite number (1 of 3 rows are not)"
    )


def test_invalid_weights_of_frames():
    for bad in (np.nan, np.inf, None):
        for frame in (pl.DataFrame, pd.DataFrame):
            assert "the weight in row 2 is" in error_of(
                frame({"user": [1, 2], "item": [1, 2], "weight": [1.0, bad]})
            )


def test_min_weight_and_core(write):
    path = write("user,item,rating\n1,a,5\n1,b,4\n2,a,4\n2,b,4.5\n3,a,5\n3,c,1\n4,c,5\n")
    assert pairs(read_interactions(path, min_weight=4)) == {
        (1, "a"),
        (1, "b"),
        (2, "a"),
        (2, "b"),
        (3, "a"),
        (4, "c"),
    }
    assert pairs(read_interactions(path, min_weight=4, core=2)) == {(1, "a"), (1, "b"), (2, "a"), (2, "b")}
    assert pairs(read_interactions(path, min_weight=4, core=(1, 2))) == pairs(
        read_interactions(path, min_weight=4)
    ) - {(4, "c")}
    assert "none of 7 rows has a weight of at least 6.0 (the weights go from 1.0 to 5.0)" in error_of(
        path, min_weight=6.0
    )
    assert "no interaction is left: none of 7 is in a core of at least 3 per user and 3 per item" in error_of(
        path, core=3
    )
    assert "min_weight=1 needs a weight column" in error_of(write("user,item\n1,2\n"), min_weight=1)


def test_times_as_numbers_or_iso_text(write):
    moment = datetime(2020, 5, 17, 10, 30, tzinfo=timezone.utc).timestamp()
    for text in ("2020-05-17 10:30:00", "2020-05-17T10:30:00Z", "2020-05-17T12:30:00+02:00", f"{moment:.0f}",
                 f"{moment * 1e3:.0f}", f"{moment * 1e6:.0f}", f"{moment * 1e9:.0f}"):  # fmt: skip
        assert read_interactions(write(f"user,item,date\n1,2,{text}\n")).times.tolist() == [moment], text
    assert "the time in row 2 is 'soon', not a number, a date or ISO text" in error_of(
        write("user,item,date\n1,2,2020-05-17\n1,3,soon\n")
    )
    assert "the time in row 2 is 'x'" in error_of(write("user,item,date\n1,2,5\n1,3,x\n1,4,6\n"))
    assert "the time in row 1 is '01/02/2020'" in error_of(write("user,item,date\n1,2,01/02/2020\n"))
    assert "the time in row 2 is None" in error_of(write("user,item,date\n1,2,5\n1,3,\n"))
