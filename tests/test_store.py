"""The model folder: round trips, damage of every kind, and writers that die at every step."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import mmap
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
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
    CorruptModelError,
    DataError,
    ModelFolderError,
    NewerFormatError,
    NotAModelError,
    SettingError,
)
from segue.store import folder as folder_module
from segue.store import lock, manifest

SOURCES = str(Path(__file__).parents[1] / "src")
DOCS = Path(__file__).parents[1] / "docs" / "model-folder.md"
DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]

ARRAYS = {
    "users": np.arange(12, dtype=np.float32).reshape(4, 3),
    "items": np.arange(100, 115, dtype=np.float32).reshape(5, 3),
    "seen.indptr": np.array([0, 2, 3, 3, 5]),
    "none": np.zeros((0, 3), np.float32),
}
TABLES = {
    "user_ids": pl.DataFrame({"id": ["u1", "", "ü\0x", "a name of more than twelve bytes"]}),
    "items": pl.DataFrame(
        {
            "id": [10, 20, 30, 40, 50],
            "title": ["Heat", None, "Ran", "", "Ça"],
            "genres": [["a", "b"], [], None, [""], ["c"]],
            "mean": [1.5, None, float("nan"), 0.0, -1.0],
        }
    ),
}
META = {"model": "IALS", "dim": 3, "metrics": {"ndcg@10": 0.25}, "notes": [None, True, "ü"]}


@pytest.fixture(scope="module", autouse=True)
def _unflushed():
    """What is written does not depend on when it reaches the disk; the real processes below do flush."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(os, "fsync", lambda _: None)
        yield


def save(folder: Path, mark: int = 0) -> str:
    """Write a small model whose every part holds `mark`."""
    arrays = {name: array + array.dtype.type(mark) for name, array in ARRAYS.items()}
    marked = {"mark": pl.DataFrame({"mark": [mark]})}
    return store.write(folder, arrays, TABLES | marked, META | {"mark": mark})


def marks(stored: store.Stored) -> set[int]:
    """The marks of all parts: one, unless versions got mixed."""
    of_arrays = {
        int((stored.arrays[name] - ARRAYS[name]).max()) for name in ("users", "items", "seen.indptr")
    }
    return of_arrays | {stored.meta["mark"], stored.tables["mark"]["mark"][0]}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save(tmp_path / "model")
    return tmp_path / "model"


def live(model: Path) -> Path:
    return model / "versions" / (model / "CURRENT").read_text().strip()


def leftovers(model: Path) -> list[str]:
    kept = [entry.name for entry in (model / "versions").iterdir() if entry.name.startswith(".")]
    return kept + [entry.name for entry in model.iterdir() if entry.name.startswith("CURRENT.")]


def forge(model: Path, raw: bytes) -> None:
    """Replace the manifest and make its checksum agree, as only someone who means it can."""
    name = f"000001-{hashlib.sha256(raw).hexdigest()[:16]}"
    (live(model) / "manifest.json").write_bytes(raw)
    live(model).rename(model / "versions" / name)
    (model / "CURRENT").write_text(name)


def forge_json(model: Path, *path: str, value: object) -> None:
    """Forge one value of the manifest; `...` removes it."""
    whole = json.loads((live(model) / "manifest.json").read_bytes())
    place = whole
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    forge(model, json.dumps(whole).encode())


# Round trips


def test_a_model_comes_back_as_it_was(model):
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
    """The same values, laid out otherwise in memory."""
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
def test_any_array_comes_back(array, how):
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


def test_arrays_larger_than_a_chunk_come_back(tmp_path):
    array = np.random.default_rng(0).standard_normal((1031, 1033))
    layouts = {"c": array, "f": np.asfortranarray(array), "t": array.T, "half": array[::2, ::3]}
    layouts["big"] = array.astype(">f8")
    store.write(tmp_path, layouts, {}, {})
    stored = store.open_model(tmp_path)
    for name, wanted in layouts.items():
        np.testing.assert_array_equal(stored.arrays[name], wanted)
    store.verify(tmp_path)


def test_the_header_is_the_one_numpy_writes(tmp_path):
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


def test_writing_makes_no_copy_of_the_whole(tmp_path):
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
def test_any_table_comes_back(values):
    table = pl.DataFrame(values, SCHEMA)
    with tempfile.TemporaryDirectory() as folder:
        store.write(folder, {}, {"t": table}, {})
        stored = store.open_model(folder)
        assert_frame_equal(stored.tables["t"], table, check_exact=True)
        read_by_arrow = pyarrow.ipc.open_file(stored.path / "t.arrow").read_all()
        assert str(read_by_arrow.schema.field("text").type) == "large_string"
        assert read_by_arrow["texts"].to_pylist() == values["texts"]
        assert read_by_arrow["text"].to_pylist() == values["text"]


def test_many_rows_chunks_and_categories_come_back(tmp_path):
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
def test_any_meta_comes_back(meta):
    with tempfile.TemporaryDirectory() as folder:
        store.write(folder, {}, {}, meta)
        assert store.open_model(folder).meta == meta


