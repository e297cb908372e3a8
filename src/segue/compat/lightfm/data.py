"""LightFM's Dataset: from ids and names of features to matrices."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp

from segue.errors import DataError

Ids = dict[Hashable, int]
Row: TypeAlias = tuple[Any, ...]  # ids, names and weights from the caller


class Dataset:
    """Numbers for the ids of users and items and for the names of their features, in the order of arrival.

    Attributes:
        user_identity_features, item_identity_features: whether each user or item has a feature of its own,
            named like it.
    """

    def __init__(self, user_identity_features: bool = True, item_identity_features: bool = True) -> None:
        self._user_identity_features = user_identity_features
        self._item_identity_features = item_identity_features
        self._forget()

    def fit(
        self,
        users: Iterable[Hashable],
        items: Iterable[Hashable],
        user_features: Iterable[Hashable] | None = None,
        item_features: Iterable[Hashable] | None = None,
    ) -> None:
        """Take note of all ids and names of features; earlier ones are forgotten."""
        self._forget()
        self.fit_partial(users, items, user_features, item_features)

    def fit_partial(
        self,
        users: Iterable[Hashable] | None = None,
        items: Iterable[Hashable] | None = None,
        user_features: Iterable[Hashable] | None = None,
        item_features: Iterable[Hashable] | None = None,
    ) -> None:
        """Take note of more ids and names of features; those there are keep their numbers."""
        for ids, features, identity, new_ids, new_features in (
            (
                self._user_id_mapping, self._user_feature_mapping, self._user_identity_features,
                users, user_features,
            ),
            (
                self._item_id_mapping, self._item_feature_mapping, self._item_identity_features,
                items, item_features,
            ),
        ):  # fmt: skip
            for name in new_ids if new_ids is not None else ():
                ids.setdefault(name, len(ids))
                if identity:
                    features.setdefault(name, len(features))
            for name in new_features if new_features is not None else ():
                features.setdefault(name, len(features))

    def interactions_shape(self) -> tuple[int, int]:
        """The numbers of users and items."""
        return len(self._user_id_mapping), len(self._item_id_mapping)

    def user_features_shape(self) -> tuple[int, int]:
        """The numbers of users and of their features."""
        return len(self._user_id_mapping), len(self._user_feature_mapping)

    def item_features_shape(self) -> tuple[int, int]:
        """The numbers of items and of their features."""
        return len(self._item_id_mapping), len(self._item_feature_mapping)

    def model_dimensions(self) -> tuple[int, int]:
        """The numbers of features of users and of items, which are a model's rows."""
        return len(self._user_feature_mapping), len(self._item_feature_mapping)

    def mapping(self) -> tuple[Ids, Ids, Ids, Ids]:
        """The numbers of users, of their features, of items, of their features, each by id or name."""
        return (
            self._user_id_mapping,
            self._user_feature_mapping,
            self._item_id_mapping,
            self._item_feature_mapping,
        )

    def build_interactions(self, data: Iterable[Row]) -> tuple[sp.coo_matrix, sp.coo_matrix]:
        """Make matrices of (user, item) or (user, item, weight).

        Returns users × items COO matrices in the order of the data: ones (int32), and weights (float32),
        which are 1 where none are given.

        Raises `DataError`, a `ValueError`, for other tuples and for ids that `fit` has not seen.
        """
        rows, columns, weights = [], [], []
        for datum in data:
            if len(datum) not in (2, 3):
                raise DataError(f"expected (user_id, item_id) or (user_id, item_id, weight), got {datum!r}")
            rows.append(_number(self._user_id_mapping, datum[0], "user"))
            columns.append(_number(self._item_id_mapping, datum[1], "item"))
            weights.append(datum[2] if len(datum) == 3 else 1.0)
        places = np.array(rows, np.int32), np.array(columns, np.int32)
        shape = self.interactions_shape()
        ones = sp.coo_matrix((np.ones(len(rows), np.int32), places), shape)
        copies = tuple(place.copy() for place in places)
        return ones, sp.coo_matrix((np.array(weights, np.float32), copies), shape)

    def build_user_features(self, data: Iterable[Row], normalize: bool = True) -> sp.csr_matrix:
        """Make the matrix of user features, users × features CSR float32.

        Args:
            data: (user, names of features) or (user, {name: weight}).
            normalize: scale the weights of each row to a sum of 1.

        Raises `DataError`, a `ValueError`, for other tuples, unknown users or features, and, with
        `normalize`, for users without any.
        """
        return _features(
            data, normalize, self._user_id_mapping, self._user_feature_mapping,
            self._user_identity_features, "user",
        )  # fmt: skip

    def build_item_features(self, data: Iterable[Row], normalize: bool = True) -> sp.csr_matrix:
        """Make the matrix of item features, items × features CSR float32, as `build_user_features` does."""
        return _features(
            data, normalize, self._item_id_mapping, self._item_feature_mapping,
            self._item_identity_features, "item",
        )  # fmt: skip

    def _forget(self) -> None:
        self._user_id_mapping: Ids = {}
        self._item_id_mapping: Ids = {}
        self._user_feature_mapping: Ids = {}
        self._item_feature_mapping: Ids = {}


def _number(ids: Ids, name: Hashable, what: str) -> int:
    number = ids.get(name)
    if number is None:
        raise DataError(f"{what} id {name!r} is not in the {what} id mapping: pass it to fit or fit_partial")
    return number


def _features(
    data: Iterable[Row], normalize: bool, ids: Ids, features: Ids, identity: bool, side: str
) -> sp.csr_matrix:
    entries = [(row, features[name], 1.0) for name, row in ids.items()] if identity else []
    entries.extend(_entries(data, ids, features, side))
    rows, columns, weights = zip(*entries, strict=True) if entries else ((), (), ())
    places = np.array(rows, np.int32), np.array(columns, np.int32)
    made = sp.csr_matrix((np.array(weights, np.float32), places), (len(ids), len(features)))
    return _normalized(made, side) if normalize else made


def _entries(data: Iterable[Row], ids: Ids, features: Ids, side: str) -> Iterator[tuple[int, int, float]]:
    for datum in data:
        if len(datum) != 2:
            raise DataError(f"expected ({side}_id, features), got {datum!r}")
        row = _number(ids, datum[0], side)
        named = datum[1].items() if isinstance(datum[1], Mapping) else ((name, 1.0) for name in datum[1])
        for name, weight in named:
            if name not in features:
                raise DataError(
                    f"feature {name!r} is not in the {side} feature mapping: pass it to fit or fit_partial"
                )
            yield row, features[name], weight


def _normalized(matrix: sp.csr_matrix, side: str) -> sp.csr_matrix:
    sizes = np.diff(matrix.indptr)
    if (sizes == 0).any():
        row = int(np.flatnonzero(sizes == 0)[0])
        raise DataError(
            f"cannot normalize {side} features: {int((sizes == 0).sum())} rows have none, such as row {row}; "
            f"give all {side}s features, or pass normalize=False"
        )
    sums = np.asarray(abs(matrix).sum(axis=1), np.float32).ravel()
    sums[sums == 0] = 1
    matrix.data /= np.repeat(sums, sizes)
    return matrix
