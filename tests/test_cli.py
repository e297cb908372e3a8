"""The command line: every command, what it prints where, and one clear line for whatever is wrong."""

import ast
import contextlib
import dataclasses
import io
import json
import os
import pty
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import segue
from segue import cli, store
from segue.cli import commands, progress, tables, terminal
from segue.cli.registry import SUMMARIES, load_command
from segue.data import simulate
from segue.errors import SegueError

COMMANDS = {name: load_command(name) for name in SUMMARIES}
BAD = {
    "empty.csv": "",
    "header.csv": "user_id,item_id\n",
    "columns.csv": "a,b,c\n1,2,3\n",
    "text.csv": "user,item,rating\nu1,i1,3\nu1,i2,good\nu2,i1,4\n",
    "nan.csv": "user,item,rating\nu1,i1,3\nu1,i2,2\nu2,i1,nan\n",
    "inf.csv": "user,item,rating\nu1,i1,inf\nu1,i2,2\nu2,i1,1\n",
    "negative.csv": "user,item,rating\nu1,i1,3\nu1,i2,-2\nu2,i1,1\n",
    "null.csv": "user,item,rating\nu1,i1,3\n,i2,2\nu2,i1,1\n",
    "one-user.csv": "user,item\nu1,i1\nu1,i2\n",
    "one-item.csv": "user,item\nu1,i1\nu2,i1\n",
}
# Every way in which `segue fit … -o new` refuses its input, and what it says.
REFUSED = {
    "no-file.csv": "there is no file no-file.csv",
    "empty.csv": "empty.csv is empty",
    "header.csv": "header.csv: there are no interactions in it (0 rows)",
    "columns.csv": "no column that looks like user ids; its columns are a, b, c; name it with --user",
    "ratings.csv --item film": "no column 'film' (requested by --item); its columns are userId, movieId, ",
    "text.csv": "text.csv: the weight in row 2 is 'good'; every weight must be a finite number",
    "nan.csv": "nan.csv: the weight in row 3 is nan; every weight must be a finite number",
    "inf.csv": "inf.csv: the weight in row 1 is inf; every weight must be a finite number",
    "negative.csv": "user 'u1' and item 'i2' have -2.0; leave such rows out (--min-weight)",
    "null.csv": "null.csv: 1 of 3 user ids are missing (null), the first in row 2",
    "one-user.csv": "1 user(s) and 2 item(s) leave nothing to learn: at least two of each are needed",
    "one-item.csv": "2 user(s) and 1 item(s) leave nothing to learn: at least two of each are needed",
    "ratings.csv --min-weight 9": "no interaction is left: none of 2,500 rows has a weight of at least 9.0",
    "ratings.csv --core 5000": "no interaction is left: none of 2,500 is in a core of at least 5000",
    "one-user.csv --min-weight 3": "--min-weight 3.0 needs a weight column, and there is none; name it",
    "ratings.csv --items no-file.csv": "there is no file no-file.csv",
    "": "name the interactions to learn from (SOURCE), or --items FILE with --text COLUMNS to make a model",
    "--items movies.csv": "name the interactions to learn from (SOURCE), or --items FILE with --text COLUMNS",
    "--items no-file.csv --text title": "there is no file no-file.csv",
    "--items movies.csv --item film --text title": "movies.csv has no column 'film' (requested by --item)",
    "--items movies.csv --text title --model ials": "--model ials learns from interactions: name them",
    "--items movies.csv --text plot": "the items have no column 'plot'; there are title, ",
    "--items movies.csv --text title --encoder bert": "there is no encoder 'bert'; there are static, ",
    "--items movies.csv --text title --title-weight 2": "Text(title_weight=2.0) must be between 0 and 1",
    "ratings.csv --duplicates mean": "--duplicates 'mean' must be one of 'sum', 'last', 'max'",
    "ratings.csv --query SELECT": "--query is only for a database, such as sqlite:///file.db",
    "sqlite:///some.db": "a database (sqlite://) needs --query, such as --query 'SELECT user_id, ",
    "ratings.csv --model mf": "there is no model 'mf'; there are als, biasedmf, blend, bpr, contrastive, ",
    "ratings.csv --index fast": "there is no index 'fast'; there are auto, exact",
    "ratings.csv --set dims=3": "ials has no setting 'dims'; it has dim, iterations, unobserved_weight, ",
    "ratings.csv --model popularity --dim 3": "popularity has no setting 'dim'; it has none",
    "ratings.csv --set dim=abc": "--set dim=abc must be a whole number",
    "ratings.csv --set reg=abc": "--set reg=abc must be a number",
    "ratings.csv --set unobserved_weight=x": "--set unobserved_weight=x must be a number or none",
    "ratings.csv --set dim": "--set dim must be NAME=VALUE, such as --set iterations=8",
    "ratings.csv --set solver=qr": "IALS(solver='qr') must be one of 'cg', 'cholesky'",
    "ratings.csv --dim 0": "IALS(dim=0) must be at least 1",
    "ratings.csv --test 2": "--test 2.0 must be a share between 0 and 1, such as 0.2",
    "ratings.csv --by luck": "--by 'luck' is not a split; choose one of 'random', 'time', 'last', 'users'",
    "one-user.csv --by time": "needs the time of each interaction: read the data with a time column",
}
# … and every way in which the commands that take a model refuse theirs.
REFUSED_LATER = {
    "recommend model": "give either --user ID (repeatable) or, for a new user, --history ITEM,ITEM",
    "recommend model -u 1 --history 2": "give either --user ID (repeatable) or, for a new user, --history",
    "recommend model -u 999 -u x -u 1": "unknown user: '999', 'x'. The model knows 60 users, such as 1, 2, 3",
    "recommend model --history 1,nothing": "unknown item: 'nothing'. The model knows ",
    "recommend model -u 1 -k 0": "-k 0 must be a whole number of at least 1",
    "recommend model -u 1 --on-unknown x": "--on-unknown 'x' must be one of 'raise', 'skip', ",
    "recommend nowhere -u 1": "nowhere does not exist; name the folder of a saved model",
    "recommend foreign -u 1": "foreign is not a model folder (there is no 'versions' in it); name the folder",
    "similar model -i nothing": "unknown item: 'nothing'. The model knows ",
    "similar model -i 1 -k 0": "-k 0 must be a whole number of at least 1",
    "similar ratings.csv -i 1": "ratings.csv is a file; name the folder of a saved model",
    "search model x --by words": "--by 'words' needs text, and the model was fit without; fit it with --text",
    "search written ''": "the query '' has no words: say what to look for",
    "search written x --by luck": "--by 'luck' must be one of 'words', 'meaning', 'both'",
    "search written x -k 0": "-k 0 must be a whole number of at least 1",
    "search written x --user nobody": "unknown user: 'nobody'. The model knows 60 users, such as 1, 2, 3",
    "search written x --user 1 --bend 2": "--bend 2.0 must be a number from 0 to 1",
    "batch model -o foreign": "foreign is a folder; name the Parquet file to write",
    "batch model -o nowhere/recs.parquet": "there is no folder nowhere to write recs.parquet into",
    "batch nowhere -o recs.parquet": "nowhere does not exist; name the folder of a saved model",
    "batch model -o recs.parquet -k 0": "-k 0 must be a whole number of at least 1",
    "batch model -o recs.parquet --users no-file.csv": "there is no file no-file.csv",
    "batch model -o recs.parquet --on-unknown x": "--on-unknown 'x' must be one of 'raise', 'skip', ",
    "batch model -o recs.parquet --users text.csv": "unknown user: 'u1', 'u2'. The model knows 60 users",
    "evaluate nowhere test.csv": "nowhere does not exist; name the folder of a saved model",
    "evaluate model no-file.csv": "there is no file no-file.csv",
    "evaluate model columns.csv": "its columns are a, b, c; name it with --user",
    "evaluate model text.csv": "text.csv: the weight in row 2 is 'good'; every weight must be a finite",
    "evaluate model negative.csv": "that the ids are of the same kind as the model's, or pass --history",
    "evaluate model test.csv -k 5,x": "-k 5,x must be whole numbers separated by commas, such as 5,10,20",
    "evaluate model test.csv -k 0": "-k 0 must be a whole number of at least 1",
    "verify nowhere": "nowhere does not exist; name the folder of a saved model",
}


