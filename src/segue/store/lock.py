"""A file lock for one writer at a time, which the system releases when the process ends."""

from __future__ import annotations

import errno
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segue.errors import ModelFolderError

TIMEOUT = 600.0  # seconds to wait for another writer

logger = logging.getLogger("segue")

if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EDEADLK):
                return False
            raise
        return True

    def _unlock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(handle: int) -> None:
        # Closing the file is not enough if a forked child also has it open.
        fcntl.flock(handle, fcntl.LOCK_UN)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`; wait up to `TIMEOUT` seconds while another process or thread holds it.

    Raises:
        ModelFolderError: the lock is still held after that time.
    """
    with path.open("ab") as file:
        deadline = time.monotonic() + TIMEOUT
        if not _try_lock(file.fileno()):
            logger.info("waiting for another process that writes to %s", path.parent)
            while not _try_lock(file.fileno()):
                if time.monotonic() > deadline:
                    raise ModelFolderError(
                        f"another process has been writing to {path.parent} for {TIMEOUT:g} seconds; "
                        "wait until it ends or stop it, then save again"
                    )
                time.sleep(0.02)
        try:
            yield
        finally:
            _unlock(file.fileno())
