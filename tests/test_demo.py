"""The demo: its parts, the model that it saves, and its fallback without a network."""

import io
import re
import shlex
from functools import partial

import numpy as np
import polars as pl
import pytest
from rich.console import Console

import movielens
import segue
from movielens import serving, unused_url
from segue import cli
from segue.cli import walkthrough as demo
from segue.data import download, simulate
from segue.errors import DataError

PARTS = [
    "1 · The data", "2 · Training", "3 · Evaluation", "4 · A user", "5 · Similar items", "6 · Next steps"
]  # fmt: skip


@pytest.fixture(autouse=True)
def _small(monkeypatch, tmp_path):
    """Use a small simulation, an empty cache and no proxy for the local server."""
    monkeypatch.setattr(demo, "SIMULATED", {"users": 80, "items": 120, "interactions": 3_000})
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def segue_at(capsys, monkeypatch):
    """Return a function that runs a command line and returns exit code, stdout and stderr."""

    def run(line):
        monkeypatch.setattr("sys.argv", shlex.split(line))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (ended.value.code, *capsys.readouterr())

    return run


def write_movielens(folder, data, titles=None):
    """Write interactions in the layout of MovieLens."""
    folder.mkdir()
    pairs = data.matrix.tocoo()
    pl.DataFrame(
        {
            "userId": data.users.ids[pairs.row],
            "movieId": data.items.ids[pairs.col],
            "rating": pairs.data,
            "timestamp": data.times.astype(np.int64),
        }
    ).write_csv(folder / "ratings.csv")
    table = data.item_metadata
    pl.DataFrame(
        {
            "movieId": data.items.ids,
            "title": table.select(pl.format("{} ({})", "title", "year")).to_series()
            if titles is None
            else titles,
            "genres": table["genres"].list.join("|"),
        }
    ).write_csv(folder / "movies.csv")
    return folder


def parts_of(output):
    """Return the text of each part by its number."""
    found = re.split(r"^(?=[1-6] · )", output, flags=re.MULTILINE)
    assert found[0] == ""
    assert [text.partition(":")[0] for text in found[1:]] == PARTS
    return dict(enumerate(found[1:], 1))


