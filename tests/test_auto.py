"""Auto: its choices among fake indexes of known speed and recall."""

import itertools
import json
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import segue
from segue.errors import DataError, SettingError
from segue.index import INDEXES, Auto, Exact, ExactIndex
from segue.index.effort import Point, climb, geometric
from segue.progress import silent

SEARCH = ExactIndex.search


def vectors(n=300, d=8, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


@dataclass(frozen=True)
class Fake:
    """Search exactly, but drop the last result below an effort, and sleep in each call."""

    METRICS: ClassVar = ("dot",)
    metric: str = "dot"
    needed: int = 4
    sleep: float = 0.0
    size: int = 0

    def build(self, given, *, queries=None, progress=silent):
        return FakeIndex(self, Exact(metric=self.metric).build(given, queries=queries, progress=progress))

    def from_arrays(self, arrays):
        return FakeIndex(self, Exact(metric=self.metric).from_arrays(arrays))


class FakeIndex:
    def __init__(self, settings, exact):
        self.settings, self.exact, self.asked = settings, exact, []

    def __len__(self):
        return len(self.exact)

    def arrays(self):
        return {**self.exact.arrays(), "padding": np.zeros(self.settings.size, np.uint8)}

    def efforts(self, k):
        return [1, 2, 4, 8, 16]

    def search(self, queries, k, *, exclude=None, allow=None, effort=None, progress=None):
        self.asked.append(effort)
        time.sleep(self.settings.sleep * len(queries))
        found = SEARCH(self.exact, queries, k, exclude=exclude, allow=allow)
        if effort is not None and effort < self.settings.needed:
            found.scores[:, -1] = -np.inf
        return found


@pytest.fixture
def fakes(monkeypatch):
    """Make Exact slow and replace all other indexes with those that a test names."""

    def install(**settings):
        made = {"exact": Exact}
        for name, defaults in settings.items():
            made[name] = type(name, (Fake,), {"__init__": _with(defaults)})
        monkeypatch.setattr("segue.index.auto.INDEXES", made)

        def slow(self, queries, *given, **named):
            time.sleep(1e-4 * len(queries))
            return SEARCH(self, queries, *given, **named)

        monkeypatch.setattr(ExactIndex, "search", slow)

    return install


def _with(defaults):
    def made(self, **given):
        Fake.__init__(self, **{**defaults, **given})

    return made


def test_small_catalog_gets_exact_search_without_trials():
    made = Auto().build(vectors())
    assert made.name == "exact"
    assert made.effort is None
    assert [row.index for row in made.measured] == ["exact"]
    assert made.measured[0].items == 300
    assert made.measured[0].recall == 1


def test_build_reports_every_index(fakes, monkeypatch):
    fakes(quick={})
    monkeypatch.setattr("segue.index.auto.SAMPLED_ITEMS", 100)
    told = []
    made = Auto(enough=0).build(vectors(), progress=lambda what, done, total, *_: told.append((what, done)))
    assert made.name == "quick"
    assert told == [
        ("indexing", 0), ("indexing", 300), ("trying quick", 0), ("trying quick", 100),
        ("indexing", 0), ("indexing", 300),
    ]  # fmt: skip


class TestChoice:
    def compared(self, fakes, auto=None, **settings):
        fakes(**settings)
        return (auto or Auto(enough=0)).build(vectors())

    def test_exact_search_wins_if_nothing_is_faster(self, fakes):
        made = self.compared(fakes, slow={"sleep": 1e-3})
        assert made.name == "exact"
        assert [row.index for row in made.measured] == ["exact", "slow"]

    def test_nothing_reaches_the_recall(self, fakes, caplog):
        made = self.compared(fakes, poor={"needed": 99})
        assert made.name == "exact"
        row = made.measured[1]
        assert not row.reached
        assert row.recall == pytest.approx(0.9)
        assert (
            "no approximate index reaches recall 0.95 within the limits (the best, poor, found 0.900): exact"
            in (caplog.text)
        )

    def test_fastest_index_wins_with_the_least_sufficient_effort(self, fakes):
        made = self.compared(
            fakes, quick={"needed": 4}, late={"sleep": 3e-5}, poor={"needed": 99}, slow={"sleep": 1e-3}
        )
        assert made.name == "quick"
        assert made.effort == 4
        assert [row.index for row in made.measured] == ["exact", "quick", "late", "poor", "slow"]
        row = made.measured[1]
        assert (row.effort, row.recall, row.reached) == (4, 1.0, True)
        made.search(vectors(2), 3)
        made.search(vectors(2), 3, effort=16)
        assert made.index.asked[-2:] == [4, 16]
        again = Auto(enough=0).from_arrays(made.arrays())
        assert (again.name, again.effort, again.measured) == ("quick", 4, made.measured)

    def test_sample_decides_which_index_is_built(self, fakes, monkeypatch):
        monkeypatch.setattr("segue.index.auto.SAMPLED_ITEMS", 100)
        made = self.compared(fakes, quick={})
        assert [(row.index, row.items) for row in made.measured] == [
            ("exact", 300), ("quick", 100), ("quick", 300),
        ]  # fmt: skip
        assert made.name == "quick"
        assert len(made) == 300

    def test_memory_is_a_limit(self, fakes):
        made = self.compared(fakes, Auto(enough=0, memory=50_000), big={"size": 60_000})
        assert made.name == "exact"
        assert not made.measured[1].reached

    def test_unsupported_metric_is_no_candidate(self, fakes, caplog):
        with caplog.at_level("INFO", "segue"):
            made = self.compared(fakes, Auto(enough=0, metric="cosine"), dots={})
        assert [row.index for row in made.measured] == ["exact"]
        assert [(note.levelname, note.getMessage()) for note in caplog.records] == [
            ("INFO", "only exact search supports metric='cosine'")
        ]


def test_the_choice_survives_its_arrays():
    made = Auto(seed=3).build(vectors())
    again = Auto(seed=3).from_arrays(made.arrays())
    assert again.measured == made.measured
    assert again.name == made.name
    queries = vectors(5, seed=1)
    np.testing.assert_array_equal(again.search(queries, 4).ids, made.search(queries, 4).ids)


@pytest.mark.parametrize(
    "changes", [{"name": "nothing"}, {"effort": 0}, {"effort": "much"}, {"measured": [{"us": 1}]}, None]
)
def test_damaged_choices(changes):
    arrays = Auto().build(vectors()).arrays()
    told = json.loads(arrays["choice"].tobytes())
    bad = b"\xff{" if changes is None else json.dumps({**told, **changes}).encode()
    with pytest.raises(DataError, match="chosen index"):
        Auto().from_arrays({**arrays, "choice": np.frombuffer(bad, np.uint8)})
    del arrays["choice"]
    with pytest.raises(DataError, match="the arrays describe no chosen index"):
        Auto().from_arrays(arrays)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"recall": 0}, "Auto(recall=0) must be above 0 and at most 1"),
        ({"recall": 1.5}, "Auto(recall=1.5) must be above 0 and at most 1"),
        ({"sample": "few"}, "Auto(sample='few') must be 'batch' or 'single'"),
        ({"memory": 0}, "Auto(memory=0) must be a number of bytes, or None"),
        ({"enough": -1}, "Auto(enough=-1) must be microseconds, 0 or more, or None"),
        ({"enough": float("nan")}, "Auto(enough=nan) must be microseconds, 0 or more, or None"),
    ],
)
def test_invalid_settings(settings, told):
    with pytest.raises(SettingError) as error:
        Auto(**settings)
    assert str(error.value) == told


