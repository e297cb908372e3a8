"""Tuning: settings tried on a validation split, the next ones chosen by what the ones before have shown."""

from __future__ import annotations

import json
import logging
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from segue.data.interactions import Interactions
from segue.errors import SegueError, SettingError
from segue.models import MODELS, check_tunable
from segue.models.search_space import Choices, Range, passes_field, resolve_space
from segue.progress import NOTHING, Progress, silent
from segue.tuning.measuring import RATINGS, Measuring, split_off
from segue.tuning.study import Optuna, Study, opened
from segue.tuning.trials import Settings, Values, default_of, trials_frame

TRIALS = 30  # where neither a number nor a time is given
SHARE = 4  # a first look at settings takes one pass in so many
COMPARED = 4  # complete trials of a model, from which on its first looks are compared with theirs
RANKING = ("precision", "recall", "ndcg", "map", "mrr", "hit_rate")
log = logging.getLogger("segue")


@dataclass(frozen=True, eq=False)
class Tuned:
    """What tuning found.

    Attributes:
        settings: the best ones, of whichever model; fit them on all the data.
        model: that model's name.
        metric: by which they are the best.
        value: theirs on the validation split. As the best of many it is a little flattering.
        error: its standard error over the users; NaN for ratings.
        default: the best value that a model's default settings reached, None where all of them failed.
        default_model: whose that is.
        split: "time", "last" or "random": how the validation split was made.
        users: how many users are measured.
        interrupted: whether Ctrl-C ended it.
        trials: a frame of trial, model, default, state ("complete", "pruned", "failed", "cut" or "running"),
            value, error, first_look (the value after a quarter of the passes), seconds, settings (JSON, the
            arguments of the model) and problem; the best first.
    """

    settings: Settings
    model: str
    metric: str
    value: float
    error: float
    default: float | None
    default_model: str | None
    split: str
    users: int
    interrupted: bool
    trials: pl.DataFrame

    @property
    def improved(self) -> bool:
        """Whether the best settings beat all the models' defaults."""
        return self.value != self.default


