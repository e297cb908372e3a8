"""An index chosen by measurement on the vectors themselves."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from segue.errors import DataError, SettingError
from segue.index.base import Neighbors, check_vectors
from segue.index.exact import Exact
from segue.index.kinds import KINDS
from segue.index.timing import Point, climb, microseconds, single_microseconds
from segue.progress import NOTHING, Progress, silent

SAMPLED_ITEMS = 100_000  # that candidates are built on before one is built on all
SAMPLED_QUERIES = 512
K = 10  # neighbours asked for in every measurement
ENOUGH = {"batch": 100.0, "single": 1000.0}  # microseconds a query with which exact search wins unopposed
MARGIN = 0.8  # of the time of exact search, below which an approximation is worth its loss
log = logging.getLogger("segue")


@dataclass(frozen=True)
class Auto:
    """The index that is fastest on these vectors at a recall, found by timing.

    Exact search is timed first. Where a query takes it no longer than `enough`, it is taken: it loses
    nothing and is built fastest. Else every other index is built on a sample of up to 100,000 vectors and
    given the least effort that reaches the recall there. The fastest is then built on all of them, and
    kept if it still reaches the recall in under 0.8 of the time that exact search takes.

    Attributes:
        metric: as of `Exact`.
        recall: the share of the true 10 best that must be found.
        queries: how they come: "batch", many at once on all threads, or "single", one by one.
        memory: bytes that the index may take, the vectors included; None for any number.
        enough: microseconds a query, see above; None takes 100 in batch and 1,000 one by one, 0 compares
            in any case.
        seed: of the samples.
    """

    METRICS: ClassVar = Exact.METRICS

    metric: str = "dot"
    recall: float = 0.95
    queries: str = "batch"
    memory: int | None = None
    enough: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        Exact(metric=self.metric)
        if not 0 < self.recall <= 1:
            raise SettingError(f"Auto(recall={self.recall!r}) must be above 0 and at most 1")
        if self.queries not in ENOUGH:
            known = " or ".join(map(repr, ENOUGH))
            raise SettingError(f"Auto(queries={self.queries!r}) must be {known}")
        if self.memory is not None and self.memory < 1:
            raise SettingError(f"Auto(memory={self.memory!r}) must be a number of bytes, or None")
        if self.enough is not None and not self.enough >= 0:
            raise SettingError(f"Auto(enough={self.enough!r}) must be microseconds, 0 or more, or None")

    def build(
        self, vectors: np.ndarray, *, queries: np.ndarray | None = None, progress: Progress = silent
    ) -> AutoIndex:
        """Choose and build an index of vectors (n, dim), finite; raises `DataError` as `Exact.build` does.

        `queries`: a sample of what will be asked, by which is measured; None takes some of the vectors.
        `progress` hears of the vectors of each index that is built, "trying" those among which it chooses.
        """
        checked = check_vectors(vectors, "the vectors")
        exact = Exact(metric=self.metric).build(checked, queries=queries, progress=progress)
        random = np.random.default_rng(self.seed)
        asked = (
            checked
            if queries is None or not len(queries)
            else check_vectors(queries, "queries", checked.shape[1])
        )
        asked = asked[np.sort(random.permutation(len(asked))[:SAMPLED_QUERIES])]
        trial = Trial(self, checked, asked, progress)
        whole = trial.measured("exact", Exact(metric=self.metric), exact, build_s=None)
        enough = ENOUGH[self.queries] if self.enough is None else self.enough
        if whole.us <= enough:
            return AutoIndex(self, exact, None, (whole,))
        sample = np.sort(random.permutation(len(checked))[:SAMPLED_ITEMS])
        return _compared(trial, exact, whole, checked[sample])

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> AutoIndex:
        """Take back what the index gave with `arrays`; raises `DataError` if they are not of one index."""
        try:
            kept = json.loads(np.asarray(arrays["choice"]).tobytes())
            settings = KINDS[kept["name"]](**kept["settings"])
            effort, rows = kept["effort"], tuple(Measured(**row) for row in kept["measured"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the arrays tell of no chosen index: {error!r}") from error
        if effort is not None and (not isinstance(effort, int) or effort < 1):
            raise DataError(f"the effort of the chosen index is {effort!r}, which is no whole number above 0")
        rest = {name: array for name, array in arrays.items() if name != "choice"}
        return AutoIndex(self, settings.from_arrays(rest), effort, rows)


@dataclass(frozen=True)
class Measured:
    """What a candidate came to.

    Attributes:
        index: its name in `INDEXES`.
        settings: as they would be typed.
        items: how many vectors it was built on.
        effort: the least that reached the recall, or the most that was tried; None for exact search.
        recall: with this effort.
        us: microseconds a query.
        build_s: seconds to build, None where it was not timed.
        bytes: of its arrays.
        reached: whether the recall, and the memory, were as wanted.
    """

    index: str
    settings: str
    items: int
    effort: int | None
    recall: float
    us: float
    build_s: float | None
    bytes: int
    reached: bool


@dataclass(frozen=True, eq=False)
class AutoIndex:
    """The index that was chosen, the effort that it is asked with, and what was measured of all."""

    settings: Auto
    index: Any
    effort: int | None
    measured: tuple[Measured, ...]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def name(self) -> str:
        """The name of the chosen index."""
        return next(name for name, kind in KINDS.items() if kind is type(self.index.settings))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what a model folder keeps: the chosen index, and JSON about the choice as bytes."""
        about = {
            "name": self.name,
            "settings": asdict(self.index.settings),
            "effort": self.effort,
            "measured": [asdict(row) for row in self.measured],
        }
        told = np.frombuffer(json.dumps(about, sort_keys=True).encode(), np.uint8)
        return {**self.index.arrays(), "choice": told}

    def efforts(self, k: int) -> list[int]:
        """Return efforts from fast to accurate; nothing where there is no dial."""
        found: list[int] = self.index.efforts(k)
        return found

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
        """Find the k best of each query (q, dim) float32 with the chosen index; see `ExactIndex.search`."""
        chosen = self.effort if effort is None else effort
        found: Neighbors = self.index.search(
            queries, k, exclude=exclude, allow=allow, effort=chosen, progress=progress
        )
        return found