# Arguments whose errors name an option of the command line.
SPELLED = [
    "bend", "by", "deadline", "duplicates", "explore", "history", "item", "items", "k", "log", "metric",
    "min_weight", "port", "query", "seed", "test", "text", "trials", "user", "weight", "where", "workers",
]  # fmt: skip


def carried_arguments():
    """The names that errors of the package carry in `arguments=(...)`."""
    calls = (
        node
        for path in Path(segue.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
    )
    return {
        name.value
        for call in calls
        for keyword in call.exc.keywords
        if keyword.arg == "arguments" and isinstance(keyword.value, ast.Tuple)
        for name in keyword.value.elts
        if isinstance(name, ast.Constant)
    }


def is_one_line(errors, wanted):
    """The error stream holds the message, in a line of its own, and nothing else."""
    assert wanted in errors
    assert re.fullmatch(r"segue: [^\n]+\n", errors)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with ratings as MovieLens writes them, a model, and files that are bad in every way."""
    folder = tmp_path_factory.mktemp("place")
    train, test = simulate(60, 300, 3_125, seed=6).split(test=0.2, seed=0)
    for name, data in (("ratings", train), ("test", test)):
        pairs = data.matrix.tocoo()
        pl.DataFrame(
            {
                "userId": data.users.ids[pairs.row],
                "movieId": data.items.ids[pairs.col],
                "rating": pairs.data,
                "timestamp": data.times.astype(np.int64),
            }
        ).write_csv(folder / f"{name}.csv")
    table = train.item_metadata.with_columns(pl.format("{} ({})", "title", "year").alias("title"))
    table.select(movieId=train.items.series, title="title", genres=pl.col("genres").list.join("|")).write_csv(
        folder / "movies.csv"
    )
    for name, text in BAD.items():
        (folder / name).write_text(text)
    (folder / "foreign").mkdir()
    (folder / "foreign" / "letter.txt").touch()
    segue.Recommender(segue.IALS(dim=8, iterations=3)).fit(
        segue.read_interactions(folder / "ratings.csv")
    ).save(folder / "model")
    segue.Recommender(segue.IALS(dim=8, iterations=3)).fit(
        segue.read_interactions(folder / "ratings.csv", items=folder / "movies.csv"),
        text=segue.Text(columns="title,genres"),
    ).save(folder / "written")
    return folder


@pytest.fixture(autouse=True)
def _there(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a line of the shell in this process; gives the exit code, the output and the error stream."""

    def run(line, *more):
        monkeypatch.setattr("sys.argv", ["segue", *shlex.split(line), *map(str, more)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def answer(run):
    """Run a line that must succeed and say nothing but its answer; gives the answer."""

    def answer(line, *more):
        code, told, errors = run(line, *more)
        assert (code, errors) == (0, "")
        return told

    return answer


def shell(line, **options):
    """Run a line as a process of its own."""
    command = [sys.executable, "-m", "segue", *shlex.split(line)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, check=False, **options)


def rows_of(table):
    """The lines of a table below its head, as their fields."""
    return [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()[1:]]


class TestFit:
    def test_a_file(self, run, tmp_path):
        code, told, errors = run(
            "fit ratings.csv --dim 4 --set iterations=2 --set cg_steps=1 -o", tmp_path / "m"
        )
        trained = segue.load(tmp_path / "m")
        assert code == 0
        assert told.splitlines() == [
            f"Read 60 users × {len(trained.items)} items, 2,500 interactions (15% of all pairs)",
            f"Saved version {trained.version} in {tmp_path / 'm'}",
            repr(trained.settings.model),
        ]
        assert errors.startswith("training: 2 in ")
        assert f"\nindexing: {len(trained.items)} in " in errors
        assert (trained.settings.model.dim, trained.settings.model.cg_steps) == (4, 1)
        assert trained.item_metadata.columns == ["title", "year", "genres"]
        assert trained.metrics == {}

    def test_json_is_alone(self, run, tmp_path):
        code, told, errors = run("fit ratings.csv --model popularity --json --test 0.25 -o", tmp_path / "m")
        made = json.loads(told)
        assert code == 0
        assert "ranking (model): 60 in " in errors
        trained = segue.load(tmp_path / "m")
        assert made["version"] == trained.version
        assert (made["model"], made["settings"], made["users"], made["left_out"]) == (
            str(tmp_path / "m"), "Popularity()", 60, 0
        )  # fmt: skip
        assert list(made["metrics"]) == ["model", "popularity", "item-knn"]
        assert made["metrics"]["model"] == made["metrics"]["popularity"]
        assert made["metrics"]["model"]["coverage@5"]["error"] is None
        assert {name: value["value"] for name, value in made["metrics"]["model"].items()} == trained.metrics

    @pytest.mark.parametrize(
        ("line", "arguments"),
        [
            ("--test 0.3", {"test": 0.3}),
            ("--by time", {"by": "time"}),
            ("--by last --test 2", {"by": "last", "test": 2}),
            ("--test 0.3 --seed 5", {"test": 0.3, "seed": 5}),
        ],
    )
    def test_what_is_held_out(self, run, tmp_path, line, arguments):
        code, told, _ = run(f"fit ratings.csv {line} --dim 4 -q -o", tmp_path / "m")
        train, held = segue.read_interactions("ratings.csv").split(**arguments)
        trained = segue.load(tmp_path / "m")
        wanted = segue.evaluate(trained, held)
        assert code == 0
        assert trained.interactions.nnz == len(train)
        assert f"Training on {len(train):,} of them; the others are held out" in told
        assert trained.metrics == pytest.approx(dict(wanted))
        assert re.search(
            rf"^ndcg@10 +{wanted['ndcg@10']:.4f} ± {wanted.model.errors['ndcg@10']:.4f}", told, re.MULTILINE
        )
        assert f"Mean over {wanted.model.users} users ± standard error, all items ranked" in told

    def test_predicted_ratings_have_their_errors(self, run, tmp_path):
        code, told, _ = run("fit ratings.csv --model biasedmf --dim 2 --test 0.25 -q -o", tmp_path / "m")
        held = segue.read_interactions("ratings.csv").split(test=0.25)[1]
        trained = segue.load(tmp_path / "m")
        wanted = segue.evaluate_ratings(trained, held)
        assert code == 0
        assert f"RMSE {wanted.rmse:.4f}, MAE {wanted.mae:.4f} over {wanted.pairs:,} ratings" in told
        assert (trained.metrics["rmse"], trained.metrics["mae"]) == pytest.approx((wanted.rmse, wanted.mae))
        code, told, _ = run(f"evaluate {tmp_path / 'm'} ratings.csv --json -q")
        everything = segue.evaluate_ratings(trained, segue.read_interactions("ratings.csv"))
        assert json.loads(told)["ratings"] == pytest.approx(dataclasses.asdict(everything))
        assert "ratings" not in json.loads(
            run("fit ratings.csv --test 0.25 --dim 2 --json -q -o", tmp_path / "n")[1]
        )

    def test_held_out_users_get_histories(self, run, tmp_path):
        code, told, _ = run("fit ratings.csv --by users --seed 3 --dim 4 -q -o", tmp_path / "m")
        _, held = segue.read_interactions("ratings.csv").split(by="users", seed=3)
        history, test = held.split(test=0.2, seed=3)
        trained = segue.load(tmp_path / "m")
        assert code == 0
        assert trained.metrics == pytest.approx(dict(segue.evaluate(trained, test, history=history)))
        assert "Mean over 12 users" in told

    def test_columns_weights_and_items(self, run, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        rows = [f"{n % 7};p{n % 5};{n % 4};2020-01-{n % 28 + 1:02}" for n in range(70)]
        Path("log.txt").write_text("\n".join(["who;what;much;when", *rows]))
        Path("things.csv").write_text('what,title\np1,"One, [bold]two[/] :smile:"\np2,\n')
        code, told, errors = run(
            "fit log.txt --user who --item what --weight much --time when --min-weight 2 --duplicates max "
            "--core 2 --items things.csv --set confidence=weights --dim 2 -q -o m"
        )
        assert (code, errors) == (0, "")
        trained = segue.load("m")
        assert set(trained.interactions.data) == {2, 3}
        assert trained.settings.model.confidence == "weights"
        assert trained.item_metadata["title"].drop_nulls().to_list() == ["One, [bold]two[/] :smile:"]
        code, told, errors = run("similar m -i p1 -k 1")
        assert told.startswith("Similar to p1, One, [bold]two[/] :smile:\n".replace("\n", ":\n"))

    def test_a_query(self, answer, tmp_path):
        base = sqlite3.connect(tmp_path / "shop.db")
        base.execute("CREATE TABLE bought (customer TEXT, sku TEXT)")
        base.executemany("INSERT INTO bought VALUES (?, ?)", [(f"c{n % 5}", f"s{n % 7}") for n in range(35)])
        base.commit()
        base.close()
        line = f"fit sqlite:///{tmp_path / 'shop.db'} --query 'SELECT * FROM bought' --dim 2 -q -o"
        assert answer(line, tmp_path / "m").startswith(
            "Read 5 users × 7 items, 35 interactions (100% of all pairs)\n"
        )

    @pytest.mark.parametrize("line", REFUSED)
    def test_refused(self, run, tmp_path, line):
        code, _, errors = run(f"fit {line} -o", tmp_path / "new")
        assert code == 2
        is_one_line(errors, REFUSED[line])
        assert not (tmp_path / "new").exists()

    def test_a_folder_that_is_no_model(self, run):
        code, _, errors = run("fit ratings.csv --model popularity -o foreign")
        advice = "name a new or empty folder, or a model folder"
        assert (code, errors) == (
            2,
            f"segue: foreign is not a model folder: it contains letter.txt; {advice}\n",
        )
        assert [path.name for path in Path("foreign").iterdir()] == ["letter.txt"]
        code, _, errors = run("fit ratings.csv --model popularity -o test.csv")
        assert (code, errors) == (2, f"segue: test.csv is a file; {advice}\n")

    def test_bad_input_leaves_the_old_version(self, run):
        before = store.current_version("model")
        assert run("fit negative.csv -o model")[0] == 2
        assert store.current_version("model") == before


class TestEvaluate:
    def test_a_file(self, run):
        code, told, errors = run("evaluate model test.csv -k 3,7")
        wanted = segue.evaluate(segue.load("model"), segue.read_interactions("test.csv"), (3, 7))
        assert code == 0
        assert errors.splitlines()[0].startswith("ranking (model): ")
        lines = told.splitlines()
        assert lines[0] == f"Mean over {wanted.model.users} users ± standard error, all items ranked"
        assert lines[1].split() == ["metric", "model", "popularity", "item-knn"]
        cells = [
            [
                f"{row[name]:.4f}" + (f" ± {row.errors[name]:.4f}" if row.errors[name] > 0 else "")
                for row in wanted.rows.values()
            ]
            for name in wanted
        ]
        assert [re.split(r"\s{2,}", line.strip()) for line in lines[2:]] == [
            [name, *row] for name, row in zip(wanted, cells, strict=True)
        ]

    @pytest.mark.parametrize(
        ("line", "options"),
        [
            ("", {}),
            ("--include-seen", {"exclude_seen": False}),
            ("--min-weight 4", {"min_weight": 4.0}),
            ("--history ratings.csv -k 5", {"history": "ratings.csv", "k": 5}),
        ],
    )
    def test_json(self, answer, line, options):
        made = json.loads(answer(f"evaluate model test.csv --json -q {line}"))
        held = segue.read_interactions("test.csv", min_weight=options.pop("min_weight", None))
        if "history" in options:
            options["history"] = segue.read_interactions(options["history"])
        wanted = segue.evaluate(segue.load("model"), held, **options)
        assert made["users"] == wanted.model.users
        for name, row in wanted.rows.items():
            assert {
                metric: value["value"] for metric, value in made["metrics"][name].items()
            } == pytest.approx(dict(row))

    def test_users_left_out_are_told(self, answer, tmp_path):
        texts = Path("test.csv").read_text() + "999,1,5,1\n998,1,5,1\n"
        (tmp_path / "more.csv").write_text(texts)
        told = answer("evaluate model -q", tmp_path / "more.csv")
        assert told.splitlines()[0].endswith(" all items ranked; 2 without history left out")


class TestRecommend:
    def test_users(self, answer):
        wanted = segue.load("model").recommend([7, 3], 4)
        told = answer("recommend model -u 7 --user 3 -k 4")
        assert told.splitlines()[0].split() == ["user", "item", "score", "rank", "title"]
        assert rows_of(told) == [
            [str(user), str(item), f"{score:.4f}", str(rank), title]
            for user, item, score, rank, title in wanted.rows()
        ]

    def test_numbers_line_up(self, answer):
        lines = answer("recommend model -u 7 -k 12").splitlines()
        assert len({line.index(".") for line in lines[1:]}) == 1
        assert len({len(line) for line in lines}) == 1

    @pytest.mark.parametrize(
        ("line", "options"),
        [
            ("-u 7", {"users": ["7"]}),
            ("-u 7 -u 3 -k 3 --include-seen", {"users": ["7", "3"], "k": 3, "exclude_seen": False}),
            (
                "-u 7 --exclude 1,2,x --allow '1, 3,4,5'",
                {"users": ["7"], "exclude": [1, 2], "allow": [1, 3, 4, 5]},
            ),
            ("-u 7 -u nobody --on-unknown skip", {"users": ["7"]}),
            ("-u 7 -u nobody --on-unknown popular", {"users": ["7", "nobody"], "on_unknown": "popular"}),
            ("--history 3,9 -k 4", {"history": [3, 9], "k": 4}),
            ("--history 3,zz --on-unknown skip", {"history": [3]}),
            ("--history '' --include-seen", {"history": [], "exclude_seen": False}),
            ("-u 7 -k 100000", {"users": ["7"], "k": 100_000}),
        ],
    )
    def test_json(self, answer, line, options):
        trained = segue.load("model")
        wanted = trained.recommend_for(**options) if "history" in options else trained.recommend(**options)
        made = json.loads(answer(f"recommend model {line} --json"))
        assert made == {"model_version": trained.version, "items": wanted.to_dicts()}

    def test_ids_with_commas(self, answer, run, tmp_path):
        pairs = [(f"u{n % 6}", f"a, {n % 5}") for n in range(30)]
        frame = pl.DataFrame(pairs, schema=["user", "item"], orient="row")
        segue.Recommender(segue.IALS(dim=2)).fit(segue.read_interactions(frame)).save(tmp_path / "m")
        made = json.loads(
            answer("""recommend --history '"a, 1", "a, 2"' --exclude '"a, 3"' --json""", tmp_path / "m")
        )
        assert {row["item_id"] for row in made["items"]} == {"a, 0", "a, 4"}
        assert run("recommend --history 'a, 1'", tmp_path / "m")[2].startswith(
            "segue: unknown item: 'a', '1'. "
        )

    def test_nothing_left(self, run):
        wanted = "The list is empty: no item is allowed, or all users are unknown.\n"
        assert run("recommend model -u 7 --allow ,") == (0, "", wanted)
        assert run("recommend model -u nobody --on-unknown skip") == (0, "", wanted)

    def test_a_title_for_an_id(self, run):
        titles = segue.load("model").item_metadata["title"]
        one = min((title for title in titles if len(title) > 8), key=len)
        row = titles.to_list().index(one)
        for line in (f'similar model -i "{one.upper()}"', f'recommend model --history "1,{one.lower()}"'):
            code, told, errors = run(line)
            assert (code, told) == (2, "")
            assert re.search("unknown item: .* such as 1, 3, 4; for .*, did you mean ", errors)
            assert f"{segue.load('model').items[row]} ({one})" in errors

    def test_an_output_that_knows_few_letters(self, run, tmp_path, monkeypatch):
        frame = pl.DataFrame({"user": ["a", "a", "b", "b"], "item": ["x", "y", "x", "z"]})
        items = pl.DataFrame({"item": ["x", "y", "z"], "title": ["Amélie", "七人の侍", "Ran"]})
        data = segue.read_interactions(frame, items=items)
        segue.Recommender(segue.IALS(dim=1)).fit(data).save(tmp_path / "m")
        shown = []
        for form in ("", "--json"):
            poor = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
            monkeypatch.setattr("sys.stdout", poor)
            assert run(f"recommend -u b --include-seen {form}", tmp_path / "m")[0] == 0
            poor.flush()
            shown.append(poor.buffer.getvalue().decode("ascii"))
        assert "Am?lie" in shown[0]
        assert {row["title"] for row in json.loads(shown[1])["items"]} == {"Amélie", "七人の侍", "Ran"}


class TestSimilar:
    def test_items(self, answer):
        trained = segue.load("model")
        told = answer("similar model -i 9 -i 4 -k 3 -i 9")
        blocks = told.split("\n\n")
        assert len(blocks) == 2
        for item, block in zip((9, 4), blocks, strict=True):
            head, table = block.split("\n", 1)
            assert head == f"Similar to {item}, {trained.titles(trained.items.rows(item))[0]}:"
            assert rows_of(table) == [
                [str(other), f"{score:.4f}", str(rank), title]
                for other, score, rank, title in trained.similar(item, 3).drop("item_id").rows()
            ]

    def test_json(self, answer):
        trained = segue.load("model")
        made = json.loads(answer("similar model --item 9 --exclude 1 --allow 1,2,3,9 --json"))
        wanted = trained.similar(9, allow=[2, 3]).to_dicts()
        assert made == {"model_version": trained.version, "items": wanted}


class TestBatch:
    def test_everybody(self, run, tmp_path):
        code, told, errors = run("batch model -k 5 -o", tmp_path / "recs.parquet")
        trained = segue.load("model")
        assert code == 0
        assert told == f"Wrote 300 rows to {tmp_path / 'recs.parquet'} (model version {trained.version})\n"
        assert errors.startswith("recommending: 60 in ")
        assert_frame_equal(pl.read_parquet(tmp_path / "recs.parquet"), trained.recommend(k=5))

    def test_users_of_a_file_once_each(self, answer, tmp_path):
        told = answer(
            "batch model --users test.csv --exclude 1 --include-seen -q --json -o", tmp_path / "[a].parquet"
        )
        users = pl.read_csv("test.csv")["userId"].unique(maintain_order=True)
        wanted = segue.load("model").recommend(users, exclude=[1], exclude_seen=False)
        assert_frame_equal(pl.read_parquet(tmp_path / "[a].parquet", glob=False), wanted)
        assert json.loads(told) == {
            "file": str(tmp_path / "[a].parquet"),
            "rows": wanted.height,
            "model_version": segue.load("model").version,
        }

    def test_unknown_users(self, answer, tmp_path):
        (tmp_path / "users.csv").write_text("user\n5\nnobody\n")
        for policy in ("skip", "popular"):
            file = tmp_path / f"{policy}.parquet"
            answer(
                f"batch model --users {tmp_path}/users.csv --on-unknown {policy} -k 2 -q --allow 1,2,3 -o",
                file,
            )
            wanted = segue.load("model").recommend(["5", "nobody"], 2, on_unknown=policy, allow=[1, 2, 3])
            assert_frame_equal(pl.read_parquet(file), wanted)


class TestVerify:
    def test_intact(self, run):
        version = store.current_version("model")
        code, told, errors = run("verify model")
        assert (code, told) == (0, f"Version {version} in model is intact\n")
        assert re.fullmatch(r"verifying, MiB: 1 in \d+\.\d s\n", errors)
        assert json.loads(run("verify model --json -q")[1]) == {
            "model": "model",
            "version": version,
            "intact": True,
        }

    def test_a_flipped_bit(self, run, tmp_path):
        segue.load("model").save(tmp_path / "m")
        file = tmp_path / "m" / "versions" / store.current_version(tmp_path / "m") / "users.npy"
        raw = bytearray(file.read_bytes())
        raw[-1] ^= 1
        file.write_bytes(raw)
        code, told, errors = run("verify -q", tmp_path / "m")
        assert (code, told) == (2, "")
        assert errors.startswith(f"segue: {file} is damaged (its checksum differs); ")
        assert errors.count("\n") == 1


class TestRefused:
    @pytest.mark.parametrize("line", REFUSED_LATER)
    def test_one_line_and_exit_code_2(self, run, line):
        code, told, errors = run(line)
        assert (code, told) == (2, "")
        is_one_line(errors, REFUSED_LATER[line])
        assert not Path("recs.parquet").exists()

    @pytest.mark.parametrize(
        "line", ["", "frobnicate", "fit ratings.csv", "similar model", "recommend model -k many"]
    )
    def test_lines_that_are_no_commands(self, run, line):
        code, _, errors = run(line)
        assert code in ((0, 2) if line == "" else (2,))
        assert "Traceback" not in errors

    def test_arguments_are_named_as_options(self):
        options = {
            option for command in COMMANDS.values() for param in command.params for option in param.opts
        }
        names = carried_arguments()
        for name in SPELLED:
            assert name in names
            assert commands.option_of(name) in options, name
            error = SegueError(f"{name}=3 is wrong, such as {name}=", arguments=(name,))
            option = commands.option_of(name)
            assert commands.spell_as_options(error) == f"{option} 3 is wrong, such as {option}"
        python_only = SegueError("exclude_pairs= and n=3", arguments=("exclude_pairs", "n"))
        assert commands.spell_as_options(python_only) == str(python_only)
        unchanged = "a/user=3/x.csv IALS(k=0) 'item=4' x.time=5 custom_weight=7 by=1"
        error = SegueError(unchanged, arguments=("user", "k", "item", "time", "weight"))
        assert commands.spell_as_options(error) == unchanged
        error = SegueError("k=3 and min_weight= (min_weight=)", arguments=("k", "min_weight"))
        assert commands.spell_as_options(error) == "-k 3 and --min-weight (--min-weight)"

    def test_bugs_are_not_dressed_up(self, run, monkeypatch):
        monkeypatch.setattr("segue.cli.recommend.load", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cli.app(["recommend", "model", "-u", "1"], standalone_mode=False)


def test_version(run):
    assert run("--version") == (0, f"{segue.__version__}\n", "")
    assert run("--version fit")[:2] == (0, f"{segue.__version__}\n")


class TestHelp:
    @pytest.fixture
    def told(self, run, monkeypatch):
        monkeypatch.setenv("COLUMNS", "300")

        def told(line):
            code, told, errors = run(line)
            assert (code, errors) == (0, "")
            return told

        return told

    def test_lists_every_command_with_its_first_sentence(self, told):
        page = told("--help")
        assert page == told("-h")
        assert sorted(COMMANDS) == [
            "batch", "bench", "demo", "evaluate", "fit", "play", "recommend", "search", "serve", "similar",
            "tune", "update", "verify",
        ]  # fmt: skip
        for name, command in COMMANDS.items():
            first = command.help.split("\n")[0]
            assert re.search(rf"│ {name} +{re.escape(first)}", page)

    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_option_says_what_it_is_for(self, told, name):
        lines = told(f"{name} --help").splitlines()
        for option in COMMANDS[name].params:
            shown = option.opts[0] if option.opts[0].startswith("-") else f"({option.name}|{option.metavar})"
            place = re.compile(rf"│ [* ]? *(-\S+ +)*{shown} ")
            line = next((line for line in lines if place.match(line)), None)
            assert line is not None, f"{shown} is not shown"
            assert len(option.help) > 8, shown
            assert option.help in line
            assert option.help.endswith(".")

    @pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"serve"}))  # which would not end; see test_serve
    def test_the_example_works(self, told, run, place, name, tmp_path, monkeypatch):
        example = re.search(r"Example: segue (.*?)\s*$", told(f"{name} --help"), re.MULTILINE)[1]
        assert example.split()[0] == name
        monkeypatch.chdir(tmp_path)
        for file in ("ratings.csv", "movies.csv", "test.csv"):
            (tmp_path / file).symlink_to(place / file)
        (tmp_path / "today.csv").symlink_to(place / "test.csv")
        # A copy: some examples, such as that of `segue update`, change the model.
        shutil.copytree(
            place / ("written" if name == "search" else "model"), tmp_path / "model", symlinks=True
        )
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        (tmp_path / "ml-latest-small").symlink_to(place)
        line = example.replace("~", str(tmp_path)).replace("-o model ", "-o made ")
        code, told, errors = run(line)
        assert code == 0, errors
        assert told


class TestProcess:
    """What only a process of its own shows."""

    def test_from_ratings_to_recommendations(self, tmp_path):
        ran = shell(f"-v fit ratings.csv -o {tmp_path}/m --dim 4 --test 0.2 --json")
        assert ran.returncode == 0
        assert json.loads(ran.stdout)["users"] == 60
        assert ran.stderr.startswith(
            "ratings.csv: user = userId, item = movieId, weight = rating, time = timestamp\n"
        )
        assert "training: 16 in " in ran.stderr
        ran = shell(f"recommend {tmp_path}/m --user 7 -k 3")
        assert (ran.returncode, ran.stderr, len(ran.stdout.splitlines())) == (0, "", 4)

    def test_bad_input(self, tmp_path):
        ran = shell(f"fit text.csv -o {tmp_path}/m")
        assert (ran.returncode, ran.stdout) == (2, "")
        is_one_line(ran.stderr, REFUSED["text.csv"])

    @pytest.mark.parametrize("line", ["recommend model -u 7 --json", "recommend model -u 7"])
    def test_a_reader_that_has_gone(self, line):
        reader, writer = os.pipe()
        os.close(reader)
        command = [sys.executable, "-m", "segue", *shlex.split(line)]
        buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        ran = subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, env=buffered, check=False
        )
        os.close(writer)
        assert (ran.returncode, ran.stderr) == (1, "")

    def test_a_terminal_of_eighty_columns(self):
        """Progress is drawn with rate and time left, and nothing is wider than the terminal."""
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "segue", *shlex.split("evaluate model test.csv -k 10")]
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # which tells that the process has closed its end
            while True:
                shown += os.read(ours, 65_536)
        os.close(ours)
        assert process.wait(60) == 0
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
        lines = re.split(r"[\r\n]+", plain)
        assert max(map(len, lines)) <= 80
        assert any(re.fullmatch(r"ranking \(model\) +━+ 60/60 +00:00", line) for line in lines), plain
        assert any(
            re.fullmatch(r"finding similar items ━+ (\d+)/\1 +[\d,]+/s 00:\d\d", line) for line in lines
        )
        assert any(line.startswith("ndcg@10") for line in lines)


