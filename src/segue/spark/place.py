"""The driver's side of a model folder: which version, and how hosts come by it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from segue import store
from segue.spark.host import Place


def placed(spark: Any, folder: str | Path, *, ship: bool) -> Place:
    """Fix the version that a job uses, and with `ship` send it to all hosts, once a session.

    Raises the errors of `segue.errors.ModelFolderError`.
    """
    folder = Path(folder).absolute()
    version = store.current_version(folder)
    store.open_model(folder, version)
    if not ship:
        return Place(str(folder), version)
    name = f"segue-{version}"
    if not any(uri.endswith(f"#{name}") for uri in _archives(spark)):
        with tempfile.TemporaryDirectory(prefix="segue-") as draft:
            copy = Path(draft, name)
            shutil.copytree(folder / "versions" / version, copy / "versions" / version)
            (copy / "CURRENT").write_text(f"{version}\n")
            zipped = shutil.make_archive(str(Path(tempfile.gettempdir(), name)), "zip", copy)
        spark.sparkContext.addArchive(f"{zipped}#{name}")
    return Place(name, version, shipped=True)


def _archives(spark: Any) -> list[str]:
    return list(spark.sparkContext.listArchives)
