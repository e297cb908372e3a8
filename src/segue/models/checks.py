"""Checks of the training data that models share."""

from __future__ import annotations

import logging

import numpy as np

from segue.data.features import Features
from segue.data.ids import IdMap
from segue.data.interactions import Interactions
from segue.errors import DataError

log = logging.getLogger("segue")


def check_implicit(interactions: Interactions, *, signed: bool = False) -> None:
    """Raise `DataError` if a model of implicit feedback cannot learn from the interactions.

    With `signed`, weights may be negative.
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
    """Raise `DataError` if the rows of features do not match the ids; warn about rows without features."""
    if len(features) != len(ids):
        hint = ": the rows are features here, so pass matrix.T" * (features.matrix.shape[1] == len(ids))
        raise DataError(
            f"{len(features):,} rows of {ids.noun} features do not fit {len(ids):,} {ids.noun}s{hint}"
        )
    empty = np.flatnonzero(np.diff(features.matrix.indptr) == 0)
    if len(empty):
        log.warning(
            "%s of %s %ss have no features, such as %r: nothing is learned about them; identity=True gives "
            "each row a feature of its own",
            f"{len(empty):,}", f"{len(ids):,}", ids.noun, ids[int(empty[0])],
        )  # fmt: skip
