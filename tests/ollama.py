"""An HTTP server with Ollama's API, which fails when a test tells it to."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

DIM = 5


@dataclass
class Server:
    """The requests so far, and the responses to send instead of vectors."""

    url: str = ""
    requests: list[list[str]] = field(default_factory=list)
    answers: list[tuple[int, bytes]] = field(default_factory=list)  # sent one by one, before vectors again
    after: int | None = None  # the number of requests after which all fail
    model: str = "nomic-embed-text"


def vector_of(text: str) -> list[float]:
    """Return the server's vector of a text."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
    return [float(value) for value in np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)]


@contextmanager
def server() -> Iterator[Server]:
    """Run the server until the block ends."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            code, body = answer(state, self.path, payload)
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        state.url = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            running.shutdown()
            thread.join()


def answer(state: Server, path: str, payload: dict) -> tuple[int, bytes]:
    """Return the status and body of a response, in Ollama's format."""
    assert path == "/api/embed"
    if state.answers:
        return state.answers.pop(0)
    if state.after is not None and len(state.requests) >= state.after:
        return 503, b'{"error": "server busy"}'
    if payload["model"] != state.model:
        return 404, json.dumps(
            {"error": f'model "{payload["model"]}" not found, try pulling it first'}
        ).encode()
    state.requests.append(payload["input"])
    return 200, json.dumps({"embeddings": [vector_of(text) for text in payload["input"]]}).encode()