def test_the_same_content_gives_the_same_bytes(tmp_path):
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


def test_the_same_table_in_chunks_gives_the_same_bytes(tmp_path):
    whole = pl.DataFrame({"x": ["a", "b", "c"], "y": [[1], [2, 3], []]})
    parts = pl.concat([whole[:1], whole[1:]], rechunk=False)
    assert parts.n_chunks() == 2
    assert store.write(tmp_path / "a", {}, {"t": parts}, {}) == store.write(
        tmp_path / "b", {}, {"t": whole}, {}
    )


def test_the_reader_in_the_docs_reads_it(model, monkeypatch):
    monkeypatch.chdir(model.parent)
    code = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL).group(1)
    names: dict = {}
    exec(compile(code, str(DOCS), "exec"), names)
    np.testing.assert_array_equal(names["arrays"]["users"], ARRAYS["users"])
    assert names["tables"]["items"]["genres"].to_pylist() == TABLES["items"]["genres"].to_list()
    assert set(names["arrays"]) == set(ARRAYS)


# What is refused before anything is written


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.array(["a", None], object),
            "x must be booleans, integers or floats of up to 64 bits, not object",
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
def test_arrays_that_cannot_be_kept(tmp_path, array, message):
    with pytest.raises(DataError, match=message):
        store.write(tmp_path / "model", {"x": array}, {}, {})
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", ".x", "x\n", "ü", "a" * 101, "-x"])
def test_names_that_cannot_be_kept(tmp_path, name):
    for arrays, tables in (({name: np.zeros(1)}, {}), ({}, {name: pl.DataFrame()})):
        with pytest.raises(SettingError, match="must be of lower-case letters, digits"):
            store.write(tmp_path / "model", arrays, tables, {})
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"a": float("nan")}, "meta must be plain JSON: Out of range float"),
        ({"a": np.int64(1)}, "meta must be plain JSON: Object of type int64"),
        ({"a": (1, 2)}, "meta must be plain JSON, dicts with string keys and lists, but 'a' is not"),
        ({"b": {1: 2}}, "but 'b' is not"),
        ({1: 2}, "but 1 is not"),
        ({"a": b"x"}, "Object of type bytes"),
    ],
)
def test_meta_that_cannot_be_kept(tmp_path, meta, message):
    with pytest.raises(SettingError, match=message):
        store.write(tmp_path / "model", {}, {}, meta)
    assert not (tmp_path / "model").exists()


def test_a_nested_or_huge_meta_is_refused(model):
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(SettingError, match="meta must be plain JSON: "):
        store.write(model, {}, {}, {"deep": deep})
    with pytest.raises(
        SettingError, match=r"meta makes a manifest of 17,000,0\d\d bytes, of at most 16,777,216"
    ):
        store.write(model, {}, {}, {"x": "y" * 17_000_000})
    assert marks(store.open_model(model)) == {0}
    assert leftovers(model) == []


def test_a_table_of_objects_is_refused_and_leaves_the_old_version(model):
    table = pl.DataFrame({"x": pl.Series([object()], dtype=pl.Object)})
    with pytest.raises(
        DataError, match=r"the table 'odd' cannot be kept: .*Object.*; cast its columns first"
    ):
        store.write(model, {}, {"odd": table}, {})
    assert marks(store.open_model(model)) == {0}
    assert leftovers(model) == []
    assert len(list((model / "versions").iterdir())) == 1


# Folders that are not models


def test_folders_that_are_not_models(tmp_path):
    with pytest.raises(
        NotAModelError, match="gone does not exist; name the folder that a model was saved to"
    ):
        store.open_model(tmp_path / "gone")
    with pytest.raises(NotAModelError, match=r"is not a model folder \(it has no folder 'versions'\)"):
        store.open_model(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotAModelError, match="file is a file; name the folder"):
        store.open_model(tmp_path / "file")
    with pytest.raises(ModelFolderError):
        store.open_model(tmp_path / "file" / "below")
    (tmp_path / "versions").mkdir()
    for call in (store.open_model, store.verify, store.current_version):
        with pytest.raises(
            NotAModelError, match=r"holds no finished version of a model; save the model again$"
        ):
            call(tmp_path)
    with pytest.raises(NotAModelError):
        store.prune(tmp_path, 1)


def test_a_folder_of_something_else_is_not_written_to(tmp_path):
    for name in ("thesis.doc", "b", "c", "d"):
        (tmp_path / name).write_text(name)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(
        NotAModelError, match="is not a model folder: it holds b, c, d and more; name a new or empty folder"
    ):
        save(tmp_path)
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(NotAModelError, match=r"thesis\.doc is a file; name a new or empty folder"):
        save(tmp_path / "thesis.doc")
    assert (tmp_path / "thesis.doc").read_text() == "thesis.doc"


