"""Write Parquet part by part: round trips, failures and leftovers."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from segue.data.parquet import write_parts
from segue.errors import CorruptModelError, DataError

SCHEMA = {"user": pl.String, "item": pl.Int64, "score": pl.Float32, "rank": pl.Int32}


def part(rows, first=0):
    numbers = range(first, first + rows)
    columns = {"user": [f"u{n}" for n in numbers], "item": numbers, "score": [n / 3 for n in numbers]}
    return pl.DataFrame({**columns, "rank": numbers}, schema=SCHEMA)


def read(file):
    return pl.read_parquet(file)


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(0, 300), min_size=1, max_size=12))
def test_round_trip(tmp_path_factory, sizes):
    folder = tmp_path_factory.mktemp("parts")
    starts = np.concatenate([[0], np.cumsum(sizes)])[:-1].tolist()
    parts = [part(size, first) for size, first in zip(sizes, starts, strict=True)]
    assert write_parts(iter(parts), folder / "made.parquet") == sum(sizes)
    assert_frame_equal(read(folder / "made.parquet"), pl.concat(parts))
    assert [path.name for path in folder.iterdir()] == ["made.parquet"]


def test_parts_are_requested_as_they_are_written(tmp_path):
    """Memory does not hold all parts: the first are freed before the last are created."""
    alive, most = set(), []

    class Noted(pl.DataFrame):
        def __del__(self):
            alive.discard(id(self))

    def parts():
        for number in range(60):
            made = Noted(part(20_000, number))
            alive.add(id(made))
            most.append(len(alive))
            yield made
            del made

    assert write_parts(parts(), tmp_path / "made.parquet") == 60 * 20_000
    assert max(most) <= 20


def test_existing_file_is_replaced(tmp_path):
    file = tmp_path / "made.parquet"
    write_parts([part(5)], file)
    write_parts([part(3, 100)], file)
    assert_frame_equal(read(file), part(3, 100))


@pytest.mark.parametrize("error", [CorruptModelError("damaged"), KeyboardInterrupt(), OSError("gone")])
def test_exceptions_pass_through_and_keep_the_old_file(tmp_path, error):
    def parts():
        yield part(5)
        raise error

    file = tmp_path / "made.parquet"
    write_parts([part(7)], file)
    with pytest.raises(type(error)) as caught:
        write_parts(parts(), file)
    assert str(caught.value) == str(error)
    assert_frame_equal(read(file), part(7))
    assert [path.name for path in tmp_path.iterdir()] == ["made.parquet"]


def test_target_is_a_folder(tmp_path):
    with pytest.raises(DataError, match="is a folder; name the Parquet file to write"):
        write_parts([part(1)], tmp_path)


def test_target_in_a_missing_folder(tmp_path):
    with pytest.raises(DataError, match=r"there is no folder .*nowhere to write made\.parquet into"):
        write_parts([part(1)], tmp_path / "nowhere" / "made.parquet")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"there is no folder .*file to write made\.parquet into"):
        write_parts([part(1)], tmp_path / "file" / "made.parquet")


FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np, polars as pl
from segue.errors import DataError
from segue.data.parquet import write_parts
file = Path(sys.argv[1])
write_parts([pl.DataFrame({"a": [1]})], file)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    write_parts((pl.DataFrame({"a": np.random.rand(50_000)}) for _ in range(9)), file)
except DataError as error:
    print(error)
"""


def test_full_disk(tmp_path):
    """A file size limit of the system stands in for a full disk."""
    file = tmp_path / "made.parquet"
    ran = subprocess.run([sys.executable, "-c", FULL, file], capture_output=True, text=True, check=True)
    assert f"{file} cannot be written: " in ran.stdout
    assert "too large" in ran.stdout
    assert_frame_equal(read(file), pl.DataFrame({"a": [1]}))
    assert [path.name for path in tmp_path.iterdir()] == ["made.parquet"]
