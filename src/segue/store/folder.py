"""Read, write, verify and prune a model folder: its versions, and the file CURRENT that names the live one.

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

import numpy as np
import polars as pl

from segue.errors import CorruptModelError, DataError, ModelFolderError, NotAModelError, SettingError
from segue.progress import Progress, silent
from segue.store.lock import locked
from segue.store.manifest import DTYPES, NAME, Json
from segue.store.version import (
    StoredModel,
    fill,
    flush_folder,
    little_endian,
    open_regular,
    read,
    verify_files,
    write_file,
)

VERSION = re.compile(r"([0-9]{6,12})-[0-9a-f]{16}")
CURRENT, CURRENT_DRAFT, VERSIONS, LOCK = "CURRENT", "CURRENT.draft", "versions", ".lock"
OURS = {CURRENT, CURRENT_DRAFT, VERSIONS, LOCK}
DRAFT, DROPPED = ".draft", ".dropped"  # in versions/, while the lock is held or after a crash

logger = logging.getLogger("segue")


def write(
    folder: str | Path,
    arrays: Mapping[str, np.ndarray],
    tables: Mapping[str, pl.DataFrame],
    meta: Mapping[str, object],
) -> str:
    """Write a new version, make it the current one and return its name.

    Earlier versions stay until `prune` removes them. If writing fails, they still load and no partial
    version remains. A second writer waits for the first.

    Args:
        folder: a new or empty folder, or a model folder.
        arrays: boolean, integer or float arrays of one or more dimensions, by name.
        tables: frames without columns of Python objects, by name.
        meta: JSON values: dicts with string keys, lists, strings, finite numbers, booleans, None.

    Raises:
        NotAModelError: the folder holds other files.
        ModelFolderError: the folder cannot be written: disk full, no permission, or another writer.
        DataError, SettingError: the format cannot store an array, a table, a name or a value of `meta`.
    """
    folder = Path(folder)
    _check_names((*arrays, *tables))
    _check_arrays(arrays)
    plain = _check_meta(meta)
    with _system_errors("write", folder):
        _refuse_foreign(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / LOCK):
            return _write_version(folder, arrays, tables, plain)


def check_target(folder: str | Path) -> None:
    """Raise `NotAModelError` if `write` would refuse the folder. Call it before long work."""
    with _system_errors("write", Path(folder)):
        _refuse_foreign(Path(folder))


def open_model(folder: str | Path, version: str | None = None) -> StoredModel:
    """Open the current version, or the given one, without reading its arrays.

    Arrays are checked by size and header, so the time does not depend on their size; tables are checked by
    checksum. `verify` checks every byte.

    Raises:
        NotAModelError: there is no folder, model or version of this name.
        NewerFormatError, OlderFormatError: another release wrote it, in a format that this one cannot read.
        CorruptModelError: a file is missing, truncated or damaged.
        ModelFolderError: there is no permission to read a file.
    """
    folder = Path(folder)
    with _system_errors("read", folder):
        while True:
            name = current_version(folder) if version is None else version
            try:
                return read(_version_path(folder, name, version), name)
            except CorruptModelError:
                # Another process may have written a version and pruned this one: open the new one then.
                if version is not None or current_version(folder) == name:
                    raise


def verify(folder: str | Path, version: str | None = None, progress: Progress = silent) -> None:
    """Check every byte of the current version, or of the given one.

    Raises:
        CorruptModelError: a file is damaged, or does not belong to the model; the message names it.
        ModelFolderError: see `open_model`.
    """
    stored = open_model(folder, version)
    with _system_errors("read", Path(folder)):
        verify_files(stored.path, stored.version, progress)


def prune(folder: str | Path, keep: int) -> list[str]:
    """Remove all versions except the `keep` newest and the current one; return the removed names."""
    if keep < 1:
        raise SettingError(f"keep={keep} must be at least 1", arguments=("keep",))
    folder = Path(folder)
    with _system_errors("write", folder):
        current_version(folder)
        with locked(folder / LOCK):
            live = current_version(folder)
            _remove_leftovers(folder)
            removed = [name for name in versions(folder)[:-keep] if name != live]
            for name in removed:
                dropped = (folder / VERSIONS / name).rename(folder / VERSIONS / DROPPED)
                shutil.rmtree(dropped)
            return removed


def current_version(folder: str | Path) -> str:
    """Return the name of the version that `open_model` opens. Compare it to notice a new version cheaply."""
    folder = Path(folder)
    with _system_errors("read", folder):
        _require_model(folder)
        path = folder / CURRENT
        if not path.exists():
            offer = _offer(folder, f", or write the name of one into {path}")
            raise NotAModelError(f"{folder} has no complete version of a model; save the model again{offer}")
        with open_regular(path) as file:
            text = file.read(100).decode("ascii", "replace").strip()
        if not VERSION.fullmatch(text):
            offer = _offer(folder, ", or write the name of one into it")
            raise CorruptModelError(
                f"{path} must contain the name of a version, not {text!r}; save the model again{offer}"
            )
        return text


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not NAME.fullmatch(name):
            raise SettingError(
                f"the name {name!r} must consist of lower-case letters, digits, '_', '-' and '.', "
                "and begin with a letter or a digit"
            )


def _check_arrays(arrays: Mapping[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.ndim == 0:
            raise DataError(f"{name} must be an array of one or more dimensions, not {array!r:.100}")
        if little_endian(array.dtype) not in DTYPES:
            raise DataError(
                f"{name} must contain booleans, integers or floats of up to 64 bits, not {array.dtype}"
            )


def _check_meta(meta: Mapping[str, object]) -> Json:
    plain = dict(meta)
    try:
        parsed: Json = json.loads(json.dumps(plain, sort_keys=True, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise SettingError(f"meta must be plain JSON: {error}") from error
    if parsed != plain:
        changed = next((key for key in plain if parsed.get(key) != plain[key]), None)
        raise SettingError(
            f"meta must be plain JSON (dicts with string keys, and lists), but {changed!r} is not"
        )
    return parsed


def _refuse_foreign(folder: Path) -> None:
    """Raise unless the folder is missing, empty or a model folder, complete or not."""
    if not folder.exists():
        return
    advice = "name a new or empty folder, or a model folder"
    if not folder.is_dir():
        raise NotAModelError(f"{folder} is a file; {advice}")
    foreign = sorted({entry.name for entry in os.scandir(folder)} - OURS)
    if foreign and not versions(folder):
        named = ", ".join(foreign[:3]) + (" and more" if len(foreign) > 3 else "")
        raise NotAModelError(f"{folder} is not a model folder: it contains {named}; {advice}")


def _write_version(
    folder: Path,
    arrays: Mapping[str, np.ndarray],
    tables: Mapping[str, pl.DataFrame],
    meta: Json,
) -> str:
    parent, name = folder / VERSIONS, ""
    parent.mkdir(exist_ok=True)
    _remove_leftovers(folder)
    try:
        (parent / DRAFT).mkdir()
        digest = fill(parent / DRAFT, arrays, tables, meta)
        newest = max((int(version.split("-")[0]) for version in versions(folder)), default=0)
        name = f"{newest + 1:06d}-{digest[:16]}"
        write_file(folder / CURRENT_DRAFT, [f"{name}\n".encode()])
        (parent / DRAFT).rename(parent / name)
        flush_folder(parent)
        (folder / CURRENT_DRAFT).replace(folder / CURRENT)
        flush_folder(folder)
        flush_folder(folder.absolute().parent)
    except BaseException:
        # An interrupt may come just after CURRENT was replaced: the version is live then, and stays.
        if name and not _is_live(folder, name):
            shutil.rmtree(parent / name, ignore_errors=True)
        shutil.rmtree(parent / DRAFT, ignore_errors=True)
        (folder / CURRENT_DRAFT).unlink(missing_ok=True)
        raise
    return name


def _remove_leftovers(folder: Path) -> None:
    """Remove the files of a killed writer. The lock is held, so no writer is at work on them."""
    for leftover in (folder / VERSIONS / DRAFT, folder / VERSIONS / DROPPED):
        if leftover.exists():
            logger.info("removing the incomplete %s", leftover)
            shutil.rmtree(leftover)


def _is_live(folder: Path, name: str) -> bool:
    try:
        return current_version(folder) == name
    except ModelFolderError:
        return False


def _require_model(folder: Path) -> None:
    advice = "name the folder of a saved model"
    if not folder.is_dir():
        raise NotAModelError(f"{folder} {'is a file' if folder.exists() else 'does not exist'}; {advice}")
    if not (folder / VERSIONS).is_dir():
        raise NotAModelError(f"{folder} is not a model folder (there is no {VERSIONS!r} in it); {advice}")


def _version_path(folder: Path, name: str, requested: str | None) -> Path:
    """Return the folder of the requested version, or of the one that CURRENT names."""
    _require_model(folder)
    path = folder / VERSIONS / name
    if VERSION.fullmatch(name) and path.is_dir():
        return path
    if requested is not None:
        raise NotAModelError(f"{folder} has no version {name!r}{_offer(folder, '; name one')}")
    offer = _offer(folder, f", or write the name of one into {folder / CURRENT}")
    raise CorruptModelError(f"{folder} has no version {name!r}, the current one; save the model again{offer}")


def versions(folder: str | Path) -> list[str]:
    """Return the names of all complete versions, oldest first."""
    folder = Path(folder)
    if not (folder / VERSIONS).is_dir():
        return []
    names = [entry.name for entry in os.scandir(folder / VERSIONS) if VERSION.fullmatch(entry.name)]
    return sorted(names, key=lambda name: (int(name.split("-")[0]), name))


def _offer(folder: Path, offer: str) -> str:
    """Return the end of a message that names the newest versions, or nothing without versions."""
    names = versions(folder)
    return f"{offer} of {', '.join(names[-3:])}" if names else ""


@contextmanager
def _system_errors(action: str, folder: Path) -> Iterator[None]:
    """Turn an `OSError` (disk full, no permission, …) into a `ModelFolderError` that says what to do."""
    try:
        yield
    except OSError as error:
        advice = (
            "name a folder that you may read"
            if action == "read"
            else "free some space, or name a folder that you may write to; earlier versions still load"
        )
        raise ModelFolderError(f"cannot {action} the model in {folder}: {error}; {advice}") from error
