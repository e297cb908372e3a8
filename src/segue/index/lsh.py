"""LSH: vectors in buckets by their side of random planes, the baseline of approximate search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from segue.errors import DataError, SettingError
from segue.index.base import Neighbors, answered, check_asked, check_k, check_vectors
from segue.index.effort import check_counts, check_recall, least_effort
from segue.index.exact import few_allowed
from segue.index.metric import METRICS
from segue.index.timing import geometric
from segue.kernels import lsh, measures, threads
from segue.kernels.arrays import readonly
from segue.progress import Progress, silent

BUCKET = 16  # vectors to a bucket, about, unless bits are given
MOST_BITS = 20
RANGES, LEAST = 32, 512  # of lengths at most, and vectors to each at least
SAMPLE = 200  # queries by which the probes are chosen
ROWS = 1024  # vectors that a thread hashes at a time
NAMES = ("vectors", "planes", "starts", "items", "ceilings", "centre", "probes")


@dataclass(frozen=True)
class LSH:
    """Signed random projections (Charikar 2002) in several tables, probed by cost (Lv et al. 2007).

    For an inner product vectors lie in ranges of like length, each lifted to equal length by one
    coordinate (Yan et al. 2018); for a distance, planes go through the mean.

    Attributes:
        tables: how often vectors are hashed.
        bits: of a code, up to 20; None: so many that about 16 vectors share one.
        probes: how many buckets of each table and range a search looks into, unless it says otherwise; None:
            as few as reach `recall` on a sample of queries.
        metric: "dot" (inner product), "cosine" or "euclidean", whose scores are negative.
        recall: the share of the true 10 best that is aimed at where `probes` is None.
        seed: of the planes.
    """

    METRICS: ClassVar = tuple(METRICS)

    tables: int = 8
    bits: int | None = None
    probes: int | None = None
    metric: str = "dot"
    recall: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        if self.metric not in self.METRICS:
            known = ", ".join(map(repr, self.METRICS))
            raise SettingError(f"LSH(metric={self.metric!r}) must be one of {known}")
        check_k(self.tables, "LSH: tables")
        check_counts(self, "bits", "probes")
        if self.bits is not None and self.bits > MOST_BITS:
            raise SettingError(f"LSH: bits={self.bits} must be at most {MOST_BITS}")
        check_recall(self)

    def build(
        self, vectors: np.ndarray, *, queries: np.ndarray | None = None, progress: Progress = silent
    ) -> LSHIndex:
        """Hash vectors (n, dim), finite, or raise `DataError`.

        `queries`: a sample of what will be asked, by which the probes are chosen; None takes some of
        the vectors, each of which is asked for its neighbours but itself. `progress` hears of the vectors.
        """
        checked = check_vectors(vectors, "the vectors")
        if not len(checked):
            raise DataError("there are no vectors to search in")
        progress("indexing", 0, len(checked))
        turned = METRICS[self.metric].turn(checked)
        asked = None
        if queries is not None:
            asked = check_vectors(queries, "queries", turned.shape[1])
        index = LSHIndex(self, **_hashed(self, turned))
        buckets = index.starts.shape[2] - 1
        probes = min(self.probes or buckets, buckets)
        if self.probes is None:
            probes = least_effort(index, asked, buckets, self.recall, SAMPLE)
        progress("indexing", len(checked), len(checked))
        return replace(index, probes=np.array([probes]))

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> LSHIndex:
        """Take back what the index gave with `arrays`; raises `DataError` if they are not of one index."""
        missing = [name for name in NAMES if name not in arrays]
        if missing:
            raise DataError(
                f"the index lacks the arrays {', '.join(missing)}; build it again from its vectors"
            )
        index = LSHIndex(self, **{name: arrays[name] for name in NAMES})
        if not _fits(index):
            raise DataError("the index's arrays do not fit together; build it again from its vectors")
        return index


@dataclass(frozen=True, eq=False)
class LSHIndex:
    """Vectors, turned as the metric wants, and the buckets of t tables and r ranges of lengths.

    Attributes:
        vectors: (n, dim) float32.
        planes: (t × bits, dim + 1) float32, the normal vectors.
        starts: (t, r, 2**bits + 1) int32, where in `items` each bucket begins.
        items: (t, n) int32, ids by range and code.
        ceilings: (r,) float32, the largest length in each range, falling.
        centre: (dim,) float32, the mean, for a distance, or (0,).
        probes: (1,) int64, the buckets of each table and range that are looked into.
    """

    settings: LSH
    vectors: np.ndarray
    planes: np.ndarray
    starts: np.ndarray
    items: np.ndarray
    ceilings: np.ndarray
    centre: np.ndarray
    probes: np.ndarray

    def __len__(self) -> int:
        return len(self.vectors)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what a model folder keeps of the index."""
        return {name: getattr(self, name) for name in NAMES}

    def efforts(self, k: int) -> list[int]:
        """Return numbers of buckets from one to all, each about 1.2 times the one before."""
        return geometric(1, self.starts.shape[2] - 1)

    def search(
        self,
        queries: np.ndarray,
        k: int,
        *,
        exclude: Any = None,
        allow: Any = None,
        effort: int | None = None,
        progress: Progress = silent,
    ) -> Neighbors:
        """Find about the k best items of each query (q, dim) float32; see `ExactIndex.search`.

        `effort`: how many buckets of each table and range to look into; all of them give exact answers. A
        query that finds fewer than k there is compared with all vectors.
        """
        dim = self.vectors.shape[1]
        asked = check_asked(check_vectors(queries, "queries", dim), k, exclude, allow, len(self))
        metric, buckets = METRICS[self.settings.metric], self.starts.shape[2] - 1
        turned = readonly(metric.turn(asked.queries))
        probes = min(int(self.probes[0]) if effort is None else check_k(effort, "effort"), buckets)
        arrays = (self.vectors, self.planes, self.starts, self.items, self.ceilings, self.centre)
        search: Any = lsh.search
        given: tuple[Any, ...] = (*map(readonly, arrays), metric.is_distance, probes, turned, *asked.filters)
        few = few_allowed(asked.allow, len(self))
        if few is not None:
            search = measures.search_members
            given = (
                metric.is_distance,
                readonly(self.vectors),
                *map(readonly, few),
                turned,
                *asked.filters[1:],
            )

        def work(start: int, stop: int, *answers: np.ndarray) -> None:
            search(*given, start, stop, *answers)

        return answered(asked, work, progress)


