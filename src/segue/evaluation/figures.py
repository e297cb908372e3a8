"""Files that plots are drawn into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segue.errors import MissingExtraError, SettingError

KINDS = (".pdf", ".png", ".svg")


def check_picture(file: Path) -> None:
    """Raise where a plot could not be written: ask before work that takes long."""
    _figure_class()
    if file.suffix.lower() not in KINDS:
        raise SettingError(f"{file} is no picture; name a file that ends in {', '.join(KINDS)}")
    if not file.absolute().parent.is_dir():
        raise SettingError(f"there is no folder {file.parent} to draw {file.name} into")


def figure(width: float, height: float) -> Any:
    """An empty figure of so many inches; raises `MissingExtraError` without matplotlib."""
    return _figure_class()(figsize=(width, height), layout="constrained")


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            'drawing needs matplotlib, which is not installed: pip install "segue[plot]"'
        ) from error
    return Figure
