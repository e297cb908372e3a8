"""An index chosen by measurement on the vectors themselves."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar  # Any: JSON of the stored choice

import numpy as np

from segue.errors import DataError, SettingError
from segue.index.base import Index, IndexSettings, Neighbors, Queries
from segue.index.checks import check_metric, check_recall, check_sample, check_vectors
from segue.index.exact import Exact
from segue.index.registry import INDEXES
from segue.index.trial import Measured, Trial
from segue.progress import Progress, silent
from segue.types import CSR

SAMPLED_ITEMS = 100_000  # vectors that candidates are built on before one is built on all
SAMPLED_QUERIES = 512
ENOUGH = {"batch": 100.0, "single": 1000.0}  # microseconds per query that exact search may take unopposed
MARGIN = 0.8  # share of the time of exact search below which an approximate index is worth its loss
log = logging.getLogger("segue")


@dataclass(frozen=True)
class Auto:
    """The index that is fastest on these vectors at a recall, found by timing.

    `build` times exact search first. If a query takes at most `enough` microseconds, exact search is chosen:
    it loses nothing and builds fastest. Otherwise every other index is built on a sample of up to 100,000
    vectors and gets the least effort that reaches the recall there. The fastest is then built on all vectors,
    and chosen if it still reaches the recall in less than 0.8 of the time of exact search.

    Attributes:
        metric: see `Exact`.
        recall: the share of the true 10 nearest to find.
        sample: how the sample of queries is timed: "batch", all at once on all threads, or "single", one by
            one.
        memory: bytes that the index may take, including the vectors; None for no limit.
        enough: microseconds per query, see above; None means 100 for "batch" and 1,000 for "single", 0 always
            compares.
        seed: random seed of the samples.
    """

    METRICS: ClassVar[tuple[str, ...]] = Exact.METRICS

    metric: str = "dot"
    recall: float = 0.95
    sample: str = "batch"
    memory: int | None = None
    enough: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_metric(self, self.METRICS)
        check_recall(self)
        if self.sample not in ENOUGH:
            known = " or ".join(map(repr, ENOUGH))
            raise SettingError(f"Auto(sample={self.sample!r}) must be {known}")
        if self.memory is not None and self.memory < 1:
            raise SettingError(f"Auto(memory={self.memory!r}) must be a number of bytes, or None")
        if self.enough is not None and not self.enough >= 0:
            raise SettingError(f"Auto(enough={self.enough!r}) must be microseconds, 0 or more, or None")

    def build(
        self, vectors: np.ndarray, *, queries: np.ndarray | None = None, progress: Progress = silent
    ) -> AutoIndex:
        """Choose an index and build it.

        Args:
            vectors: (n, dim) float32, finite.
            queries: a sample of queries (q, dim) to measure with; None takes some of the vectors.
            progress: called with the number of vectors of each index that is built; the task is "trying NAME"
                for the candidates.

        Raises:
            DataError: the vectors or the queries are unusable.
        """
        items = check_vectors(vectors, "the vectors")
        exact = Exact(metric=self.metric).build(items, queries=queries, progress=progress)
        random = np.random.default_rng(self.seed)
        pool = check_sample(queries, items.shape[1])
        pool = items if pool is None else pool
        sample = pool[np.sort(random.permutation(len(pool))[:SAMPLED_QUERIES])]
        trial = Trial(items, sample, self.recall, self.sample == "single", self.memory, progress)
        baseline = trial.measure("exact", exact, build_s=None)
        enough = ENOUGH[self.sample] if self.enough is None else self.enough
        if baseline.us <= enough:
            return AutoIndex(self, exact, None, (baseline,))
        rows = np.sort(random.permutation(len(items))[:SAMPLED_ITEMS])
        return _choose(self, trial, exact, baseline, items[rows])

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> AutoIndex:
        """Restore an index from its `arrays`; raise `DataError` if they do not fit together."""
        try:
            choice = json.loads(np.asarray(arrays["choice"]).tobytes())
            settings_class: Any = INDEXES[choice["name"]]
            settings = settings_class(**choice["settings"])
            effort, measured = choice["effort"], tuple(Measured(**row) for row in choice["measured"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the arrays describe no chosen index: {error!r}") from error
        if effort is not None and (not isinstance(effort, int) or effort < 1):
            raise DataError(f"the effort of the chosen index is {effort!r}, not a whole number of at least 1")
        others = {name: array for name, array in arrays.items() if name != "choice"}
        return AutoIndex(self, settings.from_arrays(others), effort, measured)


@dataclass(frozen=True, eq=False)
class AutoIndex:
    """The chosen index, its effort, and the measurements of all candidates."""

    settings: Auto
    index: Index
    effort: int | None
    measured: tuple[Measured, ...]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def name(self) -> str:
        """Return the name of the chosen index."""
        return next(name for name, kind in INDEXES.items() if kind is type(self.index.settings))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that a model folder stores: the chosen index, and the choice as JSON bytes."""
        settings: Any = self.index.settings
        choice = {
            "name": self.name,
            "settings": asdict(settings),
            "effort": self.effort,
            "measured": [asdict(row) for row in self.measured],
        }
        text = json.dumps(choice, sort_keys=True).encode()
        return {**self.index.arrays(), "choice": np.frombuffer(text, np.uint8)}

    def efforts(self, k: int) -> list[int]:
        """Return values of `effort` for k items, from fast to accurate; empty if the index has no dial."""
        return self.index.efforts(k)

    def search(
        self,
        queries: Queries,
        k: int,
        *,
        exclude: CSR | None = None,
        allow: np.ndarray | None = None,
        effort: int | None = None,
        progress: Progress = silent,
    ) -> Neighbors:
        """Return the k nearest items for each query with the chosen index; see `Index.search`."""
        chosen = self.effort if effort is None else effort
        return self.index.search(queries, k, exclude=exclude, allow=allow, effort=chosen, progress=progress)


