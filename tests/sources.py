"""A small source, and functions that the tests of reading share."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from segue.data.sources import read_interactions
from segue.errors import DataError

CSV = "userId,movieId,rating,timestamp\n7,30,4.5,100\n7,10,1,50\n2,30,3,75\n"
FRAME = pl.DataFrame(
    {"userId": [7, 7, 2], "movieId": [30, 10, 30], "rating": [4.5, 1, 3], "timestamp": [100, 50, 75]}
)
TRIPLES = {(7, 30): (4.5, 100.0), (7, 10): (1.0, 50.0), (2, 30): (3.0, 75.0)}


def triples(data):
    """Return interactions as {(user, item): (weight, time)}."""
    rows = np.repeat(np.arange(len(data.users)), np.diff(data.matrix.indptr))
    times = [None] * len(data) if data.times is None else data.times.tolist()
    return {
        (data.users[row], data.items[column]): (weight, time)
        for row, column, weight, time in zip(
            rows, data.matrix.indices, data.matrix.data.tolist(), times, strict=True
        )
    }


def pairs(data):
    """Return the (user, item) pairs of interactions."""
    return set(triples(data))


def error_of(source, *, error=DataError, **options):
    """Assert that reading fails with one line, and return it."""
    with pytest.raises(error) as raised:
        read_interactions(source, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)
