"""Read interactions: file formats, frames, matrices, columns and arguments."""

from __future__ import annotations

import gzip
import logging
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp

from segue.data.sources import read_interactions
from segue.errors import MissingExtraError, SettingError
from sources import CSV, FRAME, TRIPLES, error_of, pairs, triples


@pytest.mark.parametrize(
    "kind", ["csv", "path", "tsv", "gz", "zst", "semicolons", "quotes", "crlf", "bom", "parquet"]
)
def test_file_formats_give_equal_interactions(kind, write, tmp_path):
    quoted = "\n".join(",".join(f'"{field}"' for field in line.split(",")) for line in CSV.split())
    if kind == "parquet":
        path = tmp_path / "x.parquet"
        FRAME.write_parquet(path)
    else:
        path = write(
            **{
                "csv": {"content": CSV},
                "path": {"content": CSV, "name": "no suffix [1]*.txt"},
                "tsv": {"content": CSV.replace(",", "\t"), "name": "x.tsv"},
                "gz": {"content": gzip.compress(CSV.encode()), "name": "x.csv.gz"},
                "zst": {
                    "content": pa.Codec("zstd").compress(CSV.encode(), asbytes=True),
                    "name": "x.csv.zst",
                },
                "semicolons": {"content": CSV.replace(",", ";")},
                "quotes": {"content": quoted},
                "crlf": {"content": CSV.replace("\n", "\r\n")},
                "bom": {"content": "\ufeff" + CSV},
            }[kind]
        )
    assert triples(read_interactions(str(path) if kind == "csv" else path)) == TRIPLES


def test_frames_of_all_libraries_give_equal_interactions():
    arrow = FRAME.to_arrow()
    for source in (FRAME, FRAME.lazy(), pd.DataFrame(FRAME.to_dict(as_series=False)), arrow):
        assert triples(read_interactions(source)) == TRIPLES, type(source)
    stream = pa.RecordBatchReader.from_batches(arrow.schema, arrow.to_batches())
    assert triples(read_interactions(stream)) == TRIPLES


def test_duckdb_relation():
    code = """
import duckdb
from segue.data.sources import read_interactions
query = "select 7 as userId, 30 as movieId, 4.5 as rating, 100 as timestamp union all select 7, 10, 1, 50"
rows = duckdb.sql(query)
data = read_interactions(rows)
print(data.users.ids, data.items.ids, data.matrix.data, data.times)
"""  # in a process of its own, because DuckDB writes of leaks when one ends that has also loaded pytest
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "[7] [10 30] [1.  4.5] [ 50. 100.]\n"


def test_sparse_matrix_with_ids_logs_its_orientation(caplog):
    matrix = sp.csr_matrix(([4.5, 1, 3, 2], ([1, 1, 0, 0], [1, 0, 1, 1])), (2, 2))
    with caplog.at_level(logging.INFO, "segue"):
        assert triples(read_interactions(matrix)) == {
            (1, 1): (4.5, None),
            (1, 0): (1, None),
            (0, 1): (5, None),
        }
    assert "2 users (rows) × 2 items (columns); pass matrix.T if the rows are items" in caplog.text
    for form in (matrix, matrix.tocsc(), sp.coo_array(matrix)):
        data = read_interactions(form, user_ids=["b", "a"], item_ids=["y", "x"], min_weight=4)
        assert triples(data) == {("a", "x"): (4.5, None), ("b", "x"): (5, None)}
    wide = sp.csr_matrix(np.ones((2, 3)))
    assert "pass matrix.T" in error_of(wide, user_ids=[1, 2, 3], item_ids=["a", "b"])
    assert "pass matrix.T" not in error_of(wide, user_ids=[1, 2], item_ids=["a", "b"])
    assert "none of 4 has a weight of at least 9" in error_of(sp.csr_matrix(np.ones((2, 2))), min_weight=9)


def test_interactions_are_returned_unchanged():
    data = read_interactions(FRAME)
    assert read_interactions(data) is data
    assert pairs(read_interactions(data, min_weight=3)) == {(7, 30), (2, 30)}
    assert "user_ids= is only for a matrix; interactions have ids" in error_of(
        data, user_ids=[1], error=SettingError
    )


