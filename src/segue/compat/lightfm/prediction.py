"""Scores of pairs, and ranks of interactions, from the parameters of a LightFM model."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from segue.compat.lightfm.parameters import Packed
from segue.kernels import pairs as kernels
from segue.kernels import threads
from segue.kernels.arrays import readonly
from segue.numerics.blas import on_one_thread

BLOCK = 256  # users in a block of scores of all items


class Lookup(NamedTuple):
    """Parameters of users or items.

    Attributes:
        table: vectors (n, slots, dim) and biases (n, slots) float32; slot 0 has the values.
        rows: (q,) integers, the row of each requested user or item in the table.
    """

    table: Packed
    rows: np.ndarray


def rows(vectors: np.ndarray, biases: np.ndarray, ids: np.ndarray) -> Lookup:
    """Return the parameters of users or items without features."""
    return Lookup(
        Packed(*(np.ascontiguousarray(array, np.float32)[:, None] for array in (vectors, biases))), ids
    )


def sums(vectors: np.ndarray, biases: np.ndarray, features: sp.csr_matrix, ids: np.ndarray) -> Lookup:
    """Return the parameters of users or items as the sums of their features."""
    unique, places = np.unique(ids, return_inverse=True)
    selected, count = features[unique], features.shape[1]
    return rows(selected @ vectors[:count], selected @ biases[:count], places)


def pair_scores(users: Lookup, items: Lookup, num_threads: int) -> np.ndarray:
    """Return x_u·y_i + b_u + b_i of pairs of users and items, (pairs,) float32."""
    scores = np.empty(len(users.rows), np.float32)
    x, y = (Packed(*map(readonly, lookup.table)) for lookup in (users, items))
    pairs = readonly(users.rows), readonly(items.rows)
    threads.run(
        lambda start, stop: kernels.score_pairs(*x, *y, *pairs, scores, start, stop),
        len(scores), chunk=max(4096, -(-len(scores) // num_threads)), threads=num_threads,
    )  # fmt: skip
    return scores


def rank_entries(
    test: sp.csr_matrix, train: sp.csr_matrix, users: Lookup, items: Lookup, num_threads: int
) -> sp.csr_matrix:
    """Return the rank of each entry of the test among all items without the user's entries in train.

    Args:
        test: users × items; its entries are ranked.
        train: users × items; its entries are excluded.
        users: parameters of the users with entries in the test, ascending.
        items: parameters of all items.
        num_threads: number of threads.

    Returns users × items CSR float32 with the entries of the test, 0 for the best.
    """
    tested = np.flatnonzero(np.diff(test.indptr))
    x, (y, b) = users.table.vectors, items.table
    vectors, biases = y[items.rows, 0] if len(items.rows) != len(y) else y[:, 0], b[items.rows, 0]
    above = np.zeros(test.nnz, np.float32)
    held, excluded = ((readonly(matrix.indptr), readonly(matrix.indices)) for matrix in (test, train))

    def work(start: int, stop: int) -> None:
        scores = x[users.rows[start:stop], 0] @ vectors.T + biases
        kernels.count_above(scores, tested[start:stop], *held, *excluded, above)

    with on_one_thread():
        threads.run(work, len(tested), chunk=BLOCK, threads=num_threads)
    return sp.csr_matrix((above, test.indices, test.indptr), shape=test.shape)
