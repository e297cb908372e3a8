"""Ground truth by brute force in float64, and the recall of a search against it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from segue.bench.peer import unit

BLOCK = 64  # queries per task of a thread
EPS = float(np.finfo(np.float64).eps)


class GroundTruth:
    """The score of the k-th best item of each query, in float64, for some k."""

    def __init__(self, items: np.ndarray, queries: np.ndarray, metric: str) -> None:
        self.items, self.queries = items, queries
        self.sq_norms: np.ndarray | None = None
        if metric == "cosine":
            self.items, self.queries = unit(items), unit(queries)
        if metric == "euclidean":  # |q - x|² = |q|² - 2 (q·x - |x|²/2)
            self.sq_norms = np.einsum("ij,ij->i", queries, queries, dtype=np.float64)
            half = np.einsum("ij,ij->i", items, items, dtype=np.float64) / 2
            self.items = np.column_stack([items.astype(np.float64), -half])
            self.queries = np.column_stack([queries, np.ones(len(queries))])

    def kth_scores(self, ks: tuple[int, ...], threads: int) -> tuple[np.ndarray, ...]:
        """Return for each k the score of the k-th best item of each query, (q,) float64."""
        columns = self.items.astype(np.float64).T
        places = [max(0, columns.shape[1] - k) for k in ks]

        def score(start: int) -> np.ndarray:
            scores = self.queries[start : start + BLOCK].astype(np.float64) @ columns
            scores.partition(sorted(set(places)), axis=1)
            return scores[:, places]

        with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
            scores = np.concatenate([*pool.map(score, range(0, len(self.queries), BLOCK))])
        return tuple(np.ascontiguousarray(column) for column in scores.T)

    def recall(self, ids: np.ndarray, kth: np.ndarray) -> float:
        """Return the share of ids that are among the k best, up to rounding in float32.

        Args:
            ids: (q, k) results; row i belongs to query i, and there may be fewer rows than queries. Repeated
                ids count once, invalid ones never.
            kth: (queries,) the score of the k-th best item of each query.
        """
        ids = np.sort(ids.astype(np.int64), 1)
        unique = np.ones(ids.shape, bool)
        unique[:, 1:] = ids[:, 1:] != ids[:, :-1]
        valid = (ids >= 0) & (ids < len(self.items))
        correct = 0
        for start in range(0, len(ids), BLOCK * 16):
            rows = slice(start, min(len(ids), start + BLOCK * 16))
            queries = self.queries[rows].astype(np.float64)
            items = self.items[np.where(valid[rows], ids[rows], 0)].astype(np.float64)
            scores = np.einsum("qd,qkd->qk", queries, items)
            lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(items, axis=2)
            rounding = items.shape[2] * np.finfo(np.float32).eps * lengths
            if self.sq_norms is not None:  # a distance rounds relative to itself, not to the vectors' lengths
                half = np.maximum(self.sq_norms[rows] / 2 - kth[rows], 0)[:, None]
                rounding = items.shape[2] * (np.finfo(np.float32).eps * half + EPS * lengths)
            near = scores >= kth[rows, None] - rounding
            correct += int((near & unique[rows] & valid[rows]).sum())
        return correct / ids.size