def test_a_foreign_folder_with_names_like_ours_is_not_written_to(tmp_path):
    (tmp_path / "CURRENT").write_text("MANIFEST-000005\n")  # as databases have it
    (tmp_path / "MANIFEST-000005").write_text("x")
    with pytest.raises(NotAModelError, match="it holds MANIFEST-000005; "):
        save(tmp_path)
    with pytest.raises(ModelFolderError):
        save(tmp_path / "CURRENT" / "below")
    assert (tmp_path / "CURRENT").read_text() == "MANIFEST-000005\n"


def test_empty_unfinished_and_annotated_folders_are_written_to(tmp_path):
    save(tmp_path)
    (tmp_path / "README").write_text("my model")
    assert save(tmp_path, 1).startswith("000002-")
    (tmp_path / "other" / "versions" / ".draft").mkdir(parents=True)
    (tmp_path / "other" / "versions" / ".draft" / "users.npy").write_bytes(b"cut")
    assert save(tmp_path / "other").startswith("000001-")
    assert leftovers(tmp_path / "other") == []
    assert save(tmp_path / "new" / "deep" / "er").startswith("000001-")


def test_a_link_to_a_model_is_a_model(model, tmp_path):
    (tmp_path / "link").symlink_to(model)
    save(tmp_path / "link", 1)
    assert marks(store.open_model(model)) == marks(store.open_model(tmp_path / "link")) == {1}


# Versions


def test_versions_count_up_stay_and_can_be_gone_back_to(model):
    names = [store.current_version(model)] + [save(model, mark) for mark in (1, 2)]
    assert [name[:7] for name in names] == ["000001-", "000002-", "000003-"]
    assert [marks(store.open_model(model, name)) for name in names] == [{0}, {1}, {2}]
    for name in names:
        store.verify(model, name)
    for written in (names[0], f"{names[0]}\r\n", f"\n {names[0]}\n"):
        (model / "CURRENT").write_text(written)
        assert marks(store.open_model(model)) == {0}
    assert save(model, 3).startswith("000004-")


def test_the_counter_goes_beyond_six_digits(model):
    live(model).rename(model / "versions" / live(model).name.replace("000001", "999999"))
    assert save(model, 1).startswith("1000000-")
    assert save(model, 2).startswith("1000001-")
    assert store.prune(model, 2)[0].startswith("999999-")
    assert marks(store.open_model(model)) == {2}


@pytest.mark.parametrize("version", ["000009-0123456789abcdef", "", "..", "../versions", "x", "/"])
def test_a_version_that_is_not_there(model, version):
    message = f"model has no version {version!r}; name one of {store.current_version(model)}"
    for call in (store.open_model, store.verify):
        with pytest.raises(NotAModelError, match=re.escape(message)):
            call(model, version)


def test_pruning_keeps_the_newest_and_the_current(model):
    names = [store.current_version(model)] + [save(model, mark) for mark in range(1, 5)]
    mapped = store.open_model(model, names[0]).arrays["users"]
    assert store.prune(model, 4) == names[:1]
    (model / "CURRENT").write_text(names[1])
    (model / "versions" / ".dropped").mkdir()
    (model / "versions" / ".dropped" / "users.npy").write_bytes(b"left by a killed process")
    (model / "versions" / "notes").mkdir()
    assert store.prune(model, 1) == names[2:4]
    assert sorted(entry.name for entry in (model / "versions").iterdir()) == [names[1], names[4], "notes"]
    assert marks(store.open_model(model)) == {1}
    np.testing.assert_array_equal(mapped, ARRAYS["users"])  # readers keep what they have mapped
    assert store.prune(model, 1) == []
    with pytest.raises(SettingError, match="keep=0 must be at least 1"):
        store.prune(model, 0)


def test_opening_while_the_version_is_replaced_and_pruned(model, monkeypatch):
    read, calls = folder_module.read, []

    def slow(path, name):
        if not calls:
            save(model, 1)
            store.prune(model, 1)
        calls.append(name)
        return read(path, name)

    monkeypatch.setattr(folder_module, "read", slow)
    assert marks(store.open_model(model)) == {1}
    assert len(calls) == 2


# Damage


def flipped(raw: bytes, place: int, bit: int) -> bytes:
    return raw[:place] + bytes([raw[place] ^ (1 << bit)]) + raw[place + 1 :]


def test_every_bit_of_current(model):
    name, raw = store.current_version(model), (model / "CURRENT").read_bytes()
    found = 0
    for place in range(len(raw)):
        for bit in range(8):
            (model / "CURRENT").write_bytes(flipped(raw, place, bit))
            try:
                assert store.open_model(model).version == name
            except CorruptModelError:
                found += 1
    assert found >= 8 * len(name)  # all but white space in place of the newline


@pytest.mark.parametrize("file", ["manifest.json", "items.arrow"])
def test_every_byte_of_manifest_and_tables(model, file):
    path = live(model) / file
    raw = path.read_bytes()
    for place in range(len(raw)):
        path.write_bytes(flipped(raw, place, place % 8))
        with pytest.raises(
            CorruptModelError, match=re.escape(f"{path} holds other bytes than were written; copy")
        ):
            store.open_model(model)
    path.write_bytes(raw)
    store.verify(model)


