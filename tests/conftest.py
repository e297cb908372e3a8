"""Fixtures that more than one file of tests uses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import postgres


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a real PostgreSQL server, which runs as long as the tests do."""
    with postgres.server() as url:
        yield url
