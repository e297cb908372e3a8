"""Tuning: real studies on simulated data, alone and shared, resumed, interrupted, out of time, refused."""

import contextlib
import dataclasses
import json
import math
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import segue
from segue import cli
from segue.cli.trials import verdict
from segue.cli.values import parse_duration
from segue.data.interactions import from_csr
from segue.errors import DataError, MissingExtraError, SettingError
from segue.models import IALS, MODELS, BiasedMF, served_models, tunable_models
from segue.models.search_space import Range, passes_field, resolve_space
from segue.tuning import plot as study_chart
from segue.tuning import search as tuning
from segue.tuning.study import opened

QUICK = {"dim": 4, "threads": 1}
KEPT = ["trial", "model", "default", "state", "value", "error", "first_look", "settings", "problem"]


@pytest.fixture(scope="module")
def data():
    return segue.data.simulate(120, 60, 2400, seed=1)


def tune(data, models="ials", **given):
    return segue.tune(data, models, **{"fixed": QUICK, **given})


def ends(space, pick):
    """The settings at one end of every range."""
    return {
        name: (setting.low, setting.high)[pick] if isinstance(setting, Range) else setting[-pick]
        for name, setting in space.items()
    }


class TestSpaces:
    def test_are_of_all_models_that_learn(self):
        assert set(tunable_models()) == set(served_models()) - {"popularity", "text"}

    @pytest.mark.parametrize("model", tunable_models())
    def test_hold_the_defaults_and_are_valid_at_their_ends(self, model, data):
        settings = MODELS[model].settings()
        space = resolve_space(MODELS[model].space, settings, data)
        assert passes_field(settings) in space
        for name, setting in space.items():
            default = getattr(settings.resolved(data), name)
            if isinstance(setting, Range):
                assert setting.low <= default <= setting.high, name
                assert (
                    isinstance(default, int) == isinstance(setting.low, int) == isinstance(setting.high, int)
                )
                assert setting.low > 0 or not setting.log
            else:
                assert default in setting, name
        for pick in (0, 1):
            dataclasses.replace(settings, **ends(space, pick))

    def test_relative_ends_are_multiples_of_what_the_data_lead_to(self, data):
        weight = IALS().resolved(data).unobserved_weight
        span = resolve_space(MODELS["ials"].space, IALS(), data)["unobserved_weight"]
        assert (span.low, span.high, span.relative) == (0.05 * weight, 5.0 * weight, False)
        assert set(resolve_space(MODELS["ials"].space, IALS(), data, {"reg", "dim"})) == {
            "iterations",
            "unobserved_weight",
        }


class TestSplit:
    def sizes(self, data, by=None):
        train, valid, told = tuning.split_off(data, by, 3)
        assert (train.matrix + valid.matrix != data.matrix).nnz == 0
        assert (train.matrix.multiply(valid.matrix)).nnz == 0
        return train, valid, told

    def test_random_without_times(self, data):
        _, valid, told = self.sizes(dataclasses.replace(data, times=None))
        assert (told, len(valid)) == ("random", 240)

    def test_time_where_enough_users_can_be_measured(self):
        many = segue.data.simulate(2000, 200, 40_000, seed=2)
        train, valid, told = self.sizes(many)
        both = (np.diff(train.matrix.indptr) > 0) & (np.diff(valid.matrix.indptr) > 0)
        assert told == "time"
        assert both.sum() >= 100
        assert train.times.max() <= valid.times.min()

    def test_last_where_they_cannot(self, data):
        _, valid, told = self.sizes(data)
        assert told == "last"
        assert (np.diff(valid.matrix.indptr) >= 1).all()

    @pytest.mark.parametrize("by", ["time", "last", "random"])
    def test_as_asked(self, data, by):
        _, valid, told = self.sizes(data, by)
        wanted = data.split(0.1, by=by, seed=3)[1]
        assert told == by
        assert (valid.matrix != wanted.matrix).nnz == 0


@pytest.fixture(scope="module")
def tuned(data):
    return tune(data, trials=24, metric="recall@5", by="random", seed=1)