def rows_of(text):
    """Return the fields of table rows that begin with an id."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if re.match(r"\s*\d+  ", line)]


class TestSimulated:
    @pytest.fixture
    def output(self, segue_at):
        code, output, errors = segue_at("segue demo --simulated -o made")
        assert code == 0
        assert "training: 16 in" in errors
        return parts_of(output)

    def test_all_parts(self, output):
        data = simulate(80, 120, 3_000, seed=0)
        counts = np.bincount(data.matrix.indices, minlength=120)
        assert "80 users × 120 items, 3,000 interactions (31% of all pairs)" in output[1]
        assert [int(row[-1]) for row in rows_of(output[1])] == sorted(counts.tolist())[::-1][:8]
        assert "iALS trains on 2,400 of them; 600 are held out" in output[2]
        assert re.search(r"^metric +model +popularity +item-knn *$", output[3], re.MULTILINE)
        assert re.search(
            r"^ndcg@10 +0\.\d{4} ± 0\.\d{4} +0\.\d{4} ± 0\.\d{4} +0\.\d{4} ± 0\.\d{4}",
            output[3],
            re.MULTILINE,
        )

    def test_saved_model_gives_the_printed_lists(self, output):
        trained = segue.load("made")
        user = int(re.search(r"user (\d+) has (\d+) items", output[4])[1])
        history, lists = output[4].split("Recommendations out of 120 items\n")
        had = rows_of(history)
        seen = trained.histories(trained.users.rows(user))
        assert len(had) == 8
        assert f"has {seen.nnz} items" in output[4]
        assert {int(row[0]) for row in had} <= set(trained.items.ids[seen.indices].tolist())
        expected = trained.recommend(user, 8)
        assert [int(row[0]) for row in rows_of(lists)] == expected["item_id"].to_list()
        assert [row[1] for row in rows_of(lists)] == expected["title"].to_list()
        assert [row[-1] for row in rows_of(lists)] == [f"{score:.4f}" for score in expected["score"]]
        item = had[0][0]
        assert f"nearest to {had[0][1]} (item {item}), an item of user {user}" in output[5]
        similar = trained.similar(item, 8)
        assert [int(row[0]) for row in rows_of(output[5])] == similar["neighbor_id"].to_list()
        assert trained.metrics["ndcg@10"] == pytest.approx(
            float(re.search(r"ndcg@10 +(\S+)", output[3])[1]), abs=1e-4
        )
        assert f"the model is in made (version {trained.version})" in output[6]

    def test_suggested_commands_work(self, output, segue_at):
        lines = [line for line in output[6].splitlines() if line.startswith("  segue ")]
        commands = [line.strip().split("  ")[0] for line in lines]
        purposes = [line.rindex("  ") for line in lines]
        assert len(commands) == 5
        assert len(set(purposes)) == 1, "in columns"
        for command in commands[:4]:
            code, _, errors = segue_at(command)
            assert (command, code) == (command, 0), errors
        assert commands[4] == "segue fit ratings.csv -o model"

    def test_seed_of_the_simulation(self, output, segue_at):
        _, again, _ = segue_at("segue demo --simulated -o again -q")
        _, other, _ = segue_at("segue demo --simulated -o other -q --seed 1")
        assert parts_of(again)[4] == output[4]
        assert parts_of(other)[4] != output[4]


def test_quiet_prints_no_progress(segue_at):
    assert segue_at("segue demo --simulated -q")[2] == ""
    assert segue.load("segue-demo").version


class TestFolder:
    def test_folder_of_movielens_files(self, tmp_path, segue_at):
        folder = write_movielens(tmp_path / "ml", simulate(60, 90, 1_500, seed=4))
        code, output, _ = segue_at("segue demo --data ml -o made")
        assert code == 0
        assert parts_of(output)[1].startswith(f"1 · The data: MovieLens in {folder.name}\n  60 users × ")
        found = segue_at("segue recommend made --user 7 -k 3 --json")
        assert found[0] == 0

    def test_titles_are_printed_literally(self, tmp_path, segue_at):
        """Square brackets and colons are markup in the library that prints tables."""
        data = simulate(60, 90, 1_500, seed=4)
        write_movielens(tmp_path / "ml", data, [f"[rec] [bold]{n}[/] :smile: (2007)" for n in data.items.ids])
        code, output, _ = segue_at("segue demo --data ml -o [red]made")
        parts = parts_of(output)
        assert code == 0
        assert re.search(r"nearest to \[rec\] \[bold\]\d+\[/\] :smile: \(item \d+\)", parts[5])
        assert all(re.fullmatch(r"\[rec\] \[bold\]\d+\[/\] :smile:", row[1]) for row in rows_of(parts[4]))
        assert "the model is in [red]made (version " in parts[6]
        assert "segue similar '[red]made' --item" in parts[6]

    def test_without_movies(self, tmp_path, segue_at):
        folder = write_movielens(tmp_path / "ml", simulate(60, 90, 1_500, seed=4))
        (folder / "movies.csv").unlink()
        code, output, _ = segue_at("segue demo --data ml -o made")
        assert code == 0
        assert re.search(r"nearest to item \d+, an item of user \d+", parts_of(output)[5])

    def test_eighty_columns(self, tmp_path):
        data = simulate(60, 90, 1_500, seed=4)
        write_movielens(
            tmp_path / "ml", data, [f"A title that goes on and on, number {n:03}" for n in data.items.ids]
        )
        found, what = demo.load_demo_data(tmp_path / "ml", simulated=False, seed=0)
        output = io.StringIO()
        demo.run_demo(found, what, tmp_path / "made", Console(width=80, file=output), progress=False)
        lines = output.getvalue().splitlines()
        assert max(map(len, lines)) <= 80
        assert any(line.startswith("  segue similar ") for line in lines)

    @pytest.mark.parametrize("name", ["nowhere", "."])
    def test_folder_without_movielens(self, segue_at, name):
        code, output, errors = segue_at(f"segue demo --data {name}")
        assert (code, output) == (2, "")
        assert re.fullmatch(r"segue: (there is no file nowhere|the folder \. is not MovieLens: .*)\n", errors)


class TestDownload:
    @pytest.fixture
    def from_url(self, monkeypatch):
        """Return a function that makes the demo download from another URL."""
        monkeypatch.setattr(download, "SHA256", movielens.checksums())
        return lambda url: monkeypatch.setattr(
            demo, "movielens_small", partial(download.movielens_small, url=url)
        )

    def test_movielens_is_downloaded_once(self, from_url, tmp_path):
        with serving(movielens.archive()) as (url, paths):
            from_url(url)
            for _ in range(2):
                data, what = demo.load_demo_data(None, simulated=False, seed=0)
                assert repr(data) == "Interactions(120 users × 390 items, 7,945 interactions)"
                assert what == "MovieLens small (GroupLens, for research; grouplens.org)"
            assert len(paths) == 1
        assert data.item_metadata["title"][0] == "Clockwork Parade"
        assert (tmp_path / "cache" / "ml-latest-small" / "ratings.csv").is_file()

    @pytest.mark.parametrize("trouble", ["wrong bytes", "404", "no server"])
    def test_failed_download_falls_back_to_a_simulation(self, from_url, segue_at, trouble):
        answers = {
            "wrong bytes": (
                serving(movielens.archive(movies=b"movieId\n")),
                r"movies\.csv from http://127.* is not the expected edition",
            ),
            "404": (serving(b"", status=404), r"http://127.* cannot be downloaded: .*"),
        }
        if trouble == "no server":
            from_url(unused_url())
            code, output, errors = segue_at("segue demo")
            why = r"http://127.* cannot be downloaded: .*refused"
        else:
            server, why = answers[trouble]
            with server as (url, paths):
                from_url(url)
                code, output, errors = segue_at("segue demo")
            assert len(paths) == 1
        assert code == 0
        assert re.match(rf"1 · The data: simulated, because {why}", output)
        assert "80 users × 120 items" in parts_of(output)[1]
        assert "Traceback" not in errors
        assert segue.load("segue-demo").version

    def test_simulated_downloads_nothing(self, from_url):
        with serving(movielens.archive()) as (url, paths):
            from_url(url)
            assert demo.load_demo_data(None, simulated=True, seed=0)[1] == "simulated"
        assert paths == []

    def test_other_errors_are_not_hidden(self, monkeypatch):
        def broken(cache):
            raise AssertionError("a bug")

        monkeypatch.setattr(demo, "movielens_small", broken)
        with pytest.raises(AssertionError, match="a bug"):
            demo.load_demo_data(None, simulated=False, seed=0)


def test_folder_that_is_not_a_model_is_left_alone(tmp_path, segue_at):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    code, _, errors = segue_at("segue demo --simulated -q -o mine")
    assert code == 2
    expected = "it contains letter.txt; name a new or empty folder, or a model folder"
    assert errors == f"segue: mine is not a model folder: {expected}\n"
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_size_of_the_simulation(monkeypatch):
    monkeypatch.undo()
    assert demo.SIMULATED == {"users": 2000, "items": 5000, "interactions": 200_000}
    with pytest.raises(DataError, match="there is no file"):
        demo.load_demo_data(demo.Path("nowhere"), simulated=True, seed=0)