# Where a process is made to wait: what is replaced, and what the command then does.
SLOW = {
    "training": ("segue.models.ials.IALS._half = wait", "fit ratings.csv -q -o model"),
    "saving": ("segue.store.version.os.fsync = wait", "fit ratings.csv -q -o model --dim 2"),
    "writing": ("segue.cli.batch.write_parts = late", "batch model -o old.parquet -q"),
}
PROGRAM = """
import itertools, sys, time
import segue.cli, segue.cli.batch, segue.models.ials, segue.data.parquet, segue.store.version

def wait(*_, seconds=60, **__):
    print("now", flush=True)
    time.sleep(seconds)

def late(parts, file):
    first = next(parts)
    return segue.data.parquet.write_parts((wait(seconds=0.1) or first for _ in itertools.count()), file)

{replaced}
sys.argv = {argv}
segue.cli.main()
"""


@pytest.mark.parametrize("moment", SLOW)
def test_an_interrupt(moment, place):
    """SIGINT ends it with code 130 and a word; the model and the file of before are still there, alone."""
    replaced, line = SLOW[moment]
    trained = segue.load("model")
    wanted = trained.recommend(k=3)
    wanted.write_parquet("old.parquet")
    before = sorted(str(path.relative_to(place)) for path in place.rglob("*"))
    program = PROGRAM.format(replaced=replaced, argv=["segue", *shlex.split(line)])
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while (told := process.stdout.readline()) != "now\n":
                assert told, process.stderr.read()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, errors) == (130, "segue: interrupted\n")
    assert sorted(str(path.relative_to(place)) for path in place.rglob("*")) == before
    assert segue.load("model").version == trained.version
    assert_frame_equal(segue.load("model").recommend(k=3), wanted)
    assert_frame_equal(pl.read_parquet("old.parquet"), wanted)


