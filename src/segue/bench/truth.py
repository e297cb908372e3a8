"""What is right: float64 brute force, and the share of it that a search finds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from segue.bench.peers import unit

BLOCK = 64  # queries a thread scores at a time
EPS = float(np.finfo(np.float64).eps)


class Truth:
    """The score of the k-th best item of each query, in float64, for some k."""

    def __init__(self, items: np.ndarray, queries: np.ndarray, metric: str) -> None:
        self.items, self.queries = items, queries
        self.squares: np.ndarray | None = None
        if metric == "cosine":
            self.items, self.queries = unit(items), unit(queries)
        if metric == "euclidean":  # |q - x|² = |q|² - 2 (q·x - |x|²/2)
            self.squares = np.einsum("ij,ij->i", queries, queries, dtype=np.float64)
            half = np.einsum("ij,ij->i", items, items, dtype=np.float64) / 2
            self.items = np.column_stack([items.astype(np.float64), -half])
            self.queries = np.column_stack([queries, np.ones(len(queries))])

    def kth(self, ks: tuple[int, ...], threads: int) -> tuple[np.ndarray, ...]:
        """For each k, the score of the k-th best item of each query, (q,) float64."""
        columns = self.items.astype(np.float64).T
        places = [max(0, columns.shape[1] - k) for k in ks]

        def block(start: int) -> np.ndarray:
            scores = self.queries[start : start + BLOCK].astype(np.float64) @ columns
            scores.partition(sorted(set(places)), axis=1)
            return scores[:, places]

        with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
            found = np.concatenate([*pool.map(block, range(0, len(self.queries), BLOCK))])
        return tuple(np.ascontiguousarray(column) for column in found.T)

    def recall(self, ids: np.ndarray, kth: np.ndarray) -> float:
        """The share of ids (q, k) among the k best, up to rounding in float32; repeats count once.

        Row i answers query i; there may be fewer rows than queries.
        """
        ids = np.sort(ids.astype(np.int64), 1)
        fresh = np.ones(ids.shape, bool)
        fresh[:, 1:] = ids[:, 1:] != ids[:, :-1]
        known = (ids >= 0) & (ids < len(self.items))
        right = 0
        for start in range(0, len(ids), BLOCK * 16):
            rows = slice(start, min(len(ids), start + BLOCK * 16))
            asked = self.queries[rows].astype(np.float64)
            found = self.items[np.where(known[rows], ids[rows], 0)].astype(np.float64)
            scores = np.einsum("qd,qkd->qk", asked, found)
            lengths = np.linalg.norm(asked, axis=1)[:, None] * np.linalg.norm(found, axis=2)
            rounding = found.shape[2] * np.finfo(np.float32).eps * lengths
            if self.squares is not None:  # a distance is a sum of squares, as small as itself
                half = np.maximum(self.squares[rows] / 2 - kth[rows], 0)[:, None]
                rounding = found.shape[2] * (np.finfo(np.float32).eps * half + EPS * lengths)
            near = scores >= kth[rows, None] - rounding
            right += int((near & fresh[rows] & known[rows]).sum())
        return right / ids.size