@pytest.mark.parametrize("file", ["users.npy", "seen.indptr.npy", "none.npy"])
def test_every_byte_of_arrays(model, file):
    path, stored = live(model) / file, store.open_model(model)
    raw, wanted = path.read_bytes(), stored.arrays[file.removesuffix(".npy")]
    header = len(raw) - wanted.nbytes
    shape, dtype = wanted.shape, wanted.dtype
    del stored, wanted
    for place in range(len(raw)):
        path.write_bytes(flipped(raw, place, place % 8))
        if place < header:
            with pytest.raises(
                CorruptModelError, match=re.escape(f"{path} does not begin like an array of {dtype.str}")
            ):
                store.open_model(model)
        else:
            opened = store.open_model(model).arrays[file.removesuffix(".npy")]
            assert (opened.shape, opened.dtype) == (shape, dtype)
            del opened
        with pytest.raises(CorruptModelError, match=re.escape(str(path))):
            store.verify(model)
    path.write_bytes(raw)
    store.verify(model)


@pytest.mark.parametrize("file", ["manifest.json", "users.npy", "none.npy", "items.arrow"])
def test_every_length_of_a_cut_file(model, file):
    path = live(model) / file
    raw = path.read_bytes()
    for length in [*range(len(raw)), len(raw) + 1]:
        path.write_bytes((raw + b"\0")[:length])
        with pytest.raises(CorruptModelError, match=re.escape(str(path))) as caught:
            store.open_model(model)
        if file != "manifest.json":
            assert f"has {length:,} bytes, but {len(raw):,} were written" in str(caught.value)


def test_every_length_of_a_cut_current(model):
    name = store.current_version(model)
    for length in range(len(name)):
        (model / "CURRENT").write_text(name[:length])
        message = f"must hold the name of a version, not {name[:length]!r}; save the model again, or write"
        with pytest.raises(CorruptModelError, match=re.escape(message)):
            store.open_model(model)
    for text in (
        "../x",
        f"../versions/{name}",
        "a" * 10_000,
        f"{name}\n{name}",
        name.upper(),
        "\0",
        f"{name}/.",
    ):
        (model / "CURRENT").write_text(text)
        with pytest.raises(CorruptModelError, match="must hold the name of a version"):
            store.open_model(model)
    (model / "CURRENT").write_bytes(b"\xff\xfe" + os.urandom(1000))
    with pytest.raises(CorruptModelError):
        store.open_model(model)


def test_random_files_in_place_of_each(model):
    rng = random.Random(0)
    for path in [model / "CURRENT", *live(model).iterdir()]:
        raw = path.read_bytes()
        for size in (0, 1, 64, len(raw), 5000):
            path.write_bytes(rng.randbytes(size))
            with pytest.raises(CorruptModelError):
                store.verify(model)
        path.write_bytes(raw)
    store.verify(model)


def test_current_that_names_no_version(model):
    name = store.current_version(model)
    gone = "000007-0123456789abcdef"
    (model / "CURRENT").write_text(gone)
    message = (
        f"has no version {gone!r}, the current one; save the model again, or write the name of one into "
    )
    with pytest.raises(CorruptModelError, match=re.escape(f"{message}{model / 'CURRENT'} of {name}")):
        store.open_model(model)
    shutil.rmtree(model / "versions" / name)
    with pytest.raises(CorruptModelError, match=r"save the model again$"):
        store.open_model(model)
    (model / "CURRENT").unlink()
    with pytest.raises(NotAModelError, match=r"holds no finished version of a model; save the model again$"):
        store.open_model(model)
    assert save(model).startswith("000001-")


@pytest.mark.parametrize("file", ["manifest.json", "users.npy", "items.arrow", "CURRENT"])
@pytest.mark.parametrize("how", ["missing", "folder", "pipe", "loop"])
def test_something_else_in_place_of_a_file(model, file, how):
    path = model / "CURRENT" if file == "CURRENT" else live(model) / file
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "loop":
        path.symlink_to(path)
    wanted = {"missing": "is missing; copy or save", "loop": "Too many levels of symbolic links"}
    if file == "CURRENT":
        wanted = dict.fromkeys(wanted, "holds no finished version of a model")
    for call in (store.open_model, store.verify):
        with pytest.raises(ModelFolderError, match=wanted.get(how, "is not a file; copy or save")):
            call(model)


def test_a_file_in_place_of_the_version(model):
    path = live(model)
    shutil.rmtree(path)
    path.write_text("x")
    with pytest.raises(CorruptModelError, match="has no version"):
        store.open_model(model)
    assert save(model, 1).startswith("000002-")
    assert marks(store.open_model(model)) == {1}


