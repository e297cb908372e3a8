"""Encoders that run on an Ollama server, called over HTTP in batches, with retries."""

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

import numpy as np

from segue.errors import EncoderError, SettingError

URL = "http://localhost:11434"
TIMEOUT = 120.0  # seconds per batch: the server loads the model during the first one
TRIES, PAUSE = 5, 0.5  # the pause doubles after each try
RETRY_STATUS = {408, 425, 429, 500, 502, 503, 504}
PROMPTS = {  # the prefixes that models expect before an item and before a query
    "nomic-embed-text": ("search_document: ", "search_query: "),
    "mxbai-embed-large": ("", "Represent this sentence for searching relevant passages: "),
}
log = logging.getLogger("segue")


@dataclass(frozen=True)
class Ollama:
    """An embedding model on an Ollama server, such as nomic-embed-text.

    Attributes:
        model: the model's name on the server.
        url: the server's URL; None means the environment's OLLAMA_HOST, else port 11434 on this machine.
        pause: seconds before the second try; the pause doubles after each try.
    """

    model: str
    url: str | None = None
    pause: float = PAUSE

    def __post_init__(self) -> None:
        if not self.model:
            raise SettingError("ollama needs the name of a model, such as ollama:nomic-embed-text")
        object.__setattr__(self, "url", _server(self.url or os.environ.get("OLLAMA_HOST") or URL))

    @property
    def key(self) -> str:
        """The name of the vectors in the cache."""
        return f"ollama-{self.model}"

    @property
    def batch(self) -> int:
        """The number of texts per request."""
        return 64

    def encode(self, texts: Sequence[str], *, query: bool = False) -> np.ndarray:
        """Return the vectors (n, dim) float32 of texts.

        Raises `EncoderError` with the URL if the server fails five times, does not know the model, or
        returns anything but vectors.
        """
        prompt = PROMPTS.get(self.model.partition(":")[0], ("", ""))[query]
        return self._parse(self._request([prompt + text for text in texts]), len(texts))

    def _request(self, texts: list[str]) -> object:
        """Return the decoded body of the response."""
        payload = json.dumps({"model": self.model, "input": texts}).encode()
        request = urllib.request.Request(  # noqa: S310 - _server has checked the scheme
            f"{self.url}/api/embed", payload, {"Content-Type": "application/json"}
        )
        for attempt in range(1, TRIES + 1):
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
                    body: object = json.load(response)
                    return body
            except urllib.error.HTTPError as error:
                reason = f"{error.code} {_message(error)}"
                if error.code not in RETRY_STATUS:
                    raise EncoderError(
                        f"{request.full_url} refused: {reason}{self._hint(error.code)}"
                    ) from error
                cause: Exception = error
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason = str(error.reason if isinstance(error, urllib.error.URLError) else error)
                cause = error
            if attempt < TRIES:
                log.info("%s: %s; trying again", request.full_url, reason)
                time.sleep(self.pause * 2 ** (attempt - 1))
        raise EncoderError(
            f"{request.full_url} did not answer in {TRIES} tries: {reason}; "
            "start the server with `ollama serve`, or set OLLAMA_HOST to its address"
        ) from cause

    def _parse(self, body: object, count: int) -> np.ndarray:
        """Return the vectors of a response, checked."""
        try:
            vectors = np.array(body["embeddings"], np.float32)  # type: ignore[index]
        except (KeyError, TypeError, ValueError) as error:
            raise EncoderError(f"{self.url} returned {str(body)[:80]!r} instead of vectors") from error
        if vectors.ndim != 2 or len(vectors) != count or not vectors.size or not np.isfinite(vectors).all():
            raise EncoderError(f"{self.url} returned vectors of shape {vectors.shape} for {count} texts")
        return vectors

    def _hint(self, status: int) -> str:
        return f"; fetch the model with `ollama pull {self.model}`" if status == 404 else ""


def _server(url: str) -> str:
    """Return a URL without a trailing slash from a value of OLLAMA_HOST: host, host:port or URL."""
    scheme, separator, rest = url.rstrip("/").partition("://")
    if not separator:
        host, _, port = scheme.partition(":")
        return f"http://{host}:{port or 11434}"
    if scheme not in ("http", "https") or not rest:
        raise SettingError(f"{url!r} is not the address of an Ollama server; give one such as {URL}")
    return f"{scheme}://{rest}"


def _message(error: urllib.error.HTTPError) -> str:
    """Return the error message in the body of a response."""
    text = error.read(2000).decode(errors="replace").strip()
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text[:200] or str(error.reason)
