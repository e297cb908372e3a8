"""Small model folders for the tests of the store, and functions to forge and inspect them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import polars as pl

from segue import store

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


def save(folder: Path, mark: int = 0) -> str:
    """Write a small model with `mark` in every part."""
    arrays = {name: array + array.dtype.type(mark) for name, array in ARRAYS.items()}
    marked = {"mark": pl.DataFrame({"mark": [mark]})}
    return store.write(folder, arrays, TABLES | marked, META | {"mark": mark})


def marks(stored: store.StoredModel) -> set[int]:
    """Return the marks of all parts: one mark, unless versions are mixed."""
    of_arrays = {
        int((stored.arrays[name] - ARRAYS[name]).max()) for name in ("users", "items", "seen.indptr")
    }
    return of_arrays | {stored.meta["mark"], stored.tables["mark"]["mark"][0]}


def live(model: Path) -> Path:
    return model / "versions" / (model / "CURRENT").read_text().strip()


def leftovers(model: Path) -> list[str]:
    kept = [entry.name for entry in (model / "versions").iterdir() if entry.name.startswith(".")]
    return kept + [entry.name for entry in model.iterdir() if entry.name.startswith("CURRENT.")]


def forge(model: Path, raw: bytes) -> None:
    """Replace the manifest and make its checksum agree, as an attacker could."""
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