class TestAnswer:
    def test_the_default_settings_are_the_first_trial(self, tuned):
        defaults = tuned.trials.filter("default")
        assert defaults["trial"].to_list() == [0]
        assert tuned.default == defaults["value"][0]
        assert tuned.default_model == "ials"
        assert json.loads(defaults["settings"][0])["reg"] == IALS().reg

    def test_values_are_what_evaluation_finds(self, tuned, data):
        train, valid = data.split(0.1, by="random", seed=1)
        for settings, value, error in (
            (tuned.settings, tuned.value, tuned.error),
            (IALS(**QUICK), tuned.default, None),
        ):
            found = segue.evaluate(segue.Recommender(settings).fit(train), valid, 5, baselines=())
            assert value == pytest.approx(found["recall@5"], abs=1e-9)
            assert error is None or error == pytest.approx(found.model.errors["recall@5"], abs=1e-9)
            assert tuned.users == found.model.users

    def test_the_best_beat_the_defaults_here(self, tuned):
        done = tuned.trials.filter(pl.col("state") == "complete")
        assert tuned.value == done["value"].max() > tuned.default
        assert tuned.improved
        assert tuned.trials["value"][0] == tuned.value
        assert tuned.settings == MODELS[tuned.model].settings(**json.loads(tuned.trials["settings"][0]))

    def test_what_is_fixed_stays(self, tuned):
        for text in tuned.trials["settings"]:
            settings = json.loads(text)
            assert settings.items() >= QUICK.items()
            assert set(settings) == {*MODELS["ials"].space, "threads"}

    def test_settings_lie_in_their_space(self, tuned, data):
        train = data.split(0.1, by="random", seed=1)[0]
        space = resolve_space(MODELS["ials"].space, IALS(), train, QUICK)
        tried = [json.loads(text) for text in tuned.trials["settings"]]
        for name, span in space.items():
            values = [settings[name] for settings in tried]
            assert all(span.low <= value <= span.high for value in values)
            assert len(set(values)) > 8

    def test_hopeless_trials_are_pruned_and_no_others(self, tuned):
        trials = tuned.trials.sort("trial")
        done = []
        for row in trials.iter_rows(named=True):
            hopeless = len(done) >= 4 and row["first_look"] < np.median(done)
            assert row["state"] == ("pruned" if hopeless else "complete"), row
            assert (row["value"] is None) == (row["error"] is None) == hopeless
            done += [] if hopeless else [row["first_look"]]
        assert trials["state"].to_list().count("pruned") >= 3

    def test_same_seed_same_trials(self, tuned, data):
        again = tune(data, trials=24, metric="recall@5", by="random", seed=1)
        assert_frame_equal(again.trials[KEPT], tuned.trials[KEPT])
        other = tune(data, trials=3, metric="recall@5", by="random", seed=2)
        assert other.trials.sort("trial")["settings"][1] != tuned.trials.sort("trial")["settings"][1]

    def test_nothing_beats_the_default_of_one_trial(self, data):
        alone = tune(data, trials=1)
        assert alone.settings == IALS(**QUICK)
        assert not alone.improved
        assert alone.value == alone.default

    def test_a_first_look_takes_a_quarter_of_the_passes(self, data, monkeypatch):
        seen = []
        fit = IALS.fit
        monkeypatch.setattr(
            IALS,
            "fit",
            lambda self, *given, **more: seen.append(self.iterations) or fit(self, *given, **more),
        )
        tune(data, trials=1)
        tune(data, trials=1, fixed={**QUICK, "iterations": 2})
        assert seen == [4, 16, 1, 2]


def test_several_models_in_one_study(data):
    tuned = tune(data, ["bpr", "ials"], trials=12, fixed={**QUICK, "epochs": 3})
    rows = tuned.trials.sort("trial")
    assert rows["default"].to_list() == [True, True] + [False] * 10
    assert rows["model"].to_list()[:2] == ["bpr", "ials"]
    assert set(rows["model"].to_list()[2:]) == {"bpr", "ials"}
    assert tuned.default == rows.filter("default")["value"].max()
    for row in rows.iter_rows(named=True):
        settings = json.loads(row["settings"])
        assert settings.get("epochs") == (3 if row["model"] == "bpr" else None)
        MODELS[row["model"]].settings(**settings)


