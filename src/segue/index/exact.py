"""Exact search: every answer is the true k best; there is nothing to tune."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from segue.errors import DataError, SettingError
from segue.index.layout import Layout, lay_out
from segue.index.metric import METRICS
from segue.index.neighbors import (
    Neighbors,
    check_allow,
    check_exclude,
    check_k,
    check_vectors,
    fixed,
)
from segue.kernels import scan, simd, threads
from segue.progress import Progress, silent

QUERIES = 64  # that a thread takes at a time
NOTHING_ALLOWED = fixed(np.empty((0, 0), bool))
NOTHING_EXCLUDED = fixed(np.empty(0, np.int32))


@dataclass(frozen=True)
class Exact:
    """Exact k-nearest-neighbour search.

    Attributes:
        metric: "dot" (inner product), "cosine", or "euclidean" (scores are negative distances).
    """

    metric: str = "dot"

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise SettingError(
                f"Exact(metric={self.metric!r}) must be one of {', '.join(map(repr, METRICS))}"
            )

    def build(self, vectors: np.ndarray, *, queries: np.ndarray | None = None) -> ExactIndex:
        """Lay out vectors (n, dim), finite; raises `DataError` for anything else.

        `queries`: a sample of what will be asked, by which the layout is chosen; None takes some of
        the vectors. Answers do not depend on it.
        """
        checked = check_vectors(vectors, "the vectors")
        if not len(checked):
            raise DataError("there are no vectors to search in")
        metric = METRICS[self.metric]
        turned = metric.turn(checked)
        asked = turned if queries is None else metric.turn(check_vectors(queries, "queries", turned.shape[1]))
        return ExactIndex(self, turned, lay_out(turned, asked, metric.is_distance))

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> ExactIndex:
        """Take back what the index gave with `arrays`."""
        return ExactIndex(
            self, arrays["vectors"], Layout(**{field.name: arrays[field.name] for field in fields(Layout)})
        )


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
        of its row is id -1 and score -inf. `effort` changes nothing here.
        """
        k = check_k(k)
        asked = check_vectors(queries, "queries", self.vectors.shape[1])
        count, n = len(asked), len(self)
        left_out = check_exclude(exclude, count, n)
        allowed = check_allow(allow, count, n)
        turned = fixed(METRICS[self.settings.metric].turn(asked))
        width = min(k, n)
        ids, scores = np.empty((count, width), np.int32), np.empty((count, width), np.float32)
        flat_ids, flat_scores = ids.ravel(), scores.ravel()
        examined = np.empty(count, np.int64)
        indptr = fixed(np.zeros(count + 1, np.int64) if left_out is None else left_out.indptr)
        excluded = NOTHING_EXCLUDED if left_out is None else fixed(left_out.indices)
        allow = NOTHING_ALLOWED if allowed is None else fixed(allowed)

        def work(start: int, stop: int) -> None:
            scan.search(*self._given, turned, allow, indptr, excluded, start, stop, flat_ids, flat_scores, examined)

        chunk = min(QUERIES, -(-count // threads.available())) if count > 1 else 1
        threads.run(work, count, chunk=chunk)
        return Neighbors(_padded(ids, k, -1), _padded(scores, k, -np.inf), examined)

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
        return (simd.MARKS[form.name], *map(fixed, arrays), rounding, form.top, form.halves, is_distance)


def chosen_form() -> simd.Form:
    """The best form of the scan that the processor has, or the one that `SEGUE_SIMD` names."""
    usable = simd.usable()
    named = os.environ.get("SEGUE_SIMD") or usable[0]
    if named not in usable:
        raise SettingError(f"SEGUE_SIMD={named!r} must be one of {', '.join(usable)} on this processor")
    return simd.FORMS[named]


def _padded(found: np.ndarray, k: int, filler: float) -> np.ndarray:
    """Widen to k columns."""
    if found.shape[1] == k:
        return found
    wide = np.full((len(found), k), filler, found.dtype)
    wide[:, : found.shape[1]] = found
    return wide
