"""How vectors are divided into partitions: k-means on a sample, by the codes of the scan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from segue.kernels import ivf, scan, simd, threads
from segue.kernels.arrays import aligned, readonly

TURNS = 8  # of k-means
SAMPLED = 48  # vectors to a partition that it looks at
SMALLEST = 1 / 8  # of the mean size: a smaller partition begins anew inside the largest
ROWS = 2048  # vectors that a thread takes at a time
CHUNK = 64  # partitions that a thread takes at a time
SEGMENT = 16  # groups of 4 dimensions at most, whose sum int16 can hold
FAR = np.float32(1e30)  # what is taken from the score of a centroid that is none


@dataclass(frozen=True, eq=False)
class Codes:
    """Vectors in blocks of 16 as `kernels.ivf.pack` encodes them; see there."""

    codes: np.ndarray
    table: np.ndarray
    halves: np.ndarray
    widest: np.ndarray


def cuts_of(dim: int) -> np.ndarray:
    """Where segments of dimensions begin, in groups of 4."""
    groups = -(-dim // 4)
    parts = -(-groups // SEGMENT)
    return np.unique([0, *(min(groups, SEGMENT * part) for part in range(1, parts + 1))])


def packed(placed: np.ndarray, order: np.ndarray, bounds: np.ndarray, cuts: np.ndarray) -> Codes:
    """Encode vectors (n, dim), of which `order` says the places, -1 where there is none."""
    count, segments = len(bounds) - 1, len(cuts) - 1
    codes = aligned((int(bounds[-1]) * ivf.BLOCK * (int(cuts[-1]) + segments),), np.int8)
    table = np.empty((count, scan.BOUNDS + 3 * segments), np.float32)
    halves = np.empty(len(order), np.float32)
    widest = np.zeros((max(1, -(-count // CHUNK)), segments, 2), np.float32)

    def work(start: int, stop: int) -> None:
        ivf.pack(placed, order, bounds, cuts, start, stop, codes, table, halves, widest[start // CHUNK])

    threads.run(work, count, chunk=CHUNK)
    return Codes(codes, table, halves, widest.max(0))


def padded(ids: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put ids, which lie partition by partition, into whole blocks: their order and the blocks' bounds."""
    blocks = -(-sizes // simd.LANES)
    bounds = np.concatenate([[0], np.cumsum(blocks)])
    order = np.full(int(bounds[-1]) * simd.LANES, -1, np.int32)
    firsts = np.concatenate([[0], np.cumsum(sizes)])[:-1]
    order[np.repeat(bounds[:-1] * simd.LANES - firsts, sizes) + np.arange(len(ids))] = ids
    return order, bounds


def centroid_codes(means: np.ndarray, cuts: np.ndarray) -> Codes:
    """Encode centroids (p, dim) like one partition, filled up to a multiple of four blocks."""
    blocks = -(-len(means) // (4 * simd.LANES)) * 4
    order = np.full(blocks * simd.LANES, -1, np.int32)
    order[: len(means)] = np.arange(len(means))
    return packed(means, order, np.array([0, blocks]), cuts)


def nearest(placed: np.ndarray, means: np.ndarray, form: simd.Form) -> np.ndarray:
    """The partition (n,) of each vector (n, dim): that of the nearest mean (p, dim), but for rounding."""
    cuts = cuts_of(placed.shape[1])
    coded = centroid_codes(means, cuts)
    coded.halves[len(means) :] = FAR
    found = np.empty(len(placed), np.int32)
    given = (coded.codes, cuts, coded.halves)
    mark, unit = simd.MARKS[form.name], float(coded.table[0, scan.INVERSE])
    given_fixed = (
        mark,
        *map(readonly, given),
        unit,
        readonly(coded.widest),
        form.top,
        form.int16_accumulate,
        readonly(placed),
    )

    assign: Any = ivf.assign

    def work(start: int, stop: int) -> None:
        assign(*given_fixed, start, stop, found)

    threads.run(work, len(placed), chunk=ROWS)
    return found


def averaged(placed: np.ndarray, where: np.ndarray, count: int) -> tuple[np.ndarray, ...]:
    """The means (p, dim), the spreads (p,), and the sizes (p,) of partitions, and ids in their order."""
    sizes = np.bincount(where, minlength=count)
    ids = np.argsort(where, kind="stable").astype(np.int32)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    means = np.empty((count, placed.shape[1]), np.float32)
    spreads = np.empty(count, np.float32)

    def work(start: int, stop: int) -> None:
        ivf.average(placed, ids, bounds, start, stop, means, spreads)

    threads.run(work, count, chunk=CHUNK)
    return means, spreads, sizes, ids


def k_means(
    placed: np.ndarray, count: int, form: simd.Form, seed: int, told: Callable[[int], None]
) -> np.ndarray:
    """Means (count, dim) of a sample of vectors (n, dim) in as many partitions (Lloyd 1957).

    A partition that is much smaller than the others begins anew at a vector of a large one. `told` hears of
    the turns.
    """
    random = np.random.default_rng(seed)
    drawn = random.permutation(len(placed))[: SAMPLED * count]
    sample = np.ascontiguousarray(placed[drawn])
    means = sample[:count].copy()
    for turn in range(TURNS):
        means, _, sizes, ids = averaged(sample, nearest(sample, means, form), count)
        told(turn + 1)
        if turn == TURNS - 1:
            means = means[sizes > 0]
            break
        rich = np.flatnonzero(sizes)
        rich = rich[np.argsort(-sizes[rich], kind="stable")]
        poor = np.flatnonzero(sizes < SMALLEST * len(sample) / count)[: len(rich)]
        rich = rich[: len(poor)]
        begins = np.cumsum(sizes) - sizes
        means[poor] = sample[ids[begins[rich] + sizes[rich] // 2]]
    return means