@dataclass(frozen=True)
class Trial:
    """Measurements by one wish, on vectors (n, dim) and queries (q, dim) drawn from what will be asked."""

    wish: Auto
    vectors: np.ndarray
    queries: np.ndarray
    progress: Progress

    def built(self, what: str, settings: Any, vectors: np.ndarray) -> tuple[Any, float]:
        """An index of some of the vectors or all, and the seconds that it took; `what` names the progress."""

        def told(_: str, done: int, total: int, values: Mapping[str, float] = NOTHING) -> None:
            self.progress(what, done, total, values)

        started = time.perf_counter()
        index = settings.build(vectors, queries=self.queries, progress=told)
        return index, round(time.perf_counter() - started, 3)

    def measured(
        self, name: str, settings: Any, index: Any, build_s: float | None, kth: np.ndarray | None = None
    ) -> Measured:
        """The least effort of an index that reaches the recall, by the scores of the k-th best (q, 1)."""
        k = min(K, len(index))
        size = sum(array.nbytes for array in index.arrays().values())

        def search(queries: np.ndarray, k: int, effort: int | None) -> np.ndarray:
            found: np.ndarray = index.search(queries, k, effort=effort).scores
            return found

        def measure(effort: int | None) -> Point:
            us, scores = microseconds(search, self.queries, k, effort)
            found = 1.0 if kth is None else float((scores >= kth[: len(scores)]).mean())
            return Point(effort, found, us)

        points = climb(index.efforts(k) or [None], measure, self.wish.recall)
        enough = [point for point in points if point.recall >= self.wish.recall]
        best = enough[0] if enough else max(points, key=lambda at: at.recall)
        us = best.us
        if self.wish.queries == "single":
            us = single_microseconds(search, self.queries, k, best.setting)
        fits = self.wish.memory is None or size <= self.wish.memory * len(index) / len(self.vectors)
        return Measured(
            name, repr(settings), len(index), best.setting, round(best.recall, 4), round(us, 2),
            build_s, size, bool(enough) and fits,
        )  # fmt: skip


def kth_best(exact: Any, queries: np.ndarray) -> np.ndarray:
    """The score (q, 1) of the last of the true best of each query, less what float32 sums can differ by."""
    last = exact.search(queries, min(K, len(exact))).scores[:, -1:]
    rounded: np.ndarray = last - 1e-5 * np.abs(last)
    return rounded


def candidates(metric: str) -> dict[str, Any]:
    """The approximate indexes that know a metric, with their defaults."""
    return {
        name: kind(metric=metric)
        for name, kind in KINDS.items()
        if kind is not Exact and metric in kind.METRICS
    }


def _compared(trial: Trial, exact: Any, whole: Measured, sample: np.ndarray) -> AutoIndex:
    """Race the candidates on a sample, and the fastest of them on everything against exact search."""
    wish, everything = trial.wish, len(sample) == len(trial.vectors)
    few = exact if everything else Exact(metric=wish.metric).build(sample, queries=trial.queries)
    kth, rows, built = kth_best(few, trial.queries), [], {}
    for name, settings in candidates(wish.metric).items():
        log.info("measuring %s on %s of %s vectors", name, f"{len(sample):,}", f"{len(trial.vectors):,}")
        built[name], took = trial.built(f"trying {name}", settings, sample)
        rows.append(trial.measured(name, settings, built[name], took, kth))
    if not rows:
        log.info("only exact search knows metric=%r", wish.metric)
        return AutoIndex(wish, exact, None, (whole,))
    reached = [row for row in rows if row.reached]
    if not reached:
        best = max(rows, key=lambda row: row.recall)
        told = f"the best, {best.index}, found {best.recall:.3f}"
        log.warning("no approximate index reaches recall %s as wanted (%s): exact", wish.recall, told)
        return AutoIndex(wish, exact, None, (whole, *rows))
    row = min(reached, key=lambda row: row.us)
    index = built[row.index]
    if not everything:
        index, took = trial.built("indexing", index.settings, trial.vectors)
        kth = kth_best(exact, trial.queries)
        row = trial.measured(row.index, index.settings, index, took, kth)
        rows.append(row)
    pays = row.reached and row.us <= MARGIN * whole.us
    compared = (row.index, row.us, row.recall, whole.us, row.index if pays else "exact")
    log.info("%s takes %s us a query at recall %s, exact search %s us: %s", *compared)
    if pays:
        return AutoIndex(wish, index, row.effort, (whole, *rows))
    return AutoIndex(wish, exact, None, (whole, *rows))
