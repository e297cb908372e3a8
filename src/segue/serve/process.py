"""The processes of a service: one, or several workers behind one socket."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from segue import store
from segue.errors import MissingExtraError, SettingError
from segue.online.profile import AUTO, PROFILES
from segue.serve.events.base import open_store
from segue.serve.keys import Keys
from segue.serve.logs import FORMATS, logging_of
from segue.serve.settings import Settings
from segue.validation import named

GRACE = 5  # seconds beyond the deadline that running requests have when the service is stopped
MOST = 64  # workers


def run(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    log: str = "text",
    access_log: bool = False,
) -> None:
    """Serve until a signal ends it; what is wrong with the settings is raised before anything listens."""
    try:
        import uvicorn
        from prometheus_client import CONTENT_TYPE_LATEST  # noqa: F401 - to see that it is there
    except ImportError as error:
        raise MissingExtraError(
            f"the service needs {error.name}; install it with: pip install 'segue[serve]'"
        ) from error
    _check(settings, port, workers, log)
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
            log_config=logging_of(log, access_log),
            access_log=access_log,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=int(settings.limits.deadline) + GRACE,
        )


def _check(settings: Settings, port: int, workers: int, log: str) -> None:
    if not 1 <= workers <= MOST:
        raise SettingError(f"workers={workers} must be 1 to {MOST}")
    if not 0 <= port < 65_536:
        raise SettingError(f"port={port} must be 0 to 65535")
    if log not in FORMATS:
        raise SettingError(f"log={log!r} must be one of {', '.join(FORMATS)}")
    if settings.profile != AUTO:
        named(settings.profile, PROFILES, "profile")
    if settings.keys is not None:
        Keys(settings.keys)
    store.current_version(Path(settings.model))
    open_store(settings.events_url).close()
