"""`segue bench`: the comparison of indexes, its recall, plot and tables."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import segue
from segue.bench import chart
from segue.bench.compare import compare
from segue.bench.ground_truth import GroundTruth
from segue.bench.numpy_peer import NUMPY
from segue.bench.peer import lifted
from segue.bench.peers import PEERS
from segue.bench.segue_indexes import build_index
from segue.cli import app
from segue.errors import DataError, SettingError
from segue.index.registry import INDEXES, concrete_indexes


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


def test_every_index_has_a_row(compared):
    assert [row["index"] for row in compared.rows] == [*concrete_indexes(), "numpy"]
    for row in compared.rows:
        assert row["reached"] == (row["recall"] >= 0.95)
        assert row["us"] > 0
        assert row["single_us"] > 0
        assert (row["mib"] is None) == (row["index"] == "numpy")
    assert (compared.k, compared.items, compared.queries) == (5, 80, 64)


def test_exact_search_has_full_recall_and_no_cost(compared, trained, parts):
    row = compared.rows[0]
    assert (row["recall"], row["ndcg_cost"], row["recall_cost"]) == (1, 0, 0)
    evaluated = segue.evaluate(trained, parts[1], k=5, baselines=())
    assert row["ndcg_test"] == pytest.approx(evaluated["ndcg@5"])
    assert row["recall_test"] == pytest.approx(evaluated["recall@5"])


def test_lost_recall_is_reported(trained, parts, monkeypatch):
    """An index that finds only items of even rows loses the recall of the others."""

    class Even(type(trained.index.index)):
        def search(self, queries, k, *, exclude=None, allow=None, effort=None, progress=None):
            return super().search(queries, k, exclude=exclude, allow=np.arange(len(self)) % 2 == 0)

    class Kind:
        def build(self, vectors, *, queries=None, progress=None):
            index = segue.Exact().build(vectors)
            return Even(index.settings, index.vectors, index.layout)

    monkeypatch.setitem(INDEXES, "even", Kind)
    comparison = compare(trained, parts[1], k=5, queries=64, indexes=["even"], peers=())
    exact, even = comparison.rows
    assert even["recall"] < 0.8
    assert not even["reached"]
    assert even["recall_cost"] == pytest.approx(even["recall_test"] - exact["recall_test"])
    assert even["recall_cost"] < 0
    assert even["ndcg_cost"] < -even["ndcg_cost_error"] < 0


def test_no_costs_without_a_test_set(trained):
    comparison = compare(trained, k=200, queries=16, indexes=(), peers=())
    assert len(comparison.rows) == 1
    assert "ndcg_test" not in comparison.rows[0]
    assert comparison.k == 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"indexes": ["tree"]}, "there is no index 'tree'; there are exact"),
        ({"peers": ["nobody"]}, "there is no library 'nobody'; there are faiss flat, numpy"),
        ({"target": 0}, "target=0 must be above 0 and at most 1"),
        ({"target": 2}, "target=2 must be above 0 and at most 1"),
        ({"queries": 0}, "queries=0 must be a whole number of at least 1"),
        ({"k": 0}, "k=0 must be a whole number of at least 1"),
    ],
)
def test_invalid_arguments(trained, arguments, message):
    with pytest.raises(SettingError) as error:
        compare(trained, **arguments)
    assert str(error.value).startswith(message)


def test_no_users_to_measure(trained, parts):
    frame = pl.DataFrame({"user": ["x", "y"], "item": ["1", "2"]})
    strangers = segue.read_interactions(frame, user="user", item="item")
    with pytest.raises(DataError, match="has a history to recommend from"):
        compare(trained, strangers, peers=())


class TestGroundTruth:
    items = np.array([[1, 0], [0, 1], [2, 0], [1, 1]], np.float32)
    queries = np.array([[1, 0], [0, 2]], np.float32)

    @pytest.mark.parametrize(
        ("metric", "kth"),
        [("dot", [1, 2]), ("cosine", [1, 0.5**0.5]), ("euclidean", [0, -0.5])],
    )
    def test_the_second_best(self, metric, kth):
        second = GroundTruth(self.items, self.queries, metric).kth_scores((2,), 1)[0]
        expected = {"dot": [1, 2], "cosine": [1, 0.5**0.5]}.get(metric)
        if expected is None:  # q·x − |x|²/2 is the order of the distance
            scores = self.queries @ self.items.T - (self.items**2).sum(1) / 2
            expected = np.sort(scores, 1)[:, -2]
        np.testing.assert_allclose(second, expected)

    def test_recall_counts_repeats_once_and_accepts_ties(self):
        truth = GroundTruth(self.items, self.queries, "dot")
        kth = truth.kth_scores((2,), 1)[0]
        assert truth.recall(np.array([[2, 0], [1, 3]]), kth) == 1
        assert truth.recall(np.array([[2, 3], [3, 1]]), kth) == 1
        assert truth.recall(np.array([[2, 2], [1, 0]]), kth) == 0.5
        assert truth.recall(np.array([[-1, -1], [7, 1]]), kth) == 0.25


def test_rounding_far_from_the_origin():
    """The rounding error is relative to the distance, not to the lengths of the vectors."""
    items = np.array([[3000, 4000], [3001, 4000], [3002, 4000]], np.float32)
    truth = GroundTruth(items, items[:1], "euclidean")
    kth = truth.kth_scores((1,), 1)[0]
    assert [truth.recall(np.array([[item]]), kth) for item in range(3)] == [1, 0, 0]


def test_a_saved_index_is_loaded_if_its_settings_match(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((300, 8), np.float32)
    first, index = build_index(segue.index.HNSW(m=4), "segue hnsw", vectors, vectors, tmp_path)
    again, loaded = build_index(segue.index.HNSW(m=4), "segue hnsw", vectors, vectors, tmp_path)
    assert again.build_s == first.build_s
    np.testing.assert_array_equal(again.search(vectors, 5, 32), first.search(vectors, 5, 32))
    for name, array in index.arrays().items():
        np.testing.assert_array_equal(loaded.arrays()[name], array)
    assert loaded.graph.records.ctypes.data % 64 == 0
    other, _ = build_index(segue.index.HNSW(m=5), "segue hnsw", vectors, vectors, tmp_path)
    assert other.build_s != first.build_s


@pytest.mark.parametrize("metric", ["dot", "cosine", "euclidean"])
def test_numpy_is_exact(metric):
    random = np.random.default_rng(0)
    items, queries = random.standard_normal((50, 6), np.float32), random.standard_normal((9, 6), np.float32)
    truth = GroundTruth(items, queries, metric)
    ids = NUMPY.build(items, metric, 1, None)(queries, 5, None)
    assert truth.recall(ids, truth.kth_scores((5,), 1)[0]) == 1


def test_lifting_preserves_the_order():
    random = np.random.default_rng(0)
    items, queries = random.lognormal(size=(50, 6)).astype(np.float32), random.random((9, 6), np.float32)
    straight = NUMPY.build(items, "dot", 1, None)(queries, 50, None)
    np.testing.assert_array_equal(lifted(NUMPY).build(items, "dot", 1, None)(queries, 50, None), straight)


def test_names_of_libraries_are_unique():
    assert all(peer.name == name for name, peer in PEERS.items())


class TestChart:
    def test_frontier(self):
        rows = [{"points": [(1, 0.4, 1), (2, 0.6, 2), (3, 0.7, 4), (4, 0.65, 8), (5, 0.9, 10)]}]
        assert chart.frontier(rows) == [(0.6, 5e5), (0.7, 2.5e5), (0.9, 1e5)]

    def test_image_file(self, compared, tmp_path):
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

    def test_table_and_plot(self, folder):
        plot = folder / "plot.svg"
        result = self.run(
            folder / "model", folder / "test.csv", "-k", 5, "--queries", 32, "--index", "exact",
            "--peer", "numpy", "--plot", plot, "-q",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        lines = result.stdout.splitlines()
        assert lines[0].startswith("80 items × 8, 32 users, 5 neighbors each, ")
        assert lines[0].endswith("each index at its first setting with recall 0.95")
        assert lines[1].split("  ")[0] == "index"
        assert "test ndcg@5" in lines[1]
        assert {line.split()[0] for line in lines[2:4]} == {"exact", "numpy"}
        assert b"<svg" in plot.read_bytes()

    def test_json(self, folder):
        result = self.run(folder / "model", "--no-peers", "--queries", 32, "--index", "exact", "--json", "-q")
        payload = json.loads(result.stdout)
        assert payload["rows"][0]["index"] == "exact"
        assert payload["rows"][0]["recall"] == 1
        assert (payload["k"], payload["target"], payload["items"]) == (10, 0.95, 80)

    def test_an_invalid_plot_file_fails_before_the_work(self, folder):
        result = self.run(folder / "model", "--plot", "plot.txt")
        assert isinstance(result.exception, SettingError)
        assert not Path("plot.txt").exists()