class TestBars:
    def test_lines_where_there_is_no_terminal(self, capsys, monkeypatch):
        now = iter(range(0, 1_000, 20))
        monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
        with progress.ProgressBars() as bars:
            for done in range(5):
                bars("training", done, 4)
            bars("ranking", 4_000, 4_000)
        told, errors = capsys.readouterr()
        assert told == ""
        assert errors.splitlines() == [
            "training: 1 of 4 after 40 s",
            "training: 3 of 4 after 80 s",
            "training: 4 in 100.0 s",
            "ranking: 4,000 in 20.0 s",
        ]

    @pytest.mark.parametrize(
        ("speed", "wanted"), [(None, ""), (3.21, "3.2/s"), (12.3, "12/s"), (8e6, "8,000,000/s")]
    )
    def test_the_rate(self, speed, wanted):
        task = types.SimpleNamespace(finished_speed=None, speed=speed)
        assert progress._Rate().render(task).plain == wanted

    def test_nothing_where_none_are_wanted(self, capsys):
        with progress.ProgressBars(shown=False) as bars:
            bars("training", 1, 1)
        assert capsys.readouterr() == ("", "")


class TestTables:
    def shown(self, frame):
        console = terminal.Console(width=terminal.UNBROKEN, color_system=None)
        with console.capture() as captured:
            console.print(tables.rows_table(frame))
        return [line.rstrip() for line in captured.get().splitlines()]

    def test_numbers_of_a_column_have_as_many_decimals(self):
        frame = pl.DataFrame(
            {
                "score": [0.5, 0.915, -0.25],
                "whole": [329.0, 12.0, 0.0],
                "tiny": [0.00012345, 0.00002, 0.0],
                "large": [12_345.678, 2.5, float("inf")],
                "some": [1.5, None, float("nan")],
            }
        )
        assert self.shown(frame) == [
            "  score  whole       tiny       large    some",
            " 0.5000    329  0.0001234  12345.6780  1.5000",
            " 0.9150     12  0.0000200      2.5000",
            "-0.2500      0  0.0000000         inf     nan",
        ]

    def test_other_kinds(self):
        frame = pl.DataFrame({"user_id": ["a", None], "year": [1999, None], "genres": [["x", "y"], []]})
        assert self.shown(frame) == ["user  year  genres", "a     1999  x, y", ""]

    def test_the_size_of_data(self):
        data = simulate(60, 50, 1_500, seed=5)
        assert tables.summary(data) == "60 users × 50 items, 1,500 interactions (50% of all pairs)"
        few = data.where(np.arange(1_500) < 2)
        assert tables.summary(few) == "60 users × 50 items, 2 interactions (0.067% of all pairs)"


