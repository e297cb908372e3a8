"""Partitions of vectors: k-means on a sample, with the codes of the scan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from segue.kernels import ivf, scan, simd, threads
from segue.kernels.arrays import aligned, readonly

ITERATIONS = 8  # of k-means
SAMPLED = 48  # vectors per partition that k-means looks at
MIN_SHARE = 1 / 8  # of the mean size: a smaller partition restarts inside a large one
VECTORS_PER_TASK = 2048  # vectors that a thread assigns at a time
PARTITIONS_PER_TASK = 64  # partitions that a thread encodes or averages at a time
MAX_GROUPS = 16  # groups of 4 dimensions whose sum int16 can hold
UNUSED_OFFSET = np.float32(1e30)  # subtracted from the score of a place without a centroid


@dataclass(frozen=True, eq=False)
class PartitionCodes:
    """Vectors in blocks of 16, as `kernels.ivf.pack` encodes them."""

    codes: np.ndarray
    bound_table: np.ndarray
    half_sq_norms: np.ndarray
    max_code_norms: np.ndarray


def segment_starts(dim: int) -> np.ndarray:
    """Return where segments of dimensions start, and where the last one ends, in groups of 4."""
    groups = -(-dim // 4)
    parts = -(-groups // MAX_GROUPS)
    return np.unique([0, *(min(groups, MAX_GROUPS * part) for part in range(1, parts + 1))])


def encode(
    vectors: np.ndarray, order: np.ndarray, block_starts: np.ndarray, starts: np.ndarray
) -> PartitionCodes:
    """Encode vectors.

    Args:
        vectors: (n, dim) float32.
        order: (16 blocks,) int32, the vector at each place, -1 at places without one.
        block_starts: (p + 1,) int64, where the blocks of each partition start.
        starts: where segments of dimensions start.
    """
    count, segments = len(block_starts) - 1, len(starts) - 1
    codes = aligned((int(block_starts[-1]) * ivf.BLOCK * (int(starts[-1]) + segments),), np.int8)
    table = np.empty((count, scan.BOUNDS + 3 * segments), np.float32)
    half_sq_norms = np.empty(len(order), np.float32)
    code_norms = np.zeros((max(1, -(-count // PARTITIONS_PER_TASK)), segments, 2), np.float32)

    def work(start: int, stop: int) -> None:
        largest = code_norms[start // PARTITIONS_PER_TASK]
        ivf.pack(vectors, order, block_starts, starts, start, stop, codes, table, half_sq_norms, largest)

    threads.run(work, count, chunk=PARTITIONS_PER_TASK)
    return PartitionCodes(codes, table, half_sq_norms, code_norms.max(0))


def pad_to_blocks(ids: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ids in whole blocks of 16 per partition, padded with -1, and where the blocks start.

    Args:
        ids: (n,) int32, partition by partition.
        sizes: (p,) int64, the number of ids in each partition.
    """
    blocks = -(-sizes // simd.LANES)
    block_starts = np.concatenate([[0], np.cumsum(blocks)])
    order = np.full(int(block_starts[-1]) * simd.LANES, -1, np.int32)
    id_starts = np.concatenate([[0], np.cumsum(sizes)])[:-1]
    order[np.repeat(block_starts[:-1] * simd.LANES - id_starts, sizes) + np.arange(len(ids))] = ids
    return order, block_starts


def encode_centroids(centroids: np.ndarray, starts: np.ndarray) -> PartitionCodes:
    """Encode centroids (p, dim) as one partition, padded to a multiple of four blocks."""
    blocks = -(-len(centroids) // (4 * simd.LANES)) * 4
    order = np.full(blocks * simd.LANES, -1, np.int32)
    order[: len(centroids)] = np.arange(len(centroids))
    return encode(centroids, order, np.array([0, blocks]), starts)


def nearest(vectors: np.ndarray, centroids: np.ndarray, form: simd.Form) -> np.ndarray:
    """Return for each vector (n, dim) the row (n,) int32 of the nearest centroid, up to rounding."""
    starts = segment_starts(vectors.shape[1])
    encoded = encode_centroids(centroids, starts)
    encoded.half_sq_norms[len(centroids) :] = UNUSED_OFFSET
    assignment = np.empty(len(vectors), np.int32)
    arguments = (
        simd.MARKS[form.name], readonly(encoded.codes), readonly(starts), readonly(encoded.half_sq_norms),
        float(encoded.bound_table[0, scan.INVERSE]), readonly(encoded.max_code_norms), form.top,
        form.int16_accumulate, readonly(vectors),
    )  # fmt: skip
    assign: Callable[..., None] = ivf.assign
    threads.run(
        lambda start, stop: assign(*arguments, start, stop, assignment), len(vectors), chunk=VECTORS_PER_TASK
    )
    return assignment


def average(vectors: np.ndarray, assignment: np.ndarray, count: int) -> tuple[np.ndarray, ...]:
    """Return the centroids and sizes of partitions.

    Args:
        vectors: (n, dim) float32.
        assignment: (n,) int32, the partition of each vector.
        count: the number of partitions.

    Returns:
        The means (p, dim), the spreads (p,), the sizes (p,), and the ids (n,) partition by partition.
    """
    sizes = np.bincount(assignment, minlength=count)
    ids = np.argsort(assignment, kind="stable").astype(np.int32)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    means = np.empty((count, vectors.shape[1]), np.float32)
    spreads = np.empty(count, np.float32)

    def work(start: int, stop: int) -> None:
        ivf.average(vectors, ids, bounds, start, stop, means, spreads)

    threads.run(work, count, chunk=PARTITIONS_PER_TASK)
    return means, spreads, sizes, ids


def k_means(
    vectors: np.ndarray, count: int, form: simd.Form, seed: int, report: Callable[[int], None]
) -> np.ndarray:
    """Return centroids (≤ count, dim) of a sample of vectors (Lloyd 1957); empty partitions are dropped.

    A partition that is much smaller than the mean restarts at a vector of a large partition.

    Args:
        vectors: (n, dim) float32.
        count: number of partitions.
        form: the SIMD form of the kernels.
        seed: random seed of the sample.
        report: called with the number of finished iterations.
    """
    random = np.random.default_rng(seed)
    rows = random.permutation(len(vectors))[: SAMPLED * count]
    sample = np.ascontiguousarray(vectors[rows])
    means = sample[:count].copy()
    for iteration in range(ITERATIONS):
        means, _, sizes, ids = average(sample, nearest(sample, means, form), count)
        report(iteration + 1)
        if iteration == ITERATIONS - 1:
            means = means[sizes > 0]
            break
        large = np.flatnonzero(sizes)
        large = large[np.argsort(-sizes[large], kind="stable")]
        small = np.flatnonzero(sizes < MIN_SHARE * len(sample) / count)[: len(large)]
        large = large[: len(small)]
        starts = np.cumsum(sizes) - sizes
        means[small] = sample[ids[starts[large] + sizes[large] // 2]]
    return means