def test_swapped_files(tmp_path):
    same = {"a": np.zeros(3), "b": np.ones(3), "c": np.ones(4), "d": np.ones(3, np.int64)}
    tables = {"s": pl.DataFrame({"x": ["a", "b"]}), "t": pl.DataFrame({"x": ["a", "c"]})}

    def swap(one: str, other: str) -> None:
        (path / one).rename(path / "aside")
        (path / other).rename(path / one)
        (path / "aside").rename(path / other)

    path = tmp_path / "versions" / store.write(tmp_path, same, tables, {})
    for other in ("c.npy", "d.npy"):
        swap("a.npy", other)
        with pytest.raises(CorruptModelError, match=re.escape(str(path / "a.npy"))):
            store.open_model(tmp_path)
        swap("a.npy", other)
    swap("s.arrow", "t.arrow")
    with pytest.raises(CorruptModelError, match="holds other bytes"):
        store.open_model(tmp_path)
    swap("s.arrow", "t.arrow")
    swap("a.npy", "b.npy")  # alike in size and header: only the checksum tells
    assert store.open_model(tmp_path).arrays["a"].tolist() == [1, 1, 1]
    with pytest.raises(
        CorruptModelError, match=re.escape(f"{path / 'a.npy'} holds other bytes than were written")
    ):
        store.verify(tmp_path)


def test_files_that_the_model_did_not_write(model):
    for name in ("virus.exe", ".hidden", "more.npy"):
        (live(model) / name).write_text("x")
        assert marks(store.open_model(model)) == {0}
        with pytest.raises(
            CorruptModelError, match=re.escape(f"{live(model) / name} is not a file of this model")
        ):
            store.verify(model)
        (live(model) / name).unlink()
    store.verify(model)


def test_verify_tells_how_far_it_is(model, tmp_path):
    calls = []
    store.verify(model, progress=lambda *call: calls.append(call))
    files = [file.stat().st_size for file in live(model).iterdir() if file.name != "manifest.json"]
    assert calls[-1] == ("verifying", sum(files), sum(files))
    assert [done for _, done, _ in calls] == sorted(done for _, done, _ in calls)
    assert len(calls) == len(files)
    store.write(tmp_path / "big", {"x": np.zeros(1 << 20)}, {}, {})
    calls.clear()
    store.verify(tmp_path / "big", progress=lambda *call: calls.append(call))
    assert len(calls) == 9


# Manifests whose checksum agrees, and which are wrong all the same


def test_a_newer_format(model):
    forge_json(model, "format", value=2)
    message = "is in format 2, but this release of segue reads formats up to 1; upgrade segue to read it"
    for call in (store.open_model, store.verify):
        with pytest.raises(NewerFormatError, match=message):
            call(model)
    save(model, 1)
    assert marks(store.open_model(model)) == {1}


GOOD = {"bytes": 152, "sha256": "0" * 64, "dtype": "<f8", "shape": [3]}
FORGED = [
    (("format",), ..., "it has no format number"),
    (("format",), "1", "it has no format number"),
    (("format",), True, "it has no format number"),
    (("format",), 0, "it has no format number"),
    (("extra",), 1, "it must have exactly arrays, format, meta, tables"),
    (("meta",), ..., "it must have exactly"),
    (("meta",), [], "meta is not an object"),
    (("arrays",), None, "arrays is not an object"),
    (("tables",), [1], "tables is not an object"),
    (("arrays", "../x"), GOOD, "'../x' cannot be the name of a file"),
    (("arrays", "/etc/passwd"), GOOD, "'/etc/passwd' cannot be the name of a file"),
    (("tables", ".."), {"bytes": 1, "sha256": "0" * 64}, "'..' cannot be the name of a file"),
    (("tables", "a\0b"), {"bytes": 1, "sha256": "0" * 64}, "'a\\x00b' cannot be the name of a file"),
    (("arrays", "users"), [], "users must have exactly bytes, dtype, sha256, shape"),
    (("arrays", "users", "pickled"), True, "users must have exactly"),
    (("arrays", "users", "dtype"), ..., "users must have exactly"),
    (("tables", "items", "shape"), [1], "items must have exactly bytes, sha256"),
    (("tables", "items", "bytes"), -1, "items has no size and checksum"),
    (("tables", "items", "bytes"), 1.5, "items has no size and checksum"),
    (("tables", "items", "bytes"), 2**64, "items has no size and checksum"),
    (("tables", "items", "sha256"), "A" * 64, "items has no size and checksum"),
    (("tables", "items", "sha256"), 5, "items has no size and checksum"),
    (("arrays", "users", "dtype"), "|O8", "users has the dtype '|O8', not one of <f2"),
    (("arrays", "users", "dtype"), ">f4", "users has the dtype '>f4'"),
    (("arrays", "users", "dtype"), [1], "users has the dtype [1]"),
    (("arrays", "users", "dtype"), "<i4", None),  # the same size: found in the file's header
    (("arrays", "users", "shape"), [3, 4], None),
    (("arrays", "users", "shape"), [4, 4], "users has 176 bytes, but <f4 of the shape [4, 4] takes 192"),
    (("arrays", "users", "shape"), [-4, -3], "users has the shape [-4, -3]"),
    (("arrays", "users", "shape"), [4, True], "users has the shape [4, True]"),
    (("arrays", "users", "shape"), [4.0, 3], "users has the shape [4.0, 3]"),
    (("arrays", "users", "shape"), [], "users has the shape []"),
    (("arrays", "users", "shape"), 12, "users has the shape 12"),
    (("arrays", "users", "shape"), [1] * 33, "users has the shape [1, 1"),
    (("arrays", "none", "shape"), [0, 2**62], "none has the shape [0, 4611686018427387904]"),
    (("arrays", "none", "shape"), [2**40, 2**40, 0], "none has the shape [1099511627776, 1099511627776, 0]"),
    (("arrays", "users", "shape"), [2**62], "users has the shape"),
    (("arrays", "users", "bytes"), 2**40, "users has 1099511627776 bytes, but"),
]


