"""The model folder: versions side by side, and `CURRENT`, the name of the live one.

docs/model-folder.md describes the format.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from segue.errors import CorruptModelError, DataError, ModelFolderError, NotAModelError, SettingError
from segue.progress import Progress, silent
from segue.store.lock import locked
from segue.store.manifest import DTYPES, NAME
from segue.store.version import (
    Stored,
    check_bytes,
    fill,
    flush_folder,
    little_endian,
    read,
    reading,
    write_file,
)

VERSION = re.compile(r"([0-9]{6,12})-[0-9a-f]{16}")
CURRENT, CURRENT_DRAFT, VERSIONS, LOCK = "CURRENT", "CURRENT.draft", "versions", ".lock"
OURS = {CURRENT, CURRENT_DRAFT, VERSIONS, LOCK}
DRAFT, DROPPED = ".draft", ".dropped"  # in versions/, only while the lock is held or after a crash

logger = logging.getLogger("segue")


def write(
    folder: str | Path,
    arrays: Mapping[str, np.ndarray],
    tables: Mapping[str, pl.DataFrame],
    meta: Mapping[str, Any],
) -> str:
    """Write a new version and make it the current one; return its name.

    The versions before it stay (see `prune`). Whatever goes wrong on the way, they still load and nothing
    half-written is left. A second writer waits for the first.

    Args:
        folder: a new or empty folder, or a model folder.
        arrays: booleans, integers or floats of one or more dimensions, by name.
        tables: frames of anything but Python objects, by name.
        meta: plain JSON: dicts with string keys, lists, strings, finite numbers, booleans, None.

    Raises:
        NotAModelError: the folder holds something else.
        ModelFolderError: it cannot be written: no room, no permission, another writer that does not end.
        DataError, SettingError: something that the format does not keep.
    """
    folder = Path(folder)
    _check_names((*arrays, *tables))
    _check_arrays(arrays)
    plain = _check_meta(meta)
    with _explained("write", folder):
        _refuse_foreign(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / LOCK):
            return _write_version(folder, arrays, tables, plain)


def check_target(folder: str | Path) -> None:
    """Raise `NotAModelError` where `write` would refuse a folder: ask before work that takes long."""
    with _explained("write", Path(folder)):
        _refuse_foreign(Path(folder))


def open_model(folder: str | Path, version: str | None = None) -> Stored:
    """Open the current version, or the one named, without reading its arrays.

    Arrays are checked by size and header, so large ones take no longer than small ones; tables are checked
    by checksum. `verify` checks every byte.

    Raises:
        NotAModelError: there is no folder, model or version of this name.
        NewerFormatError: a later release wrote it.
        CorruptModelError: a file is missing, cut or damaged.
        ModelFolderError: a file may not be read.
    """
    folder = Path(folder)
    with _explained("read", folder):
        while True:
            name = current_version(folder) if version is None else version
            try:
                return read(_version_path(folder, name, version), name)
            except CorruptModelError:
                # Another process may have published and pruned meanwhile; then there is a new one to open.
                if version is not None or current_version(folder) == name:
                    raise


def verify(folder: str | Path, version: str | None = None, progress: Progress = silent) -> None:
    """Check every byte of the current version, or of the one named.

    Raises:
        CorruptModelError: naming the file that is damaged, or that the model did not write.
        ModelFolderError: as `open_model` does.
    """
    stored = open_model(folder, version)
    with _explained("read", Path(folder)):
        check_bytes(stored.path, stored.version, progress)


def prune(folder: str | Path, keep: int) -> list[str]:
    """Remove all but the `keep` newest versions, never the current one; return the names removed."""
    if keep < 1:
        raise SettingError(f"keep={keep} must be at least 1")
    folder = Path(folder)
    with _explained("write", folder):
        current_version(folder)
        with locked(folder / LOCK):
            live = current_version(folder)
            _sweep(folder)
            removed = [name for name in versions(folder)[:-keep] if name != live]
            for name in removed:
                dropped = (folder / VERSIONS / name).rename(folder / VERSIONS / DROPPED)
                shutil.rmtree(dropped)
            return removed


def current_version(folder: str | Path) -> str:
    """Return the name of the version that `open_model` opens: a cheap way to see that it has changed."""
    folder = Path(folder)
    with _explained("read", folder):
        _require_model(folder)
        path = folder / CURRENT
        if not path.exists():
            offer = _offer(folder, f", or write the name of one into {path}")
            raise NotAModelError(
                f"{folder} holds no finished version of a model; save the model again{offer}"
            )
        with reading(path) as file:
            text = file.read(100).decode("ascii", "replace").strip()
        if not VERSION.fullmatch(text):
            offer = _offer(folder, ", or write the name of one into it")
            raise CorruptModelError(
                f"{path} must hold the name of a version, not {text!r}; save the model again{offer}"
            )
        return text


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not NAME.fullmatch(name):
            raise SettingError(
                f"the name {name!r} must be of lower-case letters, digits, '_', '-' and '.', "
                "and begin with a letter or a digit"
            )


def _check_arrays(arrays: Mapping[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.ndim == 0:
            raise DataError(f"{name} must be an array of one or more dimensions, not {array!r:.100}")
        if little_endian(array.dtype) not in DTYPES:
            raise DataError(
                f"{name} must be booleans, integers or floats of up to 64 bits, not {array.dtype}"
            )


def _check_meta(meta: Mapping[str, Any]) -> dict[str, Any]:
    plain = dict(meta)
    try:
        back: dict[str, Any] = json.loads(json.dumps(plain, sort_keys=True, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise SettingError(f"meta must be plain JSON: {error}") from error
    if back != plain:
        changed = next((key for key in plain if back.get(key) != plain[key]), None)
        raise SettingError(
            f"meta must be plain JSON, dicts with string keys and lists, but {changed!r} is not"
        )
    return back


def _refuse_foreign(folder: Path) -> None:
    """Raise unless the folder is missing, empty or a model's, be it one that was never finished."""
    if not folder.exists():
        return
    advice = "name a new or empty folder, or a model folder"
    if not folder.is_dir():
        raise NotAModelError(f"{folder} is a file; {advice}")
    foreign = sorted({entry.name for entry in os.scandir(folder)} - OURS)
    if foreign and not versions(folder):
        named = ", ".join(foreign[:3]) + (" and more" if len(foreign) > 3 else "")
        raise NotAModelError(f"{folder} is not a model folder: it holds {named}; {advice}")


