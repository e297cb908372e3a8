"""The model folder: folders that are not models, and versions side by side."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from segue import store
from segue.errors import (
    ModelFolderError,
    NotAModelError,
    SettingError,
)
from segue.store import folder as folder_module
from stores import ARRAYS, leftovers, live, marks, save


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


def test_open_folders_that_are_not_models(tmp_path):
    with pytest.raises(NotAModelError, match="gone does not exist; name the folder of a saved model"):
        store.open_model(tmp_path / "gone")
    with pytest.raises(NotAModelError, match=r"is not a model folder \(there is no 'versions' in it\)"):
        store.open_model(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotAModelError, match="file is a file; name the folder"):
        store.open_model(tmp_path / "file")
    with pytest.raises(ModelFolderError):
        store.open_model(tmp_path / "file" / "below")
    (tmp_path / "versions").mkdir()
    for call in (store.open_model, store.verify, store.current_version):
        with pytest.raises(
            NotAModelError, match=r"has no complete version of a model; save the model again$"
        ):
            call(tmp_path)
    with pytest.raises(NotAModelError):
        store.prune(tmp_path, 1)


def test_folder_with_other_files_is_not_written_to(tmp_path):
    for name in ("thesis.doc", "b", "c", "d"):
        (tmp_path / name).write_text(name)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(
        NotAModelError,
        match="is not a model folder: it contains b, c, d and more; name a new or empty folder",
    ):
        save(tmp_path)
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(NotAModelError, match=r"thesis\.doc is a file; name a new or empty folder"):
        save(tmp_path / "thesis.doc")
    assert (tmp_path / "thesis.doc").read_text() == "thesis.doc"


def test_foreign_folder_with_a_file_named_current(tmp_path):
    (tmp_path / "CURRENT").write_text("MANIFEST-000005\n")  # as databases have it
    (tmp_path / "MANIFEST-000005").write_text("x")
    with pytest.raises(NotAModelError, match="it contains MANIFEST-000005; "):
        save(tmp_path)
    with pytest.raises(ModelFolderError):
        save(tmp_path / "CURRENT" / "below")
    assert (tmp_path / "CURRENT").read_text() == "MANIFEST-000005\n"


def test_empty_incomplete_and_annotated_folders_are_written_to(tmp_path):
    save(tmp_path)
    (tmp_path / "README").write_text("my model")
    assert save(tmp_path, 1).startswith("000002-")
    (tmp_path / "other" / "versions" / ".draft").mkdir(parents=True)
    (tmp_path / "other" / "versions" / ".draft" / "users.npy").write_bytes(b"cut")
    assert save(tmp_path / "other").startswith("000001-")
    assert leftovers(tmp_path / "other") == []
    assert save(tmp_path / "new" / "deep" / "er").startswith("000001-")


def test_symbolic_link_to_a_model(model, tmp_path):
    (tmp_path / "link").symlink_to(model)
    save(tmp_path / "link", 1)
    assert marks(store.open_model(model)) == marks(store.open_model(tmp_path / "link")) == {1}


def test_versions_count_up_and_can_be_restored(model):
    names = [store.current_version(model)] + [save(model, mark) for mark in (1, 2)]
    assert [name[:7] for name in names] == ["000001-", "000002-", "000003-"]
    assert [marks(store.open_model(model, name)) for name in names] == [{0}, {1}, {2}]
    for name in names:
        store.verify(model, name)
    for written in (names[0], f"{names[0]}\r\n", f"\n {names[0]}\n"):
        (model / "CURRENT").write_text(written)
        assert marks(store.open_model(model)) == {0}
    assert save(model, 3).startswith("000004-")


def test_counter_beyond_six_digits(model):
    live(model).rename(model / "versions" / live(model).name.replace("000001", "999999"))
    assert save(model, 1).startswith("1000000-")
    assert save(model, 2).startswith("1000001-")
    assert store.prune(model, 2)[0].startswith("999999-")
    assert marks(store.open_model(model)) == {2}


@pytest.mark.parametrize("version", ["000009-0123456789abcdef", "", "..", "../versions", "x", "/"])
def test_missing_version(model, version):
    message = f"model has no version {version!r}; name one of {store.current_version(model)}"
    for call in (store.open_model, store.verify):
        with pytest.raises(NotAModelError, match=re.escape(message)):
            call(model, version)


def test_prune_keeps_the_newest_and_the_current(model):
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
    np.testing.assert_array_equal(mapped, ARRAYS["users"])  # readers keep their mapped arrays
    assert store.prune(model, 1) == []
    with pytest.raises(SettingError, match="keep=0 must be at least 1"):
        store.prune(model, 0)


def test_open_while_the_version_is_replaced_and_pruned(model, monkeypatch):
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
