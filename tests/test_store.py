"""The model folder: round trips of arrays, tables and JSON, and invalid input."""

from __future__ import annotations

import mmap
import os
import re
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.ipc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from polars.testing import assert_frame_equal

from segue import store
from segue.errors import (
    DataError,
    SettingError,
)
from segue.store import manifest
from stores import ARRAYS, META, TABLES, leftovers, marks, save

DOCS = Path(__file__).parents[1] / "docs" / "model-folder.md"
DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]


@pytest.fixture(scope="module", autouse=True)
def _unflushed():
    """Skip flushing to the disk; the tests with real processes do flush."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save(tmp_path / "model")
    return tmp_path / "model"


def test_round_trip(model):
    stored = store.open_model(model)
    assert stored.version == store.current_version(model) == stored.path.name
    assert re.fullmatch("000001-[0-9a-f]{16}", stored.version)
    assert stored.meta == META | {"mark": 0}
    assert set(stored.arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(stored.arrays[name], array)
        assert stored.arrays[name].dtype == array.dtype
    for name, table in TABLES.items():
        assert_frame_equal(stored.tables[name], table)
    store.verify(model)


def test_arrays_are_mapped_read_only(model):
    users = store.open_model(model).arrays["users"]
    assert isinstance(users.base, mmap.mmap)
    assert type(users) is np.ndarray
    assert users.flags.c_contiguous
    assert users.flags.aligned
    assert users.__array_interface__["data"][0] % 64 == 0
    with pytest.raises(ValueError, match="read-only"):
        users[0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        users.flags.writeable = True


def shaped(array: np.ndarray, how: str) -> np.ndarray:
    """Return the same values in another memory layout."""
    if how == "fortran":
        return np.asfortranarray(array)
    if how == "strided":
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if how == "backwards":
        return array[::-1].copy()[::-1]
    if how == "unaligned":
        raw = bytearray(array.nbytes + 1)
        made = np.ndarray(array.shape, array.dtype, raw, offset=1)
        made[...] = array
        return made
    return array


any_array = st.sampled_from(["<", ">"]).flatmap(
    lambda order: st.sampled_from(DTYPES).flatmap(
        lambda code: hnp.arrays(
            np.dtype(code).newbyteorder(order),
            hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5),
        )
    )
)


@settings(max_examples=100, deadline=None)
@given(any_array, st.sampled_from(["plain", "fortran", "strided", "backwards", "unaligned"]))
def test_round_trip_of_any_array(array, how):
    with tempfile.TemporaryDirectory() as folder:
        store.write(folder, {"x": shaped(array, how)}, {}, {})
        stored = store.open_model(folder)
        back, read_by_numpy = stored.arrays["x"], np.load(stored.path / "x.npy", allow_pickle=False)
        np.testing.assert_array_equal(back, array)
        np.testing.assert_array_equal(read_by_numpy, array)
        assert back.shape == read_by_numpy.shape == array.shape
        assert back.dtype == read_by_numpy.dtype == array.dtype.newbyteorder("<")
        assert not back.flags.writeable
        store.verify(folder)


def test_round_trip_of_arrays_larger_than_a_chunk(tmp_path):
    array = np.random.default_rng(0).standard_normal((1031, 1033))
    layouts = {"c": array, "f": np.asfortranarray(array), "t": array.T, "half": array[::2, ::3]}
    layouts["big"] = array.astype(">f8")
    store.write(tmp_path, layouts, {}, {})
    stored = store.open_model(tmp_path)
    for name, wanted in layouts.items():
        np.testing.assert_array_equal(stored.arrays[name], wanted)
    store.verify(tmp_path)


def test_header_is_accepted_by_numpy(tmp_path):
    for shape in [(0,), (3, 4), (1, 2, 3), (1,) * 32, (12345678,)]:
        array = np.lib.stride_tricks.as_strided(np.zeros(1, np.int8), shape, (0,) * len(shape))
        with (tmp_path / "x").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        ours = manifest.npy_header("|i1", shape)
        assert len(ours) % 64 == 0
        with (tmp_path / "x").open("rb") as theirs, (tmp_path / "y").open("w+b") as file:
            file.write(ours)
            file.seek(0)
            for source in (theirs, file):
                np.lib.format.read_magic(source)
            read = np.lib.format.read_array_header_1_0
            assert read(file)[0] == read(theirs)[0] == shape


def test_writing_does_not_copy_the_array(tmp_path):
    array = np.ones((4 << 20, 8), ">f4").T  # 128 MB, of which every element must be moved and swapped
    tracemalloc.start()
    try:
        store.write(tmp_path, {"x": array}, {}, {})
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
columns = st.integers(0, 8).flatmap(
    lambda rows: st.fixed_dictionaries(
        {
            name: st.lists(st.none() | values, min_size=rows, max_size=rows)
            for name, values in {
                "number": st.integers(-(2**63), 2**63 - 1),
                "text": texts,
                "texts": st.lists(st.none() | texts, max_size=3),
                "real": st.floats(),
                "flag": st.booleans(),
            }.items()
        }
    )
)
SCHEMA = {
    "number": pl.Int64,
    "text": pl.String,
    "texts": pl.List(pl.String),
    "real": pl.Float64,
    "flag": pl.Boolean,
}


@settings(max_examples=60, deadline=None)
@given(columns)
def test_round_trip_of_any_table(values):
    table = pl.DataFrame(values, SCHEMA)
    with tempfile.TemporaryDirectory() as folder:
        store.write(folder, {}, {"t": table}, {})
        stored = store.open_model(folder)
        assert_frame_equal(stored.tables["t"], table, check_exact=True)
        read_by_arrow = pyarrow.ipc.open_file(stored.path / "t.arrow").read_all()
        assert str(read_by_arrow.schema.field("text").type) == "large_string"
        assert read_by_arrow["texts"].to_pylist() == values["texts"]
        assert read_by_arrow["text"].to_pylist() == values["text"]


def test_round_trip_of_many_rows_chunks_and_categories(tmp_path):
    long = pl.DataFrame({"id": pl.int_range(300_000, eager=True)}).select(pl.col("id").cast(pl.String))
    chunked = pl.concat([pl.DataFrame({"x": [1, 2]}), pl.DataFrame({"x": [3]})], rechunk=False)
    kinds = pl.DataFrame({"c": pl.Series(["a", "b", None], dtype=pl.Categorical), "n": [None, None, None]})
    tables = {"long": long, "chunked": chunked, "kinds": kinds, "empty": pl.DataFrame(), "part": long[7:9]}
    store.write(tmp_path, {}, tables, {})
    for name, table in store.open_model(tmp_path).tables.items():
        assert_frame_equal(table, tables[name])
        assert table.n_chunks() <= 1


numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_round_trip_of_any_meta(meta):
    with tempfile.TemporaryDirectory() as folder:
        store.write(folder, {}, {}, meta)
        assert store.open_model(folder).meta == meta


def test_equal_content_gives_equal_bytes(tmp_path):
    first = save(tmp_path / "a")
    second = store.write(
        tmp_path / "b",
        {name: ARRAYS[name] for name in reversed(ARRAYS)},
        {"mark": pl.DataFrame({"mark": [0]})} | {name: TABLES[name] for name in reversed(TABLES)},
        {"mark": 0} | {key: META[key] for key in reversed(META)},
    )
    assert first == second
    for file in (tmp_path / "a" / "versions" / first).iterdir():
        assert file.read_bytes() == (tmp_path / "b" / "versions" / first / file.name).read_bytes()
    assert save(tmp_path / "a") == first.replace("000001", "000002")


def test_chunks_of_a_table_do_not_change_the_bytes(tmp_path):
    whole = pl.DataFrame({"x": ["a", "b", "c"], "y": [[1], [2, 3], []]})
    parts = pl.concat([whole[:1], whole[1:]], rechunk=False)
    assert parts.n_chunks() == 2
    assert store.write(tmp_path / "a", {}, {"t": parts}, {}) == store.write(
        tmp_path / "b", {}, {"t": whole}, {}
    )


def test_reader_of_the_docs(model, monkeypatch):
    monkeypatch.chdir(model.parent)
    code = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL).group(1)
    names: dict = {}
    exec(compile(code, str(DOCS), "exec"), names)
    np.testing.assert_array_equal(names["arrays"]["users"], ARRAYS["users"])
    assert names["tables"]["items"]["genres"].to_pylist() == TABLES["items"]["genres"].to_list()
    assert set(names["arrays"]) == set(ARRAYS)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.array(["a", None], object),
            "x must contain booleans, integers or floats of up to 64 bits, not object",
        ),
        (np.array(["a"]), "not <U1"),
        (np.array([1j]), "not complex128"),
        (np.array([1], "M8[s]"), re.escape("not datetime64[s]")),
        (np.zeros(2, np.dtype([("a", "f4")])), "not \\["),
        (np.zeros(2, "V4"), "not \\|V4"),
        (np.array(1.0), re.escape("x must be an array of one or more dimensions, not array(1.)")),
        ([1, 2], re.escape("x must be an array of one or more dimensions, not [1, 2]")),
    ],
)
def test_invalid_arrays(tmp_path, array, message):
    with pytest.raises(DataError, match=message):
        store.write(tmp_path / "model", {"x": array}, {}, {})
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", ".x", "x\n", "ü", "a" * 101, "-x"])
def test_invalid_names(tmp_path, name):
    for arrays, tables in (({name: np.zeros(1)}, {}), ({}, {name: pl.DataFrame()})):
        with pytest.raises(SettingError, match="must consist of lower-case letters, digits"):
            store.write(tmp_path / "model", arrays, tables, {})
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"a": float("nan")}, "meta must be plain JSON: Out of range float"),
        ({"a": np.int64(1)}, "meta must be plain JSON: Object of type int64"),
        ({"a": (1, 2)}, "meta must be plain JSON \\(dicts with string keys, and lists\\), but 'a' is not"),
        ({"b": {1: 2}}, "but 'b' is not"),
        ({1: 2}, "but 1 is not"),
        ({"a": b"x"}, "Object of type bytes"),
    ],
)
def test_invalid_meta(tmp_path, meta, message):
    with pytest.raises(SettingError, match=message):
        store.write(tmp_path / "model", {}, {}, meta)
    assert not (tmp_path / "model").exists()


def test_nested_or_huge_meta(model):
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(SettingError, match="meta must be plain JSON: "):
        store.write(model, {}, {}, {"deep": deep})
    with pytest.raises(
        SettingError, match=r"meta makes a manifest of 17,000,0\d\d bytes, but at most 16,777,216 are allowed"
    ):
        store.write(model, {}, {}, {"x": "y" * 17_000_000})
    assert marks(store.open_model(model)) == {0}
    assert leftovers(model) == []


def test_table_of_objects_leaves_the_old_version(model):
    table = pl.DataFrame({"x": pl.Series([object()], dtype=pl.Object)})
    with pytest.raises(
        DataError, match=r"the table 'odd' cannot be stored: .*Object.*; cast its columns first"
    ):
        store.write(model, {}, {"odd": table}, {})
    assert marks(store.open_model(model)) == {0}
    assert leftovers(model) == []
    assert len(list((model / "versions").iterdir())) == 1
