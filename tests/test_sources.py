"""Reading: every kind of source gives the same interactions, and every bad one gives one clear line."""

from __future__ import annotations

import contextlib
import gzip
import logging
import sqlite3
import subprocess
import sys
import uuid
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import psycopg
import pyarrow as pa
import pytest
import scipy.sparse as sp

import movielens
import postgres
from segue.data import delimited, sql
from segue.data.sources import read_interactions, read_table
from segue.errors import DataError, MissingExtraError, SegueError, SettingError

CSV = "userId,movieId,rating,timestamp\n7,30,4.5,100\n7,10,1,50\n2,30,3,75\n"
FRAME = pl.DataFrame(
    {"userId": [7, 7, 2], "movieId": [30, 10, 30], "rating": [4.5, 1, 3], "timestamp": [100, 50, 75]}
)
TRIPLES = {(7, 30): (4.5, 100.0), (7, 10): (1.0, 50.0), (2, 30): (3.0, 75.0)}


def triples(made):
    """The interactions as {(user, item): (weight, time)}."""
    rows = np.repeat(np.arange(len(made.users)), np.diff(made.matrix.indptr))
    times = [None] * len(made) if made.times is None else made.times.tolist()
    return {
        (made.users[row], made.items[column]): (weight, time)
        for row, column, weight, time in zip(
            rows, made.matrix.indices, made.matrix.data.tolist(), times, strict=True
        )
    }


def pairs(made):
    return set(triples(made))