def test_arguments_that_do_not_fit_the_source(write):
    matrix = sp.csr_matrix(np.ones((2, 2)))
    assert "weight= is only for a table, not for a matrix" in error_of(matrix, weight="w", error=SettingError)
    assert "query= is only for a database" in error_of(write(CSV), query="select", error=SettingError)
    assert "item_ids= is only for a matrix" in error_of(FRAME, item_ids=[1], error=SettingError)
    assert "ndarray is not a supported source; pass the path of a CSV" in error_of(np.ones((2, 2)))
    assert "duplicates='mean' must be one of 'sum', 'last', 'max'" in error_of(
        FRAME, duplicates="mean", error=SettingError
    )


@pytest.mark.parametrize(
    "header",
    ["user_id,item_id,weight,datetime", "userId,movieId,rating,timestamp", "User-ID,ISBN,Book-Rating,Date",
     "visitorid,itemid,count,time", "reviewerID,asin,overall,unixReviewTime", "UID,Track ID,plays,created_at",
     "Customer ID,product,quantity,ts", "member,artist_id,play_count,event_time"],
)  # fmt: skip
def test_columns_with_usual_names(header, write):
    assert (
        triples(read_interactions(write(CSV.replace("userId,movieId,rating,timestamp", header)))) == TRIPLES
    )


def test_named_columns_take_precedence_and_are_logged(write, caplog):
    path = write("timestamp,user,who,item_id,rating,Score 2\n9,1,a,5,2,3\n9,1,b,6,2,4\n")
    with caplog.at_level(logging.INFO, "segue"):
        data = read_interactions(path, user="who", weight="Score 2")
    assert triples(data) == {("a", 5): (3, 9), ("b", 6): (4, 9)}
    assert "user = who, item = item_id, weight = Score 2, time = timestamp" in caplog.text
    # a column that is taken is not also guessed to be something else
    twice = write("item_id,item,score\n1,2,3\n")
    assert triples(read_interactions(twice, user="item_id")) == {(1, 2): (3, None)}
    assert triples(read_interactions(write("user,item\n1,2\n"), user="item", item="user")) == {
        (2, 1): (1, None)
    }


def test_most_likely_of_several_names():
    frame = pl.DataFrame({"user": ["x"], "user_id": ["u"], "date": [1], "timestamp": [2], "item": ["i"]})
    assert triples(read_interactions(frame)) == {("u", "i"): (1.0, 2.0)}


def test_missing_and_ambiguous_columns(write):
    path = write("alpha,beta\n1,2\n")
    assert error_of(path) == (
        f"{path} has no column that looks like user ids; its columns are alpha, beta; name it with user="
    )
    assert "no column that looks like item ids" in error_of(path, user="alpha")
    assert "has no column 'Rating' (requested by weight=); its columns are alpha, beta" in error_of(
        path, user="alpha", item="beta", weight="Rating"
    )
    many = pl.DataFrame({f"c{number}": [1] for number in range(25)})
    assert error_of(many).endswith("c18, c19 and 5 more; name it with user=")
    both = pl.DataFrame({"userId": [1], "user_id": [1], "item": [1]})
    assert (
        "'userId' and 'user_id' of the polars frame both look like the user; name one with user="
        in error_of(both)
    )


def test_missing_psycopg_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    line = error_of("postgresql://h/d", query="select 1", error=MissingExtraError)
    assert line.endswith('psycopg, which is not installed: pip install "segue[postgres]"')


def test_pandas_frame_without_pyarrow():
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


def test_pandas_column_of_mixed_types():
    line = error_of(pd.DataFrame({"user": pd.Series([1, "a"], dtype=object), "item": [1, 2]}))
    assert line.startswith("the pandas frame cannot be read as a table with one type per column: ")
    odd = pd.DataFrame({"user": [1], "item": [2], "other": pd.Series([{1, 2}], dtype=object)})
    assert pairs(read_interactions(odd)) == {(1, 2)}  # a column that is not needed is not touched
