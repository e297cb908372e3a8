"""Item-to-item similarity from items' common users: of all pairs, or the best few of each item."""

from __future__ import annotations

import numpy as np

from segue.kernels.compile import kernel
from segue.kernels.topk import empty_heap, sink, sort_heap, worse


@kernel
def neighbours(item_indptr, item_users, user_indptr, user_items, lengths, shrink, start, stop, ids, scores):
    """For the items [start, stop): the most similar others, cosine of their users with a shrunk denominator.

    sim(i, j) = |U_i and U_j| / (|U_i|^.5 |U_j|^.5 + shrink); `lengths` holds |U_i|^.5.
    """
    n = len(item_indptr) - 1
    common, touched = np.zeros(n, np.float32), np.empty(n, np.int32)
    for i in range(start, stop):
        count = 0
        for y in range(item_indptr[i], item_indptr[i + 1]):
            u = item_users[y]
            for z in range(user_indptr[u], user_indptr[u + 1]):
                j = user_items[z]
                if common[j] == 0:
                    touched[count] = j
                    count += 1
                common[j] += 1
        best, found = scores[i], ids[i]
        empty_heap(best, found, 0, len(best))
        for y in range(count):
            j = touched[y]
            if j != i:
                score = common[j] / (lengths[i] * lengths[j] + shrink)
                if worse(best[0], found[0], score, j):
                    sink(best, found, 0, len(best), score, j)
            common[j] = 0
        sort_heap(best, found, 0, len(best))


@kernel
def common(item_indptr, item_users, user_indptr, user_items, start, stop, counts):
    """For the items [start, stop): how many users each has in common with every item, into rows of counts."""
    for i in range(start, stop):
        row = counts[i]
        for j in range(len(row)):
            row[j] = 0
        for y in range(item_indptr[i], item_indptr[i + 1]):
            u = item_users[y]
            for z in range(user_indptr[u], user_indptr[u + 1]):
                row[user_items[z]] += 1


@kernel
def ease_weights(P, diagonal, start, stop):
    """Turn the rows [start, stop) of an inverse P into -P_ij / P_jj, and zero for the item itself."""
    for i in range(start, stop):
        row = P[i]
        for j in range(len(row)):
            row[j] /= -diagonal[j]
        row[i] = 0


@kernel
def mirror(P, start, stop):
    """Copy what stands right of the diagonal in the rows [start, stop) to the columns of the same numbers."""
    for i in range(start, stop):
        for j in range(i + 1, len(P)):
            P[j, i] = P[i, j]