class TestSearch:
    def test_finds_by_text(self, answer, place):
        trained = segue.load(place / "written")
        query = trained.titles(np.array([5]))[0].partition(" (")[0]
        found = trained.search(query, 3)
        rows = rows_of(answer(f'search written "{query}" -k 3'))
        assert [row[0] for row in rows] == found["item_id"].cast(str).to_list()
        made = json.loads(answer(f'search written "{query}" -k 3 --json'))
        assert made == {"model_version": trained.version, "query": query, "items": found.to_dicts()}
        bent = json.loads(
            answer(f'search written "{query}" -u 7 --bend 0.9 --by meaning --exclude 1,2 --json')
        )
        wanted = trained.search(query, user=7, bend=0.9, by="meaning", exclude=[1, 2])
        assert bent["items"] == wanted.to_dicts()

    def test_nothing_found(self, run):
        code, told, errors = run("search written qqqqqq --by words")
        assert (code, told) == (0, "")
        assert errors.startswith("The list is empty")

    def test_items_alone(self, answer, run, tmp_path):
        code, told, errors = run("fit --items movies.csv --text title,genres -o", tmp_path / "m")
        assert code == 0
        assert told.startswith("Read 300 items\n")
        assert "Text(columns='title,genres', encoder='static', title_weight=0.5, title_words=2.0)" in told
        assert "embedding: " in errors
        trained = segue.load(tmp_path / "m")
        item = trained.items.ids[5]
        rows = rows_of(answer(f"similar {tmp_path}/m --item {item} -k 2"))[1:]
        assert [row[0] for row in rows] == trained.similar(item, 2)["neighbor_id"].cast(str).to_list()
