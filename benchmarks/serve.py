"""Load test of the HTTP service: lists and an empty route per second, latencies, events per second.

python benchmarks/serve.py [--users 70000 --items 25000 --dim 64 --seconds 4 --connections 32 --rounds 3]

If the system supports processor affinity, the service runs on the first processor and the load generator on
the others. Otherwise they compete for processors, and the latencies are those of the scheduler.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

TAIL = 0.99  # the reported quantile of latencies


class Connection(asyncio.Protocol):
    """Sends requests one after another, or at fixed times, and records their latencies."""

    def __init__(self, requests: Iterator[bytes], until: float, pause: float) -> None:
        self.requests, self.until, self.pause = requests, until, pause
        self.latencies: list[float] = []
        self.failed = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.due = time.perf_counter() + self.pause * float(np.random.default_rng(id(self)).random())
        self._later()

    def _later(self) -> None:
        wait = self.due - time.perf_counter()
        if wait > 0:
            asyncio.get_running_loop().call_later(wait, self._send)
        else:
            self._send()

    def _send(self) -> None:
        self.begun = max(self.due, 0.0) if self.pause else time.perf_counter()
        self.transport.write(next(self.requests))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self._buffer.lower().find(b"content-length: ") + 16
        if len(self._buffer) < end + 4 + int(self._buffer[at : self._buffer.find(b"\r", at)]):
            return
        self.failed += not self._buffer.startswith(b"HTTP/1.1 200")
        self._buffer = b""
        now = time.perf_counter()
        self.latencies.append(now - self.begun)
        self.due = self.due + self.pause if self.pause else now
        if now < self.until:
            self._later() if self.pause else self._send()
        else:
            self.transport.close()
            self.done.set_result(None)


async def load(
    port: int, requests: list[bytes], connections: int, seconds: float, rate: float
) -> dict[str, float]:
    """Send requests over many connections, as fast as possible or at a total rate per second."""
    until = time.perf_counter() + seconds
    pause = connections / rate if rate else 0.0
    loop, made = asyncio.get_running_loop(), []
    for number in range(connections):
        requests_of_one = itertools.cycle(requests[number::connections])
        opened = partial(Connection, requests_of_one, until, pause)
        _, one = await loop.create_connection(opened, "127.0.0.1", port)
        made.append(one)
    await asyncio.gather(*(one.done for one in made))
    latencies = np.array([one for connection in made for one in connection.latencies])
    return {
        "rate": len(latencies) / seconds,
        "p50_ms": float(np.quantile(latencies, 0.5)) * 1e3,
        "p99_ms": float(np.quantile(latencies, TAIL)) * 1e3,
        "failed": float(sum(one.failed for one in made)),
    }


def serve(folder: str, events: str, port: int) -> None:
    """Run the service in this process."""
    import uvicorn

    from segue.serve.app import application
    from segue.serve.settings import Settings

    use_processors(slice(0, 1))
    os.environ["SEGUE_THREADS"] = "1"
    settings = Settings(folder, f"sqlite:///{events}")
    uvicorn.run(application(settings), port=port, log_level="error", access_log=False, proxy_headers=False)


def use_processors(chosen: slice) -> None:
    """Restrict this process to some processors."""
    if hasattr(os, "sched_setaffinity"):
        every = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, every[chosen] or every)


def measure(arguments: argparse.Namespace, port: int, users: np.ndarray) -> dict[str, Any]:
    """Alternate between the routes, and return the medians of their figures."""
    import uvloop

    lists = [get(f"/v1/recommend/{user}?k=10") for user in users]
    routes = {"recommend": lists, "empty": [get("/readyz")] * 64, "bare": [get("/healthz")] * 64}
    given = (arguments.connections, arguments.seconds, 0.0)
    uvloop.run(load(port, lists, arguments.connections, 1.0, 0.0))
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in routes}
    for _ in range(arguments.rounds):
        for name, requests in routes.items():
            rounds[name].append(uvloop.run(load(port, requests, *given)))
    results: dict[str, Any] = {name: median([one["rate"] for one in made]) for name, made in rounds.items()}
    results["failed"] = sum(one["failed"] for made in rounds.values() for one in made)
    before = search_seconds(port)
    peak = results["recommend"]
    half = [uvloop.run(load(port, lists, 16, arguments.seconds, peak / 2)) for _ in range(arguments.rounds)]
    after = search_seconds(port)
    results |= {f"half_{name}": median([one[name] for one in half]) for name in ("rate", "p50_ms", "p99_ms")}
    results["search_share"] = (after[0] - before[0]) / (after[1] - before[1])
    results["ratio"] = results["recommend"] / results["empty"]
    run = time.time_ns()
    events = [
        post("/v1/events", {"user_id": int(user), "item_id": place % 1000 + 1, "key": f"{run}-{place}"})
        for place, user in enumerate(np.resize(users, 60_000))
    ]
    stored = uvloop.run(load(port, events, 64, 2 * arguments.seconds, 0.0))
    results |= {f"events_{name}": stored[name] for name in ("rate", "p50_ms", "p99_ms", "failed")}
    return results


def search_seconds(port: int) -> tuple[float, float]:
    """Return the total seconds of searches and of requests for lists."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    names = ("segue_search_seconds_sum", 'segue_request_seconds_sum{route="/v1/recommend/{user_id}"}')
    found = {line.rsplit(" ", 1)[0]: line.rsplit(" ", 1)[1] for line in text.splitlines() if line[:1] != "#"}
    return float(found[names[0]]), float(found[names[1]])


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()


