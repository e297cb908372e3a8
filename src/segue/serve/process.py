"""Run a service in one process, or in several workers that share a socket."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

from segue import store
from segue.errors import MissingExtraError, SettingError
from segue.online.profile import AUTO, PROFILES
from segue.serve.events.open import open_store, store_kind
from segue.serve.keys import Keys
from segue.serve.logs import FORMATS, logging_config
from segue.serve.settings import Settings
from segue.validation import named

GRACE = 5  # seconds beyond the deadline for running requests when the service stops
MAX_WORKERS = 64


def run(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    log: str = "text",
    access_log: bool = False,
) -> None:
    """Serve a model over HTTP until a signal stops the process.

    Args:
        settings: the settings of the service.
        host: the address to listen on; "0.0.0.0" for all.
        port: the port, 0 to 65535.
        workers: the number of processes, 1 to 64.
        log: the format of log lines, "text" or "json".
        access_log: whether to log each request.

    Raises `SegueError` for invalid settings before it listens.
    """
    try:
        import uvicorn
        from prometheus_client import CONTENT_TYPE_LATEST  # noqa: F401 - check that it is installed
    except ImportError as error:
        raise MissingExtraError(
            f"the service needs {error.name}; install it with: pip install 'segue[serve]'"
        ) from error
    _check(settings, port, workers, log)
    if workers > 1 and store_kind(settings.events_url).detects_writes:
        settings = replace(settings, shared=True)
    threads = max(1, (os.cpu_count() or 1) // workers) if workers > 1 else 1
    environment = {"SEGUE_THREADS": os.environ.get("SEGUE_THREADS") or str(threads)}
    with tempfile.TemporaryDirectory(prefix="segue-metrics-") as folder:
        if workers > 1:
            environment["PROMETHEUS_MULTIPROC_DIR"] = folder
        os.environ.update(environment | settings.to_environment())
        uvicorn.run(
            "segue.serve.app:worker",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            log_config=logging_config(log, access_log),
            access_log=access_log,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=int(settings.limits.deadline) + GRACE,
        )


def _check(settings: Settings, port: int, workers: int, log: str) -> None:
    if not 1 <= workers <= MAX_WORKERS:
        raise SettingError(f"workers={workers} must be 1 to {MAX_WORKERS}", arguments=("workers",))
    if not 0 <= port < 65_536:
        raise SettingError(f"port={port} must be 0 to 65535", arguments=("port",))
    if log not in FORMATS:
        raise SettingError(f"log={log!r} must be one of {', '.join(FORMATS)}", arguments=("log",))
    if settings.profile != AUTO:
        named(settings.profile, PROFILES, "profile")
    if settings.keys is not None:
        Keys(settings.keys)
    store.current_version(Path(settings.model))
    open_store(settings.events_url).close()
