"""What a model learns of one side, users or items, as LightFM names it and as the kernels take it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from segue.kernels.arrays import aligned


class Parameters(NamedTuple):
    """LightFM's six arrays of a side: (features, dim) float32 and, of biases, (features,) float32."""

    embeddings: np.ndarray
    embedding_gradients: np.ndarray
    embedding_momentum: np.ndarray
    biases: np.ndarray
    bias_gradients: np.ndarray
    bias_momentum: np.ndarray


class Packed(NamedTuple):
    """The same as two arrays, (features, slots, dim) and (features, slots) float32; see `kernels/sgd.py`."""

    vectors: np.ndarray
    biases: np.ndarray


def begin(rng: np.random.RandomState, features: int, dim: int, schedule: str) -> Packed:
    """Parameters at the random start."""
    slots = 2 if schedule == "adagrad" else 3
    vectors, biases = aligned((features, slots, dim), np.float32), np.zeros((features, slots), np.float32)
    vectors[:, 0] = (rng.rand(features, dim) - 0.5) / dim
    if schedule == "adagrad":
        vectors[:, 1], biases[:, 1] = 1, 1
    return Packed(vectors, biases)


def pack(parameters: Parameters, schedule: str) -> Packed:
    """Copies of the six arrays in two; adagrad has no momentum."""
    slots = 2 if schedule == "adagrad" else 3
    features, dim = parameters.embeddings.shape
    vectors, biases = aligned((features, slots, dim), np.float32), np.empty((features, slots), np.float32)
    for slot in range(slots):
        vectors[:, slot], biases[:, slot] = parameters[slot], parameters[3 + slot]
    return Packed(vectors, biases)


def unpack(packed: Packed) -> Parameters:
    """Views of the six arrays in two; without momentum there, zeros."""
    made = []
    for array in packed:
        made += [array[:, slot] for slot in range(array.shape[1])]
        if array.shape[1] == 2:
            made.append(np.zeros_like(array[:, 0]))
    return Parameters(*made)
