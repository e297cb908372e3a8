"""Services in processes that fork from one with all imports loaded, so that they start fast."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import urllib3

import segue
from segue.serve.settings import Settings

POOL = urllib3.PoolManager(maxsize=64, retries=False, timeout=20)
START = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
if sys.platform != "win32":
    START.set_forkserver_preload(["serving", "segue.serve.app", "uvicorn", "uvloop", "httptools"])
os.environ.setdefault("PYTHONPATH", str(Path(__file__).parent))  # for the preloaded `serving`


def load_kernels() -> None:
    """Load the kernels that a service needs, without starting threads."""
    os.environ["SEGUE_THREADS"] = "1"
    vectors = np.eye(3, dtype=np.float32)
    for metric in ("dot", "cosine"):
        segue.Exact(metric=metric).build(vectors).search(vectors, 2, allow=np.ones(3, bool))


if __name__ == "serving" and "pytest" not in sys.modules:  # in the process that services fork from
    load_kernels()


def main(settings: Settings, port: int, environment: dict[str, str]) -> None:
    """Run a service in this process."""
    import uvicorn

    from segue.serve.app import application
    from segue.serve.logs import logging_config

    os.environ.update({"SEGUE_THREADS": "1", **environment})
    if "SEGUE_FILE_LIMIT" in environment:
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(environment["SEGUE_FILE_LIMIT"]),) * 2)
    uvicorn.run(
        application(settings),
        port=port,
        log_config=logging_config("text", access=False),
        access_log=False,
        proxy_headers=False,
    )


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Server:
    """A service in a process of its own."""

    def __init__(self, settings: Settings, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = START.Process(target=main, args=(settings, self.port, environment), daemon=True)
        self.process.start()

    def wait(self) -> Server:
        until = time.monotonic() + 60
        while True:
            assert self.process.is_alive(), f"the service ended with {self.process.exitcode}"
            assert time.monotonic() < until, "the service is not ready"
            try:
                if POOL.request("GET", f"{self.url}/readyz").status == 200:
                    return self
            except urllib3.exceptions.HTTPError:
                pass
            time.sleep(0.02)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Send a request; return the status and the JSON of the response."""
        arguments = {} if body is None else {"json": body}
        response = POOL.request(method, self.url + path, headers=headers or None, **arguments)
        return response.status, response.json() if response.data else None

    def get(self, path: str) -> Any:
        status, payload = self.call("GET", path)
        assert status == 200, payload
        return payload

    def post(self, path: str, body: Any) -> Any:
        status, payload = self.call("POST", path, body)
        assert status == 200, payload
        return payload

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def stop(self) -> int | None:
        self.process.terminate()
        self.process.join(20)
        return self.process.exitcode


@contextmanager
def serving(settings: Settings, **environment: str) -> Iterator[Server]:
    """A ready service that is killed afterwards."""
    server = Server(settings, **environment)
    try:
        yield server.wait()
    finally:
        server.kill()
