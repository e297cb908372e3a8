"""A temporary PostgreSQL server that listens on a socket in its folder only."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

USER, PASSWORD = "segue", "pa55/word@home"  # a URL must escape / and @
QUOTED = "pa55%2Fword%40home"
PORT = 54321  # part of the name of the socket; there is no network port


@contextmanager
def server() -> Iterator[str]:
    """Yield the URL of a running server, with a user, a password and the database postgres."""
    initdb, postgres = binary("initdb"), binary("postgres")
    folder = Path(tempfile.mkdtemp(prefix="segue-pg-"))  # paths of sockets must be short
    as_user = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        as_user = {"user": "postgres", "group": "postgres"}
    try:
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        data = folder / "data"
        command = [
            initdb,
            "-D",
            data,
            "-U",
            USER,
            f"--pwfile={secret}",
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "-N",
        ]
        made = subprocess.run(command, cwd=folder, capture_output=True, text=True, **as_user)
        assert made.returncode == 0, f"initdb failed: {made.stdout}{made.stderr}"
        options = {"listen_addresses": "", "unix_socket_directories": folder, "port": PORT, "fsync": "off"}
        flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [postgres, "-D", data, *flags], cwd=folder, stdout=log, stderr=log, **as_user
            )
        try:
            url = f"postgresql://{USER}:{QUOTED}@/postgres?host={folder}&port={PORT}"
            wait(url, process, folder / "log")
            yield url
        finally:
            process.send_signal(signal.SIGINT)  # a fast shutdown
            process.wait(timeout=30)
    finally:
        shutil.rmtree(folder)


def binary(name: str) -> str:
    """Return the program on the PATH, or the newest that Debian packages installed."""
    installed = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[4])
    )
    found = shutil.which(name) or (str(installed[-1]) if installed else None)
    assert found, f"{name} is missing: these tests need a PostgreSQL server; run tests/setup.sh"
    return found


def wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:  # noqa: PERF203 - it may still be starting
            assert process.poll() is None, f"PostgreSQL stopped: {log.read_text()}"
            assert time.monotonic() < until, f"PostgreSQL does not answer: {log.read_text()}"
            time.sleep(0.05)