def test_model_folder_stores_the_measurements(tmp_path):
    data = segue.data.simulate(users=60, items=40, interactions=900, seed=0)
    saved = segue.Recommender(segue.IALS(dim=4), Auto(enough=1e9, recall=0.9)).fit(data).save(tmp_path / "m")
    found = segue.load(tmp_path / "m")
    assert found.settings.index == Auto(enough=1e9, recall=0.9)
    assert found.index.measured == saved.index.measured
    assert found.recommend(k=3).equals(saved.recommend(k=3))


def test_single_queries():
    made = Auto(sample="single", enough=0).build(vectors(50))
    assert made.name in INDEXES
    assert made.measured[0].us > 0


class TestClimb:
    def measured(self, recalls):
        tried = []

        def measure(place):
            tried.append(place)
            return Point(place, recalls[place], float(place + 1))

        return measure, tried

    def test_finds_the_first_that_reaches_the_target(self):
        recalls = [0.1, 0.2, 0.5, 0.6, 0.7, 0.8, 0.96, 0.97, 0.995, 1.0]
        measure, tried = self.measured(recalls)
        points = climb(list(range(10)), measure, 0.95)
        assert min(point.setting for point in points if point.recall >= 0.95) == 6
        assert tried[:3] == [0, 4, 8]
        assert len(tried) < 10

    def test_stops_if_leaps_gain_nothing_or_take_too_long(self):
        measure, tried = self.measured([0.5] * 20)
        climb(list(range(20)), measure, 0.95)
        assert tried == [0, 4]
        measure, tried = self.measured([place / 100 for place in range(40)])
        climb(list(range(40)), measure, 0.95, limit=8.5)
        assert tried == [0, 4, 8]

    def test_one_setting(self):
        measure, tried = self.measured([1.0])
        assert [point.setting for point in climb([0], measure, 0.95)] == [0]
        assert tried == [0]


def test_geometric_steps():
    assert geometric(1, 1) == [1]
    assert geometric(5, 3) == [3]
    steps = geometric(10, 1000)
    assert steps[0] == 10
    assert steps[-1] == 1000
    assert all(b / a < 1.3 for a, b in itertools.pairwise(steps))
