"""Scores of single pairs of users and items, and where some of a user's items stand among the others.

Vectors are P (rows, slots, d) and biases b (rows, slots); slot 0 is the value, as in `kernels/sgd.py`.
"""

from __future__ import annotations

import numpy as np

from segue.kernels.compile import kernel


@kernel
def score_pairs(U, bU, V, bV, users, items, scores, start, stop):
    """Write x_u . y_i + b_u + b_i of the pairs [start, stop)."""
    for z in range(start, stop):
        u, i = users[z], items[z]
        total = np.float32(0)
        for j in range(U.shape[2]):
            total += U[u, 0, j] * V[i, 0, j]
        scores[z] = total + bU[u, 0] + bV[i, 0]


@kernel
def count_above(scores, users, held_indptr, held, hidden_indptr, hidden, above):
    """For each held item of the users count the others that are not hidden and score as high or higher.

    `scores` has a row for each of `users`, who are rows of `held` and `hidden`.
    """
    row = np.empty(scores.shape[1], np.float32)
    for one in range(len(users)):
        u = users[one]
        for j in range(len(row)):
            row[j] = scores[one, j]
        for z in range(hidden_indptr[u], hidden_indptr[u + 1]):
            row[hidden[z]] = np.nan
        for z in range(held_indptr[u], held_indptr[u + 1]):
            x = scores[one, held[z]]
            count = np.uint32(0)  # 32 bits, where Python's + would widen the lanes to 64
            for j in range(len(row)):
                count = np.uint32(count + np.uint32(row[j] >= x))
            above[z] = np.float32(np.int64(count) - np.int64(row[held[z]] >= x))