def test_pruning_compares_trials_of_one_model(data, monkeypatch):
    """A model whose first looks are far below those of another is not given up for it."""
    monkeypatch.setattr(
        tuning.Measuring,
        "__call__",
        lambda self, settings, progress: (float(isinstance(settings, IALS)), 0.0),
    )
    tuned = tune(data, ["bpr", "ials"], trials=20)
    assert set(tuned.trials["state"]) == {"complete"}
    assert tuned.model == "ials"


@pytest.mark.parametrize("model", tunable_models())
def test_every_model_is_tuned(model, data):
    held = {"dim": 3, "threads": 1}
    tuned = tune(data, model, trials=3, fixed=held)
    assert set(tuned.trials["state"]) == {"complete"}
    assert type(tuned.settings) is MODELS[model].settings
    assert np.isfinite(tuned.settings.fit(data).users).all()


@pytest.mark.parametrize("metric", ["rmse", "mae"])
def test_errors_of_ratings_are_made_small(metric, data):
    tuned = tune(data, "biasedmf", trials=8, metric=metric, by="random")
    done = tuned.trials.filter(pl.col("state") == "complete")
    assert tuned.value == done["value"].min() == tuned.trials["value"][0]
    assert math.isnan(tuned.error)
    train, valid = data.split(0.1, by="random", seed=0)
    found = segue.evaluate_ratings(segue.Recommender(tuned.settings).fit(train), valid)
    assert tuned.value == pytest.approx(getattr(found, metric), rel=1e-6)
    looks = []
    for row in tuned.trials.sort("trial").iter_rows(named=True):
        assert (row["state"] == "pruned") == (len(looks) >= 4 and row["first_look"] > np.median(looks))
        looks += [row["first_look"]] if row["state"] == "complete" else []


def test_auc(data):
    train, valid = data.split(0.1, by="last", seed=0)
    tuned = tune(data, trials=2, metric="auc")
    found = segue.evaluate(segue.Recommender(tuned.settings).fit(train), valid, 5, baselines=())
    assert tuned.value == pytest.approx(found["auc"])


def test_progress_ends_at_its_total(data):
    told = []
    tune(data, trials=3, progress=lambda *step: told.append(step))
    assert [step[:3] for step in told] == [("tuning", done, 3) for done in (0, 1, 2, 3, 3)]
    best = [step[3].get("ndcg@10", 0) for step in told]
    assert best == sorted(best)
    told.clear()
    tune(data, seconds=0.001, progress=lambda *step: told.append(step))
    assert [step[:3] for step in told] == [("tuning, seconds", 0, 1)] * 2 + [("tuning, seconds", 1, 1)]


def test_optuna_keeps_quiet_and_as_it_was(data, capfd):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        tune(data, trials=2)
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    finally:
        optuna.logging.set_verbosity(optuna.logging.INFO)
    assert capfd.readouterr() == ("", "")


