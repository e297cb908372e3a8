"""`segue bench`: the comparison of indexes, recall by hand, its plot and its tables."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import segue
from segue.bench import chart
from segue.bench.compare import compare
from segue.bench.ours import runner
from segue.bench.peers import NUMPY, PEERS, lifted
from segue.bench.truth import Truth
from segue.cli import app
from segue.errors import DataError, SettingError
from segue.index.kinds import KINDS


@pytest.fixture(scope="module")
def parts():
    data = segue.data.simulate(users=150, items=80, interactions=3000, seed=0)
    return data.split(test=0.2, by="random", seed=0)


@pytest.fixture(scope="module")
def trained(parts):
    return segue.Recommender(segue.IALS(dim=8)).fit(parts[0])


@pytest.fixture(scope="module")
def compared(trained, parts):
    return compare(trained, parts[1], k=5, queries=64, peers=["numpy"])


def test_every_index_of_ours_has_a_row(compared):
    assert [row["index"] for row in compared.rows] == [*KINDS, "numpy"]
    for row in compared.rows:
        assert row["reached"] == (row["recall"] >= 0.95)
        assert row["us"] > 0
        assert row["single_us"] > 0
        assert (row["mib"] is None) == (row["index"] == "numpy")
    assert (compared.k, compared.items, compared.queries) == (5, 80, 64)


def test_exact_search_finds_everything_and_costs_nothing(compared, trained, parts):
    row = compared.rows[0]
    assert (row["recall"], row["ndcg_cost"], row["recall_cost"]) == (1, 0, 0)
    evaluated = segue.evaluate(trained, parts[1], k=5, baselines=())
    assert row["ndcg_test"] == pytest.approx(evaluated["ndcg@5"])
    assert row["recall_test"] == pytest.approx(evaluated["recall@5"])


def test_what_is_lost_is_told(trained, parts, monkeypatch):
    """An index that finds only even items loses the odd ones' share of recall."""

    class Even(type(trained.index.index)):
        def search(self, queries, k, *, exclude=None, allow=None, effort=None, progress=None):
            return super().search(queries, k, exclude=exclude, allow=np.arange(len(self)) % 2 == 0)

    class Kind:
        def build(self, vectors, *, queries=None, progress=None):
            made = segue.Exact().build(vectors)
            return Even(made.settings, made.vectors, made.layout)

    monkeypatch.setitem(KINDS, "even", Kind)
    found = compare(trained, parts[1], k=5, queries=64, indexes=["even"], peers=())
    exact, even = found.rows
    assert even["recall"] < 0.8
    assert not even["reached"]
    assert even["recall_cost"] == pytest.approx(even["recall_test"] - exact["recall_test"])
    assert even["recall_cost"] < 0
    assert even["ndcg_cost"] < -even["ndcg_cost_error"] < 0


def test_without_a_test_set_there_are_no_costs(trained):
    found = compare(trained, k=200, queries=16, indexes=(), peers=())
    assert len(found.rows) == 1
    assert "ndcg_test" not in found.rows[0]
    assert found.k == 80


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({"indexes": ["tree"]}, "there is no index 'tree'; there are exact"),
        ({"peers": ["nobody"]}, "there is no library 'nobody'; there are faiss flat, numpy"),
        ({"target": 0}, "target=0 must be above 0 and at most 1"),
        ({"target": 2}, "target=2 must be above 0 and at most 1"),
        ({"queries": 0}, "queries=0 must be a whole number of at least 1"),
        ({"k": 0}, "k=0 must be a whole number of at least 1"),
    ],
)
def test_refused(trained, named, told):
    with pytest.raises(SettingError) as error:
        compare(trained, **named)
    assert str(error.value).startswith(told)


def test_nobody_to_measure(trained, parts):
    frame = pl.DataFrame({"user": ["x", "y"], "item": ["1", "2"]})
    strangers = segue.read_interactions(frame, user="user", item="item")
    with pytest.raises(DataError, match="has a history to recommend from"):
        compare(trained, strangers, peers=())


class TestTruth:
    items = np.array([[1, 0], [0, 1], [2, 0], [1, 1]], np.float32)
    queries = np.array([[1, 0], [0, 2]], np.float32)

    @pytest.mark.parametrize(
        ("metric", "kth"),
        [("dot", [1, 2]), ("cosine", [1, 0.5**0.5]), ("euclidean", [0, -0.5])],
    )
    def test_the_second_best(self, metric, kth):
        found = Truth(self.items, self.queries, metric).kth((2,), 1)[0]
        wanted = {"dot": [1, 2], "cosine": [1, 0.5**0.5]}.get(metric)
        if wanted is None:  # q·x − |x|²/2 is the order of the distance
            scores = self.queries @ self.items.T - (self.items**2).sum(1) / 2
            wanted = np.sort(scores, 1)[:, -2]
        np.testing.assert_allclose(found, wanted)

    def test_recall_counts_each_once_and_ties_as_right(self):
        truth = Truth(self.items, self.queries, "dot")
        kth = truth.kth((2,), 1)[0]
        assert truth.recall(np.array([[2, 0], [1, 3]]), kth) == 1
        assert truth.recall(np.array([[2, 3], [3, 1]]), kth) == 1
        assert truth.recall(np.array([[2, 2], [1, 0]]), kth) == 0.5
        assert truth.recall(np.array([[-1, -1], [7, 1]]), kth) == 0.25


