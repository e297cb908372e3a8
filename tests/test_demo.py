"""The demo: every part of it, the model that it leaves, and what it does without a network."""

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
    """A small simulation, a cache that is empty, and no proxy on the way to this machine."""
    monkeypatch.setattr(demo, "SIMULATED", {"users": 80, "items": 120, "interactions": 3_000})
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def segue_at(capsys, monkeypatch):
    """Run a line of the shell; gives the exit code, the output and the error stream."""

    def run(line):
        monkeypatch.setattr("sys.argv", shlex.split(line))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (ended.value.code, *capsys.readouterr())

    return run


def write_movielens(folder, data, titles=None):
    """Interactions as MovieLens would publish them."""
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


def parts_of(told):
    """The text of each part, by its number."""
    found = re.split(r"^(?=[1-6] · )", told, flags=re.MULTILINE)
    assert found[0] == ""
    assert [text.partition(":")[0] for text in found[1:]] == PARTS
    return dict(enumerate(found[1:], 1))


def rows_of(text):
    """The lines of the tables in a part that begin with an id, as their fields."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if re.match(r"\s*\d+  ", line)]


class TestSimulated:
    @pytest.fixture
    def told(self, segue_at):
        code, told, errors = segue_at("segue demo --simulated -o made")
        assert code == 0
        assert "training: 16 in" in errors
        return parts_of(told)

    def test_all_parts_with_what_they_promise(self, told):
        data = simulate(80, 120, 3_000, seed=0)
        counts = np.bincount(data.matrix.indices, minlength=120)
        assert "80 users × 120 items, 3,000 interactions (31% of all pairs)" in told[1]
        assert [int(row[-1]) for row in rows_of(told[1])] == sorted(counts.tolist())[::-1][:8]
        assert "iALS trains on 2,400 of them; 600 are held out" in told[2]
        assert re.search(r"^metric +model +popularity +item-knn *$", told[3], re.MULTILINE)
        assert re.search(
            r"^ndcg@10 +0\.\d{4} ± 0\.\d{4} +0\.\d{4} ± 0\.\d{4} +0\.\d{4} ± 0\.\d{4}", told[3], re.MULTILINE
        )

    def test_the_model_gives_what_was_shown(self, told):
        trained = segue.load("made")
        user = int(re.search(r"user (\d+) has (\d+) items", told[4])[1])
        history, lists = told[4].split("Recommendations out of 120 items\n")
        had = rows_of(history)
        seen = trained.histories(trained.users.rows(user))
        assert len(had) == 8
        assert f"has {seen.nnz} items" in told[4]
        assert {int(row[0]) for row in had} <= set(trained.items.ids[seen.indices].tolist())
        wanted = trained.recommend(user, 8)
        assert [int(row[0]) for row in rows_of(lists)] == wanted["item_id"].to_list()
        assert [row[1] for row in rows_of(lists)] == wanted["title"].to_list()
        assert [row[-1] for row in rows_of(lists)] == [f"{score:.4f}" for score in wanted["score"]]
        item = had[0][0]
        assert f"nearest to {had[0][1]} (item {item}), an item of user {user}" in told[5]
        similar = trained.similar(item, 8)
        assert [int(row[0]) for row in rows_of(told[5])] == similar["neighbor_id"].to_list()
        assert trained.metrics["ndcg@10"] == pytest.approx(
            float(re.search(r"ndcg@10 +(\S+)", told[3])[1]), abs=1e-4
        )
        assert f"the model is in made (version {trained.version})" in told[6]

    def test_what_to_type_next_works(self, told, segue_at):
        lines = [line for line in told[6].splitlines() if line.startswith("  segue ")]
        commands = [line.strip().split("  ")[0] for line in lines]
        purposes = [line.rindex("  ") for line in lines]
        assert len(commands) == 5
        assert len(set(purposes)) == 1, "in columns"
        for command in commands[:4]:
            code, _, errors = segue_at(command)
            assert (command, code) == (command, 0), errors
        assert commands[4] == "segue fit ratings.csv -o model"

    def test_the_seed_is_that_of_the_simulation(self, told, segue_at):
        _, again, _ = segue_at("segue demo --simulated -o again -q")
        _, other, _ = segue_at("segue demo --simulated -o other -q --seed 1")
        assert parts_of(again)[4] == told[4]
        assert parts_of(other)[4] != told[4]


def test_quiet_says_nothing_beside_the_answer(segue_at):
    assert segue_at("segue demo --simulated -q")[2] == ""
    assert segue.load("segue-demo").version


class TestFolder:
    def test_files_like_those_of_movielens(self, tmp_path, segue_at):
        folder = write_movielens(tmp_path / "ml", simulate(60, 90, 1_500, seed=4))
        code, told, _ = segue_at("segue demo --data ml -o made")
        assert code == 0
        assert parts_of(told)[1].startswith(f"1 · The data: MovieLens in {folder.name}\n  60 users × ")
        found = segue_at("segue recommend made --user 7 -k 3 --json")
        assert found[0] == 0

    def test_titles_are_shown_as_they_are(self, tmp_path, segue_at):
        """Square brackets and colons mean something to the library that draws tables."""
        data = simulate(60, 90, 1_500, seed=4)
        write_movielens(tmp_path / "ml", data, [f"[rec] [bold]{n}[/] :smile: (2007)" for n in data.items.ids])
        code, told, _ = segue_at("segue demo --data ml -o [red]made")
        parts = parts_of(told)
        assert code == 0
        assert re.search(r"nearest to \[rec\] \[bold\]\d+\[/\] :smile: \(item \d+\)", parts[5])
        assert all(re.fullmatch(r"\[rec\] \[bold\]\d+\[/\] :smile:", row[1]) for row in rows_of(parts[4]))
        assert "the model is in [red]made (version " in parts[6]
        assert "segue similar '[red]made' --item" in parts[6]

    def test_without_movies(self, tmp_path, segue_at):
        folder = write_movielens(tmp_path / "ml", simulate(60, 90, 1_500, seed=4))
        (folder / "movies.csv").unlink()
        code, told, _ = segue_at("segue demo --data ml -o made")
        assert code == 0
        assert re.search(r"nearest to item \d+, an item of user \d+", parts_of(told)[5])

    def test_eighty_columns(self, tmp_path):
        data = simulate(60, 90, 1_500, seed=4)
        write_movielens(
            tmp_path / "ml", data, [f"A title that goes on and on, number {n:03}" for n in data.items.ids]
        )
        found, what = demo.load_demo_data(tmp_path / "ml", simulated=False, seed=0)
        told = io.StringIO()
        demo.run_demo(found, what, tmp_path / "made", Console(width=80, file=told), progress=False)
        lines = told.getvalue().splitlines()
        assert max(map(len, lines)) <= 80
        assert any(line.startswith("  segue similar ") for line in lines)

    @pytest.mark.parametrize("name", ["nowhere", "."])
    def test_no_movielens(self, segue_at, name):
        code, told, errors = segue_at(f"segue demo --data {name}")
        assert (code, told) == (2, "")
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
        with serving(movielens.archive()) as (url, asked):
            from_url(url)
            for _ in range(2):
                data, what = demo.load_demo_data(None, simulated=False, seed=0)
                assert repr(data) == "Interactions(120 users × 390 items, 7,945 interactions)"
                assert what == "MovieLens small (GroupLens, for research; grouplens.org)"
            assert len(asked) == 1
        assert data.item_metadata["title"][0] == "Clockwork Parade"
        assert (tmp_path / "cache" / "ml-latest-small" / "ratings.csv").is_file()

    @pytest.mark.parametrize("trouble", ["wrong bytes", "404", "no server"])
    def test_otherwise_simulated_and_why(self, from_url, segue_at, trouble):
        answers = {
            "wrong bytes": (
                serving(movielens.archive(movies=b"movieId\n")),
                r"movies\.csv from http://127.* is not the expected edition",
            ),
            "404": (serving(b"", status=404), r"http://127.* cannot be downloaded: .*"),
        }
        if trouble == "no server":
            from_url(unused_url())
            code, told, errors = segue_at("segue demo")
            why = r"http://127.* cannot be downloaded: .*refused"
        else:
            server, why = answers[trouble]
            with server as (url, asked):
                from_url(url)
                code, told, errors = segue_at("segue demo")
            assert len(asked) == 1
        assert code == 0
        assert re.match(rf"1 · The data: simulated, because {why}", told)
        assert "80 users × 120 items" in parts_of(told)[1]
        assert "Traceback" not in errors
        assert segue.load("segue-demo").version

    def test_simulated_asks_nobody(self, from_url):
        with serving(movielens.archive()) as (url, asked):
            from_url(url)
            assert demo.load_demo_data(None, simulated=True, seed=0)[1] == "simulated"
        assert asked == []

    def test_other_errors_are_not_hidden(self, monkeypatch):
        def broken(cache):
            raise AssertionError("a bug")

        monkeypatch.setattr(demo, "movielens_small", broken)
        with pytest.raises(AssertionError, match="a bug"):
            demo.load_demo_data(None, simulated=False, seed=0)


def test_what_is_no_model_folder_is_left_alone(tmp_path, segue_at):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    code, _, errors = segue_at("segue demo --simulated -q -o mine")
    assert code == 2
    wanted = "it contains letter.txt; name a new or empty folder, or a model folder"
    assert errors == f"segue: mine is not a model folder: {wanted}\n"
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_the_simulation_is_of_thousands(monkeypatch):
    monkeypatch.undo()
    assert demo.SIMULATED == {"users": 2000, "items": 5000, "interactions": 200_000}
    with pytest.raises(DataError, match="there is no file"):
        demo.load_demo_data(demo.Path("nowhere"), simulated=True, seed=0)
