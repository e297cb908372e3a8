"""HNSW: approximate search in layered graphs of neighbours (Malkov and Yashunin, 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from segue.errors import DataError, SettingError
from segue.index.exact import chosen_form
from segue.index.graph import Graph, build_graph
from segue.index.metric import METRICS
from segue.index.neighbors import Neighbors, answered, check_asked, check_vectors
from segue.kernels import hnsw, simd
from segue.kernels.arrays import fixed
from segue.progress import Progress, silent


@dataclass(frozen=True)
class HNSW:
    m: int = 16
    ef_construction: int = 200
    ef: int = 64
    metric: str = "dot"
    seed: int = 0

    def build(self, vectors, *, queries=None):
        checked = check_vectors(vectors, "the vectors")
        if not len(checked):
            raise DataError("there are no vectors to search in")
        turned = METRICS[self.metric].turn(checked)
        return HNSWIndex(self, turned, build_graph(turned, self))


@dataclass(frozen=True, eq=False)
class HNSWIndex:
    settings: HNSW
    vectors: np.ndarray
    graph: Graph

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries, k, *, exclude=None, allow=None, effort=None, progress=silent):
        asked = check_asked(check_vectors(queries, "queries", self.vectors.shape[1]), k, exclude, allow, len(self))
        turned = fixed(METRICS[self.settings.metric].turn(asked.queries))
        ef = max(effort or self.settings.ef, asked.width)
        efs = np.full(len(turned), ef)
        is_distance = METRICS[self.settings.metric].is_distance
        seen_from = fixed(turned - self.graph.centre) if is_distance else turned
        members = np.empty(0, np.int32)
        limit = len(self) // 16

        def work(start, stop, *answers):
            hnsw.search(*self._given, turned, seen_from, efs, limit, members, *asked.filters, start, stop, *answers)

        return answered(asked, work, progress)

    @cached_property
    def _given(self):
        g = self.graph
        return (
            simd.MARKS[chosen_form().name], fixed(g.records).reshape(-1), fixed(g.records.view(np.float32)).reshape(-1),
            g.records.shape[1], fixed(g.links).reshape(-1), g.links.shape[1], fixed(g.upper).reshape(-1), g.upper.shape[1],
            fixed(g.sizes), fixed(g.order), fixed(self.vectors), METRICS[self.settings.metric].is_distance,
        )