class TestStudy:
    def test_going_on_is_as_if_it_had_never_stopped(self, data, tmp_path):
        whole = tune(data, trials=14)
        for trials in (1, 6, 14):
            parts = tune(data, trials=trials, study=tmp_path / "s.db")
            assert parts.trials.height == trials
        assert_frame_equal(parts.trials[KEPT], whole.trials[KEPT])
        assert parts.settings == whole.settings

    def test_enough_is_enough(self, data, tmp_path, monkeypatch):
        first = tune(data, trials=3, study=tmp_path / "s.db")
        monkeypatch.setattr(IALS, "fit", lambda *_, **__: pytest.fail("it trained"))
        again = tune(data, trials=2, study=tmp_path / "s.db")
        assert_frame_equal(again.trials, first.trials)
        assert again.settings == first.settings

    @pytest.mark.parametrize(
        ("changed", "told"),
        [
            ({"metric": "map@5"}, "metric 'ndcg@10', not 'map@5'"),
            ({"models": ["bpr"]}, "models ['ials'], not ['bpr']"),
            ({"seed": 4}, "seed 0, not 4"),
            ({"fixed": {}}, "fixed {'dim': 4, 'threads': 1}, not {}"),
            ({"by": "random"}, "split 'last', not 'random'"),
        ],
    )
    def test_a_study_of_something_else_is_refused(self, data, tmp_path, changed, told):
        tune(data, trials=1, study=tmp_path / "s.db")
        message = f"this study was made with {told}; go on as it was made, or name another file"
        with pytest.raises(SettingError, match=re.escape(message)):
            tune(data, **{"models": "ials", "trials": 1, "study": tmp_path / "s.db", **changed})

    def test_a_study_of_other_data_is_refused(self, data, tmp_path):
        tune(data, trials=1, study=tmp_path / "s.db")
        other = dataclasses.replace(data, matrix=data.matrix.copy())
        other.matrix.data[0] += 1
        with pytest.raises(
            SettingError, match=r"made with data '120 users × 60 items, 2400 interactions, \w+'"
        ):
            tune(other, trials=1, study=tmp_path / "s.db")

    def test_files_that_are_no_studies(self, data, tmp_path):
        (tmp_path / "text").write_text("a letter\n")
        for path, told in (
            (tmp_path / "text", f"{tmp_path}/text is no study, which is a SQLite file; name another file"),
            (tmp_path, f"{tmp_path} is a folder; name a file to keep the study in"),
            (tmp_path / "no" / "s.db", f"there is no folder {tmp_path}/no to keep the study s.db in"),
        ):
            with pytest.raises(SettingError, match=f"^{re.escape(told)}$"):
                tune(data, trials=1, study=path)
        assert (tmp_path / "text").read_text() == "a letter\n"

    def test_a_killed_process_leaves_its_trial_to_others(self, data, tmp_path):
        with process(
            f"{DATA}; {SLOW}; segue.tune(data, fixed={QUICK}, trials=2, study={str(tmp_path / 's')!r})"
        ) as one:
            assert one.stdout.readline() == "now\n"
            one.kill()
            one.wait()
        tuned = tune(data, trials=2, study=tmp_path / "s")
        rows = tuned.trials.sort("trial")
        assert rows["state"].to_list() == ["cut", "complete", "complete"]
        assert rows["default"].to_list() == [True, True, False]
        assert rows["problem"][0] == f"its process {one.pid} was killed"
        assert tuned.default == tune(data, trials=1).value

    def test_trials_are_taken_under_a_lock(self, data, tmp_path, monkeypatch):
        locks = []

        @contextlib.contextmanager
        def locked(path):
            locks.append(path)
            yield

        monkeypatch.setattr("segue.tuning.study.locked", locked)
        tune(data, trials=3, study=tmp_path / "s.db")
        opening_three_trials_and_no_more = 5
        assert locks == [tmp_path / "s.db.lock"] * opening_three_trials_and_no_more

    def test_two_processes_share_a_study(self, data, tmp_path):
        code = (
            f"{DATA}; {SLOW.replace('60', '0.1')}; input(); "
            f"segue.tune(data, fixed={QUICK}, trials=12, study={str(tmp_path / 's')!r})"
        )
        with process(code) as one, process(code) as other:
            for each in (one, other):
                each.stdin.write("\n")
                each.stdin.flush()
            told = [each.communicate(timeout=120) for each in (one, other)]
        assert [each.returncode for each in (one, other)] == [0, 0], told
        with opened(tmp_path / "s", "maximize") as study:
            trials = study.trials()
        assert [trial.number for trial in trials] == list(range(12))
        assert {trial.state.name for trial in trials} <= {"COMPLETE", "PRUNED"}
        assert ["default_of" in trial.user_attrs for trial in trials] == [True] + [False] * 11
        assert {trial.user_attrs["process"] for trial in trials} == {one.pid, other.pid}


DATA = (
    "import time, segue; from segue.tuning import search as tuning; "
    "data = segue.data.simulate(120, 60, 2400, seed=1)"
)
SLOW = (
    "fit = segue.IALS.fit; "
    "segue.IALS.fit = lambda *given, **more: "
    "(print('now', flush=True), time.sleep(60), fit(*given, **more))[-1]"
)


def process(code):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def failing(monkeypatch, errors):
    """Let the n-th training raise `errors[n]`."""
    fit, count = IALS.fit, iter(range(10_000))

    def fit_or_fail(*given, **more):
        number = next(count)
        if number in errors:
            raise errors[number]
        return fit(*given, **more)

    monkeypatch.setattr(IALS, "fit", fit_or_fail)


