"""The model folder: damaged, truncated, missing and additional files."""

from __future__ import annotations

import os
import random
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from segue import store
from segue.errors import (
    CorruptModelError,
    ModelFolderError,
    NotAModelError,
)
from stores import live, marks, save


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


def flipped(raw: bytes, place: int, bit: int) -> bytes:
    return raw[:place] + bytes([raw[place] ^ (1 << bit)]) + raw[place + 1 :]


def test_flipped_bits_of_current(model):
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
def test_flipped_bytes_of_manifest_and_tables(model, file):
    path = live(model) / file
    raw = path.read_bytes()
    for place in range(len(raw)):
        path.write_bytes(flipped(raw, place, place % 8))
        with pytest.raises(
            CorruptModelError, match=re.escape(f"{path} is damaged (its checksum differs); copy")
        ):
            store.open_model(model)
    path.write_bytes(raw)
    store.verify(model)


@pytest.mark.parametrize("file", ["users.npy", "seen.indptr.npy", "none.npy"])
def test_flipped_bytes_of_arrays(model, file):
    path, stored = live(model) / file, store.open_model(model)
    raw, wanted = path.read_bytes(), stored.arrays[file.removesuffix(".npy")]
    header = len(raw) - wanted.nbytes
    shape, dtype = wanted.shape, wanted.dtype
    del stored, wanted
    for place in range(len(raw)):
        path.write_bytes(flipped(raw, place, place % 8))
        if place < header:
            with pytest.raises(
                CorruptModelError,
                match=re.escape(f"{path} does not have the header of an array of {dtype.str}"),
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
def test_truncated_files(model, file):
    path = live(model) / file
    raw = path.read_bytes()
    for length in [*range(len(raw)), len(raw) + 1]:
        path.write_bytes((raw + b"\0")[:length])
        with pytest.raises(CorruptModelError, match=re.escape(str(path))) as caught:
            store.open_model(model)
        if file != "manifest.json":
            assert f"has {length:,} bytes, but {len(raw):,} were written" in str(caught.value)


def test_truncated_current(model):
    name = store.current_version(model)
    for length in range(len(name)):
        (model / "CURRENT").write_text(name[:length])
        message = f"must contain the name of a version, not {name[:length]!r}; save the model again, or write"
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
        with pytest.raises(CorruptModelError, match="must contain the name of a version"):
            store.open_model(model)
    (model / "CURRENT").write_bytes(b"\xff\xfe" + os.urandom(1000))
    with pytest.raises(CorruptModelError):
        store.open_model(model)


def test_files_replaced_with_random_bytes(model):
    rng = random.Random(0)
    for path in [model / "CURRENT", *live(model).iterdir()]:
        raw = path.read_bytes()
        for size in (0, 1, 64, len(raw), 5000):
            path.write_bytes(rng.randbytes(size))
            with pytest.raises(CorruptModelError):
                store.verify(model)
        path.write_bytes(raw)
    store.verify(model)


def test_current_names_a_missing_version(model):
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
    with pytest.raises(NotAModelError, match=r"has no complete version of a model; save the model again$"):
        store.open_model(model)
    assert save(model).startswith("000001-")


@pytest.mark.parametrize("file", ["manifest.json", "users.npy", "items.arrow", "CURRENT"])
@pytest.mark.parametrize("how", ["missing", "folder", "pipe", "loop"])
def test_missing_and_irregular_files(model, file, how):
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
        wanted = dict.fromkeys(wanted, "has no complete version of a model")
    for call in (store.open_model, store.verify):
        with pytest.raises(ModelFolderError, match=wanted.get(how, "is not a file; copy or save")):
            call(model)


def test_file_in_place_of_the_version_folder(model):
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
    with pytest.raises(CorruptModelError, match="its checksum differs"):
        store.open_model(tmp_path)
    swap("s.arrow", "t.arrow")
    swap("a.npy", "b.npy")  # equal sizes and headers: only the checksum differs
    assert store.open_model(tmp_path).arrays["a"].tolist() == [1, 1, 1]
    with pytest.raises(
        CorruptModelError, match=re.escape(f"{path / 'a.npy'} is damaged (its checksum differs)")
    ):
        store.verify(tmp_path)


def test_unlisted_files(model):
    for name in ("virus.exe", ".hidden", "more.npy"):
        (live(model) / name).write_text("x")
        assert marks(store.open_model(model)) == {0}
        with pytest.raises(
            CorruptModelError, match=re.escape(f"{live(model) / name} is not a file of this model")
        ):
            store.verify(model)
        (live(model) / name).unlink()
    store.verify(model)


def test_verify_reports_progress(model, tmp_path):
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