@pytest.fixture
def write(tmp_path):
    def write(text, name="ratings_of_mine.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def refused(source, *, error=DataError, **options):
    """The one line that reading is refused with."""
    with pytest.raises(error) as raised:
        read_interactions(source, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


# One source like the other


@pytest.mark.parametrize(
    "kind", ["csv", "path", "tsv", "gz", "zst", "semicolons", "quotes", "crlf", "bom", "parquet"]
)
def test_a_file_of_every_kind_gives_the_same(kind, write, tmp_path):
    quoted = "\n".join(",".join(f'"{field}"' for field in line.split(",")) for line in CSV.split())
    if kind == "parquet":
        path = tmp_path / "x.parquet"
        FRAME.write_parquet(path)
    else:
        path = write(
            **{
                "csv": {"text": CSV},
                "path": {"text": CSV, "name": "no suffix [1]*.txt"},
                "tsv": {"text": CSV.replace(",", "\t"), "name": "x.tsv"},
                "gz": {"text": gzip.compress(CSV.encode()), "name": "x.csv.gz"},
                "zst": {"text": pa.Codec("zstd").compress(CSV.encode(), asbytes=True), "name": "x.csv.zst"},
                "semicolons": {"text": CSV.replace(",", ";")},
                "quotes": {"text": quoted},
                "crlf": {"text": CSV.replace("\n", "\r\n")},
                "bom": {"text": "\ufeff" + CSV},
            }[kind]
        )
    assert triples(read_interactions(str(path) if kind == "csv" else path)) == TRIPLES


def test_a_frame_of_every_library_gives_the_same():
    arrow = FRAME.to_arrow()
    for source in (FRAME, FRAME.lazy(), pd.DataFrame(FRAME.to_dict(as_series=False)), arrow):
        assert triples(read_interactions(source)) == TRIPLES, type(source)
    stream = pa.RecordBatchReader.from_batches(arrow.schema, arrow.to_batches())
    assert triples(read_interactions(stream)) == TRIPLES


def test_a_duckdb_relation_is_a_frame():
    code = """
import duckdb
from segue.data.sources import read_interactions
query = "select 7 as userId, 30 as movieId, 4.5 as rating, 100 as timestamp union all select 7, 10, 1, 50"
rows = duckdb.sql(query)
made = read_interactions(rows)
print(made.users.ids, made.items.ids, made.matrix.data, made.times)
"""  # in a process of its own, because DuckDB writes of leaks when one ends that has also loaded pytest
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "[7] [10 30] [1.  4.5] [ 50. 100.]\n"


def test_a_csr_takes_its_ids_and_says_its_orientation(caplog):
    matrix = sp.csr_matrix(([4.5, 1, 3, 2], ([1, 1, 0, 0], [1, 0, 1, 1])), (2, 2))
    with caplog.at_level(logging.INFO, "segue"):
        assert triples(read_interactions(matrix)) == {
            (1, 1): (4.5, None),
            (1, 0): (1, None),
            (0, 1): (5, None),
        }
    assert "2 users (rows) × 2 items (columns); pass matrix.T if the rows are items" in caplog.text
    for form in (matrix, matrix.tocsc(), sp.coo_array(matrix)):
        made = read_interactions(form, user_ids=["b", "a"], item_ids=["y", "x"], min_weight=4)
        assert triples(made) == {("a", "x"): (4.5, None), ("b", "x"): (5, None)}
    wide = sp.csr_matrix(np.ones((2, 3)))
    assert "pass matrix.T" in refused(wide, user_ids=[1, 2, 3], item_ids=["a", "b"])
    assert "pass matrix.T" not in refused(wide, user_ids=[1, 2], item_ids=["a", "b"])
    assert "none of 4 has a weight of at least 9" in refused(sp.csr_matrix(np.ones((2, 2))), min_weight=9)


def test_interactions_are_taken_as_they_are():
    made = read_interactions(FRAME)
    assert read_interactions(made) is made
    assert pairs(read_interactions(made, min_weight=3)) == {(7, 30), (2, 30)}
    assert "user_ids= is only for a matrix; interactions have ids" in refused(
        made, user_ids=[1], error=SettingError
    )


def test_arguments_that_do_not_fit_are_refused(write):
    matrix = sp.csr_matrix(np.ones((2, 2)))
    assert "weight= is only for a table, not for a matrix" in refused(matrix, weight="w", error=SettingError)
    assert "query= is only for a database" in refused(write(CSV), query="select", error=SettingError)
    assert "item_ids= is only for a matrix" in refused(FRAME, item_ids=[1], error=SettingError)
    assert "ndarray is not a supported source; pass the path of a CSV" in refused(np.ones((2, 2)))
    assert "duplicates='mean' must be one of 'sum', 'last', 'max'" in refused(
        FRAME, duplicates="mean", error=SettingError
    )


# Columns


@pytest.mark.parametrize(
    "header",
    ["user_id,item_id,weight,datetime", "userId,movieId,rating,timestamp", "User-ID,ISBN,Book-Rating,Date",
     "visitorid,itemid,count,time", "reviewerID,asin,overall,unixReviewTime", "UID,Track ID,plays,created_at",
     "Customer ID,product,quantity,ts", "member,artist_id,play_count,event_time"],
)  # fmt: skip
def test_usual_names_are_found_without_being_told(header, write):
    assert (
        triples(read_interactions(write(CSV.replace("userId,movieId,rating,timestamp", header)))) == TRIPLES
    )


def test_named_columns_win_and_what_was_taken_is_logged(write, caplog):
    path = write("timestamp,user,who,item_id,rating,Score 2\n9,1,a,5,2,3\n9,1,b,6,2,4\n")
    with caplog.at_level(logging.INFO, "segue"):
        made = read_interactions(path, user="who", weight="Score 2")
    assert triples(made) == {("a", 5): (3, 9), ("b", 6): (4, 9)}
    assert "user = who, item = item_id, weight = Score 2, time = timestamp" in caplog.text
    # a column that is taken is not also guessed to be something else
    twice = write("item_id,item,score\n1,2,3\n")
    assert triples(read_interactions(twice, user="item_id")) == {(1, 2): (3, None)}
    assert triples(read_interactions(write("user,item\n1,2\n"), user="item", item="user")) == {
        (2, 1): (1, None)
    }


def test_the_likeliest_of_several_names_is_taken():
    frame = pl.DataFrame({"user": ["x"], "user_id": ["u"], "date": [1], "timestamp": [2], "item": ["i"]})
    assert triples(read_interactions(frame)) == {("u", "i"): (1.0, 2.0)}


def test_columns_that_are_missing_or_doubtful_are_named(write):
    path = write("alpha,beta\n1,2\n")
    assert refused(path) == (
        f"{path} has no column that looks like user ids; its columns are alpha, beta; name it with user="
    )
    assert "no column that looks like item ids" in refused(path, user="alpha")
    assert "has no column 'Rating' (requested by weight=); its columns are alpha, beta" in refused(
        path, user="alpha", item="beta", weight="Rating"
    )
    many = pl.DataFrame({f"c{number}": [1] for number in range(25)})
    assert refused(many).endswith("c18, c19 and 5 more; name it with user=")
    both = pl.DataFrame({"userId": [1], "user_id": [1], "item": [1]})
    assert (
        "'userId' and 'user_id' of the polars frame both look like the user; name one with user="
        in refused(both)
    )


# Ids


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
def test_ids_are_integers_only_if_all_are_written_so(written, ids, write):
    rows = "".join(f"{one},1\n" for one in written)
    assert read_interactions(write("user,item\n" + rows)).users.ids.tolist() == ids
    assert read_interactions(write("item,user\n" + rows)).items.ids.tolist() == ids


def test_the_whole_file_decides_not_its_first_rows(write):
    plain = [str(number) for number in range(1, delimited.SAMPLE + 500)]
    for odd in ("007", "x"):
        made = read_interactions(
            write("user,item,plays\n" + "".join(f"{one},1,1\n" for one in [*plain, odd]))
        )
        assert set(made.users.ids) == {*plain, odd}
        assert made.items.ids.tolist() == [1]
    rows = "".join(f"{one},1,{one}\n" for one in plain)
    late = read_interactions(write(f"user,item,plays\n{rows}x,1,2.5\n"))
    assert late.matrix.data[late.users.find("x")] == 2.5
    assert f"the weight in row {len(plain) + 1} is 'many'" in refused(
        write(f"user,item,plays\n{rows}0,1,many\n")
    )


def test_types_of_typed_sources_stay():
    frame = pl.DataFrame({"user": ["1", "2"], "item": pl.Series([1, 2], dtype=pl.UInt16)})
    assert pairs(read_interactions(frame)) == {("1", 1), ("2", 2)}
    assert pairs(read_interactions(frame.cast({"user": pl.Categorical}))) == {("1", 1), ("2", 2)}
    floats = pd.DataFrame({"user": [1.0, 2.0], "item": ["a", "b"]})
    assert pairs(read_interactions(floats)) == {(1, "a"), (2, "b")}
    huge = pl.DataFrame({"user": pl.Series([2**64 - 1, 5], dtype=pl.UInt64), "item": [1, 2]})
    assert pairs(read_interactions(huge)) == {("18446744073709551615", 1), ("5", 2)}
    assert "user ids must be strings or integers, but row 2 holds 1.5" in refused(
        pl.DataFrame({"user": [1.0, 1.5], "item": [1, 2]})
    )
    assert "item ids must be strings or integers, but these are Boolean" in refused(
        pl.DataFrame({"user": [1], "item": [True]})
    )


def test_missing_ids_are_counted_and_the_first_is_named(write):
    path = write("user,item\n1,2\n,3\n4,\n5,\n")
    assert refused(path) == (
        f"{path}: 1 of 4 user ids are missing (null), the first in row 2; drop these rows or fill them in"
    )
    assert "2 of 3 item ids are missing (null), the first in row 2" in refused(
        write("user,item\n1,2\n4,\n5,\n")
    )
    assert "user ids are missing (null), the first in row 2" in refused(
        pd.DataFrame({"user": ["a", None], "item": 1})
    )
    assert "row 2" in refused(pd.DataFrame({"user": [1, np.nan], "item": 1}))
    assert "item ids are missing (null), the first in row 1" in refused(write("user,item\n1\n"))


def test_blank_lines_are_no_rows(write):
    assert pairs(read_interactions(write("user,item,note\n1,2,x\n\n3,4,y\n\n\n"))) == {(1, 2), (3, 4)}
    # a row with something in it is a row
    assert "the first in row 2" in refused(write("user,item,note\n1,2,x\n,,y\n"))


# Weights and times


@pytest.mark.parametrize("weight", ["abc", "", "NaN", "inf", "-inf", "1,5", "4 stars"])
def test_a_weight_that_is_no_number_is_named_with_its_row(weight, write):
    path = write(f"user;item;weight\n1;1;2.5\n1;2; 3.0 \n2;1;{weight}\n")
    assert refused(path) == (
        f"{path}: the weight in row 3 is {weight or None!r}; "
        "every weight must be a finite number (1 of 3 rows are not)"
    )


def test_weights_of_frames_are_checked_too():
    for bad in (np.nan, np.inf, None):
        for frame in (pl.DataFrame, pd.DataFrame):
            assert "the weight in row 2 is" in refused(
                frame({"user": [1, 2], "item": [1, 2], "weight": [1.0, bad]})
            )


def test_min_weight_and_core_leave_out(write):
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
    assert "none of 7 rows has a weight of at least 6.0 (the weights go from 1.0 to 5.0)" in refused(
        path, min_weight=6.0
    )
    assert "no interaction is left: none of 7 is in a core of at least 3 per user and 3 per item" in refused(
        path, core=3
    )
    assert "min_weight=1 needs a weight column" in refused(write("user,item\n1,2\n"), min_weight=1)


def test_times_come_as_numbers_or_as_iso_text(write):
    moment = datetime(2020, 5, 17, 10, 30, tzinfo=timezone.utc).timestamp()
    for text in ("2020-05-17 10:30:00", "2020-05-17T10:30:00Z", "2020-05-17T12:30:00+02:00", f"{moment:.0f}",
                 f"{moment * 1e3:.0f}", f"{moment * 1e6:.0f}", f"{moment * 1e9:.0f}"):  # fmt: skip
        assert read_interactions(write(f"user,item,date\n1,2,{text}\n")).times.tolist() == [moment], text
    assert "the time in row 2 is 'soon', not a number, a date or ISO text" in refused(
        write("user,item,date\n1,2,2020-05-17\n1,3,soon\n")
    )
    assert "the time in row 2 is 'x'" in refused(write("user,item,date\n1,2,5\n1,3,x\n1,4,6\n"))
    assert "the time in row 1 is '01/02/2020'" in refused(write("user,item,date\n1,2,01/02/2020\n"))
    assert "the time in row 2 is None" in refused(write("user,item,date\n1,2,5\n1,3,\n"))


# Files that cannot be read


def test_files_that_cannot_be_read_say_why(write, tmp_path):
    assert refused(tmp_path / "gone.csv") == f"there is no file {tmp_path / 'gone.csv'}"
    assert refused(str(tmp_path / "gone")) == f"there is no file {tmp_path / 'gone'}"
    path = write("")
    assert refused(path) == f"{path} is empty"
    assert "cannot be read as delimited text" in refused(write("\n\n"))
    assert "empty" in refused(write(gzip.compress(b""), "x.csv.gz"))
    path = write("user,item\n")
    assert refused(path) == f"{path}: there are no interactions in it (0 rows)"
    assert "is not MovieLens: it has none of ratings.csv, ratings.dat, u.data; name a file" in refused(
        tmp_path
    )
    assert "cannot be read as delimited text" in refused(
        write(gzip.compress(CSV.encode() * 9000)[:200], "x.csv.gz")
    )
    assert "is neither Parquet nor text in UTF-8" in refused(write(CSV.encode("utf-16")))
    assert "is neither Parquet nor text in UTF-8" in refused(write(b"PK\x03\x04\0\0\0\0", "x.xlsx"))
    assert "invalid utf-8" in refused(write("user,item\né,1\n".encode("latin-1")))


@pytest.mark.parametrize(
    "text",
    ['user,item\n1,"x\n2,y\n3,z\n', 'user,item\n1,"x"y\n2,y\n', "user,item\n1,2,3\n4,5,6\n"],
    ids=["quote not closed", "text after a quote", "too many fields"],
)
def test_a_csv_that_is_not_well_formed_is_refused(text, write):
    path = write(text)
    assert refused(path).startswith(
        f"{path} cannot be read as delimited text (is every quote closed, and has"
    )


def test_a_quote_that_swallows_lines_is_noticed(write):
    path = write('user,item\n1,"a\n2,b\n3,c"\n4,d\n')
    assert refused(path) == f"{path}: the item in row 1 contains a line break; a quote is not closed there"


def test_damaged_parquet_is_refused_whatever_the_damage(tmp_path, capfd):
    path = tmp_path / "x.parquet"
    pl.DataFrame({"user": range(500), "item": [str(number) for number in range(500)]}).write_parquet(path)
    whole = path.read_bytes()
    for text in (
        b"garbage",
        whole[: len(whole) // 2],
        whole[:4] + b"\xff" * 200 + b"PAR1",
        b"PAR1",
        whole[9:],
    ):
        path.write_bytes(text)
        assert refused(path).startswith(f"{path} cannot be read as a Parquet file: ")
    rng = np.random.default_rng(0)
    refusals = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(4, len(whole) - 8, 5):
            damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            read_interactions(path)
        except SegueError:
            refusals += 1
    assert refusals > 75
    capfd.readouterr()  # where polars panics, it also says so on stderr


def test_a_panic_of_polars_becomes_one_line(tmp_path, monkeypatch):
    def panic(*_args, **_kwargs):
        raise pl.exceptions.PanicException("index out of bounds\nbacktrace")

    path = tmp_path / "x.parquet"
    FRAME.write_parquet(path)
    monkeypatch.setattr(pl, "scan_parquet", panic)
    assert refused(path) == f"{path} cannot be read as a Parquet file: index out of bounds"


# What is known of the items


def test_items_are_attached_by_the_column_of_their_ids(write, tmp_path):
    films = pl.DataFrame({"movieId": [99, 30], "title": ["Nobody's", "Thirty"], "year": [1, 1999]})
    expected = {"title": [None, "Thirty"], "year": [None, 1999]}
    films.write_parquet(tmp_path / "films.parquet")
    text = write("movie_id,title,year\n99,Nobody's,1\n30,Thirty,1999\n", "films.csv")
    for items in (
        films,
        films.to_pandas(),
        films.rename({"movieId": "id"}),
        tmp_path / "films.parquet",
        str(text),
    ):
        made = read_interactions(FRAME, items=items)
        assert made.item_metadata.to_dict(as_series=False) == expected
    shared = FRAME.rename({"movieId": "thing"})
    made = read_interactions(shared, item="thing", items=films.rename({"movieId": "thing"}))
    assert made.item_metadata.to_dict(as_series=False) == expected
    matrix = sp.csr_matrix(np.ones((1, 2)))
    made = read_interactions(matrix, items=pl.DataFrame({"item": [1, 0], "title": ["b", "a"]}))
    assert made.item_metadata["title"].to_list() == ["a", "b"]


def test_ids_of_items_keep_their_text_on_both_sides(write):
    seen = write("user,item\n1,007\n1,1.10\n1,1.1\n")
    made = read_interactions(
        seen, items=write("item,title\n007,Bond\n1.10,Ten\n1.1,One\n7,Seven\n", "items.csv")
    )
    assert dict(zip(made.items.ids, made.item_metadata["title"], strict=True)) == {
        "007": "Bond", "1.1": "One", "1.10": "Ten",
    }  # fmt: skip
    made = read_interactions(
        write("user,item\n1,7\n1,12\n"), items=write("item,title\n007,Bond\n12,Twelve\n", "items.csv")
    )
    assert made.item_metadata["title"].to_list() == [None, "Twelve"]  # 7 is not 007


def test_items_that_do_not_fit_are_refused():
    assert "the frame of items has no column that looks like item ids; its columns are a, b" in refused(
        FRAME, items=pl.DataFrame({"a": [1], "b": [2]})
    )
    assert "knows none of the 2 items, such as 10; its column 'item' has 1, 2" in refused(
        FRAME, items=pl.DataFrame({"item": [1, 2], "title": ["a", "b"]})
    )
    assert "the item metadata has no column beside 'item'" in refused(
        FRAME, items=pl.DataFrame({"item": [30]})
    )
    assert "the frame of items: the item 30 has more than one row of metadata; keep one" in refused(
        FRAME, items=pl.DataFrame({"item": [30, 10, 30], "title": ["a", "b", "c"]})
    )
    assert "1 of 2 item ids are missing (null), the first in row 2" in refused(
        FRAME, items=pl.DataFrame({"item": [30, None], "title": ["a", "b"]})
    )
    assert "there is no file gone.csv" in refused(FRAME, items="gone.csv")
    assert "read_table(url, query=...)" in refused(FRAME, items="sqlite:///x.db", error=SettingError)


def test_read_table_types_the_columns_by_all_their_rows(write):
    path = write(
        "item_id,zip,year,price,title,code,empty,odd\n"
        "1,02134,1999,1.5,1984,1.10,,1\n2,10115,,2,Brazil,1.1,,x\n"
    )
    table = read_table(path, ids=["code"])
    assert table.to_dict(as_series=False) == {
        "item_id": [1, 2], "zip": ["02134", "10115"], "year": [1999, None], "price": [1.5, 2.0],
        "title": ["1984", "Brazil"], "code": ["1.10", "1.1"], "empty": [None, None], "odd": ["1", "x"],
    }  # fmt: skip
    assert read_table(FRAME).equals(FRAME)
    assert read_table(write("item_id,n\n1.50,1.50\n"))["item_id"].to_list() == ["1.50"]


# MovieLens


def test_movielens_small_is_read_as_published(tmp_path):
    folder = movielens.write_files(tmp_path / "ml")
    made = read_interactions(folder)
    assert made.matrix.shape == (movielens.USERS, movielens.RATED) == (120, 390)
    assert len(made) == movielens.RATINGS == 7_945
    assert made.item_metadata.schema == {"title": pl.String, "year": pl.Int32, "genres": pl.List(pl.String)}
    assert made.item_metadata.row(made.items.find(1)) == (
        "Clockwork Parade", 1995, ["Adventure", "Animation", "Children", "Comedy", "Fantasy"],
    )  # fmt: skip
    assert made.item_metadata.row(made.items.find(2)) == ("Lantern Keeper, The", 1994, ["Drama"])
    assert made.item_metadata.row(made.items.find(3)) == ("Café Minuit", 1957, ["Film-Noir", "Romance"])
    assert made.item_metadata.row(made.items.find(114335)) == ("Paper Tie", 1957, [])
    assert made.item_metadata.row(made.items.find(40697)) == ("Station Nine", None, ["Sci-Fi"])
    assert len(made.item_metadata["genres"].explode().drop_nulls().unique()) == len(movielens.GENRES) == 19
    five = read_interactions(folder / "ratings.csv", min_weight=5)
    assert len(five) == movielens.FIVE_STAR == 809
    assert five.item_metadata["title"].null_count() == 0
    assert triples(made)[(1, 1)] == (3.0, 901007304.0)


def test_titles_part_from_their_years(write, tmp_path):
    titles = {
        "Toy Story (1995)": ("Toy Story", 1995),
        "Babylon 5": ("Babylon 5", None),
        "Show (2006–2007)": ("Show", 2006),
        "Show, The (1975-1979)": ("Show, The", 1975),
        "Going On (2005-)": ("Going On", 2005),
        "Terrible Joe Moran (1984) ": ("Terrible Joe Moran", 1984),
        "2001: A Space Odyssey (1968)": ("2001: A Space Odyssey", 1968),
        "Dinner (and a) Movie": ("Dinner (and a) Movie", None),
        "Land Before Time III (1995) (V)": ("Land Before Time III", 1995),
        "Twice (1990) (2000)": ("Twice (1990)", 2000),
    }
    rows = "".join(f'{number},"{title}",Drama|War\n' for number, title in enumerate(titles, start=1))
    write("movieId,title,genres\n" + rows, "movies.csv")
    write(
        "userId,movieId,rating,timestamp\n" + "".join(f"1,{n},5,9\n" for n in range(1, 1 + len(titles))),
        "ratings.csv",
    )
    made = read_interactions(tmp_path)
    assert made.item_metadata.select("title", "year").rows() == list(titles.values())
    assert made.item_metadata["genres"].to_list() == [["Drama", "War"]] * len(titles)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"], ids=["1M", "10M"])
@pytest.mark.parametrize("named", ["", "ratings.dat"], ids=["folder", "file"])
def test_movielens_1m_and_10m(encoding, named, write, tmp_path):
    write("1::1193::5::978300760\n1::661::3.5::978302109\n2::1193::4::978298413\n", "ratings.dat")
    movies = "1193::Léon: The Professional (a::b) (1994)::Crime|Drama\n661::Cité (1995)::(no genres listed)\n"
    write(movies.replace("a::b", "a:b").encode(encoding), "movies.dat")
    made = read_interactions(tmp_path / named)
    assert triples(made) == {
        (1, 1193): (5.0, 978300760.0), (1, 661): (3.5, 978302109.0), (2, 1193): (4.0, 978298413.0),
    }  # fmt: skip
    assert made.item_metadata.rows() == [
        ("Cité", 1995, []), ("Léon: The Professional (a:b)", 1994, ["Crime", "Drama"]),
    ]  # fmt: skip


def test_movielens_100k(write, tmp_path):
    write("196\t242\t3\t881250949\n186\t302\t3\t891717742\n22\t242\t1\t878887116\n", "u.data")
    flags = {242: "0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0", 302: "1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|1"}
    rows = [
        f"242|Kolya (1996)|24-Jan-1997||http://x|{flags[242]}",
        f"302|Misérables, Les (1995)|01-Jan-1995||http://y|{flags[302]}",
    ]
    write("\n".join(rows).encode("latin-1"), "u.item")
    made = read_interactions(tmp_path)
    assert triples(made) == {
        (196, 242): (3, 881250949),
        (186, 302): (3, 891717742),
        (22, 242): (1, 878887116),
    }
    assert made.item_metadata.rows() == [("Kolya", 1996, ["Comedy"]), ("Misérables, Les", 1995, ["Western"])]


def test_movielens_files_that_are_not_quite(write, tmp_path):
    write("1::2::5::9\n", "ratings.dat")
    assert read_interactions(tmp_path).item_metadata is None  # no movies beside it
    path = write("2::A (1999)::War\n3::B\n", "movies.dat")
    assert refused(tmp_path) == f"line 2 of {path} is not a movie of MovieLens: '3::B'"
    path = write("", "movies.dat")
    assert refused(tmp_path) == f"{path} is empty"
    path = write("1,2,5,9\n", "ratings.dat")
    assert refused(path) == f"{path} has 1 fields in a row, not the 7 that MovieLens has there"
    write(CSV.replace("userId", "who"), "ratings.csv")
    write("name,price\nx,2\n", "movies.csv")  # someone's own tables, which only bear the names
    assert read_interactions(tmp_path / "ratings.csv", user="who").item_metadata is None


def test_items_may_be_a_movies_file_of_movielens(write):
    movies = write('movieId,title,genres\n10,"Ten, The (2010)",Drama\n', "movies.csv")
    made = read_interactions(FRAME.rename({"movieId": "item"}), items=movies)
    assert made.item_metadata.rows() == [("Ten, The", 2010, ["Drama"]), (None, None, None)]


# Databases


@pytest.fixture
def sqlite_url(tmp_path):
    path = tmp_path / "shop (1).db"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table ratings (who integer, item_id text, rating real, at text)")
        connection.executemany(
            "insert into ratings values (?, ?, ?, ?)",
            [(7, "a", 2.5, "2020-01-01"), (7, "b", 1, "2020-01-02"), (2, "a", 3, "2020-01-03")],
        )
    return f"sqlite:///{path}"


DAY = 1577836800.0
SOLD = {(7, "a"): (2.5, DAY), (7, "b"): (1.0, DAY + 86400), (2, "a"): (3.0, DAY + 2 * 86400)}


@pytest.mark.parametrize("batch", [1, 2, 50_000])
def test_sqlite_gives_the_rows_of_a_query(batch, sqlite_url, monkeypatch):
    monkeypatch.setattr(sql, "BATCH", batch)
    query = "select * from ratings"
    assert triples(read_interactions(sqlite_url, query=query, user="who", time="at")) == SOLD
    assert read_table(sqlite_url, query=query).columns == ["who", "item_id", "rating", "at"]


def test_sqlite_columns_of_mixed_types_become_text(sqlite_url, monkeypatch):
    query = "select 1 as user, '007' as item union all select 2, 12 union all select 3, 'x'"
    for batch in (1, 2, 3):
        monkeypatch.setattr(sql, "BATCH", batch)
        assert pairs(read_interactions(sqlite_url, query=query)) == {(1, "007"), (2, "12"), (3, "x")}


def test_sqlite_is_only_read_and_says_what_is_wrong(sqlite_url, tmp_path, write):
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    before = path.read_bytes()
    ask = "select who as user, item_id from ratings"
    name = "the query on shop (1).db"
    assert "needs query=, such as query='SELECT user_id" in refused(sqlite_url, error=SettingError)
    assert "needs query=" in refused(sqlite_url, query=" ", error=SettingError)
    assert refused(sqlite_url, query="select * from nope") == f"{name} failed: no such table: nope"
    assert (
        refused(sqlite_url, query="delete from ratings")
        == f"{name} failed: attempt to write a readonly database"
    )
    assert refused(sqlite_url, query=f"{ask} where 0") == f"{name} returned no rows"
    assert "failed: You can only execute one statement at a time" in refused(
        sqlite_url, query=f"{ask}; {ask}"
    )
    assert "returns no columns; it must be a SELECT" in refused(sqlite_url, query="begin")
    assert "no column that looks like item ids" in refused(sqlite_url, query="select 1 as user")
    assert "2 of 3 user ids are missing (null), the first in row 2" in refused(
        sqlite_url,
        query="select nullif(item_id, 'a') as item, case rating when 2.5 then 1 end as user from ratings",
    )
    assert path.read_bytes() == before
    assert (
        refused(f"sqlite:///{tmp_path}/gone.db", query=ask) == f"there is no SQLite file {tmp_path}/gone.db"
    )
    assert not (tmp_path / "gone.db").exists()
    assert "is sqlite:///file.db" in refused("sqlite://", query=ask)
    assert "file is not a database" in refused(f"sqlite:///{write('x' * 2000)}", query=ask)
    assert refused("mysql://me:secret@there/db", query=ask) == (
        "mysql:// is not supported; use sqlite://, postgresql://, postgres://, or the path of a file"
    )


@pytest.fixture
def table(postgres_url):
    """A table of its own for a test, and the URL."""
    name = f"sold_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            f"create table {name} (who int, item_id text, rating numeric(6, 2), at timestamptz, "
            "ref uuid, n serial)"
        )
        connection.execute(
            f"insert into {name} values (7, 'a', 2.5, '2020-01-01Z', '00000000-0000-0000-0000-000000000001'),"
            " (7, 'b', 1, '2020-01-02T01:00+01', '00000000-0000-0000-0000-000000000002'), "
            "(2, 'a', 3, '2020-01-03Z', null)"
        )
    yield name
    with psycopg.connect(postgres_url) as connection:
        connection.execute(f"drop table {name}")


@pytest.mark.parametrize("batch", [1, 2, 50_000])
def test_postgresql_gives_the_rows_of_a_query(batch, postgres_url, table, monkeypatch):
    monkeypatch.setattr(sql, "BATCH", batch)
    for url in (postgres_url, postgres_url.replace("postgresql://", "postgres://")):
        for query in (f"select * from {table}", f"select * from {table} where item_id not like '%x';"):
            assert triples(read_interactions(url, query=query, user="who", time="at")) == SOLD


def test_postgresql_types_that_frames_lack_are_understood(postgres_url, table):
    query = f"select ref as user, sum(who::numeric) as item from {table} where ref is not null group by ref"
    assert pairs(read_interactions(postgres_url, query=query)) == {(f"{uuid.UUID(int=n)}", 7) for n in (1, 2)}
    halves = f"select who as user, rating as item from {table}"
    assert "item ids must be strings or integers, but row 1 holds 2.5" in refused(postgres_url, query=halves)
    nan = f"select who as user, item_id, 'NaN'::numeric as weight from {table}"
    assert "the weight in row 1 is nan" in refused(postgres_url, query=nan)
    big = "select 12345678901234567890::numeric as user, 1 as item"
    assert pairs(read_interactions(postgres_url, query=big)) == {("12345678901234567890", 1)}


def test_postgresql_rows_stay_on_the_server_until_they_are_fetched(postgres_url):
    query = "select count(*) as user, 1 as item from pg_cursors"  # the query's own cursor
    assert pairs(read_interactions(postgres_url, query=query)) == {(1, 1)}


def test_postgresql_says_what_is_wrong(postgres_url, table):
    host = postgres_url.partition("host=")[2].partition("&")[0]
    name = f"the query on PostgreSQL (postgres on {host})"
    assert (
        refused(postgres_url, query="select * from nope") == f'{name} failed: relation "nope" does not exist'
    )
    assert "failed: syntax error at or near" in refused(postgres_url, query=f"delete from {table}")
    assert "failed: division by zero" in refused(postgres_url, query="select 1/0 as user, 2 as item")
    assert (
        refused(postgres_url, query=f"select * from {table} where false", user="who")
        == f"{name} returned no rows"
    )
    assert "no column that looks like item ids; its columns are user" in refused(
        postgres_url, query='select 1 as "user"'
    )
    assert "needs query=" in refused(postgres_url, error=SettingError)
    assert "cannot execute nextval() in a read-only transaction" in refused(
        postgres_url, query=f"select who as user, nextval('{table}_n_seq') as item from {table}"
    )
    everything = read_interactions(postgres_url, query=f"select * from {table}", user="who")
    assert len(everything) == 3  # nothing was lost


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda url: url.replace("pa55", "wr0ng"), "cannot be reached: connection failed: "),
        (lambda url: url.replace("@/", "@127.0.0.1:1/").partition("?")[0], "Connection refused"),
        (lambda url: url.replace("host=", "host=/nowhere"), "No such file or directory"),
        (
            lambda url: url.replace("%40", "@").partition("?")[0],
            "cannot be understood; it is postgresql://user:password@host",
        ),
        (lambda url: url.replace("%2F", "/"), "cannot be understood; it is postgresql://user:password@host"),
        (
            lambda url: url.replace("%2F", "%ZZ"),
            "cannot be understood; it is postgresql://user:password@host",
        ),
        (lambda url: url + "&port=wr0ng", 'invalid integer value "wr0ng" for connection option "port"'),
        (lambda url: url + "&password=wr0ng", "password authentication failed"),
        (lambda url: url + "&sslmode=pa55/word@home", 'invalid sslmode value: "***"'),
    ],
)
def test_no_message_holds_the_password(change, wanted, postgres_url):
    with pytest.raises(DataError, match="PostgreSQL") as raised:
        read_interactions(change(postgres_url), query="select 1")
    assert wanted in str(raised.value)
    shown, error = "", raised.value
    while error is not None:  # and no error that a traceback shows beside it
        shown, error = f"{shown}\n{error}", error.__cause__ or error.__context__
    assert "\n" not in str(raised.value)
    for secret in (postgres.PASSWORD, postgres.QUOTED, "word@home", "word%40home", "pa55", "55%2F"):
        assert secret not in shown


