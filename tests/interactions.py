"""Small frames and dictionaries for the tests of interactions."""

from __future__ import annotations

import numpy as np
import polars as pl

from segue.data.assembly import from_frame


def as_dict(data):
    """Return interactions as {(user, item): weight}."""
    rows = np.repeat(np.arange(len(data.users)), np.diff(data.matrix.indptr))
    return {
        (data.users[row], data.items[column]): weight
        for row, column, weight in zip(rows, data.matrix.indices, data.matrix.data.tolist(), strict=True)
    }


def times_of(data):
    """Return the times as {(user, item): seconds}."""
    return dict(zip(as_dict(data), data.times.tolist(), strict=True))


def frame(rows, *names):
    """Return rows (user, item, …) as a frame; `names` are the columns after the ids."""
    return pl.DataFrame(rows, schema=["user", "item", *names], orient="row")


def check_matrix(data):
    """Assert the properties that every matrix of interactions has."""
    matrix = data.matrix
    assert matrix.dtype == np.float32
    assert matrix.indices.dtype == matrix.indptr.dtype == np.int32
    assert matrix.shape == (len(data.users), len(data.items))
    assert (matrix.data != 0).all()
    for row in range(matrix.shape[0]):
        assert (np.diff(matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]) > 0).all()
    assert matrix.data.flags.writeable


ROWS = [
    ("u1", "a", 1, 10),
    ("u1", "b", 2, 40),
    ("u1", "c", 3, 20),
    ("u2", "a", 4, 50),
    ("u2", "b", 5, 30),
    ("u3", "d", 6, 60),
]
TITLES = pl.DataFrame({"item": ["d", "b", "a", "c"], "title": ["D", "B", "A", "C"]})
EXAMPLE = from_frame(frame(ROWS, "weight", "time")).with_metadata(TITLES, "item")
