"""The registry of text encoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from segue.errors import SettingError
from segue.text.ollama import Ollama
from segue.text.sentence_transformers import SentenceTransformers
from segue.text.static import Static


class Encoder(Protocol):
    """Turns texts into vectors."""

    @property
    def key(self) -> str:
        """The name of the vectors in the cache: one key and one text always give one vector."""

    @property
    def batch(self) -> int:
        """The number of texts per call; an interruption loses at most one batch."""

    def encode(self, texts: Sequence[str], *, query: bool = False) -> np.ndarray:
        """Return one vector per text, (n, dim) float32.

        Args:
            texts: the texts.
            query: True for search queries, False for item texts; some models encode them differently.
        """


ENCODERS: dict[str, Callable[[str], Encoder]] = {
    "static": Static,
    "sentence-transformers": SentenceTransformers,
    "ollama": Ollama,
}


def parse_encoder(name: str) -> Encoder:
    """Return the encoder named "static", "sentence-transformers:MODEL" or "ollama:MODEL".

    Raises `SettingError` for an unknown name and `MissingExtraError` if its package is not installed.
    """
    kind, _, model = str(name).partition(":")
    if kind not in ENCODERS:
        raise SettingError(
            f"there is no encoder {name!r}; there are static, sentence-transformers:MODEL and ollama:MODEL"
        )
    return ENCODERS[kind](model)
