"""Read item metadata and tables."""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.data.sources import read_interactions, read_table
from segue.errors import SettingError
from sources import FRAME, error_of


def test_items_are_matched_by_id(write, tmp_path):
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
        data = read_interactions(FRAME, items=items)
        assert data.item_metadata.to_dict(as_series=False) == expected
    shared = FRAME.rename({"movieId": "thing"})
    data = read_interactions(shared, item="thing", items=films.rename({"movieId": "thing"}))
    assert data.item_metadata.to_dict(as_series=False) == expected
    matrix = sp.csr_matrix(np.ones((1, 2)))
    data = read_interactions(matrix, items=pl.DataFrame({"item": [1, 0], "title": ["b", "a"]}))
    assert data.item_metadata["title"].to_list() == ["a", "b"]


def test_item_ids_keep_their_text_on_both_sides(write):
    seen = write("user,item\n1,007\n1,1.10\n1,1.1\n")
    data = read_interactions(
        seen, items=write("item,title\n007,Bond\n1.10,Ten\n1.1,One\n7,Seven\n", "items.csv")
    )
    assert dict(zip(data.items.ids, data.item_metadata["title"], strict=True)) == {
        "007": "Bond", "1.1": "One", "1.10": "Ten",
    }  # fmt: skip
    data = read_interactions(
        write("user,item\n1,7\n1,12\n"), items=write("item,title\n007,Bond\n12,Twelve\n", "items.csv")
    )
    assert data.item_metadata["title"].to_list() == [None, "Twelve"]  # 7 is not 007


def test_items_that_do_not_fit():
    assert "the frame of items has no column that looks like item ids; its columns are a, b" in error_of(
        FRAME, items=pl.DataFrame({"a": [1], "b": [2]})
    )
    assert "knows none of the 2 items, such as 10; its column 'item' has 1, 2" in error_of(
        FRAME, items=pl.DataFrame({"item": [1, 2], "title": ["a", "b"]})
    )
    assert "the item metadata has no column beside 'item'" in error_of(
        FRAME, items=pl.DataFrame({"item": [30]})
    )
    assert "the frame of items: the item 30 has more than one row of metadata; keep one" in error_of(
        FRAME, items=pl.DataFrame({"item": [30, 10, 30], "title": ["a", "b", "c"]})
    )
    assert "1 of 2 item ids are missing (null), the first in row 2" in error_of(
        FRAME, items=pl.DataFrame({"item": [30, None], "title": ["a", "b"]})
    )
    assert "there is no file gone.csv" in error_of(FRAME, items="gone.csv")
    assert "read_table(url, query=...)" in error_of(FRAME, items="sqlite:///x.db", error=SettingError)


def test_read_table_infers_types_from_all_rows(write):
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
