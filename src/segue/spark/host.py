"""What happens on a host of the cluster: a model is found, checked once, and opened once a process."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import pyarrow as pa

from segue import store
from segue.errors import ModelFolderError, NotAModelError
from segue.recommender import fitting
from segue.recommender.facade import TrainedRecommender
from segue.store.lock import locked

T = TypeVar("T")
_opened: dict[Place, Any] = {}


@dataclass(frozen=True)
class Place:
    """Where hosts find a version of a model folder.

    Attributes:
        folder: a path that every host sees, or the name of an archive that Spark unpacks on each.
        version: the version to open, whatever `CURRENT` says later.
        shipped: whether the folder is such an archive.
    """

    folder: str
    version: str
    shipped: bool = False

    def path(self) -> Path:
        """The model folder on this host."""
        if not self.shipped:
            return Path(self.folder)
        from pyspark import SparkFiles

        return Path(SparkFiles.get(self.folder))


def opened(place: Place, load: Callable[[Path, str], T]) -> T:
    """Open what stands at a place, memory-mapped: once a process, and every byte checked once a host."""
    if place not in _opened:
        os.environ.setdefault("SEGUE_THREADS", os.environ.get("SPARK_TASK_CPUS", "1"))
        path = place.path()
        if not path.is_dir():
            raise NotAModelError(
                f"{path} is not on this host, {os.uname().nodename}; put the model on storage that all hosts "
                "see under the same path, or pass ship=True to send it along"
            )
        verify_once(path, place.version)
        _opened.clear()  # one model a process: those of earlier jobs are let go
        _opened[place] = load(path, place.version)
    found: T = _opened[place]
    return found


def load(path: Path, version: str) -> TrainedRecommender:
    """Open a version of a recommender."""
    return fitting.load(path, version)


def verify_once(folder: Path, version: str) -> None:
    """Check every byte of a version, unless this host has checked the very same files already.

    The same: by path, size and time of change. Raises `CorruptModelError` for a damaged file.
    """
    seal = _seal(folder / "versions" / version)
    marks = Path(tempfile.gettempdir()) / f"segue-verified-{os.getuid()}"
    marks.mkdir(mode=0o700, exist_ok=True)
    mark = marks / hashlib.sha256(str(folder.resolve()).encode() + version.encode()).hexdigest()
    if mark.exists() and mark.read_text() == seal:
        return
    with locked(marks / f"{mark.name}.lock"):
        if mark.exists() and mark.read_text() == seal:
            return
        store.verify(folder, version)
        mark.write_text(seal)


def _seal(version: Path) -> str:
    try:
        entries = sorted(os.scandir(version), key=lambda entry: entry.name)
        told = [(entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in entries]
    except OSError as error:
        raise ModelFolderError(f"cannot read the model in {version}: {error}") from error
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def frames(batches: Iterable[pa.RecordBatch]) -> Iterator[pl.DataFrame]:
    """The batches of a task as frames; empty ones are passed over."""
    for batch in batches:
        if batch.num_rows:
            yield pl.DataFrame(batch)


def batches(frame: pl.DataFrame, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """A frame as the batches that Spark was promised."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).select(schema.names).cast(schema)
    yield from table.to_batches()
