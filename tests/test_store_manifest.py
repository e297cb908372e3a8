"""The model folder: forged manifests with a valid checksum."""

from __future__ import annotations

import hashlib
import os
import random
import re
import tracemalloc
from pathlib import Path

import pytest

from segue import store
from segue.errors import (
    CorruptModelError,
    ModelFolderError,
    NewerFormatError,
    OlderFormatError,
)
from segue.store import manifest
from stores import forge, forge_json, live, marks, save


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


@pytest.mark.parametrize(
    ("number", "error", "advice"),
    [
        (3, NewerFormatError, "was written by a later format 3, .* reads format 2; upgrade segue to read it"),
        (
            1,
            OlderFormatError,
            "was written by an earlier format 1, .* reads format 2; fit the model again with",
        ),
    ],
)
def test_other_formats(model, number, error, advice):
    forge_json(model, "format", value=number)
    for call in (store.open_model, store.verify):
        with pytest.raises(error, match=rf"cannot be read: it {advice}"):
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
    (("arrays", "../x"), GOOD, "'../x' is not a valid file name"),
    (("arrays", "/etc/passwd"), GOOD, "'/etc/passwd' is not a valid file name"),
    (("tables", ".."), {"bytes": 1, "sha256": "0" * 64}, "'..' is not a valid file name"),
    (("tables", "a\0b"), {"bytes": 1, "sha256": "0" * 64}, "'a\\x00b' is not a valid file name"),
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
        "does not have the header of an array of"
        if message is None
        else f"is not the manifest of a model: {message}"
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
def test_manifests_that_are_not_json_objects(model, raw):
    forge(model, raw)
    with pytest.raises(ModelFolderError, match="manifest"):
        store.open_model(model)


def test_huge_manifest_is_not_read(model):
    with (live(model) / "manifest.json").open("wb") as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(CorruptModelError, match="is too large for a manifest"):
        store.open_model(model)


def test_forged_sizes_allocate_no_memory(model):
    """A sparse file with the size that the manifest gives is mapped without allocating memory."""
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
    """polars parses bytes with a valid checksum: it may refuse them or read them, but must not crash."""
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
