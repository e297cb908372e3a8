"""The encoders by name: what turns texts into vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from segue.errors import SettingError
from segue.text.ollama import Ollama
from segue.text.sentences import SentenceTransformers
from segue.text.static import Static


class Encoder(Protocol):
    """What turns texts into vectors.

    Attributes:
        key: names the vectors in the cache: the same text under the same key has the same vector.
        batch: how many texts are encoded at a time, and lost where work is interrupted.
    """

    @property
    def key(self) -> str:
        """The name of the vectors in the cache."""

    @property
    def batch(self) -> int:
        """How many texts at a time."""

    def encode(self, texts: Sequence[str], *, query: bool = False) -> np.ndarray:
        """Return a vector (n, dim) float32 for each text; `query`: the texts are questions, not items."""


ENCODERS: dict[str, Callable[[str], Encoder]] = {
    "static": Static,
    "sentence-transformers": SentenceTransformers,
    "ollama": Ollama,
}


def encoder_of(name: str) -> Encoder:
    """Return the encoder of a name: "static", "sentence-transformers:MODEL" or "ollama:MODEL".

    Raises `SettingError` for a name that does not exist, `MissingExtraError` for one that is not installed.
    """
    kind, _, model = str(name).partition(":")
    if kind not in ENCODERS:
        raise SettingError(
            f"there is no encoder {name!r}; there are static, sentence-transformers:MODEL and ollama:MODEL"
        )
    return ENCODERS[kind](model)
