"""Encoders of the library sentence-transformers, loaded when they are first used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from segue.errors import EncoderError, MissingExtraError, SettingError


@dataclass(frozen=True)
class SentenceTransformers:
    """A model of sentence-transformers, by its name on its hub or the path of its folder."""

    model: str

    def __post_init__(self) -> None:
        if not self.model:
            raise SettingError("name the model, such as sentence-transformers:all-MiniLM-L6-v2")
        if find_spec("sentence_transformers") is None:
            raise MissingExtraError(
                f"sentence-transformers:{self.model} needs sentence-transformers, which is not installed: "
                'pip install "segue[sentence-transformers]"'
            )

    @property
    def key(self) -> str:
        """The vectors' name in the cache."""
        return f"sentence-transformers-{self.model}"

    @property
    def batch(self) -> int:
        """Texts at a time."""
        return 256

    def encode(self, texts: Sequence[str], *, query: bool = False) -> np.ndarray:
        """Return the vectors (n, dim) float32, with the model's prompt for questions or items."""
        model = _loaded(self.model)
        encode = model.encode_query if query else model.encode_document
        made: np.ndarray = encode(list(texts), show_progress_bar=False, convert_to_numpy=True)
        return np.asarray(made, np.float32)


@lru_cache(maxsize=2)
def _loaded(name: str) -> Any:
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(name)
    except (OSError, ValueError) as error:
        why = str(error).strip().partition("\n")[0]
        raise EncoderError(
            f"sentence-transformers has no model {name!r}: {why}; name one of its hub, or a folder"
        ) from error
