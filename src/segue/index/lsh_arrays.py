"""The buckets of an LSH index as arrays: building and restoring them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from segue.index.arrays import check_consistent, matches, spec, take_fields
from segue.index.metric import METRICS
from segue.kernels import lsh, threads
from segue.kernels.arrays import readonly

BUCKET_SIZE = 16  # vectors per bucket, about, unless bits are given
MAX_BITS = 20
MAX_RANGES, MIN_RANGE = 32, 512  # number of ranges of length, and vectors in each, at least
VECTORS_PER_TASK = 1024  # vectors that a thread hashes at a time


@dataclass(frozen=True, eq=False)
class LSHArrays:
    """Buckets of t tables and r ranges of length, with codes of b bits.

    Attributes:
        planes: (t b, dim + 1) float32, the normal vectors.
        starts: (t, r, 2**b + 1) int32, where in `items` each bucket starts.
        items: (t, n) int32, ids by range and code.
        max_lengths: (r,) float32, the largest length in each range, falling.
        center: (dim,) float32, the mean, for a distance, or (0,).
        probes: (1,) int64, the number of buckets of each table and range that a search visits by default.
    """

    planes: np.ndarray
    starts: np.ndarray
    items: np.ndarray
    max_lengths: np.ndarray
    center: np.ndarray
    probes: np.ndarray

    @property
    def per_range(self) -> int:
        """Return the number of buckets in each table and range."""
        return int(self.starts.shape[2]) - 1


def build_buckets(vectors: np.ndarray, metric: str, tables: int, bits: int | None, seed: int) -> LSHArrays:
    """Sort the ids of vectors into buckets.

    Args:
        vectors: (n, dim) float32, transformed for the metric.
        metric: the name of the metric.
        tables: number of hash tables.
        bits: length of a code; None: so many that about 16 vectors share a code.
        seed: random seed of the planes.
    """
    n, dim = vectors.shape
    center = np.empty(0, np.float32)
    if METRICS[metric].is_distance:
        center = vectors.mean(0, dtype=np.float64).astype(np.float32)
    ranges = min(MAX_RANGES, max(1, n // MIN_RANGE)) if metric == "dot" else 1
    bits = bits or max(1, min(MAX_BITS, round(np.log2(max(2.0, n / ranges / BUCKET_SIZE)))))
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    by_length = np.argsort(-lengths, kind="stable").astype(np.int32)
    range_of = np.empty(n, np.int64)
    range_of[by_length] = np.arange(n) * ranges // n
    max_lengths = lengths[by_length[-(-np.arange(ranges) * n // ranges)]]
    extra = np.zeros(n, np.float32)
    if metric == "dot":
        extra = np.sqrt(np.maximum(max_lengths[range_of] ** 2 - lengths**2, 0)).astype(np.float32)
    random = np.random.default_rng(seed)
    planes = random.standard_normal((tables * bits, dim + 1), np.float32)
    codes = np.empty((tables, n), np.int32)
    centered = readonly(vectors - center if len(center) else vectors)
    threads.run(
        lambda start, stop: lsh.hash_items(centered, extra, planes, bits, start, stop, codes),
        n,
        chunk=VECTORS_PER_TASK,
    )
    starts, items = _sort(codes, range_of, ranges, bits)
    max_lengths = (max_lengths * (1 + 1e-6)).astype(np.float32)
    return LSHArrays(planes, starts, items, max_lengths, center, np.array([1]))


def _sort(codes: np.ndarray, range_of: np.ndarray, ranges: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the starts (t, r, 2**bits + 1) of the buckets and the ids (t, n) that they hold."""
    tables, n = codes.shape
    starts = np.empty((tables, ranges, 2**bits + 1), np.int32)
    items = np.empty((tables, n), np.int32)
    for t in range(tables):
        keys = (range_of << bits) + codes[t]
        items[t] = np.argsort(keys, kind="stable")
        edges = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=ranges << bits))])
        starts[t, :, :-1], starts[t, :, -1] = edges[:-1].reshape(ranges, -1), edges[2**bits :: 2**bits]
    return starts, items


def restore_buckets(arrays: Mapping[str, np.ndarray], shape: tuple[int, ...], metric: str) -> LSHArrays:
    """Return the buckets among stored arrays; raise `DataError` if they do not fit these vectors."""
    buckets = take_fields(LSHArrays, arrays)
    check_consistent(_shapes_fit(buckets, shape, metric) and _values_fit(buckets, shape[0]))
    return buckets


def _shapes_fit(buckets: LSHArrays, shape: tuple[int, ...], metric: str) -> bool:
    """Return whether the dtypes and shapes fit together."""
    starts = buckets.starts
    if starts.ndim != 3 or 0 in starts.shape:
        return False
    (n, dim), (tables, ranges, edges) = shape, starts.shape
    bits = (edges - 1).bit_length() - 1
    specs = {
        "planes": spec(np.float32, (tables * bits, dim + 1)),
        "starts": spec(np.int32, starts.shape),
        "items": spec(np.int32, (tables, n)),
        "max_lengths": spec(np.float32, (ranges,)),
        "center": spec(np.float32, (dim if METRICS[metric].is_distance else 0,)),
        "probes": spec(np.int64, (1,)),
    }
    return 1 <= bits <= MAX_BITS and edges == 2**bits + 1 and matches(vars(buckets), specs)


def _values_fit(buckets: LSHArrays, n: int) -> bool:
    """Return whether each bucket lies within the items, and each table holds each item once."""
    starts, items = buckets.starts, buckets.items
    return bool(
        (np.diff(starts, axis=2) >= 0).all()
        and (starts[:, 0, 0] == 0).all()
        and (starts[:, -1, -1] == n).all()
        and (starts[:, 1:, 0] == starts[:, :-1, -1]).all()
        and items.min() >= 0
        and items.max() < n
        and all((np.bincount(row, minlength=n) == 1).all() for row in items)
        and (np.diff(buckets.max_lengths) <= 0).all()
        and all(np.isfinite(array).all() for array in (buckets.planes, buckets.max_lengths, buckets.center))
        and 1 <= buckets.probes[0] <= buckets.per_range
    )