class TestAccidents:
    def test_errors_of_trials_are_recorded(self, data, monkeypatch, caplog):
        failing(monkeypatch, {2: DataError("too strange"), 3: MemoryError()})
        tuned = tune(data, trials=4)
        rows = tuned.trials.sort("trial")
        assert rows["state"].to_list() == ["complete", "failed", "failed", "complete"]
        assert rows["problem"].to_list() == [None, "too strange", "MemoryError()", None]
        assert [record.getMessage() for record in caplog.records] == [
            "trial 1 failed: too strange", "trial 2 failed: MemoryError()"
        ]  # fmt: skip

    def test_failed_defaults_leave_nothing_to_compare_with(self, data, monkeypatch):
        failing(monkeypatch, {0: DataError("too strange")})
        tuned = tune(data, trials=3)
        assert (tuned.default, tuned.default_model, tuned.improved) == (None, None, True)
        assert "No trial with default settings is complete: there is nothing" in verdict(tuned)

    @pytest.mark.parametrize("limit", [{"trials": 2}, {"seconds": 0.001}])
    def test_nothing_but_failures(self, data, monkeypatch, limit):
        failing(monkeypatch, dict.fromkeys(range(10_000), DataError("too strange")))
        with pytest.raises(SettingError, match=r"^none of [12] trials came to an end: too strange$"):
            tune(data, **limit)

    def test_bugs_come_out_and_stand_in_the_study(self, data, monkeypatch, tmp_path):
        failing(monkeypatch, {2: ZeroDivisionError("a bug")})
        with pytest.raises(ZeroDivisionError):
            tune(data, trials=3, study=tmp_path / "s.db")
        tuned = tune(data, trials=3, study=tmp_path / "s.db")
        rows = tuned.trials.sort("trial")
        assert rows["state"].to_list() == ["complete", "failed", "complete"]
        assert rows["problem"][1] == "ZeroDivisionError('a bug')"

    def test_scores_that_are_no_numbers(self, data, monkeypatch):
        fit = BiasedMF.fit

        def broken(self, *given, **more):
            made = fit(self, *given, **more)
            return (
                made if self.reg == 1.5 else dataclasses.replace(made, users=made.users * np.float32("nan"))
            )

        monkeypatch.setattr(BiasedMF, "fit", broken)
        rows = tune(data, "biasedmf", trials=2, metric="rmse").trials.sort("trial")
        assert rows["problem"][1] == "rmse is nan: the model diverged, or there is nothing to measure"
        rows = tune(data, "biasedmf", trials=2).trials.sort("trial")
        assert "hold NaN, which cannot be ranked" in rows["problem"][1]

    def test_an_interrupt_keeps_what_was_found(self, data, monkeypatch, tmp_path):
        failing(monkeypatch, {5: KeyboardInterrupt()})
        tuned = tune(data, trials=9, study=tmp_path / "s.db")
        rows = tuned.trials.sort("trial")
        assert tuned.interrupted
        assert rows["state"].to_list() == ["complete", "complete", "cut"]
        assert tuned.value == max(rows["value"][:2])
        assert "Interrupted: these are the results so far" in verdict(tuned)
        again = tune(data, trials=4, study=tmp_path / "s.db")
        assert not again.interrupted
        assert sorted(again.trials["state"]) == ["complete", "complete", "complete", "complete", "cut"]

    def test_an_interrupt_before_anything_was_found(self, data, monkeypatch, tmp_path):
        failing(monkeypatch, {1: KeyboardInterrupt()})
        with pytest.raises(KeyboardInterrupt):
            tune(data, trials=3, study=tmp_path / "s.db")
        rows = tune(data, trials=1, study=tmp_path / "s.db").trials.sort("trial")
        assert rows["state"].to_list() == ["cut", "complete"]
        assert rows["default"].to_list() == [True, True]


