"""Read interactions: missing, malformed and damaged files."""

from __future__ import annotations

import gzip

import numpy as np
import polars as pl
import pytest

from segue.data.sources import read_interactions
from segue.errors import SegueError
from sources import CSV, FRAME, error_of


def test_unreadable_files(write, tmp_path):
    assert error_of(tmp_path / "gone.csv") == f"there is no file {tmp_path / 'gone.csv'}"
    assert error_of(str(tmp_path / "gone")) == f"there is no file {tmp_path / 'gone'}"
    path = write("")
    assert error_of(path) == f"{path} is empty"
    assert "cannot be read as delimited text" in error_of(write("\n\n"))
    assert "empty" in error_of(write(gzip.compress(b""), "x.csv.gz"))
    path = write("user,item\n")
    assert error_of(path) == f"{path}: there are no interactions in it (0 rows)"
    assert "is not MovieLens: it has none of ratings.csv, ratings.dat, u.data; name a file" in error_of(
        tmp_path
    )
    assert "cannot be read as delimited text" in error_of(
        write(gzip.compress(CSV.encode() * 9000)[:200], "x.csv.gz")
    )
    assert "is neither Parquet nor text in UTF-8" in error_of(write(CSV.encode("utf-16")))
    assert "is neither Parquet nor text in UTF-8" in error_of(write(b"PK\x03\x04\0\0\0\0", "x.xlsx"))
    assert "invalid utf-8" in error_of(write("user,item\né,1\n".encode("latin-1")))


@pytest.mark.parametrize(
    "text",
    ['user,item\n1,"x\n2,y\n3,z\n', 'user,item\n1,"x"y\n2,y\n', "user,item\n1,2,3\n4,5,6\n"],
    ids=["quote not closed", "text after a quote", "too many fields"],
)
def test_malformed_csv(text, write):
    path = write(text)
    assert error_of(path).startswith(
        f"{path} cannot be read as delimited text (is every quote closed, and has"
    )


def test_unclosed_quote_over_several_lines(write):
    path = write('user,item\n1,"a\n2,b\n3,c"\n4,d\n')
    assert error_of(path) == f"{path}: the item in row 1 contains a line break; a quote is not closed there"


def test_damaged_parquet(tmp_path, capfd):
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
        assert error_of(path).startswith(f"{path} cannot be read as a Parquet file: ")
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


def test_panic_of_polars(tmp_path, monkeypatch):
    def panic(*_args, **_kwargs):
        raise pl.exceptions.PanicException("index out of bounds\nbacktrace")

    path = tmp_path / "x.parquet"
    FRAME.write_parquet(path)
    monkeypatch.setattr(pl, "scan_parquet", panic)
    assert error_of(path) == f"{path} cannot be read as a Parquet file: index out of bounds"
