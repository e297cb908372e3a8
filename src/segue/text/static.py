"""The default encoder, which works offline: the mean of token vectors that come in a package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segue.errors import MissingExtraError, SettingError
from segue.kernels import threads
from segue.kernels.text import add_up

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PACKAGE = "wordllama"
TOKENS, VECTORS = "tokenizers/l2_supercat_tokenizer_config.json", "weights/l2_supercat_256.safetensors"
CHUNK = 256  # texts per task of the thread pool


@dataclass(frozen=True)
class Static:
    """The mean of a text's token vectors: 32,000 tokens, 256 dimensions, from the package `wordllama`.

    Only the package's files are read, no code of it runs; all of its releases have the same files.
    """

    model: str = ""

    def __post_init__(self) -> None:
        if self.model:
            raise SettingError(f"the static encoder has one model only, not {self.model!r}: name it 'static'")
        _files()

    @property
    def key(self) -> str:
        """The name of the vectors in the cache."""
        return "static-l2-supercat-256"

    @property
    def batch(self) -> int:
        """The number of texts per call."""
        return 4096

    def encode(self, texts: Sequence[str], *, query: bool = False) -> np.ndarray:
        """Return the mean (n, 256) float32 of each text's token vectors; zeros for texts without tokens."""
        tokenizer, vectors = _load()
        encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        ids = [encoding.ids for encoding in encodings]
        indptr = np.concatenate([[0], np.cumsum([len(tokens) for tokens in ids])]).astype(np.int64)
        tokens = np.fromiter((token for row in ids for token in row), np.int32, count=int(indptr[-1]))
        means = np.zeros((len(ids), vectors.shape[1]), np.float32)
        threads.run(
            lambda start, stop: add_up(vectors, tokens, indptr, means, start, stop), len(ids), chunk=CHUNK
        )
        return means


@lru_cache(maxsize=1)
def _load() -> tuple[Tokenizer, np.ndarray]:
    """Return the tokenizer and its token vectors (tokens, 256) float32."""
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    tokens, vectors = _files()
    tokenizer = Tokenizer.from_file(str(tokens))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer, load_file(vectors)["embedding.weight"].astype(np.float32)


def _files() -> tuple[Path, Path]:
    """Return the package's files of tokens and vectors."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            f"the static encoder takes its vectors from {PACKAGE}, which is not installed: "
            'pip install "segue[text]"'
        )
    folder = Path(spec.submodule_search_locations[0])
    files = folder / TOKENS, folder / VECTORS
    for file in files:
        if not file.is_file():
            raise MissingExtraError(
                f'{file} is missing from this release of {PACKAGE}: pip install "segue[text]"'
            )
    return files