class TestTime:
    @pytest.fixture
    def clock(self, monkeypatch):
        """A clock by which a pass of iALS takes a second."""
        now = [0.0]
        half = IALS._half

        def counted(*given):
            now[0] += 0.5
            half(*given)

        monkeypatch.setattr(IALS, "_half", counted)
        monkeypatch.setattr(tuning.time, "monotonic", lambda: now[0])
        return now

    def test_a_trial_is_cut_when_the_time_is_over(self, data, clock):
        tuned = tune(data, seconds=24.5, fixed={**QUICK, "iterations": 16})
        rows = tuned.trials.sort("trial")
        assert rows["state"].to_list() == ["complete", "cut"]
        assert rows["problem"].to_list() == [None, "the time was over"]
        assert rows["seconds"].to_list() == [20.0, None]
        assert clock == [25.0]

    def test_no_trial_is_begun_after_it(self, data, clock):
        assert tune(data, seconds=20, fixed={**QUICK, "iterations": 16}).trials.height == 1

    def test_the_first_trial_is_never_cut(self, data, clock):
        tuned = tune(data, seconds=1, fixed={**QUICK, "iterations": 16})
        assert tuned.trials["state"].to_list() == ["complete"]
        assert clock == [20.0]

    def test_trials_end_it_sooner(self, data, clock):
        assert tune(data, seconds=10_000, trials=3).trials.height == 3

    def test_a_cut_trial_is_taken_up_again(self, data, clock, tmp_path):
        given = {"fixed": {**QUICK, "iterations": 16}, "study": tmp_path / "s.db"}
        tune(data, seconds=24.5, trials=2, **given)
        rows = tune(data, trials=2, **given).trials.sort("trial")
        assert rows["state"].to_list() == ["complete", "cut", "complete"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"trials": 0}, "trials=0 must be a whole number of at least 1"),
        ({"trials": True}, "trials=True must be a whole number of at least 1"),
        ({"trials": 1.5}, "trials=1.5 must be a whole number of at least 1"),
        ({"seconds": 0}, "seconds=0 must be a number above 0"),
        ({"seconds": math.nan}, "seconds=nan must be a number above 0"),
        ({"models": []}, "models names none; give one or more, such as models=('ials', 'warp')"),
        (
            {"models": "popularity"},
            f"'popularity' is not a model with settings to tune; these are: {', '.join(tunable_models())}",
        ),
        ({"models": ["ials", "mf"]}, "'mf' is not a model with settings to tune; these are: "),
        ({"metric": "ndcg"}, "metric='ndcg' is not known; there are precision@10, recall@10, ndcg@10, "),
        ({"metric": "ndcg@0"}, "metric='ndcg@0' is not known; "),
        ({"metric": "coverage@10"}, "metric='coverage@10' is not known; "),
        ({"metric": "rmse"}, "ials predicts no ratings, so it has no rmse; biasedmf does"),
        ({"by": "users"}, "by='users' holds out nothing to tune on; there are 'time', 'last', 'random'"),
        ({"fixed": {"dims": 3}}, "ials has no setting 'dims'; there are cg_steps, confidence, dim, "),
        ({"fixed": {"dim": 0}}, "IALS(dim=0) must be at least 1"),
        (
            {"fixed": {"dim": 2, "iterations": 2, "unobserved_weight": 1.0, "reg": 0.1}},
            "all that could be tuned in ials is fixed; leave something free",
        ),
    ],
)
def test_what_cannot_be(data, given, told):
    with pytest.raises(SettingError, match=f"^{re.escape(told)}"):
        tune(data, **given)


def test_nobody_to_measure():
    matrix = np.eye(6)
    with pytest.raises(
        DataError, match=r"none of the 1 interactions held out is of a user with others to learn"
    ):
        tune(from_csr(matrix), trials=1)


def test_without_optuna_and_matplotlib(data, monkeypatch, tmp_path):
    tuned = tune(data, trials=1)
    monkeypatch.setitem(sys.modules, "optuna", None)
    message = 'tuning needs optuna, which is not installed: pip install "segue[tune]"'
    with pytest.raises(MissingExtraError, match=f"^{re.escape(message)}$"):
        tune(data, trials=1)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    message = 'drawing needs matplotlib, which is not installed: pip install "segue[plot]"'
    with pytest.raises(MissingExtraError, match=f"^{re.escape(message)}$"):
        study_chart.draw(tuned, tmp_path / "a.png")


BEGIN = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


class TestChart:
    @pytest.mark.parametrize("kind", BEGIN)
    def test_is_drawn(self, kind, data, tmp_path):
        tuned = tune(data, trials=12)
        study_chart.draw(tuned, tmp_path / f"a{kind}")
        assert (tmp_path / f"a{kind}").read_bytes().startswith(BEGIN[kind])
        if kind == ".svg":
            text = (tmp_path / "a.svg").read_text()
            for words in ("ials, given up after a quarter", "default settings (ials)", "the best so far"):
                assert f"<!-- {words} -->" in text

    def test_is_refused(self, data, tmp_path):
        tuned = tune(data, trials=1)
        with pytest.raises(
            SettingError, match=r"a.txt is no picture; name a file that ends in .pdf, .png, .svg$"
        ):
            study_chart.draw(tuned, tmp_path / "a.txt")
        with pytest.raises(SettingError, match=f"^there is no folder {tmp_path}/no to draw a.png into$"):
            study_chart.draw(tuned, tmp_path / "no" / "a.png")