def _hashed(settings: LSH, vectors: np.ndarray) -> dict[str, np.ndarray]:
    """Sort the ids of vectors (n, dim) into buckets."""
    n, dim = vectors.shape
    metric = METRICS[settings.metric]
    centre = np.empty(0, np.float32)
    if metric.is_distance:
        centre = vectors.mean(0, dtype=np.float64).astype(np.float32)
    ranges = min(RANGES, max(1, n // LEAST)) if settings.metric == "dot" else 1
    bits = settings.bits or max(1, min(MOST_BITS, round(np.log2(max(2.0, n / ranges / BUCKET)))))
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    by_length = np.argsort(-lengths, kind="stable").astype(np.int32)
    where = np.empty(n, np.int64)
    where[by_length] = np.arange(n) * ranges // n
    ceilings = lengths[by_length[-(-np.arange(ranges) * n // ranges)]]
    lifts = np.zeros(n, np.float32)
    if settings.metric == "dot":
        lifts = np.sqrt(np.maximum(ceilings[where] ** 2 - lengths**2, 0)).astype(np.float32)
    random = np.random.default_rng(settings.seed)
    planes = random.standard_normal((settings.tables * bits, dim + 1), np.float32)
    placed = readonly(vectors - centre if metric.is_distance else vectors)
    codes = np.empty((settings.tables, n), np.int32)

    def work(start: int, stop: int) -> None:
        lsh.hash_items(placed, lifts, planes, bits, start, stop, codes)

    threads.run(work, n, chunk=ROWS)
    starts = np.empty((settings.tables, ranges, 2**bits + 1), np.int32)
    items = np.empty((settings.tables, n), np.int32)
    for t in range(settings.tables):
        keys = (where << bits) + codes[t]
        items[t] = np.argsort(keys, kind="stable")
        edges = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=ranges << bits))])
        starts[t, :, :-1], starts[t, :, -1] = edges[:-1].reshape(ranges, -1), edges[2**bits :: 2**bits]
    return {
        "vectors": vectors, "planes": planes, "starts": starts, "items": items,
        "ceilings": (ceilings * (1 + 1e-6)).astype(np.float32), "centre": centre, "probes": np.array([1]),
    }  # fmt: skip


def _fits(index: LSHIndex) -> bool:
    vectors, starts = index.vectors, index.starts
    if vectors.ndim != 2 or not vectors.size or starts.ndim != 3 or 0 in starts.shape:
        return False
    (n, dim), (tables, ranges, buckets) = vectors.shape, starts.shape
    bits = (buckets - 1).bit_length() - 1
    is_distance = METRICS[index.settings.metric].is_distance
    wanted = {
        "vectors": ((n, dim), np.float32),
        "planes": ((tables * bits, dim + 1), np.float32),
        "starts": (starts.shape, np.int32),
        "items": ((tables, n), np.int32),
        "ceilings": ((ranges,), np.float32),
        "centre": ((dim if is_distance else 0,), np.float32),
        "probes": ((1,), np.int64),
    }
    given = index.arrays()
    if any(given[name].shape != shape or given[name].dtype != kind for name, (shape, kind) in wanted.items()):
        return False
    return bool(
        1 <= bits <= MOST_BITS
        and buckets == 2**bits + 1
        and (np.diff(starts, axis=2) >= 0).all()
        and (starts[:, 0, 0] == 0).all()
        and (starts[:, -1, -1] == n).all()
        and (starts[:, 1:, 0] == starts[:, :-1, -1]).all()
        and index.items.min() >= 0
        and index.items.max() < n
        and all((np.bincount(row, minlength=n) == 1).all() for row in index.items)
        and (np.diff(index.ceilings) <= 0).all()
        and all(np.isfinite(given[name]).all() for name in ("planes", "ceilings", "centre"))
        and 1 <= index.probes[0] <= 2**bits
    )