@pytest.mark.parametrize(("path", "value", "message"), FORGED)
def test_forged_manifests(model, path, value, message):
    forge_json(model, *path, value=value)
    wanted = (
        "does not begin like an array of" if message is None else f"is not the manifest of a model: {message}"
    )
    with pytest.raises(CorruptModelError, match=re.escape(wanted)):
        store.open_model(model)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"1",
        b"\xff\xfe",
        b"\0" * 50,
        b"[" * 200_000,
        b'{"format":' + b"9" * 5000 + b"}",
    ],
)
def test_manifests_that_are_not_json_or_not_ours(model, raw):
    forge(model, raw)
    with pytest.raises(ModelFolderError, match="manifest"):
        store.open_model(model)


def test_a_manifest_of_endless_size_is_not_read(model):
    with (live(model) / "manifest.json").open("wb") as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(CorruptModelError, match="is larger than any manifest"):
        store.open_model(model)


def test_forged_sizes_allocate_nothing(model):
    """A sparse file as large as the manifest says is mapped, and cost nothing to open."""
    header = manifest.npy_header("<f4", (2**30, 8))
    size = len(header) + 2**35
    with (live(model) / "users.npy").open("wb") as file:
        file.write(header)
        file.truncate(size)
    forge_json(model, "arrays", "users", value=GOOD | {"bytes": size, "dtype": "<f4", "shape": [2**30, 8]})
    tracemalloc.start()
    try:
        users = store.open_model(model).arrays["users"]
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert users.shape == (2**30, 8)
    assert users[-1].tolist() == [0.0] * 8


def test_damaged_tables_with_a_matching_checksum(model):
    """Past the checksum polars meets the bytes; whatever it makes of them, the process lives."""
    path, rng = live(model) / "items.arrow", random.Random(0)
    raw = path.read_bytes()
    refused = []
    for trial in range(300):
        bad = bytearray(raw)
        for _ in range(rng.choice([1, 1, 3])):
            bad[rng.randrange(len(bad))] ^= rng.randrange(1, 256)
        if trial % 5 == 0:
            bad = bad[: rng.randrange(len(bad))]
        (live(model) / "items.arrow").write_bytes(bad)
        entry = {"bytes": len(bad), "sha256": hashlib.sha256(bad).hexdigest()}
        forge_json(model, "tables", "items", value=entry)
        try:
            table = store.open_model(model).tables["items"]
        except CorruptModelError as error:
            refused.append(str(error))
        else:
            table.to_dict(as_series=False)
    assert len(refused) > 100
    assert all("items.arrow is not a table (" in message for message in refused)


# Writers that fail


class Interrupted(BaseException):
    """Stands for whatever ends a writer without being an error."""


def fail_at(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> list[int]:
    """Let the `number`th of all flushes, renames and replacements fail; return the list of all."""
    made: list[int] = []

    def wrapped(real):
        def call(*args):
            made.append(len(made))
            if len(made) == number:
                raise error
            return real(*args)

        return call

    monkeypatch.setattr(os, "fsync", wrapped(os.fsync))
    monkeypatch.setattr(Path, "rename", wrapped(Path.rename))
    monkeypatch.setattr(Path, "replace", wrapped(Path.replace))
    return made


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), Interrupted()]
)
def test_a_failure_at_every_step_leaves_the_old_version(tmp_path, first, error):
    steps = published = 0
    while True:
        steps += 1
        model = tmp_path / str(steps)
        if not first:
            save(model, 1)
        with pytest.MonkeyPatch.context() as monkeypatch:
            made = fail_at(monkeypatch, steps, error)
            expected = ModelFolderError if isinstance(error, OSError) else type(error)
            caught = None
            try:
                save(model, 2)
            except expected as raised:
                caught = raised
        if caught is None:
            assert len(made) == steps - 1
            break
        if isinstance(error, OSError):
            assert "No space left on device; make room there, or name a folder" in str(caught)
        assert leftovers(model) == []
        if not published and (first or marks(store.open_model(model)) == {1}):
            with contextlib.suppress(NotAModelError):
                published += marks(store.open_model(model)) == {2}
        else:
            published += 1
            assert marks(store.open_model(model)) == {2}
        assert len(list((model / "versions").iterdir())) == (0 if first else 1) + bool(published)
        save(model, 3)
        store.verify(model)
    files = len(ARRAYS) + len(TABLES) + 1 + len(["manifest", "CURRENT"])
    assert steps - 1 == files + len(["draft", "rename", "versions", "replace", "folder", "its parent"])
    assert published == 2  # only the last two, after CURRENT was replaced