def test_far_from_the_origin_the_second_nearest_is_not_the_nearest():
    """A distance is as exact as itself, not as the lengths of the vectors."""
    items = np.array([[3000, 4000], [3001, 4000], [3002, 4000]], np.float32)
    truth = Truth(items, items[:1], "euclidean")
    kth = truth.kth((1,), 1)[0]
    assert [truth.recall(np.array([[item]]), kth) for item in range(3)] == [1, 0, 0]


def test_an_index_is_kept_for_the_next_run_of_the_same_settings(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((300, 8), np.float32)
    first, index = runner(segue.index.HNSW(m=4), "segue hnsw", vectors, vectors, tmp_path)
    again, loaded = runner(segue.index.HNSW(m=4), "segue hnsw", vectors, vectors, tmp_path)
    assert again.build_s == first.build_s
    np.testing.assert_array_equal(again.search(vectors, 5, 32), first.search(vectors, 5, 32))
    for name, array in index.arrays().items():
        np.testing.assert_array_equal(loaded.arrays()[name], array)
    assert loaded.graph.records.ctypes.data % 64 == 0
    other, _ = runner(segue.index.HNSW(m=5), "segue hnsw", vectors, vectors, tmp_path)
    assert other.build_s != first.build_s


@pytest.mark.parametrize("metric", ["dot", "cosine", "euclidean"])
def test_numpy_is_exact(metric):
    random = np.random.default_rng(0)
    items, queries = random.standard_normal((50, 6), np.float32), random.standard_normal((9, 6), np.float32)
    truth = Truth(items, queries, metric)
    ids = NUMPY.build(items, metric, 1, None)(queries, 5, None)
    assert truth.recall(ids, truth.kth((5,), 1)[0]) == 1


def test_lifting_keeps_the_order():
    random = np.random.default_rng(0)
    items, queries = random.lognormal(size=(50, 6)).astype(np.float32), random.random((9, 6), np.float32)
    straight = NUMPY.build(items, "dot", 1, None)(queries, 50, None)
    np.testing.assert_array_equal(lifted(NUMPY).build(items, "dot", 1, None)(queries, 50, None), straight)


def test_names_of_libraries_are_distinct():
    assert all(peer.name == name for name, peer in PEERS.items())


class TestChart:
    def test_the_frontier(self):
        rows = [{"points": [(1, 0.4, 1), (2, 0.6, 2), (3, 0.7, 4), (4, 0.65, 8), (5, 0.9, 10)]}]
        assert chart.frontier(rows) == [(0.6, 5e5), (0.7, 2.5e5), (0.9, 1e5)]

    def test_a_picture(self, compared, tmp_path):
        chart.draw({"these": compared.curves, "those": compared.curves}, tmp_path / "plot.png")
        assert (tmp_path / "plot.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def folder(trained, parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    trained.save(folder / "model")
    pairs = parts[1].matrix.tocoo()
    lines = [
        f"{parts[1].users.series[int(u)]},{parts[1].items.series[int(i)]}\n"
        for u, i in zip(pairs.row, pairs.col, strict=True)
    ]
    (folder / "test.csv").write_text("user_id,item_id\n" + "".join(lines))
    return folder


class TestCommand:
    def run(self, *line):
        return CliRunner().invoke(app, ["bench", *map(str, line)], env={"COLUMNS": "200"})

    def test_a_table_and_a_plot(self, folder):
        plot = folder / "plot.svg"
        told = self.run(
            folder / "model", folder / "test.csv", "-k", 5, "--queries", 32, "--index", "exact",
            "--peer", "numpy", "--plot", plot, "-q",
        )  # fmt: skip
        assert told.exit_code == 0, told.output
        lines = told.stdout.splitlines()
        assert lines[0].startswith("80 items × 8, 32 users asked for 5 with ")
        assert lines[0].endswith("each at the first setting that finds 0.95 of them")
        assert lines[1].split("  ")[0] == "index"
        assert "test ndcg@5" in lines[1]
        assert {line.split()[0] for line in lines[2:4]} == {"exact", "numpy"}
        assert b"<svg" in plot.read_bytes()

    def test_json(self, folder):
        told = self.run(folder / "model", "--no-peers", "--queries", 32, "--index", "exact", "--json", "-q")
        found = json.loads(told.stdout)
        assert found["rows"][0]["index"] == "exact"
        assert found["rows"][0]["recall"] == 1
        assert (found["k"], found["target"], found["items"]) == (10, 0.95, 80)

    def test_a_plot_that_cannot_be_drawn_is_refused_first(self, folder):
        told = self.run(folder / "model", "--plot", "plot.txt")
        assert isinstance(told.exception, SettingError)
        assert not Path("plot.txt").exists()
