"""Where the held-out items of each user stand among all items, and the best items of each user.

A held-out item is placed by counting the items above it, one pass over the row for each. The pass has
no branches, so it runs in the processor's widest lanes: a binary search for every item among the sorted
held-out scores, though O(log p) instead of O(p), is slower up to about 700 held-out items of one user.
"""

from __future__ import annotations

import numpy as np

from segue.kernels.compile import kernel
from segue.kernels.topk import empty_heap, sink, worse


@kernel
def copy_row(scores: np.ndarray, row: np.ndarray) -> bool:
    """Copy a row of scores; tell whether there is a NaN in it."""
    bad = 0
    for j in range(len(row)):
        s = scores[j]
        row[j] = s
        bad += s != s
    return bad > 0


@kernel
def place(row: np.ndarray, item: int) -> tuple[np.int64, np.float64]:
    """The 1-based position of one item, and the middle of the positions of all items that tie with it.

    Items that are not eligible are NaN in the row, so no comparison counts them.
    """
    x = row[item]
    above, least = np.uint32(0), np.uint32(0)  # 32 bits, where Python's + would widen the lanes to 64
    for j in range(len(row)):
        above = np.uint32(above + np.uint32(row[j] > x))
        least = np.uint32(least + np.uint32(row[j] >= x))
    higher, tied = np.int64(above), np.int64(least) - np.int64(above)
    early = np.int64(0)
    if tied > 1:
        for j in range(item):
            early += row[j] == x
    return 1 + higher + early, higher + (tied + 1) / 2


@kernel
def best_items(row: np.ndarray, best: np.ndarray) -> None:
    """Fill `best` with the rows of the first items in order, -1 where fewer are eligible.

    Unlike a search, it keeps items of score -inf: they have positions too.
    """
    n = len(row)
    scores = np.empty(len(best), np.float32)
    empty_heap(scores, best, 0, len(scores))
    for j in range(n):
        if row[j] >= scores[0] and worse(scores[0], best[0], row[j], j):
            sink(scores, best, 0, len(scores), row[j], j)
    for size in range(len(best) - 1, 0, -1):  # move the worst to the end, again and again: best first
        s, i = scores[size], best[size]
        scores[size], best[size] = scores[0], best[0]
        sink(scores, best, 0, size, s, i)
    for z in range(len(best)):
        if best[z] >= n:
            best[z] = -1


@kernel
def rank_rows(
    scores: np.ndarray,
    held_indptr: np.ndarray,
    held: np.ndarray,
    seen_indptr: np.ndarray,
    seen: np.ndarray,
    positions: np.ndarray,
    middles: np.ndarray,
    top: np.ndarray,
    broken: np.ndarray,
    start: int,
    stop: int,
) -> None:
    """Rank the users [start, stop) of a block; a user with a NaN score is marked as broken and left."""
    row = np.empty(scores.shape[1], np.float32)
    for u in range(start, stop):
        broken[u] = copy_row(scores[u], row)
        if broken[u]:
            continue
        for z in range(seen_indptr[u], seen_indptr[u + 1]):
            row[seen[z]] = np.nan
        for z in range(held_indptr[u], held_indptr[u + 1]):
            positions[z], middles[z] = place(row, held[z])
        best_items(row, top[u])
