"""Spark, on threads of one machine and on a cluster of processes: the same rows as the library."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

import segue
from segue.cli.commands import app
from segue.errors import CorruptModelError, DataError, MissingExtraError, NotAModelError, SettingError
from segue.index import Exact
from segue.models import ALS
from segue.spark.host import verify_once
from segue.spark.recommend import recommend, similar
from segue.spark.session import check_java, check_spark, session
from segue.spark.shards import MANIFEST, build_shards, open_shards, search_shards
from segue.spark.train import fit
from segue.spark.write import write
from serving import free_port

COLUMNS = ["user_id", "item_id", "score", "rank"]


@pytest.fixture(scope="module")
def spark():
    """Two cores; a task that fails is tried four times."""
    made = session("local[2,4]")
    made.sparkContext.setLogLevel("OFF")
    made.conf.set("spark.sql.shuffle.partitions", "3")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def data():
    return segue.data.simulate(users=120, items=60, interactions=2000, seed=0)


@pytest.fixture(scope="module")
def saved(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("spark") / "model"
    return folder, segue.Recommender(segue.IALS(dim=8)).fit(data).save(folder)


@pytest.fixture(scope="module")
def users(spark, saved):
    return frame(spark, user_id=saved[1].users.series.to_list())


def frame(spark, schema=None, **columns):
    rows = list(zip(*columns.values(), strict=True))
    return spark.createDataFrame(rows, schema or list(columns))


def collected(found):
    made = pl.from_arrow(found.toArrow())
    return made.sort(
        [*[name for name in made.columns if name in ("user_id", "item_id", "query_id")][:1], "rank"]
    )


def expected(trained, *given, **named):
    return trained.recommend(*given, **named).select(COLUMNS).sort("user_id", "rank")


class TestRecommend:
    def test_the_same_rows_as_the_library(self, users, saved):
        folder, trained = saved
        assert_frame_equal(collected(recommend(users, folder, 7)), expected(trained, k=7))

    def test_filters(self, users, saved):
        folder, trained = saved
        items = trained.items.series
        rules = {"exclude": items[:5].to_list(), "allow": items[:30].to_list(), "exclude_seen": False}
        assert_frame_equal(collected(recommend(users, folder, 4, **rules)), expected(trained, k=4, **rules))

    @pytest.mark.parametrize("adaptive", ["true", "false"])
    @pytest.mark.parametrize("parts", [1, 7])
    def test_partitions_do_not_matter(self, spark, users, saved, parts, adaptive):
        folder, trained = saved
        spark.conf.set("spark.sql.adaptive.enabled", adaptive)
        try:
            found = collected(recommend(users.repartition(parts), folder, 3))
        finally:
            spark.conf.unset("spark.sql.adaptive.enabled")
        assert_frame_equal(found, expected(trained, k=3))

    def test_small_batches(self, spark, users, saved):
        folder, trained = saved
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "2")
        try:
            found = collected(recommend(users, folder, 3))
        finally:
            spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
        assert_frame_equal(found, expected(trained, k=3))

    def test_what_was_seen_since(self, spark, users, saved):
        folder, trained = saved
        first = expected(trained, k=5)
        since = first.filter(pl.col("rank") <= 2)
        pairs = frame(
            spark,
            user_id=[*since["user_id"].to_list(), since["user_id"][0]],
            item_id=[*since["item_id"].to_list(), 10**9],
        )
        found = collected(recommend(users, folder, 3, exclude_pairs=pairs))
        wanted = first.filter(pl.col("rank") > 2).with_columns((pl.col("rank") - 2).cast(pl.Int32))
        assert_frame_equal(found, wanted)

    def test_a_mix_for_each_week(self, users, saved):
        folder, trained = saved
        week = collected(recommend(users, folder, 4, explore="buckets", seed=202647))
        assert week.columns == [*COLUMNS, "propensity"]
        wanted = trained.recommend(k=4, explore="buckets", seed=202647).sort("user_id", "rank")
        assert_frame_equal(week, wanted.select(week.columns), check_dtypes=False)
        assert_frame_equal(
            collected(recommend(users.repartition(1), folder, 4, explore="buckets", seed=202647)), week
        )
        other = collected(recommend(users, folder, 4, explore="buckets", seed=202648))
        assert not other["item_id"].equals(week["item_id"])
        diverse = collected(recommend(users, folder, 4, diversify="mmr"))
        assert_frame_equal(
            diverse, trained.recommend(k=4, diversify="mmr").select(COLUMNS).sort("user_id", "rank")
        )

    def test_duplicates_and_a_skewed_key_are_answered_once(self, spark, saved):
        folder, trained = saved
        one = trained.users.series[0]
        found = collected(recommend(frame(spark, user_id=[one] * 500 + [trained.users.series[1]]), folder, 2))
        assert_frame_equal(found, expected(trained, [one, trained.users.series[1]], k=2))

    def test_one_row_and_none(self, spark, saved):
        folder, trained = saved
        one = frame(spark, user_id=[trained.users.series[3]])
        assert collected(recommend(one, folder, 2)).height == 2
        assert recommend(one.where("user_id < 0"), folder, 2).count() == 0

    def test_unknown_users(self, spark, saved):
        folder, trained = saved
        asked = frame(spark, user_id=[int(trained.users.series[0]), 10**9])
        with pytest.raises(Exception, match="unknown user: 1000000000"):
            recommend(asked, folder, 2).count()
        assert recommend(asked, folder, 2, on_unknown="skip").count() == 2
        popular = collected(recommend(asked, folder, 2, on_unknown="popular"))
        assert_frame_equal(
            popular, expected(trained, [int(trained.users.series[0]), 10**9], k=2, on_unknown="popular")
        )

    def test_strings(self, spark, tmp_path, data):
        named = segue.data.Interactions(
            data.matrix,
            segue.data.IdMap([f"ü{i}" for i in range(120)]),
            segue.data.IdMap([f"i{i}" for i in range(60)]),
        )
        trained = segue.Recommender(segue.IALS(dim=4)).fit(named).save(tmp_path / "m")
        asked = frame(spark, who=["ü3", "ü100"])
        found = collected(recommend(asked, tmp_path / "m", 3, user="who"))
        assert_frame_equal(found, expected(trained, ["ü100", "ü3"], k=3))

    def test_the_version_is_fixed_when_asked(self, spark, users, tmp_path, data):
        first = segue.Recommender(segue.IALS(dim=4)).fit(data).save(tmp_path / "m")
        lazy = recommend(users, tmp_path / "m", 2)
        segue.Recommender(segue.IALS(dim=4, seed=9)).fit(data).save(tmp_path / "m")
        assert_frame_equal(collected(lazy), expected(first, k=2))

    def test_shipped(self, users, tmp_path, data):
        trained = segue.Recommender(segue.IALS(dim=3)).fit(data).save(tmp_path / "m")
        lazy = recommend(users, tmp_path / "m", 2, ship=True)
        shutil.rmtree(tmp_path / "m")
        assert_frame_equal(collected(lazy), expected(trained, k=2))

    def test_a_task_that_dies_is_tried_again(self, spark, users, saved, tmp_path):
        folder, trained = saved
        mark = tmp_path / "died"

        def die_once(batches):
            for batch in batches:
                if batch.num_rows and not mark.exists():
                    mark.touch()
                    os._exit(1)
                yield batch

        dying = users.repartition(2).mapInArrow(die_once, users.schema)
        assert_frame_equal(collected(recommend(dying, folder, 3)), expected(trained, k=3))
        assert mark.exists()


class TestRefused:
    def test_columns(self, spark, saved):
        folder = saved[0]
        with pytest.raises(DataError, match="the frame has no column 'user_id' of users; it has name"):
            recommend(frame(spark, name=["a"]), folder)
        with pytest.raises(
            DataError, match="'user_id' must hold strings or integers, not double; cast it first"
        ):
            recommend(frame(spark, user_id=[1.5]), folder)
        with pytest.raises(
            DataError, match="the frame of excluded pairs has no column 'item_id'; it has user_id"
        ):
            recommend(frame(spark, user_id=[1]), folder, exclude_pairs=frame(spark, user_id=[1]))

    def test_null_ids(self, spark, saved):
        asked = frame(spark, "user_id long", user_id=[1, None])
        with pytest.raises(Exception, match="1 user ids are null; drop these rows or fill them in"):
            recommend(asked, saved[0], 2).count()

    def test_settings(self, users, saved, tmp_path):
        with pytest.raises(SettingError, match="k=0 must be a whole number of at least 1"):
            recommend(users, saved[0], 0)
        with pytest.raises(SettingError, match="on_unknown='no' must be one of"):
            recommend(users, saved[0], on_unknown="no")
        with pytest.raises(NotAModelError, match="does not exist; name the folder"):
            recommend(users, tmp_path / "nothing")

    def test_a_folder_that_hosts_cannot_see(self, users, tmp_path, data):
        segue.Recommender(segue.IALS(dim=5)).fit(data).save(tmp_path / "m")
        lazy = recommend(users, tmp_path / "m", 2)
        shutil.move(tmp_path / "m", tmp_path / "elsewhere")
        with pytest.raises(
            Exception, match="put the model on storage that all hosts see under the same path"
        ):
            lazy.count()

    def test_a_model_that_is_changed_is_refused(self, users, tmp_path, data):
        trained = segue.Recommender(segue.IALS(dim=6)).fit(data).save(tmp_path / "m")
        lazy = recommend(users, tmp_path / "m", 2)
        file = tmp_path / "m" / "versions" / trained.version / "items.npy"
        flip(file)
        with pytest.raises(Exception, match=r"is damaged \(its checksum differs\)"):
            lazy.count()


def flip(file):
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)


def test_a_host_checks_every_byte_once(saved, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder, trained = saved
    verified = []
    verify = segue.store.verify
    monkeypatch.setattr("segue.store.verify", lambda *given: verified.append(given) or verify(*given))
    verify_once(folder, trained.version)
    verify_once(folder, trained.version)
    assert len(verified) == 1
    file = folder / "versions" / trained.version / "items.npy"
    os.utime(file, ns=(0, 0))
    verify_once(folder, trained.version)
    assert len(verified) == 2
    flip(file)
    with pytest.raises(CorruptModelError):
        verify_once(folder, trained.version)
    flip(file)


def test_similar_items(spark, saved):
    folder, trained = saved
    found = pl.from_arrow(similar(spark, folder, 4).toArrow()).sort("item_id", "rank")
    wanted = trained.similar(k=4).select("item_id", "neighbor_id", "score", "rank").sort("item_id", "rank")
    assert_frame_equal(found, wanted)


def test_writing_tells_of_rows_and_time(users, saved, tmp_path, caplog):
    folder, trained = saved
    with caplog.at_level("INFO", "segue"):
        assert write(recommend(users, folder, 3), str(tmp_path / "out")) == 360
    assert "360 recommendations written to" in caplog.text
    found = pl.read_parquet(tmp_path / "out" / "*.parquet").sort("user_id", "rank")
    assert_frame_equal(found, expected(trained, k=3))
    with pytest.raises(Exception, match="already exists"):
        write(recommend(users, folder, 3), str(tmp_path / "out"))
    assert write(recommend(users, folder, 1), str(tmp_path / "out"), overwrite=True) == 120


class TestShards:
    def vectors(self, n=400, d=7, spread=1.0, seed=0):
        random = np.random.default_rng(seed)
        made = random.standard_normal((n, d)) * random.lognormal(0, spread, (n, 1))
        made[10:20] = made[-1]  # ties
        return made.astype(np.float32)

    def frames(self, spark, items, queries):
        return (
            spark.createDataFrame(pa.table({"item_id": np.arange(len(items)), "vector": list(items)})),
            spark.createDataFrame(pa.table({"query_id": np.arange(len(queries)), "vector": list(queries)})),
        )

    @pytest.mark.parametrize("count", [1, 8])
    @pytest.mark.parametrize("k", [1, 10, 500])
    def test_the_same_as_unsharded(self, spark, tmp_path, count, k):
        items, queries = self.vectors(), self.vectors(23, seed=1)
        left, right = self.frames(spark, items, queries)
        made = build_shards(left.repartition(3), tmp_path / "s", count)
        assert len(made) == 400
        assert len(made.shards) == count
        assert [one.norm for one in made.shards] == sorted((one.norm for one in made.shards), reverse=True)
        assert open_shards(tmp_path / "s") == made
        found = collected(search_shards(right, tmp_path / "s", k))
        wanted = Exact().build(items).search(queries, min(k, 400))
        assert found["item_id"].to_numpy().reshape(23, -1).tolist() == wanted.ids.tolist()
        assert found["score"].to_numpy().reshape(23, -1).tolist() == wanted.scores.tolist()
        assert found["rank"].to_numpy().reshape(23, -1)[:, 0].tolist() == [1] * 23

    def test_equal_scores_of_different_shards_are_in_the_order_of_their_ids(self, spark, tmp_path):
        """Shards are by norm, so items that a query scores alike lie in several: here by twos, by names."""
        items = np.array([[1, side] for side in range(40) for _ in range(2)], np.float32)
        names = [f"item {place * 7 % 80:02d}" for place in range(80)]
        left = spark.createDataFrame(pa.table({"item_id": names, "vector": list(items)}))
        asked = pa.table({"query_id": ["flat", "up", "none"], "vector": [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]})
        assert len(build_shards(left, tmp_path / "s", 5).shards) == 5
        found = collected(search_shards(spark.createDataFrame(asked), tmp_path / "s", 7))
        lists = {
            name: found.filter(pl.col("query_id") == name).sort("rank")["item_id"].to_list()
            for name in ("flat", "up", "none")
        }
        assert lists["flat"] == lists["none"] == sorted(names)[:7]
        scores = dict(zip(names, items[:, 1].tolist(), strict=True))
        assert lists["up"] == sorted(names, key=lambda name: (-scores[name], name))[:7]

    def test_shards_that_cannot_matter_are_not_visited(self, spark, tmp_path, monkeypatch):
        items = self.vectors(spread=3.0)
        left, right = self.frames(spark, items, self.vectors(5, seed=1))
        build_shards(left, tmp_path / "s", 6)
        found = search_shards(right, tmp_path / "s", 2)
        wanted = collected(found)
        last = open_shards(tmp_path / "s").shards[-1]
        shutil.rmtree(tmp_path / "s" / last.name)
        assert_frame_equal(collected(found), wanted)

    def test_refused(self, spark, tmp_path):
        good = pa.table({"item_id": [1, 2], "vector": [[1.0, 2.0], [0.5, 0.5]]})

        def building(table, match, error=DataError):
            with pytest.raises(error, match=match):
                build_shards(spark.createDataFrame(table), tmp_path / "s", 2)

        building(good.drop_columns("vector"), "the frame has no column 'vector'; it has item_id")
        building(
            pa.table({"item_id": [1], "vector": ["x"]}), "'vector' must hold arrays of floats, not string"
        )
        building(pa.table({"item_id": [1.0], "vector": [[1.0]]}), "'item_id' must hold strings or integers")
        building(pa.table({"item_id": [1, None], "vector": [[1.0]] * 2}), "1 of 2 item ids are null")
        building(pa.table({"item_id": [1, 1], "vector": [[1.0]] * 2}), "1 of 2 item ids are repeated")
        mixed = pa.table({"item_id": [1, 2], "vector": [[1.0], [0.9, 0.1]]})
        building(mixed, "have different lengths|dimensions; all must have", Exception)
        shutil.rmtree(tmp_path / "s", ignore_errors=True)
        broken = pa.table({"item_id": [1], "vector": [[float("nan")]]})
        building(broken, "must be finite", Exception)
        shutil.rmtree(tmp_path / "s", ignore_errors=True)
        build_shards(spark.createDataFrame(good), tmp_path / "s", 1)
        building(good, "is not empty; choose a new folder for the shards", SettingError)
        wide = spark.createDataFrame(pa.table({"query_id": [1], "vector": [[1.0, 2.0, 3.0]]}))
        with pytest.raises(Exception, match="all must have 2"):
            search_shards(wide, tmp_path / "s", 1).count()

    def test_damaged_manifests(self, tmp_path):
        with pytest.raises(NotAModelError, match="name the folder that build_shards wrote"):
            open_shards(tmp_path)
        for told in ("{", "[]", "{}", json.dumps({"format": 1}), json.dumps({"format": 2, "shards": [1]})):
            (tmp_path / MANIFEST).write_text(told)
            with pytest.raises(CorruptModelError, match="build the shards again"):
                open_shards(tmp_path)


class TestTraining:
    @pytest.mark.parametrize(
        "model", [ALS(dim=5, iterations=3), ALS(dim=5, iterations=3, implicit=False, reg=0.1)]
    )
    def test_mllibs_factors_serve_as_any_others(self, spark, data, tmp_path, model, caplog):
        caplog.set_level("INFO", "segue")
        pairs = data.matrix.tocoo()
        table = frame(
            spark,
            u=[f"u{row:03}" for row in pairs.row.tolist()],
            i=[int(column) for column in pairs.col],
            w=[float(value) for value in pairs.data],
        )
        trained = fit(
            table.repartition(5), tmp_path / "m", model, user="u", item="i", weight="w", staging=tmp_path
        )
        for stage in (
            "ids assigned to rows",
            "pairs joined with rows",
            "factors written",
            "indexed",
            "model saved",
        ):
            assert re.search(rf"{stage} in \d+\.\d s", caplog.text)
        assert f"trained on {data.matrix.nnz:,} pairs" in caplog.text
        had = np.flatnonzero(np.diff(data.matrix.indptr))
        assert trained.users.series.to_list() == [f"u{row:03}" for row in had]
        assert trained.interactions.nnz == data.matrix.nnz
        # MLlib solves for the users last, so folding in what they had must find them again.
        np.testing.assert_allclose(
            trained.fold_in(trained.interactions), trained.embeddings.users, rtol=1e-4, atol=1e-5
        )
        assert list(tmp_path.iterdir()) == [tmp_path / "m"]
        again = segue.load(tmp_path / "m")
        assert again.settings.model == model
        assert again.recommend(k=3).equals(trained.recommend(k=3))
        assert segue.store.verify(tmp_path / "m") is None

    def test_repeated_pairs_add_up(self, spark, tmp_path):
        table = frame(spark, user_id=[1, 1, 2, 2], item_id=[7, 7, 7, 8])
        trained = fit(table, tmp_path / "m", ALS(dim=2, iterations=1))
        assert trained.interactions.toarray().tolist() == [[2, 0], [1, 1]]

    def test_refused(self, spark, tmp_path):
        for table, match in [
            (
                frame(spark, user_id=[1], thing=[1]),
                "the frame has no column 'item_id'; it has user_id, thing",
            ),
            (
                frame(spark, "user_id long, item_id long", user_id=[1, None], item_id=[1, 2]),
                "1 values of 'user_id' are null",
            ),
            (frame(spark, user_id=[1], item_id=[1]).where("user_id > 1"), "the frame of pairs has no rows"),
        ]:
            with pytest.raises(DataError, match=match):
                fit(table, tmp_path / "m")
        with pytest.raises(DataError, match="'w' must hold numbers, not string"):
            fit(frame(spark, user_id=[1], item_id=[1], w=["x"]), tmp_path / "m", weight="w")
        assert not list(tmp_path.iterdir())


class TestCommands:
    def run(self, *line):
        return CliRunner().invoke(app, [*map(str, line)], env={"COLUMNS": "200"})

    def test_batch(self, spark, saved, tmp_path):
        folder, trained = saved
        told = self.run("batch", folder, "-o", tmp_path / "recs", "-k", 3, "--spark", "local[2,4]", "--json")
        assert told.exit_code == 0, told.output
        assert json.loads(told.stdout)["rows"] == 360
        found = pl.read_parquet(tmp_path / "recs" / "*.parquet").sort("user_id", "rank")
        assert_frame_equal(found, expected(trained, k=3))
        again = self.run("batch", folder, "-o", tmp_path / "recs", "--spark", "local[2,4]")
        assert "exists already; name a new folder" in str(again.exception)

    def test_fit(self, spark, tmp_path):
        rows = [(user, item) for user in range(9) for item in range(6) if (user + item) % 2]
        pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").write_csv(tmp_path / "pairs.csv")
        line = ["fit", tmp_path / "pairs.csv", "-o", tmp_path / "m", "--spark", "local[2,4]"]
        told = self.run(*line, "--model", "als", "--dim", 2, "--set", "alpha=10", "--json")
        assert told.exit_code == 0, told.output
        assert segue.load(tmp_path / "m").settings.model == ALS(dim=2, alpha=10)
        refused = self.run(*line)
        assert "--spark trains the ALS of Spark: choose it with --model als" in str(refused.exception)


class TestSession:
    def test_the_running_one_is_taken(self, spark):
        assert session() is spark
        assert session("local[2,4]") is spark
        with pytest.raises(SettingError, match=r"runs on local\[2,4\] already; stop it"):
            session("local[1]")

    @pytest.mark.parametrize(
        ("told", "match"),
        [
            ('openjdk version "11.0.2"', "is Java 11; Spark 4 runs on Java 17 or 21"),
            ("none", "is Java of an unknown version"),
        ],
    )
    def test_an_old_java(self, tmp_path, monkeypatch, told, match):
        (tmp_path / "bin").mkdir()
        java = tmp_path / "bin" / "java"
        java.write_text(f"#!/bin/sh\necho '{told}' >&2\n")
        java.chmod(0o755)
        monkeypatch.setenv("JAVA_HOME", str(tmp_path))
        with pytest.raises(SettingError, match=match):
            check_java()

    def test_no_java(self, tmp_path, monkeypatch):
        monkeypatch.setenv("JAVA_HOME", str(tmp_path))
        with pytest.raises(
            SettingError, match="holds no bin/java; Spark 4 runs on Java 17 or 21: install one"
        ):
            check_java()
        monkeypatch.delenv("JAVA_HOME")
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(SettingError, match="no java was found on the PATH"):
            check_java()

    def test_no_pyspark(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "pyspark", None)
        with pytest.raises(MissingExtraError, match=r'pip install "segue\[spark\]"'):
            check_spark()

    @pytest.mark.parametrize("missing", ["pyspark", "pyarrow"])
    @pytest.mark.parametrize("line", ["batch model -o out", "fit pairs.parquet -o model --model als"])
    def test_commands_without_the_extra(self, missing, line, tmp_path):
        script = f"import sys; sys.modules[{missing!r}] = None; from segue.cli import main; main()"
        command = [sys.executable, "-c", script, *line.split(), "--spark", "local[1]"]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert re.fullmatch(r'segue: Spark needs .*pip install "segue\[spark\]"\n', ran.stderr)

    def test_an_old_pyspark(self, monkeypatch):
        monkeypatch.setattr("pyspark.__version__", "3.5.1")
        with pytest.raises(SettingError, match=r"pyspark 3\.5\.1 is too old; segue works with 4\.0"):
            check_spark()


JOB = """
import os, signal, sys, threading, time
import polars as pl
from segue.spark.recommend import recommend
from segue.spark.session import session
import segue