def test_everything_is_flushed_before_it_is_named(model, monkeypatch):
    """The order that makes a power cut harmless: contents, then the version's name, then CURRENT."""
    events: list[object] = []
    fsync, rename, replace = os.fsync, Path.rename, Path.replace

    def record(real, event):
        def call(*args):
            events.append(event(*args))
            return real(*args)

        return call

    monkeypatch.setattr(os, "fsync", record(fsync, lambda handle: os.fstat(handle).st_ino))
    monkeypatch.setattr(Path, "rename", record(rename, lambda *_: "rename"))
    monkeypatch.setattr(Path, "replace", record(replace, lambda *_: "replace"))
    save(model, 1)
    renamed, replaced = events.index("rename"), events.index("replace")
    version = live(model)
    before = {file.stat().st_ino for file in version.iterdir()} | {version.stat().st_ino}
    assert before <= set(events[:renamed])
    assert (model / "CURRENT").stat().st_ino in events[:replaced]
    assert (model / "versions").stat().st_ino in events[renamed:replaced]
    assert events[replaced + 1] == model.stat().st_ino
    assert events[renamed - 2] == version.stat().st_ino  # the folder itself after all that is in it


@contextlib.contextmanager
def as_nobody():
    """Give up the rights that make permissions meaningless to root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_folders_without_permission():
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        model = base / "model"
        save(model)
        secret = base / "secret"
        save(secret)
        (live(secret) / "users.npy").chmod(0)
        for path in (model, model / "versions", base):
            path.chmod(0o555)
        (model / ".lock").chmod(0o444)
        try:
            with as_nobody():
                assert marks(store.open_model(model)) == {0}
                store.verify(model)
                advice = "make room there, or name a folder that you may write to; versions saved before "
                for folder in (model, base / "new"):
                    with pytest.raises(
                        ModelFolderError, match=f"cannot write .*Permission denied.*; {advice}"
                    ):
                        save(folder, 1)
                with pytest.raises(ModelFolderError, match="cannot write the model"):
                    store.prune(model, 1)
                with pytest.raises(
                    ModelFolderError, match=r"cannot read .*users\.npy.*; name a folder that you may"
                ):
                    store.open_model(secret)
        finally:
            for path in (base, model, model / "versions"):
                path.chmod(0o755)
        assert marks(store.open_model(model)) == {0}


# Writers that are killed, interrupted, out of room, or not alone: real processes

WRITER = """
import sys
sys.path.insert(0, {sources!r})
import numpy as np, polars as pl
from segue import store
folder, first, times, large = sys.argv[1], *map(int, sys.argv[2:5])
for mark in range(first, first + times):
    arrays = {{name: np.full((large, 64), mark, np.float32) for name in "abc"}}
    tables = {{"t": pl.DataFrame({{"mark": [mark] * 10_000}})}}
    print(store.write(folder, arrays, tables, {{"mark": mark}}), flush=True)
