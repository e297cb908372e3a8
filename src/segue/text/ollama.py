"""Encoders that an Ollama server runs, over HTTP: in batches, tried again where it fails."""

from __future__ import annotations

import http.client
import json
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segue.errors import EncoderError, SettingError

URL = "http://localhost:11434"
TIMEOUT = 120.0  # seconds for a batch: the first one waits for the model to be loaded
TRIES, PAUSE = 5, 0.5  # a pause is twice as long as the one before it
PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers after which another try may help
PROMPTS = {  # what models want before an item and before a question
    "nomic-embed-text": ("search_document: ", "search_query: "),
    "mxbai-embed-large": ("", "Represent this sentence for searching relevant passages: "),
}
log = logging.getLogger("segue")


@dataclass(frozen=True)
class Ollama:
    """A model of an Ollama server, such as nomic-embed-text.

    Attributes:
        model: its name there.
        url: of the server; None is the environment's OLLAMA_HOST, else port 11434 of this machine.
        pause: seconds before the second try; each further pause is twice as long.
    """

    model: str
    url: str | None = None
    pause: float = PAUSE

    def __post_init__(self) -> None:
        if not self.model:
            raise SettingError("name the model that Ollama is to run, such as ollama:nomic-embed-text")
        object.__setattr__(self, "url", _server(self.url or os.environ.get("OLLAMA_HOST") or URL))

    @property
    def key(self) -> str:
        """The vectors' name in the cache."""
        return f"ollama-{self.model}"

    @property
    def batch(self) -> int:
        """Texts at a time."""
        return 64

    def encode(self, texts: Sequence[str], *, query: bool = False) -> np.ndarray:
        """Return the vectors (n, dim) float32.

        Raises `EncoderError`, which names the URL, where the server does not answer in five tries, does
        not know the model, or answers with something else.
        """
        prompt = PROMPTS.get(self.model.partition(":")[0], ("", ""))[query]
        return self._rows(self._ask([prompt + text for text in texts]), len(texts))

    def _ask(self, texts: list[str]) -> Any:
        asked = json.dumps({"model": self.model, "input": texts}).encode()
        request = urllib.request.Request(  # noqa: S310 - _server has checked the scheme
            f"{self.url}/api/embed", asked, {"Content-Type": "application/json"}
        )
        for attempt in range(1, TRIES + 1):
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                why = f"{error.code} {_message(error)}"
                if error.code not in PASSING:
                    raise EncoderError(
                        f"{request.full_url} refused: {why}{self._hint(error.code)}"
                    ) from error
                last: Exception = error
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason = error.reason if isinstance(error, urllib.error.URLError) else error
                why, last = str(reason), error
            if attempt < TRIES:
                log.info("%s: %s; trying again", request.full_url, why)
                time.sleep(self.pause * 2 ** (attempt - 1))
        raise EncoderError(
            f"{request.full_url} did not answer in {TRIES} tries: {why}; "
            "start it with `ollama serve`, or set OLLAMA_HOST to where it runs"
        ) from last

    def _rows(self, answer: Any, count: int) -> np.ndarray:
        """The vectors of an answer, checked."""
        try:
            made = np.array(answer["embeddings"], np.float32)
        except (KeyError, TypeError, ValueError) as error:
            raise EncoderError(
                f"{self.url} answered with no vectors but with {str(answer)[:80]!r}"
            ) from error
        if made.ndim != 2 or len(made) != count or not made.size or not np.isfinite(made).all():
            raise EncoderError(f"{self.url} answered {count} texts with vectors of the shape {made.shape}")
        return made

    def _hint(self, code: int) -> str:
        return f"; fetch the model with `ollama pull {self.model}`" if code == 404 else ""


def _server(url: str) -> str:
    """A URL without a slash at its end, from what OLLAMA_HOST may hold: host, host:port or URL."""
    scheme, found, rest = url.rstrip("/").partition("://")
    if not found:
        host, _, port = scheme.partition(":")
        return f"http://{host}:{port or 11434}"
    if scheme not in ("http", "https") or not rest:
        raise SettingError(f"{url!r} is no address of Ollama; give one such as {URL}")
    return f"{scheme}://{rest}"


def _message(error: urllib.error.HTTPError) -> str:
    """What the server says of an error."""
    text = error.read(2000).decode(errors="replace").strip()
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text[:200] or str(error.reason)
