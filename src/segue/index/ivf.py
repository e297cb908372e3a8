"""IVF: vectors in partitions, of which a search visits only the most promising."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from segue.errors import DataError, SettingError
from segue.index.base import Neighbors, answered, check_asked, check_k, check_vectors
from segue.index.effort import check_counts, check_recall, least_effort
from segue.index.exact import chosen_form, few_allowed
from segue.index.metric import METRICS
from segue.index.partitions import (
    FAR,
    TURNS,
    averaged,
    centroid_codes,
    cuts_of,
    k_means,
    nearest,
    packed,
    padded,
)
from segue.index.timing import geometric
from segue.kernels import ivf, measures, scan, simd
from segue.kernels.arrays import readonly
from segue.numerics.axes import principal_axes, rotate
from segue.progress import Progress, silent

TIMES = 5  # as many partitions as the root of the number of vectors, times this
LEAST = 64  # vectors to a partition, unless more are asked for
LEAN = 2.5  # spreads from its centroid in which a partition is expected to hold the best for a query
LOOSE = 3.0  # standard deviations of the codes' error that are reckoned with, unless all is searched
REACH = 6.0  # spreads from its centroid beyond which nothing is expected of a partition, likewise
SAMPLE = 1000  # queries by which the probes are chosen
GROUP = 1024  # queries that visit the partitions together
STEPS = TURNS + 2  # of a build: k-means, every vector to its partition, codes and probes
EPS = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class IVF:
    """Search in the partitions of k-means that are nearest to the query (Jégou et al. 2011, without PQ).

    Attributes:
        partitions: how many; None: about 5 √n, of 64 vectors at least.
        probes: how many of them a search visits, unless it says otherwise; None: as few as reach
            `recall` on a sample of queries.
        metric: "dot" (inner product), "cosine" or "euclidean", whose scores are negative.
        recall: the share of the true 10 best that is aimed at where `probes` is None.
        seed: of the sample and the first centroids.
    """

    METRICS: ClassVar = tuple(METRICS)

    partitions: int | None = None
    probes: int | None = None
    metric: str = "dot"
    recall: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.metric not in self.METRICS:
            known = ", ".join(map(repr, self.METRICS))
            raise SettingError(f"IVF(metric={self.metric!r}) must be one of {known}")
        check_counts(self, "partitions", "probes")
        check_recall(self)

    def build(
        self, vectors: np.ndarray, *, queries: np.ndarray | None = None, progress: Progress = silent
    ) -> IVFIndex:
        """Divide vectors (n, dim), finite, into partitions, or raise `DataError`.

        `queries`: a sample of what will be asked, by which the probes are chosen; None takes some of
        the vectors, each of which is asked for its neighbours but itself. `progress` hears of the vectors.
        """
        checked = check_vectors(vectors, "the vectors")
        if not len(checked):
            raise DataError("there are no vectors to search in")
        metric = METRICS[self.metric]
        turned = metric.turn(checked)
        asked = None
        if queries is not None and len(queries):
            asked = check_vectors(queries, "queries", turned.shape[1])
        told = Steps(progress, len(turned))
        index = IVFIndex(self, turned, _divided(self, turned, metric.is_distance, told))
        if self.probes is None:
            count = len(index.parts.means)
            probes = least_effort(index, asked, count, self.recall, SAMPLE)
            index = replace(index, parts=replace(index.parts, probes=np.array([probes])))
        told.to(STEPS)
        return index

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> IVFIndex:
        """Take back what the index gave with `arrays`; raises `DataError` if they are not of one index."""
        parts = parts_of(arrays, self.metric)
        return IVFIndex(self, arrays["vectors"], parts)


@dataclass(frozen=True, eq=False)
class Parts:
    """Arrays for `kernels.ivf.search`: p partitions of blocks of 16 items, s segments of dimensions.

    Attributes:
        codes: int8, in the order that the scan reads them.
        order: (16 blocks,) int32, the id of each place, -1 where there is none.
        bounds: (p + 1,) int64, where the blocks of each partition begin.
        table: (p, 5 + 3 s) float32, what the bounds need of each partition.
        halves: (16 blocks,) float32, |x|² / 2 of each place, for a distance, or (0,).
        means: (p, dim) float32, the centroids, in the axes.
        spreads: (p,) float32, the standard deviation of a dimension within each.
        widest: (s, 2) float32, the largest norm of codes in the even and odd pairs of dimensions.
        axes: (dim, dim) float32, the principal axes as rows, or (0, 0).
        centre: (dim,) float32, the mean, for a distance, or (0,).
        rounding: (1,) float64, the relative error of float32 sums and axes.
        probes: (1,) int64, the partitions that are visited.
    """

    codes: np.ndarray
    order: np.ndarray
    bounds: np.ndarray
    table: np.ndarray
    halves: np.ndarray
    means: np.ndarray
    spreads: np.ndarray
    widest: np.ndarray
    axes: np.ndarray
    centre: np.ndarray
    rounding: np.ndarray
    probes: np.ndarray


@dataclass(frozen=True, eq=False)
class IVFIndex:
    """Vectors (n, dim) float32, turned as the metric wants, and their partitions."""

    settings: IVF
    vectors: np.ndarray
    parts: Parts

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def probes(self) -> int:
        """How many partitions a search visits, unless it says otherwise."""
        return int(self.parts.probes[0])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what a model folder keeps of the index."""
        return {"vectors": self.vectors, **vars(self.parts)}

    def efforts(self, k: int) -> list[int]:
        """Return numbers of partitions from one to all, each about 1.2 times the one before."""
        return geometric(1, len(self.parts.means))

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

        `effort`: how many partitions to visit; all of them give exact answers. A query that finds fewer
        than k in those visits others, and one with an allow list visits more from the beginning. `examined`
        counts the items of the partitions visited.
        """
        dim = self.vectors.shape[1]
        asked = check_asked(check_vectors(queries, "queries", dim), k, exclude, allow, len(self))
        metric, count = METRICS[self.settings.metric], len(self.parts.means)
        turned = readonly(metric.turn(asked.queries))
        probes = self.probes if effort is None else check_k(effort, "effort")
        if len(asked.allow):  # the best of a few lie farther apart
            probes = round(probes / np.sqrt(max(asked.allow.mean(1).min(), 1 / len(self))))
        probes = min(probes, count)
        loose, reach = 1.0, np.inf
        if probes < count:
            loose, reach = min(1.0, LOOSE / dim**0.5), REACH
        search: Any = ivf.search
        given: tuple[Any, ...] = (*self._given, probes, loose, reach, turned, *asked.filters)
        few = few_allowed(asked.allow, len(self))
        if few is not None:
            search, vectors = measures.search_members, readonly(self.vectors)
            given = (metric.is_distance, vectors, *map(readonly, few), turned, *asked.filters[1:])

        def work(start: int, stop: int, *answers: np.ndarray) -> None:
            search(*given, start, stop, *answers)

        return answered(asked, work, progress, GROUP)

    @cached_property
    def _given(self) -> tuple[Any, ...]:
        """What the kernel needs of the index."""
        form, parts = chosen_form(), self.parts
        metric = METRICS[self.settings.metric]
        cuts = cuts_of(self.vectors.shape[1])
        centroids = centroid_codes(np.ascontiguousarray(parts.means), cuts)
        leans = np.full(len(centroids.halves), FAR, np.float32)
        leans[: len(parts.means)] = -LEAN * parts.spreads
        if metric.is_distance:
            leans[: len(parts.means)] = centroids.halves[: len(parts.means)]
        arrays = (
            parts.codes, parts.order, self.vectors, parts.halves, parts.table, parts.bounds, cuts,
            np.maximum(parts.widest, centroids.widest), parts.axes, parts.centre,
        )  # fmt: skip
        unit = float(centroids.table[0, scan.INVERSE])
        return (
            simd.MARKS[form.name], *map(readonly, arrays), float(parts.rounding[0]),
            *map(readonly, (centroids.codes, leans, parts.spreads)), unit, form.top, form.int16_accumulate,
            metric.is_distance,
        )  # fmt: skip


class Steps(NamedTuple):
    """Tells the steps of a build as shares of its vectors."""

    progress: Progress
    vectors: int

    def to(self, step: int) -> None:
        """So many steps of `STEPS` are done."""
        self.progress("indexing", self.vectors * step // STEPS, self.vectors)


def _divided(settings: IVF, vectors: np.ndarray, is_distance: bool, told: Steps) -> Parts:
    """Place vectors (n, dim) into partitions."""
    told.to(0)
    n, dim = vectors.shape
    nothing = np.empty(0, np.float32)
    centre = vectors.mean(0, dtype=np.float64).astype(np.float32) if is_distance else nothing
    placed = vectors - centre if is_distance else vectors
    cuts, axes, rounding = cuts_of(dim), np.empty((0, 0), np.float32), 2 * (dim + 8) * EPS
    if len(cuts) > 2 and n >= dim:
        axes = np.ascontiguousarray(principal_axes(placed)[1].T)
        defect = np.linalg.norm(axes.astype(np.float64).T @ axes - np.eye(dim))
        rounding += 2 * (dim / 4 + 16) * EPS * np.sqrt(dim) + 2 * float(defect)
        placed, straight = np.empty_like(placed), placed
        rotate(straight, np.ascontiguousarray(axes.T), placed)
    count = settings.partitions or max(1, min(round(TIMES * np.sqrt(n)), n // LEAST))
    form, count = chosen_form(), min(count, n)
    where: Any = np.zeros(n, np.int32)
    if count > 1:
        means = k_means(placed, count, form, settings.seed, told.to)
        where = nearest(placed, means, form)
        filled, inverse = np.unique(where, return_inverse=True)
        where, count = inverse.astype(np.int32), len(filled)
    told.to(TURNS + 1)
    means, spreads, sizes, ids = averaged(placed, where, count)
    order, bounds = padded(ids, sizes)
    coded = packed(placed, order, bounds, cuts)
    probes = np.array([min(settings.probes or count, count)])
    return Parts(
        coded.codes, order, bounds, coded.table, coded.halves if is_distance else nothing, means, spreads,
        coded.widest, axes, centre, np.array([rounding]), probes,
    )  # fmt: skip


def parts_of(arrays: Mapping[str, np.ndarray], metric: str) -> Parts:
    """The partitions among the arrays of an index; a `DataError` if they do not fit together."""
    given = {field.name: arrays.get(field.name) for field in fields(Parts)}
    missing = [name for name, array in (*given.items(), ("vectors", arrays.get("vectors"))) if array is None]
    if missing:
        raise DataError(f"the index lacks the arrays {', '.join(missing)}; build it again from its vectors")
    parts = Parts(**{name: array for name, array in given.items() if array is not None})
    if not _fits(parts, arrays["vectors"], METRICS[metric].is_distance):
        raise DataError("the index's arrays do not fit together; build it again from its vectors")
    return parts


def _fits(parts: Parts, vectors: np.ndarray, is_distance: bool) -> bool:
    if vectors.ndim != 2 or vectors.dtype != np.float32 or not vectors.size:
        return False
    (n, dim), places = vectors.shape, len(parts.order)
    cuts, count = cuts_of(dim), len(parts.means)
    kinds = dict.fromkeys(vars(parts), np.float32) | {
        "codes": np.int8, "order": np.int32, "bounds": np.int64, "rounding": np.float64, "probes": np.int64
    }  # fmt: skip
    shapes: dict[str, list[tuple[int, ...]]] = {
        "codes": [(places * 4 * (int(cuts[-1]) + len(cuts) - 1),)],
        "order": [(places,)],
        "bounds": [(count + 1,)],
        "table": [(count, scan.BOUNDS + 3 * (len(cuts) - 1))],
        "halves": [(places if is_distance else 0,)],
        "means": [(count, dim)],
        "spreads": [(count,)],
        "widest": [(len(cuts) - 1, 2)],
        "axes": [(0, 0), (dim, dim)],
        "centre": [(dim if is_distance else 0,)],
        "rounding": [(1,)],
        "probes": [(1,)],
    }
    given: Any = vars(parts).items()
    if any(array.dtype != kinds[name] or array.shape not in shapes[name] for name, array in given):
        return False
    bounds, real = parts.bounds, parts.order[parts.order >= 0]
    values = ("table", "halves", "means", "spreads", "widest", "axes", "centre", "rounding")
    return bool(
        count
        and bounds[0] == 0
        and bounds[-1] * simd.LANES == places
        and (np.diff(bounds) >= 0).all()
        and parts.order.min() >= -1
        and len(real) == n
        and real.max() < n
        and (np.bincount(real, minlength=n) == 1).all()
        and 1 <= parts.probes[0] <= count
        and all(np.isfinite(getattr(parts, name)).all() for name in values)
    )