"""


def writer(folder: Path, first: int, times: int, large: int = 2000, before: str = "") -> subprocess.Popen:
    code = before + WRITER.format(sources=SOURCES)
    command = [sys.executable, "-c", code, str(folder), str(first), str(times), str(large)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_whole(folder: Path) -> int:
    """Every version that has a name must be whole; return the mark of the live one."""
    for version in (folder / "versions").iterdir():
        if not version.name.startswith("."):
            store.verify(folder, version.name)
            stored = store.open_model(folder, version.name)
            found = {stored.meta["mark"], *stored.tables["t"]["mark"].unique()}
            for array in stored.arrays.values():
                found |= {int(array.min()), int(array.max())}
            assert len(found) == 1
    return int(store.open_model(folder).meta["mark"])


STOPPER = """
import os, signal, sys, time
sys.path.insert(0, {sources!r})
import numpy as np, polars as pl
from pathlib import Path
from segue import store
os.fsync = lambda handle: time.sleep(0.001)  # a disk of even speed, so that the moments spread over all steps
for number, delay in enumerate(sys.argv[3:]):
    folder = Path(sys.argv[1]) / str(number)
    child = os.fork()
    if not child:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            for mark in range(10**6):
                arrays = {{name: np.full((2000, 64), mark, np.float32) for name in "abc"}}
                tables = {{"t": pl.DataFrame({{"mark": [mark] * 10_000}})}}
                store.write(folder, arrays, tables, {{"mark": mark}})
                store.prune(folder, 2)
        except KeyboardInterrupt:
            os._exit(130)
        finally:
            os._exit(1)
    while not (folder / "CURRENT").exists():
        time.sleep(0.001)
    time.sleep(float(delay))
    os.kill(child, int(sys.argv[2]))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def stop_in_the_middle(base: Path, how: signal.Signals, delays: list[float]) -> list[int]:
    """Stop writers, one for each delay in a folder of its own, so long after their first version."""
    code = STOPPER.format(sources=SOURCES)
    command = [sys.executable, "-W", "ignore", "-c", code, str(base), str(int(how)), *map(str, delays)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return [int(code) for code in done.stdout.split()]


def test_killed_at_any_moment(tmp_path):
    delays = [number * 0.0037 for number in range(20)]
    assert stop_in_the_middle(tmp_path, signal.SIGKILL, delays) == [-signal.SIGKILL] * len(delays)
    unfinished = 0
    for number in range(len(delays)):
        folder = tmp_path / str(number)
        unfinished += bool(leftovers(folder))
        mark = check_whole(folder) + 1
        table = pl.DataFrame({"mark": [mark]})
        store.write(folder, {"a": np.full(3, mark)}, {"t": table}, {"mark": mark})
        assert leftovers(folder) == []
        assert check_whole(folder) == mark
    assert unfinished  # else this test hit none of the moments it is about


def test_interrupted_at_any_moment(tmp_path):
    delays = [0.001 + number * 0.0043 for number in range(15)]
    assert stop_in_the_middle(tmp_path, signal.SIGINT, delays) == [130] * len(delays)
    for number in range(len(delays)):
        assert set(leftovers(tmp_path / str(number))) <= {".dropped"}  # an old version, half removed
        check_whole(tmp_path / str(number))


def test_no_room(tmp_path):
    """A file that may not grow further, by the system's own limit, as on a full disk."""
    with writer(tmp_path, 7, 1, large=100) as process:
        _, words = process.communicate(timeout=60)
        assert process.returncode == 0, words
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
    with writer(tmp_path, 8, 1, large=100_000, before=limit) as process:
        _, words = process.communicate(timeout=60)
    assert process.returncode == 1
    last = words.strip().splitlines()[-1]
    assert last.startswith(
        f"segue.errors.ModelFolderError: cannot write the model in {tmp_path}: [Errno 27] "
    )
    assert last.endswith(
        "make room there, or name a folder that you may write to; versions saved before still load"
    )
    assert leftovers(tmp_path) == []
    assert len(list((tmp_path / "versions").iterdir())) == 1
    assert check_whole(tmp_path) == 7


def test_two_writers_at_once_both_succeed(tmp_path):
    with writer(tmp_path, 0, 5) as one, writer(tmp_path, 100, 5) as other:
        ends = [process.communicate(timeout=60) for process in (one, other)]
        assert (one.returncode, other.returncode) == (0, 0), ends
    names = sorted(line for out, _ in ends for line in out.split())
    assert [int(name[:6]) for name in names] == list(range(1, 11))
    assert store.current_version(tmp_path) == names[-1]
    assert check_whole(tmp_path) in (4, 104)


def test_threads_of_one_process_wait_for_each_other(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda mark: save(tmp_path, mark), range(16)))
    assert sorted(int(name[:6]) for name in names) == list(range(1, 17))
    for mark, name in enumerate(names):
        assert marks(store.open_model(tmp_path, name)) == {mark}


def test_a_live_writer_is_waited_for_and_its_draft_left_alone(model, monkeypatch, caplog):
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    caplog.set_level(logging.INFO, "segue")
    draft = model / "versions" / ".draft"
    with lock.locked(model / ".lock"):
        draft.mkdir()
        (draft / "users.npy").write_bytes(b"half")
        message = "another process has been writing to .*model for 0.1 seconds; wait for it or end it"
        for call in (lambda: save(model, 1), lambda: store.prune(model, 1)):
            with pytest.raises(ModelFolderError, match=message):
                call()
        assert (draft / "users.npy").read_bytes() == b"half"
        assert marks(store.open_model(model)) == {0}
        assert "waiting for another process that writes to" in caplog.text
        monkeypatch.setattr(lock, "PATIENCE", 30.0)
        started = threading.Event()

        def late() -> str:
            started.set()
            return save(model, 1)

        pool = ThreadPoolExecutor(1)
        waiting = pool.submit(late)
        started.wait()
        time.sleep(0.1)
        assert not waiting.done()
    assert waiting.result(timeout=30).startswith("000002-")
    pool.shutdown()
    assert leftovers(model) == []
    assert "removing" in caplog.text


def test_a_lock_held_by_a_forked_child_is_freed_by_the_parent(tmp_path):
    """A worker forked while the model is saved must not keep others from saving."""
    code = (
        f"import sys, os, subprocess; sys.path.insert(0, {SOURCES!r})\n"
        "from pathlib import Path\n"
        "from segue.store.lock import locked\n"
        "with locked(Path(sys.argv[1])):\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        sys.stdin.read()\n"
        "        os._exit(0)\n"
        "print('free', flush=True)\n"
        "os.waitpid(child, 0)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "free\n"
        assert save(tmp_path).startswith("000001-")
        process.stdin.close()
        assert process.wait(30) == 0
