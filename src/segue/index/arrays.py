"""Validation of stored arrays: each index restores itself through these functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple, TypeVar  # Any: the class of a dataclass that consists of arrays

import numpy as np
import numpy.typing as npt

from segue.errors import DataError

Arrays = TypeVar("Arrays")
Shape = tuple[int, ...]


class ArraySpec(NamedTuple):
    """The dtype of an array, and the shapes that it may have."""

    dtype: npt.DTypeLike
    shapes: tuple[Shape, ...]


def spec(dtype: npt.DTypeLike, *shapes: Shape) -> ArraySpec:
    """Return the specification of an array that has one of these shapes."""
    return ArraySpec(dtype, shapes)


def take(arrays: Mapping[str, np.ndarray], *names: str) -> dict[str, np.ndarray]:
    """Return the named arrays, or raise `DataError` with the names of those that are missing."""
    missing = [name for name in names if name not in arrays]
    if missing:
        raise DataError(f"the index lacks the arrays {', '.join(missing)}; build it again from its vectors")
    return {name: arrays[name] for name in names}


def take_fields(kind: type[Arrays], arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Return the dataclass `kind` whose fields are arrays; raise `DataError` if one is missing."""
    dataclass: Any = kind
    return kind(**take(arrays, *(field.name for field in fields(dataclass))))


def take_vectors(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the stored vectors (n, dim) float32, at least one, or raise `DataError`."""
    vectors = take(arrays, "vectors")["vectors"]
    check_consistent(vectors.ndim == 2 and vectors.dtype == np.float32 and vectors.size > 0)
    return vectors


def matches(arrays: Mapping[str, np.ndarray], specs: Mapping[str, ArraySpec]) -> bool:
    """Return whether each array has the dtype and one of the shapes of its specification."""
    return all(
        arrays[name].dtype == dtype and arrays[name].shape in shapes
        for name, (dtype, shapes) in specs.items()
    )


def check_consistent(is_consistent: object) -> None:
    """Raise `DataError` unless the stored arrays fit together."""
    if not is_consistent:
        raise DataError("the index's arrays do not fit together; build it again from its vectors")