class TestCommand:
    @pytest.fixture(autouse=True)
    def _there(self, data, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        pairs = data.matrix.tocoo()
        pl.DataFrame(
            {
                "user": data.users.ids[pairs.row], "item": data.items.ids[pairs.col],
                "rating": pairs.data, "time": data.times.astype(np.int64),
            }
        ).write_csv("ratings.csv")  # fmt: skip

    @pytest.fixture
    def run(self, capsys, monkeypatch):
        def run(line):
            monkeypatch.setattr("sys.argv", ["segue", "tune", *shlex.split(line)])
            with pytest.raises(SystemExit) as ended:
                cli.main()
            return (ended.value.code, *capsys.readouterr())

        return run

    def test_the_winner_is_saved_and_told(self, run):
        code, told, errors = run(
            "ratings.csv -o m --trials 24 --metric recall -k 5 --by random --seed 1 --plot p.png "
            "--set dim=4 --set threads=1"
        )
        data = segue.read_interactions("ratings.csv")
        wanted = tune(data, trials=24, metric="recall@5", by="random", seed=1)
        trained = segue.load("m")
        assert code == 0
        assert errors.startswith("tuning: 24 in ")
        assert trained.settings.model == wanted.settings.resolved(data)
        assert trained.interactions.nnz == len(data)
        assert trained.metrics == {"validation_recall@5": wanted.value}
        assert Path("p.png").exists()
        kept = pl.read_csv("m.trials.csv", schema=wanted.trials.schema)
        assert_frame_equal(kept[KEPT], wanted.trials[KEPT])
        lines = told.splitlines()
        assert lines[0].startswith("Read 120 users × 60 items, 2,400 interactions")
        assert lines[1].split() == ["trial", "model", "recall@5", "seconds", "settings"]
        assert f"{wanted.value:.4f} ± {wanted.error:.4f}" in lines[2]
        assert f"measured on a random tenth of the interactions; {wanted.users} users" in told
        assert f"recall@5 {wanted.value:.4f} (ials) against {wanted.default:.4f} (ials)" in told
        assert f"Saved version {trained.version} in m, all trials in m.trials.csv" in told

    def test_nothing_better_than_the_defaults_is_told(self, run):
        told = run("ratings.csv -o m --trials 1 --metric recall@3 --set dim=4 -q")[1]
        value = segue.load("m").metrics["validation_recall@3"]
        assert f"Nothing beat the default settings of ials: recall@3 {value:.4f}" in told
        told = run("ratings.csv -o n --trials 1 --metric recall@3 --set dim=4 --test 0.25 -q")[1]
        assert "The best settings are the defaults of ials: both have the same rows\n" in told
        assert "user by user" not in told

    def test_json_and_a_test_part(self, run):
        line = "ratings.csv -o m --trials 5 --model ials --model bpr --set dim=4 --metric map -k 4"
        code, told, errors = run(f"{line} --set epochs=3 --test 0.25 --by random --seed 3 --json -q")
        made = json.loads(told)
        assert (code, errors) == (0, "")
        train, held = segue.read_interactions("ratings.csv").split(0.25, seed=3)
        assert segue.load("m").interactions.nnz == len(train)
        assert (made["metric"], made["split"], made["interrupted"]) == ("map@4", "random", False)
        assert len(made["trials"]) == 5
        assert list(made["metrics"]) == ["model", "default", "popularity", "item-knn"]
        default = MODELS["ials" if "IALS" in made["settings"] else "bpr"].settings(dim=4)
        if made["settings"].startswith("IALS"):
            found = segue.evaluate(segue.Recommender(default).fit(train), held)
            assert made["metrics"]["default"]["map@5"]["value"] == pytest.approx(found["map@5"])
        assert made["improved"] == (made["value"] != made["default"])

    def test_the_difference_on_the_test_part(self, run):
        line = "ratings.csv -o m --trials 24 --by random --test 0.25 --set dim=4 --set threads=1 -q"
        _, told, _ = run(f"{line} --metric recall -k 7")
        train, held = segue.read_interactions("ratings.csv").split(0.25, seed=0)
        best, default = (
            segue.evaluate(segue.Recommender(settings).fit(train), held, 7, baselines=()).model
            for settings in (segue.load("m").settings.model, IALS(**QUICK))
        )
        more, error = segue.evaluation.metrics.difference(best, default, "recall@7")
        assert error > 0
        assert (
            f"recall@7 is {more:+.4f} ± {error:.4f} beside the default settings (paired over users)" in told
        )
        told = run("ratings.csv -o n --model biasedmf --metric rmse --trials 1 --test 0.25 --by random -q")[1]
        assert "user by user" not in told
        assert re.search(r"^RMSE \d\.\d+, MAE \d\.\d+ over 600 ratings$", told, re.MULTILINE)

    def test_a_study_goes_on(self, run):
        line = "ratings.csv -o m --set dim=4 -q --study s.db --json --trials"
        first, second = (json.loads(run(f"{line} {trials}")[1]) for trials in (2, 4))
        assert [len(made["trials"]) for made in (first, second)] == [2, 4]
        kept = {row["trial"]: row for row in second["trials"]}
        assert all(kept[row["trial"]] == row for row in first["trials"])

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ("--model popularity", "'popularity' is not a model with settings to tune; these are: "),
            ("--trials 0", "--trials 0 must be a whole number of at least 1"),
            ("--time-budget soon", "--time-budget soon must be a duration, such as 90s, 10m or 1h30m"),
            ("--time-budget 0m", "--time-budget 0m must be a duration, such as 90s, 10m or 1h30m"),
            ("--metric luck", "--metric 'luck@10' is not known; there are precision@10, "),
            ("--set dims=3", "ials has no setting 'dims'; there are "),
            ("--set dim", "--set dim must be NAME=VALUE, such as --set dim=64"),
            ("--set dim=x", "--set dim=x must be a whole number"),
            ("--by users", "--by 'users' holds out nothing to tune on; there are 'time', 'last', 'random'"),
            ("--plot p.txt", "p.txt is no picture; name a file that ends in .pdf, .png, .svg"),
            ("--study ratings.csv", "ratings.csv is no study, which is a SQLite file; name another file"),
            ("--test 2", "--test 2.0 must be a share between 0 and 1, such as 0.2"),
        ],
    )
    def test_refused(self, run, line, told):
        code, _, errors = run(f"ratings.csv -o m -q {line}")
        assert code == 2
        assert errors.startswith(f"segue: {told}")
        assert errors.count("\n") == 1
        assert not Path("m").exists()
        assert not Path("m.trials.csv").exists()

    def test_an_interrupt_saves_the_winner(self):
        code = (
            "import sys, time, segue, segue.cli; fit, count = segue.IALS.fit, []\n"
            "def slow(*given, **more):\n"
            "    count.append(1)\n"
            "    if len(count) == 5:\n"
            "        print('now', flush=True)\n"
            "        time.sleep(60)\n"
            "    return fit(*given, **more)\n"
            "segue.IALS.fit = slow\n"
            "sys.argv = 'segue tune ratings.csv -o m --set dim=4 -q'.split()\n"
            "segue.cli.main()\n"
        )
        with process(code) as one:
            while (told := one.stdout.readline()) != "now\n":
                assert told, one.stderr.read()
            one.send_signal(signal.SIGINT)
            told, errors = one.communicate(timeout=120)
        assert one.returncode == 0
        assert "interrupted: what was found until now is kept" in errors
        assert "3 trials (2 complete, 1 cut), measured on " in told
        assert "Interrupted: these are the results so far" in told
        best = pl.read_csv("m.trials.csv").row(0, named=True)
        assert segue.load("m").settings.model.reg == json.loads(best["settings"])["reg"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400), ("1h30m", 5400), ("2m5s", 125)],
)
def test_times(text, seconds):
    assert parse_duration(text) == seconds


def test_importing_tuning_does_not_import_optuna():
    code = "import sys, segue.cli; print('optuna' in sys.modules, 'matplotlib' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "False False\n"
