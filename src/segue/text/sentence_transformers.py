"""Encoders from the sentence-transformers library, loaded on first use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from segue.errors import EncoderError, MissingExtraError, SettingError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True)
class SentenceTransformers:
    """A sentence-transformers model: its name on the model hub, or the path of its folder."""

    model: str

    def __post_init__(self) -> None:
        if not self.model:
            raise SettingError(
                "sentence-transformers needs the name of a model, such as "
                "sentence-transformers:all-MiniLM-L6-v2"
            )
        if find_spec("sentence_transformers") is None:
            raise MissingExtraError(
                f"sentence-transformers:{self.model} needs sentence-transformers, which is not installed: "
                'pip install "segue[sentence-transformers]"'
            )

    @property
    def key(self) -> str:
        """The name of the vectors in the cache."""
        return f"sentence-transformers-{self.model}"

    @property
    def batch(self) -> int:
        """The number of texts per call."""
        return 256

    def encode(self, texts: Sequence[str], *, query: bool = False) -> np.ndarray:
        """Return the vectors (n, dim) float32 of texts, with the model's own prompt for queries or items."""
        model = _load(self.model)
        encode = model.encode_query if query else model.encode_document
        return np.asarray(encode(list(texts), show_progress_bar=False, convert_to_numpy=True), np.float32)


@lru_cache(maxsize=2)
def _load(name: str) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(name)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise EncoderError(
            f"sentence-transformers has no model {name!r}: {reason}; give a name on its hub, or a folder"
        ) from error