def post(path: str, body: Any) -> bytes:
    raw = json.dumps(body).encode()
    kind = "content-type: application/json"
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\n{kind}\r\ncontent-length: {len(raw)}\r\n\r\n"
    return head.encode() + raw


def median(values: list[float]) -> float:
    return float(statistics.median(values))


def model_folder(arguments: argparse.Namespace, folder: Path) -> Path:
    """Return the folder of a trained model; it is reused between runs."""
    import segue

    target = folder / f"segue-bench-{arguments.users}-{arguments.items}-{arguments.dim}"
    if not (target / "CURRENT").exists():
        data = segue.data.simulate(arguments.users, arguments.items, 10 * arguments.users, seed=1)
        segue.Recommender(segue.IALS(dim=arguments.dim, iterations=6)).fit(data).save(target)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (
        ("users", 70_000),
        ("items", 25_000),
        ("dim", 64),
        ("connections", 32),
        ("rounds", 3),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument(
        "--models", default=tempfile.gettempdir(), help="folder for the model, which is reused"
    )
    arguments = parser.parse_args()
    model = model_folder(arguments, Path(arguments.models))
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        process = multiprocessing.get_context("spawn").Process(
            target=serve, args=(str(model), f"{folder}/events.sqlite", port), daemon=True
        )
        process.start()
        wait(port)
        use_processors(slice(1, None))
        users = np.random.default_rng(0).permutation(arguments.users)[:20_000] + 1
        results = measure(arguments, port, users)
        process.terminate()
        process.join()
    for name in ("recommend", "empty", "bare", "events_rate"):
        print(f"{name:>12} {results[name]:9,.0f} per second")
    print(f"lists: {results['ratio']:.2f} of the empty JSON route; bare is a route without the framework")
    print(f"at half: p50 {results['half_p50_ms']:.2f} ms, p99 {results['half_p99_ms']:.2f} ms")
    print(f"the search is {results['search_share']:.1%} of a request")
    print(f"events, one per request, durable: p99 {results['events_p99_ms']:.1f} ms")
    print(json.dumps({"benchmark": "serve", **{name: round(value, 4) for name, value in results.items()}}))
    sys.exit(1 if results["failed"] or results["events_failed"] else 0)


def wait(port: int) -> None:
    until = time.monotonic() + 60
    while not answers(port):
        if time.monotonic() > until:
            raise SystemExit("the service did not start")
        time.sleep(0.1)


def answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").read()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