master, folder, worker = sys.argv[1], sys.argv[2], int(sys.argv[3])
spark = session(master)
spark.sparkContext.setLogLevel("OFF")
trained = segue.load(folder)
users = spark.createDataFrame([(one,) for one in trained.users.series.to_list()], ["user_id"])

def slow(batches):
    for batch in batches:
        time.sleep(0.5)
        yield batch

# A stage that lasts, so that the worker dies in the middle of it.
asked = users.repartition(12).mapInArrow(slow, users.schema)
def kill():
    time.sleep(3)
    os.killpg(worker, signal.SIGKILL)
threading.Thread(target=kill, daemon=True).start()
found = pl.from_arrow(recommend(asked, folder, 3).toArrow()).sort("user_id", "rank")
wanted = trained.recommend(k=3).select(found.columns).sort("user_id", "rank")
print("equal" if found.equals(wanted) else "different", flush=True)
"""


def test_a_cluster_that_loses_a_worker(saved, tmp_path):
    """A standalone cluster of separate processes; one worker and its executor are killed in mid-job."""
    import pyspark

    home = Path(pyspark.__file__).parent
    environment = {
        **os.environ, "SPARK_HOME": str(home), "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_WORKER_DIR": str(tmp_path / "work"),
    }  # fmt: skip
    log = (tmp_path / "cluster.log").open("w")
    started = []

    def start(role, *given):
        one = subprocess.Popen(
            [home / "bin" / "spark-class", f"org.apache.spark.deploy.{role}", "--host", "127.0.0.1", *given],
            env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        started.append(one)
        return one

    def await_line(text):
        deadline = time.monotonic() + 60
        while text not in (tmp_path / "cluster.log").read_text():
            assert time.monotonic() < deadline, (tmp_path / "cluster.log").read_text()[-3000:]
            time.sleep(0.1)

    try:
        port = str(free_port())
        url = f"spark://127.0.0.1:{port}"
        start("master.Master", "--port", port, "--webui-port", "0")
        await_line("I have been elected leader")
        workers = [
            start(
                "worker.Worker",
                "--cores",
                "1",
                "--memory",
                "1g",
                "--webui-port",
                "0",
                url,
            )
            for _ in range(2)
        ]
        deadline = time.monotonic() + 60
        while (tmp_path / "cluster.log").read_text().count("Registering worker") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        done = subprocess.run(
            [sys.executable, "-c", JOB, url, str(saved[0]), str(workers[0].pid)],
            env=environment, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.stdout.strip() == "equal", done.stderr[-3000:]
        assert workers[0].poll() == -signal.SIGKILL
    finally:
        for one in started:
            if one.poll() is None:
                os.killpg(one.pid, signal.SIGKILL)
                one.wait()
        log.close()
