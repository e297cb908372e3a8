"""A real HTTP server on this machine that speaks Ollama's API, and fails when a test says so."""

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
    """What the server was asked, and what it is to answer instead of vectors."""

    url: str = ""
    asked: list[list[str]] = field(default_factory=list)
    answers: list[tuple[int, bytes]] = field(default_factory=list)  # given one by one, then vectors again
    after: int | None = None  # requests after which every one fails
    model: str = "nomic-embed-text"


def vector_of(text: str) -> list[float]:
    """The vector that the server has for a text."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
    return [float(one) for one in np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)]


@contextmanager
def server() -> Iterator[Server]:
    """Run the server until the block ends."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            code, body = answer(state, self.path, asked)
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *said: object) -> None:
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


def answer(state: Server, path: str, asked: dict) -> tuple[int, bytes]:
    """A status and a body, as Ollama gives them."""
    assert path == "/api/embed"
    if state.answers:
        return state.answers.pop(0)
    if state.after is not None and len(state.asked) >= state.after:
        return 503, b'{"error": "server busy"}'
    if asked["model"] != state.model:
        return 404, json.dumps(
            {"error": f'model "{asked["model"]}" not found, try pulling it first'}
        ).encode()
    state.asked.append(asked["input"])
    return 200, json.dumps({"embeddings": [vector_of(text) for text in asked["input"]]}).encode()