def candidates(metric: str) -> dict[str, IndexSettings]:
    """Return the approximate indexes that support a metric, with their default settings."""
    return {
        name: kind(metric=metric)
        for name, kind in INDEXES.items()
        if kind not in (Exact, Auto) and metric in kind.METRICS
    }


def _choose(settings: Auto, trial: Trial, exact: Index, baseline: Measured, vectors: np.ndarray) -> AutoIndex:
    """Compare the candidates on a sample of vectors, then the fastest with exact search on all vectors."""
    is_whole = len(vectors) == len(trial.vectors)
    rows, built = _compare(settings.metric, trial, exact if is_whole else None, vectors)
    exact_choice = AutoIndex(settings, exact, None, (baseline, *rows))
    if not rows:
        log.info("only exact search supports metric=%r", settings.metric)
        return exact_choice
    reached = [row for row in rows if row.reached]
    if not reached:
        best = max(rows, key=lambda row: row.recall)
        log.warning(
            "no approximate index reaches recall %s within the limits (the best, %s, found %.3f): exact",
            settings.recall, best.index, best.recall,
        )  # fmt: skip
        return exact_choice
    row = min(reached, key=lambda row: row.us)
    index = built[row.index]
    if not is_whole:
        index, build_s = trial.build("indexing", index.settings, trial.vectors)
        row = trial.measure(row.index, index, build_s, trial.kth_scores(exact))
        rows.append(row)
    is_worth_it = row.reached and row.us <= MARGIN * baseline.us
    log.info(
        "%s takes %s us a query at recall %s, exact search %s us: %s",
        row.index, row.us, row.recall, baseline.us, row.index if is_worth_it else "exact",
    )  # fmt: skip
    if is_worth_it:
        return AutoIndex(settings, index, row.effort, (baseline, *rows))
    return AutoIndex(settings, exact, None, (baseline, *rows))


def _compare(
    metric: str, trial: Trial, exact: Index | None, vectors: np.ndarray
) -> tuple[list[Measured], dict[str, Index]]:
    """Build and measure all candidates on vectors; `exact` is the exact index over them, if there is one."""
    baseline: Index = exact or Exact(metric=metric).build(vectors, queries=trial.queries)
    kth, rows, built = trial.kth_scores(baseline), [], {}
    for name, settings in candidates(metric).items():
        log.info("measuring %s on %s of %s vectors", name, f"{len(vectors):,}", f"{len(trial.vectors):,}")
        built[name], build_s = trial.build(f"trying {name}", settings, vectors)
        rows.append(trial.measure(name, built[name], build_s, kth))
    return rows, built
