"""The driver's side of a model folder: choose the version and make it available to the hosts."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from segue import store
from segue.spark.host import ModelLocation

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def locate_model(spark: SparkSession, folder: str | Path, *, ship: bool) -> ModelLocation:
    """Return the location of the current version of a model folder.

    With `ship`, also send the version to all hosts, once per session. Raises the subclasses of
    `segue.errors.ModelFolderError`.
    """
    folder = Path(folder).absolute()
    version = store.current_version(folder)
    store.open_model(folder, version)
    if not ship:
        return ModelLocation(str(folder), version)
    name = f"segue-{version}"
    if not any(uri.endswith(f"#{name}") for uri in spark.sparkContext.listArchives):
        with tempfile.TemporaryDirectory(prefix="segue-") as draft:
            copy = Path(draft, name)
            shutil.copytree(folder / "versions" / version, copy / "versions" / version)
            (copy / "CURRENT").write_text(f"{version}\n")
            archive = shutil.make_archive(str(Path(tempfile.gettempdir(), name)), "zip", copy)
        spark.sparkContext.addArchive(f"{archive}#{name}")
    return ModelLocation(name, version, shipped=True)
