"""Model folders on a host of the cluster: locate, verify once per host, open once per process."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import polars as pl
import pyarrow as pa

from segue import store
from segue.errors import ModelFolderError, NotAModelError
from segue.recommender import fitting
from segue.recommender.facade import TrainedRecommender
from segue.store.lock import locked

T = TypeVar("T")
_open_models: dict[ModelLocation, object] = {}


@dataclass(frozen=True)
class ModelLocation:
    """Where hosts find one version of a model folder.

    Attributes:
        folder: a path that every host sees, or the name of an archive that Spark unpacks on each host.
        version: the version to open, even if `CURRENT` changes later.
        shipped: whether `folder` is the name of an archive.
    """

    folder: str
    version: str
    shipped: bool = False

    def path(self) -> Path:
        """Return the path of the model folder on this host."""
        if not self.shipped:
            return Path(self.folder)
        from pyspark import SparkFiles

        return Path(SparkFiles.get(self.folder))


def open_once(location: ModelLocation, load: Callable[[Path, str], T]) -> T:
    """Return the model at a location, memory-mapped; each process opens it once, each host verifies it once.

    Args:
        location: the version of the model folder to open.
        load: the function that opens it, from the path and the version.

    Raises `NotAModelError` for a path that is not on this host, `CorruptModelError` for a damaged file.
    """
    if location not in _open_models:
        os.environ.setdefault("SEGUE_THREADS", os.environ.get("SPARK_TASK_CPUS", "1"))
        path = location.path()
        if not path.is_dir():
            raise NotAModelError(
                f"{path} is not on this host, {os.uname().nodename}; put the model on storage that all hosts "
                "see under the same path, or pass ship=True to send it along"
            )
        verify_once(path, location.version)
        _open_models.clear()  # one open model per process: close those of earlier jobs
        _open_models[location] = load(path, location.version)
    return cast("T", _open_models[location])


def load(path: Path, version: str) -> TrainedRecommender:
    """Open a version of a recommender."""
    return fitting.load(path, version)


def verify_once(folder: Path, version: str) -> None:
    """Verify the checksums of a version, unless this host has verified the same files already.

    Files are the same if path, size and modification time are equal. Raises `CorruptModelError` for a
    damaged file.
    """
    fingerprint = _fingerprint(folder / "versions" / version)
    markers = Path(tempfile.gettempdir()) / f"segue-verified-{os.getuid()}"
    markers.mkdir(mode=0o700, exist_ok=True)
    marker = markers / hashlib.sha256(str(folder.resolve()).encode() + version.encode()).hexdigest()
    if marker.exists() and marker.read_text() == fingerprint:
        return
    with locked(markers / f"{marker.name}.lock"):
        if marker.exists() and marker.read_text() == fingerprint:
            return
        store.verify(folder, version)
        marker.write_text(fingerprint)


def _fingerprint(version: Path) -> str:
    """Return a hash of the names, sizes and modification times of the files of a version."""
    try:
        entries = sorted(os.scandir(version), key=lambda entry: entry.name)
        files = [(entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in entries]
    except OSError as error:
        raise ModelFolderError(f"cannot read the model in {version}: {error}") from error
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


def frames(batches: Iterable[pa.RecordBatch]) -> Iterator[pl.DataFrame]:
    """Yield the non-empty batches of a task as polars frames."""
    for batch in batches:
        if batch.num_rows:
            yield pl.DataFrame(batch)


def batches(frame: pl.DataFrame, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield a polars frame as record batches of the schema that Spark expects."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).select(schema.names).cast(schema)
    yield from table.to_batches()