# Optional extras


def test_missing_psycopg_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    line = refused("postgresql://h/d", query="select 1", error=MissingExtraError)
    assert line.endswith('psycopg, which is not installed: pip install "segue[postgres]"')


def test_a_pandas_frame_without_pyarrow_is_read_or_says_so():
    code = """
import sys
class NoArrow:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pyarrow":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NoArrow())
import pandas as pd
from segue.data.sources import read_interactions
from segue.errors import MissingExtraError
try:
    print(read_interactions(pd.DataFrame({"user": ["a"], "item": ["b"]})))
except MissingExtraError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    if int(pd.__version__.partition(".")[0]) < 3:  # its strings are Python's objects
        assert told == "Interactions(1 users × 1 items, 1 interactions)\n"
    else:
        assert told == (
            "reading the pandas frame needs pyarrow, which is not installed: pip install pyarrow\n"
        )


def test_a_pandas_column_of_several_kinds_is_refused():
    line = refused(pd.DataFrame({"user": pd.Series([1, "a"], dtype=object), "item": [1, 2]}))
    assert line.startswith("the pandas frame cannot be read as a table with one type per column: ")
    odd = pd.DataFrame({"user": [1], "item": [2], "other": pd.Series([{1, 2}], dtype=object)})
    assert pairs(read_interactions(odd)) == {(1, 2)}  # a column that is not needed is not touched
