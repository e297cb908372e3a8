"""Conversion of the arguments of Annoy's methods: whole numbers and vectors."""

from __future__ import annotations

import array
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from segue.compat.annoy.errors import ItemError
from segue.compat.annoy.nodes import Shape
from segue.errors import DataError
from segue.kernels import trees


@dataclass(frozen=True)
class Packer:
    """Converts vectors to the bytes of nodes.

    Attributes:
        f: number of dimensions.
        words: number of 64-bit words of a vector of bits, 0 for the other metrics.
        head: bytes before the vector in the node of an item.
        floats: struct of f float32.
    """

    f: int
    words: int
    head: bytes
    floats: struct.Struct

    def pack(self, vector: Sequence[float] | np.ndarray) -> bytes:
        """Return the bytes of a vector: f float32, or words of bits.

        Raises:
            ItemError: the vector has another length.
            DataError: a number is not finite.
        """
        length = len(vector)
        if length != self.f:
            raise ItemError(f"Vector has wrong length (expected {self.f}, got {length})")
        floats = self._pack_floats(vector)
        if not self.words:
            return floats
        bits = np.zeros(64 * self.words, bool)
        bits[: self.f] = np.frombuffer(floats, np.float32) > 0.5
        return np.packbits(bits, bitorder="little").tobytes()

    def _pack_floats(self, vector: Sequence[float] | np.ndarray) -> bytes:
        if type(vector) in (list, tuple):
            try:
                if math.isfinite(sum(vector)):
                    return self.floats.pack(*vector)
            except (TypeError, OverflowError, struct.error):  # the code below raises the error
                pass
        if isinstance(vector, np.ndarray) and vector.ndim == 1 and vector.dtype.kind in "fiub":
            values = vector.astype(np.float32)
        else:
            values = np.array(array.array("f", [vector[z] for z in range(self.f)]))
        if not (math.isfinite(values.dot(values)) or np.isfinite(values).all()):
            raise DataError("a vector must be of finite float32 numbers, but this one holds NaN or infinity")
        return values.tobytes()


@lru_cache
def packer_of(f: int, shape: Shape) -> Packer:
    """Return the packer for vectors of f dimensions."""
    words = shape.width if shape.kind == trees.BITS else 0
    return Packer(f, words, np.eye(1, shape.vector, dtype=np.int32).tobytes(), struct.Struct(f"={f}f"))


def integer(value: object, name: str) -> int:
    """Return an argument as an integer of 32 bits. Raises `TypeError` and `OverflowError` as Annoy does."""
    if type(value) is int and -(2**31) <= value < 2**31:
        return value
    number = value.__index__() if hasattr(value, "__index__") else None
    if number is None:
        raise TypeError(f"{name}: {type(value).__name__!r} object cannot be interpreted as an integer")
    if not -(2**31) <= number < 2**31:
        raise OverflowError(f"{name}={number} is outside the range of 32-bit integers")
    return int(number)


def wrap_int32(number: int) -> int:
    """Return a number wrapped to 32 bits, as C computes products."""
    return (number + 2**31) % 2**32 - 2**31