def tune(
    interactions: Interactions,
    models: str | Iterable[str] = "ials",
    *,
    trials: int | None = None,
    seconds: float | None = None,
    metric: str = "ndcg@10",
    by: str | None = None,
    fixed: Values | None = None,
    study: str | Path | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Tuned:
    """Try settings on a tenth of the interactions that is held out, and return the best.

    Every model's default settings come first. The tree-structured Parzen estimator of Bergstra et al.,
    "Algorithms for hyper-parameter optimization" (NIPS 2011), chooses the others, after ten random ones. Each
    is first trained with a quarter of its passes, and given up ("pruned") where that is worse than the median
    of the model's complete trials at that point.

    Args:
        interactions: what to learn from; a test set must not be in it.
        models: names in `segue.models.tunable_models()`; their search spaces are in `segue.models.MODELS`.
        trials: how many in all, those that `study` already has included; 30 where there is no `seconds`.
        seconds: after which no more are begun and the one in progress is cut, unless it would be the first.
        metric: "ndcg@10" or any other ranking metric at any depth, "auc", or, for biasedmf alone, "rmse"
            or "mae".
        by: "time", "last" (each user's last tenth) or "random". None takes time, last where that leaves
            fewer than 100 users who can be measured, and random where there are no times.
        fixed: settings that are not to be changed, for all models that have them, such as {"dim": 64}.
        study: a SQLite file that keeps the trials. Tuning goes on from what is there, and several processes
            may work on it at the same time.
        seed: of the split and of the choices.
        progress: told of the trials, with the best value.

    Ctrl-C ends it with what was found; before the first complete trial it is raised. Errors of segue and lack
    of memory end a trial, and are in its row.

    Raises `MissingExtraError` without optuna, `SettingError` for arguments that cannot be, a study of
    something else, and where no trial came to an end.
    """
    plan = Plan(_names(models), metric, dict(fixed or {}), seed, trials, seconds)
    train, valid, split = split_off(interactions, by, seed)
    measuring = Measuring(train, valid, metric, seed)
    with opened(study, "minimize" if measuring.lower else "maximize") as kept:
        kept.same({**plan.about(), "split": split, "data": _described(interactions)})
        interrupted = Search(plan, kept, measuring, progress).run()
        frame = trials_frame(kept, plan.fixed, lower=measuring.lower)
    return _found(frame, plan, split, len(measuring.users), interrupted)


@dataclass(frozen=True)
class Plan:
    """What was asked for, checked; see `tune`."""

    models: list[str]
    metric: str
    fixed: dict[str, object]
    seed: int
    trials: int | None
    seconds: float | None

    def __post_init__(self) -> None:
        count, seconds = self.trials, self.seconds
        if count is None and seconds is None:
            object.__setattr__(self, "trials", TRIALS)
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            raise SettingError(
                f"trials={count!r} must be a whole number of at least 1", arguments=("trials",)
            )
        if seconds is not None and not 0 < seconds < float("inf"):
            raise SettingError(f"seconds={seconds!r} must be a number above 0")
        self._check_metric()
        self._check_fixed()

    def about(self) -> dict[str, object]:
        """What must be the same for all who work on a study."""
        ranges = zlib.crc32(repr([MODELS[model].space for model in self.models]).encode())
        return {
            "models": self.models, "metric": self.metric, "fixed": self.fixed, "seed": self.seed,
            "ranges": f"{ranges:08x}",
        }  # fmt: skip

    def _check_metric(self) -> None:
        name, _, depth = self.metric.partition("@")
        ranks = name in RANKING and depth.isdecimal() and int(depth) > 0
        if not ranks and self.metric not in ("auc", *RATINGS):
            raise SettingError(
                f"metric={self.metric!r} is not known; there are {', '.join(f'{one}@10' for one in RANKING)} "
                f"at this and other depths, auc, and for biasedmf {' and '.join(RATINGS)}",
                arguments=("metric",),
            )
        wrong = [model for model in self.models if not MODELS[model].ratings]
        if self.metric in RATINGS and wrong:
            raise SettingError(f"{wrong[0]} predicts no ratings, so it has no {self.metric}; biasedmf does")

    def _check_fixed(self) -> None:
        known = sorted({field.name for model in self.models for field in fields(MODELS[model].settings)})
        for name in self.fixed:
            if name not in known:
                raise SettingError(
                    f"{' or '.join(self.models)} has no setting {name!r}; there are {', '.join(known)}"
                )
        for model in self.models:
            if not set(MODELS[model].space) - set(self.fixed):
                raise SettingError(f"all that could be tuned in {model} is fixed; leave something free")


class _TimeOverError(Exception):
    """The time budget is spent in the middle of a trial."""


class Search:
    """One process's part in a study: it takes a trial, trains, measures and tells, until there are enough."""

    def __init__(self, plan: Plan, study: Study, measuring: Measuring, progress: Progress) -> None:
        self.plan, self.study, self.measuring, self.progress = plan, study, measuring, progress
        self.defaults = {model: default_of(model, plan.fixed) for model in plan.models}
        self.spaces = {
            model: resolve_space(MODELS[model].space, settings, measuring.train, plan.fixed)
            for model, settings in self.defaults.items()
        }
        self.first = {model: self.parameters(model) for model in plan.models}
        self.started = time.monotonic()

    def run(self) -> bool:
        """Take trials until there are enough or the time is over; whether Ctrl-C ended it."""
        try:
            self.report()
            while not self.late():
                trial = self.study.claim(self.first, self.plan.trials, self.plan.seed)
                if trial is None:
                    break
                self.attempt(trial)
                self.report()
        except KeyboardInterrupt:
            if not self.study.complete():
                raise
            log.warning("interrupted: what was found until now is kept")
            return True
        self.report(ended=True)
        return False

    def attempt(self, trial: Optuna) -> None:
        """Train and measure, and put down what came of it, whatever that is."""
        started = time.monotonic()
        try:
            value = self.value_of(trial)
        except (SegueError, MemoryError) as error:
            problem = str(error) or repr(error)
            log.warning("trial %s failed: %s", trial.number, problem)
            self.study.fail(trial, problem)
        except _TimeOverError:
            self.study.fail(trial, "the time was over", cut=True)
        except BaseException as error:
            self.study.fail(trial, repr(error), cut=isinstance(error, KeyboardInterrupt))
            raise
        else:
            trial.set_user_attr("seconds", time.monotonic() - started)
            self.study.finish(trial, value)

    def value_of(self, trial: Optuna) -> float | None:
        """What a trial's settings are worth, None where the first look at them is not worth a second."""
        model = self.plan.models[0]
        if len(self.plan.models) > 1:
            model = trial.suggest_categorical("model", self.plan.models)
        trial.set_user_attr("model", model)
        space = self.spaces[model]
        values = {name: _suggested(trial, f"{model}.{name}", setting) for name, setting in space.items()}
        trial.set_user_attr("settings", values)
        settings = replace(self.defaults[model], **values)
        passes = passes_field(settings)
        few = max(1, getattr(settings, passes) // SHARE)
        first, _ = self.measuring(replace(settings, **{passes: few}), self.tick)
        trial.report(first, 1)
        if "default_of" not in trial.user_attrs and self.hopeless(model, first):
            return None
        value, error = self.measuring(settings, self.tick)
        trial.set_user_attr("error", error)
        return value

    def hopeless(self, model: str, first: float) -> bool:
        """Whether a first look is worse than the median of the model's complete trials."""
        others = [
            trial.intermediate_values[1]
            for trial in self.study.complete()
            if trial.user_attrs["model"] == model
        ]
        return len(others) >= COMPARED and self.measuring.better(float(np.median(others)), first)

    def parameters(self, model: str) -> dict[str, object]:
        """The default settings of a model, as the parameters of a trial."""
        settings = self.defaults[model].resolved(self.measuring.train)
        values = {f"{model}.{name}": getattr(settings, name) for name in self.spaces[model]}
        return values if len(self.defaults) == 1 else {"model": model, **values}

    def late(self) -> bool:
        """Whether the time is over; never before a trial has ended."""
        seconds = self.plan.seconds
        over = seconds is not None and time.monotonic() - self.started >= seconds
        return over and self.study.done() > 0

    def tick(self, what: str, done: int, total: int, values: Mapping[str, float] = NOTHING) -> None:
        """Cut a trial whose time is over: the progress callback of training and measuring."""
        if self.late():
            raise _TimeOverError

    def report(self, *, ended: bool = False) -> None:
        """Tell how many trials are done, or where only a time is given its seconds, and the best value."""
        values = [trial.value for trial in self.study.complete()]
        best = min(values, default=0.0) if self.measuring.lower else max(values, default=0.0)
        told = {self.plan.metric: best} if values else {}
        if self.plan.trials is not None:
            done = min(self.plan.trials, self.study.done())
            self.progress("tuning", done, max(1, done) if ended else self.plan.trials, told)
            return
        total = max(1, round(self.plan.seconds or 0))
        spent = int(time.monotonic() - self.started)
        self.progress("tuning, seconds", total if ended else min(total - 1, spent), total, told)


def _suggested(trial: Optuna, name: str, setting: Range | Choices) -> Any:
    if not isinstance(setting, Range):
        return trial.suggest_categorical(name, list(setting))
    if isinstance(setting.low, int):
        return trial.suggest_int(name, setting.low, setting.high, log=setting.log)
    return trial.suggest_float(name, setting.low, setting.high, log=setting.log)


def _names(models: str | Iterable[str]) -> list[str]:
    given = [models] if isinstance(models, str) else list(models)
    if not given:
        raise SettingError("models names none; give one or more, such as models=('ials', 'warp')")
    for name in given:
        check_tunable(name)
    return list(dict.fromkeys(given))


def _described(interactions: Interactions) -> str:
    """The size of the data and a checksum, by which they are known again."""
    matrix = interactions.matrix
    sum32 = 0
    for array in (matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data):
        sum32 = zlib.crc32(np.ascontiguousarray(array).tobytes(), sum32)
    users, items = matrix.shape
    return f"{users} users × {items} items, {matrix.nnz} interactions, {sum32:08x}"


def _found(frame: pl.DataFrame, plan: Plan, split: str, users: int, interrupted: bool) -> Tuned:
    """Put the answer together from all the trials that the study has, by this process and by others."""
    complete = frame.filter(pl.col("state") == "complete")
    if complete.is_empty():
        problems = frame["problem"].drop_nulls()
        told = f": {problems[0]}" if len(problems) else ""
        raise SettingError(f"none of {frame.height} trials came to an end{told}")
    best = complete.row(0, named=True)
    default = next(complete.filter("default").iter_rows(named=True), {})
    model = best["model"]
    own = default_of(model, plan.fixed)
    return Tuned(
        settings=own if best["default"] else MODELS[model].settings(**json.loads(best["settings"])),
        model=model,
        metric=plan.metric,
        value=best["value"],
        error=float("nan") if best["error"] is None else best["error"],
        default=default.get("value"),
        default_model=default.get("model"),
        split=split,
        users=users,
        interrupted=interrupted,
        trials=frame,
    )
