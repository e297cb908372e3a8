"""Fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

import paged
import postgres

for size in ("COLUMNS", "LINES"):  # pytest-xdist sets them in its workers, which have no terminal
    os.environ.pop(size, None)


MARKERS = {  # what plain `pytest` leaves out: patterns of "file::test[parameters]", without brackets
    "spark": ["test_spark*"],
    "browser": ["test_page.py*"],
    "slow": [
        "test_serve_abuse*",
        "test_serve_events*",
        "test_serve_swap*",
        "test_serve.py::test_the_serve_command",
        "test_serve.py::test_invalid_options_are_refused*",
        "test_docs.py::test_command_lines_run*",
        "test_docs.py::test_python_blocks_run [!R]*",
        "test_cli.py::TestHelp::test_the_example_works bench",
        "test_cli.py::TestHelp::test_the_example_works tune",
        "test_cli.py::test_an_interrupt *",
        "test_cli.py::TestProcess*",
        "test_play.py::test_the_command*",
        "test_play.py::test_a_model_with_text*",
        "test_tuning.py::*::test_an_interrupt*",
        "test_tuning.py::TestStudy::test_two_processes*",
        "test_tuning.py::TestStudy::test_a_killed_process*",
        "test_store_writers.py::test_*_at_any_moment",
        "test_index.py::test_answers_are_the_nearest *-2-*",
        "test_index.py::test_answers_are_the_nearest *-5-*",
        "test_index.py::test_answers_are_the_nearest *-13-*",
        "test_index.py::test_answers_are_the_nearest *-130-*",
        "test_index.py::test_any_shape*",
        "test_index.py::test_degenerate_vectors Auto-*",
        "test_exact.py::test_the_avx512_form*",
        "test_ivf.py::*every_form*",
        "test_ivf.py::* plain-*",
        "test_ivf.py::* avx2-*",
        "test_hnsw.py::test_every_form*",
        "test_forest.py::test_recall_has_a_floor*",
        "test_compat_annoy.py::test_files_of_annoy_give_the_answers*",
        "test_models.py::test_vectors_of_any_length *",
        "test_simulate.py::test_a_large_catalog*",
        "test_bench.py::TestCommand*",
        "test_update.py::test_five_epochs*",
        "test_item2vec.py::test_two_threads*",
        "test_page_parts.py::test_page_files_are_cached*",
    ],
}


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their name, and tests that use the PostgreSQL server by their fixtures."""
    for item in items:
        name = item.nodeid.rpartition("tests/")[2].replace("[", " ").removesuffix("]")
        for marker, patterns in MARKERS.items():
            if any(fnmatchcase(name, pattern) for pattern in patterns):
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