def _write_version(
    folder: Path,
    arrays: Mapping[str, np.ndarray],
    tables: Mapping[str, pl.DataFrame],
    meta: dict[str, Any],
) -> str:
    place, name = folder / VERSIONS, ""
    place.mkdir(exist_ok=True)
    _sweep(folder)
    try:
        (place / DRAFT).mkdir()
        digest = fill(place / DRAFT, arrays, tables, meta)
        newest = max((int(one.split("-")[0]) for one in versions(folder)), default=0)
        name = f"{newest + 1:06d}-{digest[:16]}"
        write_file(folder / CURRENT_DRAFT, [f"{name}\n".encode()])
        (place / DRAFT).rename(place / name)
        flush_folder(place)
        (folder / CURRENT_DRAFT).replace(folder / CURRENT)
        flush_folder(folder)
        flush_folder(folder.absolute().parent)
    except BaseException:
        # An interrupt may come just after CURRENT was replaced; then the version is live and stays.
        if name and not _is_live(folder, name):
            shutil.rmtree(place / name, ignore_errors=True)
        shutil.rmtree(place / DRAFT, ignore_errors=True)
        (folder / CURRENT_DRAFT).unlink(missing_ok=True)
        raise
    return name


def _sweep(folder: Path) -> None:
    """Remove what a killed writer left; the lock is held, so it is nobody's work in progress."""
    for left in (folder / VERSIONS / DRAFT, folder / VERSIONS / DROPPED):
        if left.exists():
            logger.info("removing %s, which was left unfinished", left)
            shutil.rmtree(left)


def _is_live(folder: Path, name: str) -> bool:
    try:
        return current_version(folder) == name
    except ModelFolderError:
        return False


def _require_model(folder: Path) -> None:
    advice = "name the folder that a model was saved to"
    if not folder.is_dir():
        raise NotAModelError(f"{folder} {'is a file' if folder.exists() else 'does not exist'}; {advice}")
    if not (folder / VERSIONS).is_dir():
        raise NotAModelError(f"{folder} is not a model folder (it has no folder {VERSIONS!r}); {advice}")


def _version_path(folder: Path, name: str, asked: str | None) -> Path:
    """The folder of a version that is there: the one asked for, or else the one that CURRENT names."""
    _require_model(folder)
    path = folder / VERSIONS / name
    if VERSION.fullmatch(name) and path.is_dir():
        return path
    if asked is not None:
        raise NotAModelError(f"{folder} has no version {name!r}{_offer(folder, '; name one')}")
    offer = _offer(folder, f", or write the name of one into {folder / CURRENT}")
    raise CorruptModelError(f"{folder} has no version {name!r}, the current one; save the model again{offer}")


def versions(folder: str | Path) -> list[str]:
    """Return the names of all finished versions, oldest first."""
    folder = Path(folder)
    if not (folder / VERSIONS).is_dir():
        return []
    found = [entry.name for entry in os.scandir(folder / VERSIONS) if VERSION.fullmatch(entry.name)]
    return sorted(found, key=lambda name: (int(name.split("-")[0]), name))


def _offer(folder: Path, offer: str) -> str:
    """The end of a message that names the newest versions, where there are any."""
    names = versions(folder)
    return f"{offer} of {', '.join(names[-3:])}" if names else ""


@contextmanager
def _explained(doing: str, folder: Path) -> Iterator[None]:
    """Turn what the system says (no room, no permission, …) into an error that says what to do."""
    try:
        yield
    except OSError as error:
        advice = (
            "name a folder that you may read"
            if doing == "read"
            else "make room there, or name a folder that you may write to; versions saved before still load"
        )
        raise ModelFolderError(f"cannot {doing} the model in {folder}: {error}; {advice}") from error
