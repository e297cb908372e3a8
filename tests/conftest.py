"""Fixtures that more than one file of tests uses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import paged
import postgres

for size in ("COLUMNS", "LINES"):  # workers of pytest-xdist are told of a terminal that the tests do not have
    os.environ.pop(size, None)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the tests' own, which neither finds nor leaves anything on the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGUE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a real PostgreSQL server, which runs as long as the tests do."""
    with postgres.server() as url:
        yield url


@pytest.fixture(scope="session")
def paged_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that the page is tested with."""
    return paged.save(tmp_path_factory.mktemp("page") / "model")


@pytest.fixture(scope="session")
def paged_server(paged_folder: Path) -> Iterator[Any]:
    """A service of it that tests share: each has people of its own."""
    from segue.serve.settings import Settings
    from serving import serving

    with serving(Settings(str(paged_folder), f"sqlite:///{paged_folder.parent}/events.sqlite")) as server:
        yield server
