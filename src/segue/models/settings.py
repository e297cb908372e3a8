"""Checks that every model's settings share."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

import numpy as np

from segue.data.features import Features
from segue.data.ids import IdMap
from segue.data.interactions import Interactions
from segue.errors import DataError, SettingError

log = logging.getLogger("segue")


def at_least(settings: Any, **least: float) -> None:
    """Raise `SettingError` for each named field that is no finite number of at least so much."""
    for name, bound in least.items():
        value = getattr(settings, name)
        whole = isinstance(bound, int)
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            kind = "a whole number" if whole else "a number"
            raise SettingError(
                f"{type(settings).__name__}({name}={value!r}) must be {kind} of at least {bound}"
            )
        if not bound <= value < float("inf"):
            raise SettingError(f"{type(settings).__name__}({name}={value!r}) must be at least {bound}")


def one_of(settings: Any, **choices: Collection[str]) -> None:
    """Raise `SettingError` for each named field that is none of its choices."""
    for name, allowed in choices.items():
        value = getattr(settings, name)
        if value not in allowed:
            raise SettingError(
                f"{type(settings).__name__}({name}={value!r}) must be one of {', '.join(map(repr, allowed))}"
            )


def check_implicit(interactions: Interactions, *, signed: bool = False) -> None:
    """Raise `DataError` where a model of implicit feedback has nothing to learn from.

    `signed`: weights may be negative.
    """
    users, items = interactions.matrix.shape
    if users < 2 or items < 2:
        raise DataError(
            f"{users} user(s) and {items} item(s) leave nothing to learn: at least two of each are needed"
        )
    if not len(interactions):
        raise DataError("there are no interactions to learn from")
    if not signed and interactions.matrix.data.min() < 0:
        row, column = (int(axis[0]) for axis in (interactions.matrix < 0).nonzero())
        raise DataError(
            f"models of implicit feedback take positive weights only, but user {interactions.users[row]!r} "
            f"and item {interactions.items[column]!r} have {interactions.matrix[row, column]}; "
            "leave such rows out (min_weight=)",
            arguments=("min_weight",),
        )


def check_features(features: Features, ids: IdMap) -> None:
    """Raise `DataError` for features whose rows do not fit the ids, and warn of rows without any."""
    if len(features) != len(ids):
        turned = ": the rows are features here, so pass matrix.T" * (features.matrix.shape[1] == len(ids))
        raise DataError(
            f"{len(features):,} rows of {ids.noun} features do not fit {len(ids):,} {ids.noun}s{turned}"
        )
    empty = np.flatnonzero(np.diff(features.matrix.indptr) == 0)
    if len(empty):
        log.warning(
            "%s of %s %ss have no features, such as %r: nothing can be learned of them; identity=True gives "
            "everyone a feature of their own",
            f"{len(empty):,}", f"{len(ids):,}", ids.noun, ids[int(empty[0])],
        )  # fmt: skip
