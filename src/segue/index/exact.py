"""Exact search: every answer is the true k best; there is nothing to tune."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from segue.errors import DataError, SettingError
from segue.index.base import Neighbors, answered, check_asked, check_vectors
from segue.index.brute_force import MEASURES, BruteForceIndex
from segue.index.layout import Layout, lay_out, layout_of
from segue.index.metric import METRICS
from segue.kernels import measures, scan, simd, threads
from segue.kernels.arrays import readonly
from segue.progress import Progress, silent

CALLS = 16  # of the kernel by each thread, about
MOST = 8  # groups of queries that it is called with
FEW = 64  # members of an allow list, or one item in so many, that are scored without a scan


@dataclass(frozen=True)
class Exact:
    """Exact k-nearest-neighbour search.

    Attributes:
        metric: "dot" (inner product), "cosine", or the distances "euclidean", "manhattan" and "hamming"
            (of vectors of 0 and 1), whose scores are negative.
    """

    METRICS: ClassVar = (*METRICS, *MEASURES)

    metric: str = "dot"

    def __post_init__(self) -> None:
        if self.metric not in self.METRICS:
            known = ", ".join(map(repr, self.METRICS))
            raise SettingError(f"Exact(metric={self.metric!r}) must be one of {known}")

    def build(
        self, vectors: np.ndarray, *, queries: np.ndarray | None = None, progress: Progress = silent
    ) -> Any:
        """Lay out vectors (n, dim), finite, as an `ExactIndex` or a `BruteForceIndex`, or raise `DataError`.

        `queries`: a sample of what will be asked, by which the layout is chosen; None takes some of
        the vectors. Answers do not depend on it. `progress` hears of the vectors.
        """
        checked = check_vectors(vectors, "the vectors")
        if not len(checked):
            raise DataError("there are no vectors to search in")
        progress("indexing", 0, len(checked))
        made = self._built(checked, queries)
        progress("indexing", len(checked), len(checked))
        return made

    def _built(self, checked: np.ndarray, queries: np.ndarray | None) -> Any:
        if self.metric in MEASURES:
            return BruteForceIndex.of(self, checked)
        metric = METRICS[self.metric]
        turned = metric.turn(checked)
        asked = turned
        if queries is not None and len(queries):
            asked = metric.turn(check_vectors(queries, "queries", turned.shape[1]))
        return ExactIndex(self, turned, lay_out(turned, asked, metric.is_distance))

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Any:
        """Take back what the index gave with `arrays`; raises `DataError` if they are not of one index."""
        if self.metric in MEASURES:
            return BruteForceIndex.from_arrays(self, arrays)
        return ExactIndex(self, arrays["vectors"], layout_of(arrays, arrays["vectors"].shape))


@dataclass(frozen=True, eq=False)
class ExactIndex:
    """Vectors (n, dim) float32, turned as the metric wants, and their layout for the scan."""

    settings: Exact
    vectors: np.ndarray
    layout: Layout

    def __len__(self) -> int:
        return len(self.vectors)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what a model folder keeps of the index."""
        return {"vectors": self.vectors, **vars(self.layout)}

    def efforts(self, k: int) -> list[int]:
        """Return no efforts: exact search has no dial."""
        return []

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
        """Find the k best items of each query (q, dim) float32.

        `exclude`: CSR queries × items, what each query must not get. `allow`: one bitmap (n,) or one
        per query (q, n) of bool, what may be got. Every query gets min(k, eligible) items; the rest
        of its row is id -1 and score -inf. `effort` changes nothing here. `progress` hears of the
        queries answered, where there are many.
        """
        asked = check_asked(
            check_vectors(queries, "queries", self.vectors.shape[1]), k, exclude, allow, len(self)
        )
        turned = readonly(METRICS[self.settings.metric].turn(asked.queries))
        few = few_allowed(asked.allow, len(self))
        search: Any = scan.search
        given: tuple[Any, ...] = self._given
        filters: tuple[Any, ...] = asked.filters
        if few is not None:
            is_distance = METRICS[self.settings.metric].is_distance
            search, given = (
                measures.search_members,
                (is_distance, readonly(self.vectors), *map(readonly, few)),
            )
            filters = filters[1:]

        def work(start: int, stop: int, *answers: np.ndarray) -> None:
            search(*given, turned, *filters, start, stop, *answers)

        return answered(asked, work, progress, together=at_once(len(turned)))

    @cached_property
    def _given(self) -> tuple[Any, ...]:
        """What the scan needs of the index."""
        form, layout = chosen_form(), self.layout
        arrays = (
            layout.codes, layout.order, self.vectors, layout.table, layout.means, layout.cuts, layout.widest,
            layout.axes, layout.centre,
        )  # fmt: skip
        rounding = float(layout.rounding[0])
        is_distance = METRICS[self.settings.metric].is_distance
        return (
            simd.MARKS[form.name],
            *map(readonly, arrays),
            rounding,
            form.top,
            form.int16_accumulate,
            is_distance,
        )


def few_allowed(allow: np.ndarray, items: int) -> tuple[np.ndarray, np.ndarray] | None:
    """The allowed items of each row and where each row's begin, if a scan is not worth it for so few."""
    limit = max(FEW, items // FEW)
    if not len(allow) or np.count_nonzero(allow) > limit * len(allow):
        return None
    rows, members = np.nonzero(allow)
    return members.astype(np.int32), np.searchsorted(rows, np.arange(len(allow) + 1))


def at_once(count: int) -> int:
    """How many queries a thread takes at a time: calls should cost little, and threads end together."""
    groups = count // (scan.TOGETHER * CALLS)
    return scan.TOGETHER * min(max(groups // threads.available(), 1), MOST) if groups else scan.TOGETHER


def chosen_form() -> simd.Form:
    """The best form of the scan that the processor has, or the one that `SEGUE_SIMD` names."""
    usable = simd.usable()
    named = os.environ.get("SEGUE_SIMD") or usable[0]
    if named not in usable:
        raise SettingError(f"SEGUE_SIMD={named!r} must be one of {', '.join(usable)} on this processor")
    return simd.FORMS[named]
