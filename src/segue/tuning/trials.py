"""The trials of a study as a frame, and the default settings of a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from segue.models import MODELS
from segue.tuning.study import Optuna, Study

Settings: TypeAlias = Any  # the settings of any model, with fields of its own
Values: TypeAlias = Mapping[str, Any]  # values of settings or results by name: numbers, strings, None

SCHEMA: dict[str, type[pl.DataType]] = {
    "trial": pl.Int64, "model": pl.String, "default": pl.Boolean, "state": pl.String, "value": pl.Float64,
    "error": pl.Float64, "first_look": pl.Float64, "seconds": pl.Float64, "settings": pl.String,
    "problem": pl.String,
}  # fmt: skip


def default_of(model: str, fixed: Values) -> Settings:
    """The settings of a model with its defaults, and what is fixed where it has it."""
    kind = MODELS[model].settings
    own = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in fixed.items() if name in own})


def trials_frame(study: Study, fixed: Values, *, lower: bool) -> pl.DataFrame:
    """Return a row for each trial of a study, the best first; see `Tuned`."""
    ends = study.ends()
    rows = [_row(trial, fixed, ends.get(trial.number, {})) for trial in study.trials()]
    sign = 1 if lower else -1

    def place(row: Values) -> tuple[bool, float, bool, int]:
        value = row["value"]
        return value is None, sign * (value or 0.0), not row["default"], row["trial"]

    return pl.DataFrame(sorted(rows, key=place), schema=SCHEMA)


def _row(trial: Optuna, fixed: Values, end: Values) -> dict[str, object]:
    attributes, state = trial.user_attrs, trial.state.name.lower()
    model = attributes.get("model", attributes.get("default_of"))
    error = attributes.get("error")
    own = {field.name for field in fields(MODELS[model].settings)} if model else set()
    held = {name: value for name, value in fixed.items() if name in own}
    return {
        "trial": trial.number,
        "model": model,
        "default": "default_of" in attributes,
        "state": "cut" if end.get("cut") else {"fail": "failed", "waiting": "running"}.get(state, state),
        "value": trial.value if state == "complete" else None,
        "error": None if error is None or np.isnan(error) else error,
        "first_look": trial.intermediate_values.get(1),
        "seconds": attributes.get("seconds"),
        "settings": json.dumps({**held, **attributes.get("settings", {})}),
        "problem": end.get("problem"),
    }
