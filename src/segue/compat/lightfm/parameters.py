"""The parameters of one side, users or items: LightFM's six arrays, and the two arrays of the kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from segue.errors import DataError, SettingError
from segue.kernels.arrays import aligned

SIDES = ("item", "user")  # in the order of their random initialization


class Parameters(NamedTuple):
    """LightFM's six arrays of a side: (features, dim) float32 and, of biases, (features,) float32."""

    embeddings: np.ndarray
    embedding_gradients: np.ndarray
    embedding_momentum: np.ndarray
    biases: np.ndarray
    bias_gradients: np.ndarray
    bias_momentum: np.ndarray


class Packed(NamedTuple):
    """The arrays of the kernels (`kernels/sgd.py`): (features, slots, dim) and (features, slots) float32."""

    vectors: np.ndarray
    biases: np.ndarray


SLOTS = Parameters._fields


def initial(rng: np.random.RandomState, features: int, dim: int, schedule: str) -> Packed:
    """Return parameters with random vectors."""
    slots = 2 if schedule == "adagrad" else 3
    vectors, biases = aligned((features, slots, dim), np.float32), np.zeros((features, slots), np.float32)
    vectors[:, 0] = (rng.rand(features, dim) - 0.5) / dim
    if schedule == "adagrad":
        vectors[:, 1], biases[:, 1] = 1, 1
    return Packed(vectors, biases)


def pack(parameters: Parameters, schedule: str) -> Packed:
    """Copy LightFM's six arrays to the two of the kernels; adagrad has no momentum."""
    slots = 2 if schedule == "adagrad" else 3
    features, dim = parameters.embeddings.shape
    vectors, biases = aligned((features, slots, dim), np.float32), np.empty((features, slots), np.float32)
    for slot in range(slots):
        vectors[:, slot], biases[:, slot] = parameters[slot], parameters[3 + slot]
    return Packed(vectors, biases)


def unpack(packed: Packed) -> Parameters:
    """Return LightFM's six arrays as views of the two of the kernels; missing momentum is zeros."""
    views = []
    for array in packed:
        views += [array[:, slot] for slot in range(array.shape[1])]
        if array.shape[1] == 2:
            views.append(np.zeros_like(array[:, 0]))
    return Parameters(*views)


def check_shapes(parameters: Mapping[str, Parameters]) -> None:
    """Raise `DataError` if the arrays of a side, or the dimensions of both sides, differ."""
    items = parameters["item"].embeddings
    for side, (vectors, *others) in parameters.items():
        expected = [vectors.shape] * 2 + [vectors.shape[:1]] * 3
        same_dim = vectors.ndim == 2 and vectors.shape[1] == items.shape[-1]
        if not same_dim or [other.shape for other in others] != expected:
            raise DataError(
                f"the arrays of {side} features do not fit each other: {side}_embeddings has the shape "
                f"{vectors.shape}, item_embeddings {items.shape}, the others of {side}s "
                f"{', '.join(str(other.shape) for other in others)}"
            )


def check_finite(parameters: Mapping[str, Parameters], learning_rate: float) -> None:
    """Raise `SettingError` if training has diverged."""
    for side, arrays in parameters.items():
        for name, array in (("embeddings", arrays.embeddings), ("biases", arrays.biases)):
            if not np.isfinite(array).all():
                raise SettingError(
                    f"LightFM(learning_rate={learning_rate}) diverged: {side}_{name} are not all "
                    "finite; take a lower learning_rate, or smaller feature values and sample weights",
                    arguments=("learning_rate",),
                )


class ArrayAttributes:
    """Base class of LightFM: the arrays of both sides as attributes, None before training.

    The attributes are views of the arrays that the kernels change, unless a program replaces them.
    """

    item_embeddings: np.ndarray
    item_embedding_gradients: np.ndarray
    item_embedding_momentum: np.ndarray
    item_biases: np.ndarray
    item_bias_gradients: np.ndarray
    item_bias_momentum: np.ndarray
    user_embeddings: np.ndarray
    user_embedding_gradients: np.ndarray
    user_embedding_momentum: np.ndarray
    user_biases: np.ndarray
    user_bias_gradients: np.ndarray
    user_bias_momentum: np.ndarray

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_packed": {}}  # pickles have the attributes only

    def _reset(self) -> None:
        self._packed: dict[str, tuple[Parameters, Packed]] = {}
        for side in SIDES:
            for slot in SLOTS:
                setattr(self, f"{side}_{slot}", None)

    def _parameters(self, side: str) -> Parameters:
        return Parameters(*(getattr(self, f"{side}_{slot}") for slot in SLOTS))

    def _set_parameters(self, side: str, packed: Packed) -> None:
        """Make the attributes views of the arrays that the kernels change."""
        views = unpack(packed)
        self._packed[side] = views, packed
        for slot, array in views._asdict().items():
            setattr(self, f"{side}_{slot}", array)

    def _current(self, side: str) -> Packed | None:
        """Return the arrays behind the attributes, None if an attribute was replaced."""
        views, packed = self._packed.get(side, (None, None))
        same = views is not None and all(a is b for a, b in zip(views, self._parameters(side), strict=True))
        return packed if same else None

    def _trainable(self, side: str, schedule: str) -> Packed:
        """Return arrays for the kernels to change, with the attributes as their views."""
        packed = self._current(side)
        slots = 2 if schedule == "adagrad" else 3
        if packed is None or packed.biases.shape[1] != slots:
            packed = pack(self._parameters(side), schedule)
            self._set_parameters(side, packed)
        return packed
