"""Fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

import paged
import postgres

for size in ("COLUMNS", "LINES"):  # pytest-xdist sets them in its workers, which have no terminal
    os.environ.pop(size, None)


MARKERS = {  # what plain `pytest` leaves out, by file name; single tests have decorators
    "test_spark*.py": "spark",
    "test_page.py": "browser",
    "test_serve_abuse*.py": "slow",
    "test_serve_events*.py": "slow",
    "test_serve_swap*.py": "slow",
}


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their file, and tests that use the PostgreSQL server."""
    for item in items:
        for pattern, marker in MARKERS.items():
            if fnmatch(item.path.name, pattern):
                item.add_marker(marker)
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if "postgres_url" in getattr(item, "fixturenames", ()) or "postgresql" in map(str, parameters):
            item.add_marker("postgres")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Use a temporary cache, so that tests neither read nor leave files in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGUE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a PostgreSQL server, which runs until the tests end."""
    with postgres.server() as url:
        yield url


@pytest.fixture(scope="session")
def paged_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model that the page tests serve."""
    return paged.save(tmp_path_factory.mktemp("page") / "model")


@pytest.fixture(scope="session")
def paged_server(paged_folder: Path) -> Iterator[Any]:
    """A service of that model; tests share it, each with its own users."""
    from segue.serve.settings import Settings
    from serving import serving

    with serving(Settings(str(paged_folder), f"sqlite:///{paged_folder.parent}/events.sqlite")) as server:
        yield server


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes text or bytes to a file in a temporary folder and returns its path."""

    def write(content: str | bytes, name: str = "interactions.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
