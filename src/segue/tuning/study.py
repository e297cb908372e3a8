"""A study: trials of settings, in memory or in a SQLite file, which several processes may share."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from segue.errors import MissingExtraError, SettingError
from segue.store.lock import locked

Optuna: TypeAlias = Any  # its objects and trial values; optuna is an extra
NAME = "segue"  # of the study in its file
SQLITE = b"SQLite format 3\0"  # how such a file begins
END = "end of trial "  # before its number: the name of the study's attribute
WAIT = 60  # seconds for another process that writes to the file


@dataclass(frozen=True)
class Study:
    """Trials, as optuna keeps them.

    A trial's attributes: `default_of` (the model whose default settings it is for), `model`, `settings`,
    `error`, `seconds`, `host` and `process`. What ended it without a value is an attribute of the study:
    optuna lets only the process that began a trial change the trial's.
    """

    optuna: Optuna
    kept: Optuna
    lock: Path | None

    def same(self, about: Mapping[str, object]) -> None:
        """Put down what a new study is about, or raise `SettingError` where it is about something else."""
        for name, value in about.items():
            known = self.kept.user_attrs
            if name not in known:
                self.kept.set_user_attr(name, value)
            elif known[name] != value:
                raise SettingError(
                    f"this study was made with {name} {known[name]!r}, not {value!r}; go on as it was made, "
                    "or name another file"
                )

    def claim(self, defaults: Mapping[str, Mapping[str, object]], limit: int | None, seed: int) -> Optuna:
        """Begin the next trial, one process at a time; None where there are enough.

        `defaults` has the parameters of each model's default settings, which are tried first. The choices
        depend on `seed`, the number of the trial and what the ones before have shown.
        """
        with self._alone():
            self._free()
            cut = self.cut()
            there = [trial for trial in self.trials() if trial.number not in cut]
            if limit is not None and len(there) >= limit:
                return None
            tried = {trial.user_attrs.get("default_of") for trial in there}
            for name in [name for name in defaults if name not in tried][:1]:
                self.kept.enqueue_trial(dict(defaults[name]), user_attrs={"default_of": name})
            entropy = [seed, len(self.trials())]
            self.kept.sampler = self.optuna.samplers.TPESampler(
                seed=int(np.random.SeedSequence(entropy).generate_state(1)[0]), multivariate=False
            )
            trial = self.kept.ask()
            trial.set_user_attr("host", platform.node())
            trial.set_user_attr("process", os.getpid())
            return trial

    def finish(self, trial: Optuna, value: float | None) -> None:
        """End a trial with its value, or with None where the first look at it was the last."""
        pruned = self.optuna.trial.TrialState.PRUNED
        self.kept.tell(trial, value, state=pruned if value is None else None)

    def fail(self, trial: Optuna, problem: str, *, cut: bool = False) -> None:
        """End a trial without a value; one that was cut does not count, so that another takes its place."""
        self.kept.set_user_attr(f"{END}{trial.number}", {"problem": problem, "cut": cut})
        self.kept.tell(trial.number, state=self.optuna.trial.TrialState.FAIL)

    def trials(self, *states: str) -> list[Optuna]:
        """All trials, or those of some states."""
        wanted = [self.optuna.trial.TrialState[state] for state in states] or None
        found: list[Optuna] = self.kept.get_trials(deepcopy=False, states=wanted)
        return found

    def complete(self) -> list[Optuna]:
        """The trials that have a value."""
        return self.trials("COMPLETE")

    def done(self) -> int:
        """How many trials have ended and count."""
        cut = self.cut()
        return sum(trial.number not in cut for trial in self.trials("COMPLETE", "PRUNED", "FAIL"))

    def ends(self) -> dict[int, dict[str, Optuna]]:
        """The numbers of the trials that ended without a value, with "problem" and "cut".

        A trial that was cut did not come to its end, through no fault of its settings, and does not count.
        """
        told = self.kept.user_attrs.items()
        return {int(name.removeprefix(END)): end for name, end in told if name.startswith(END)}

    def cut(self) -> set[int]:
        """The numbers of the trials that were cut."""
        return {number for number, end in self.ends().items() if end["cut"]}

    def _alone(self) -> AbstractContextManager[None]:
        return nullcontext() if self.lock is None else locked(self.lock)

    def _free(self) -> None:
        """End the trials of processes that were killed on this machine, so that others take their place."""
        for trial in self.trials("RUNNING"):
            told = trial.user_attrs
            if told.get("host") == platform.node() and not _lives(told["process"]):
                self.fail(trial, f"its process {told['process']} was killed", cut=True)


@contextmanager
def opened(path: str | Path | None, direction: str) -> Iterator[Study]:
    """Open the study in a file, a new one where there is none, or with None one in memory.

    Raises `MissingExtraError` without optuna, and `SettingError` for a file that is something else.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError(
            'tuning needs optuna, which is not installed: pip install "segue[tune]"'
        ) from error
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        if path is None:
            yield Study(optuna, optuna.create_study(study_name=NAME, direction=direction), None)
        else:
            with _in_file(optuna, Path(path), direction) as study:
                yield study
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def _in_file(optuna: Optuna, file: Path, direction: str) -> Iterator[Study]:
    check_file(file)
    lock = file.with_name(file.name + ".lock")
    with locked(lock):
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{file.absolute()}", engine_kwargs={"connect_args": {"timeout": WAIT}}
        )
        kept = optuna.create_study(study_name=NAME, storage=storage, direction=direction, load_if_exists=True)
    try:
        yield Study(optuna, kept, lock)
    finally:
        storage.remove_session()
        storage.engine.dispose()


def check_file(file: Path) -> None:
    """Raise `SettingError` where no study can be kept in a file: ask before work that takes long."""
    if file.is_dir():
        raise SettingError(f"{file} is a folder; name a file to keep the study in")
    if not file.absolute().parent.is_dir():
        raise SettingError(f"there is no folder {file.parent} to keep the study {file.name} in")
    if file.exists() and file.stat().st_size:
        with file.open("rb") as begun:
            if begun.read(len(SQLITE)) != SQLITE:
                raise SettingError(f"{file} is no study, which is a SQLite file; name another file")


def _lives(process: int) -> bool:
    """Whether a process of this machine is there; where that cannot be asked, it is taken to be."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
