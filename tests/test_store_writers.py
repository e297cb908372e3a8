"""The model folder: writers that fail, are killed, run out of space or run at the same time."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from segue import store
from segue.errors import (
    ModelFolderError,
    NotAModelError,
)
from segue.store import lock
from stores import ARRAYS, TABLES, leftovers, live, marks, save

SOURCES = str(Path(__file__).parents[1] / "src")


@pytest.fixture(scope="module", autouse=True)
def _unflushed():
    """Skip flushing to the disk; the tests with real processes do flush."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save(tmp_path / "model")
    return tmp_path / "model"


class Interrupted(BaseException):
    """An exception that is not an error, like an interrupt."""


def fail_at(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> list[int]:
    """Make the `number`th flush, rename or replacement fail; return the list of all calls."""
    made: list[int] = []

    def wrapped(real):
        def call(*args):
            made.append(len(made))
            if len(made) == number:
                raise error
            return real(*args)

        return call

    monkeypatch.setattr(os, "fsync", wrapped(os.fsync))
    monkeypatch.setattr(Path, "rename", wrapped(Path.rename))
    monkeypatch.setattr(Path, "replace", wrapped(Path.replace))
    return made


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), Interrupted()]
)
def test_failure_at_any_step_leaves_the_old_version(tmp_path, first, error):
    steps = published = 0
    while True:
        steps += 1
        model = tmp_path / str(steps)
        if not first:
            save(model, 1)
        with pytest.MonkeyPatch.context() as monkeypatch:
            made = fail_at(monkeypatch, steps, error)
            expected = ModelFolderError if isinstance(error, OSError) else type(error)
            caught = None
            try:
                save(model, 2)
            except expected as raised:
                caught = raised
        if caught is None:
            assert len(made) == steps - 1
            break
        if isinstance(error, OSError):
            assert "No space left on device; free some space, or name a folder" in str(caught)
        assert leftovers(model) == []
        if not published and (first or marks(store.open_model(model)) == {1}):
            with contextlib.suppress(NotAModelError):
                published += marks(store.open_model(model)) == {2}
        else:
            published += 1
            assert marks(store.open_model(model)) == {2}
        assert len(list((model / "versions").iterdir())) == (0 if first else 1) + bool(published)
        save(model, 3)
        store.verify(model)
    files = len(ARRAYS) + len(TABLES) + 1 + len(["manifest", "CURRENT"])
    assert steps - 1 == files + len(["draft", "rename", "versions", "replace", "folder", "its parent"])
    assert published == 2  # only the last two steps come after CURRENT was replaced


def test_files_are_flushed_before_they_are_renamed(model, monkeypatch):
    """The order that survives a power cut: contents, then the name of the version, then CURRENT."""
    events: list[object] = []
    fsync, rename, replace = os.fsync, Path.rename, Path.replace

    def record(real, event):
        def call(*args):
            events.append(event(*args))
            return real(*args)

        return call

    monkeypatch.setattr(os, "fsync", record(fsync, lambda handle: os.fstat(handle).st_ino))
    monkeypatch.setattr(Path, "rename", record(rename, lambda *_: "rename"))
    monkeypatch.setattr(Path, "replace", record(replace, lambda *_: "replace"))
    save(model, 1)
    renamed, replaced = events.index("rename"), events.index("replace")
    version = live(model)
    before = {file.stat().st_ino for file in version.iterdir()} | {version.stat().st_ino}
    assert before <= set(events[:renamed])
    assert (model / "CURRENT").stat().st_ino in events[:replaced]
    assert (model / "versions").stat().st_ino in events[renamed:replaced]
    assert events[replaced + 1] == model.stat().st_ino
    assert events[renamed - 2] == version.stat().st_ino  # the folder itself after all that is in it


@contextlib.contextmanager
def as_nobody():
    """Drop the rights of root, which ignore file permissions."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_folders_without_permission():
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        model = base / "model"
        save(model)
        secret = base / "secret"
        save(secret)
        (live(secret) / "users.npy").chmod(0)
        for path in (model, model / "versions", base):
            path.chmod(0o555)
        (model / ".lock").chmod(0o444)
        try:
            with as_nobody():
                assert marks(store.open_model(model)) == {0}
                store.verify(model)
                advice = "free some space, or name a folder that you may write to; earlier versions "
                for folder in (model, base / "new"):
                    with pytest.raises(
                        ModelFolderError, match=f"cannot write .*Permission denied.*; {advice}"
                    ):
                        save(folder, 1)
                with pytest.raises(ModelFolderError, match="cannot write the model"):
                    store.prune(model, 1)
                with pytest.raises(
                    ModelFolderError, match=r"cannot read .*users\.npy.*; name a folder that you may"
                ):
                    store.open_model(secret)
        finally:
            for path in (base, model, model / "versions"):
                path.chmod(0o755)
        assert marks(store.open_model(model)) == {0}


WRITER = """
import sys
sys.path.insert(0, {sources!r})
import numpy as np, polars as pl
from segue import store
folder, first, times, large = sys.argv[1], *map(int, sys.argv[2:5])
for mark in range(first, first + times):
    arrays = {{name: np.full((large, 64), mark, np.float32) for name in "abc"}}
    tables = {{"t": pl.DataFrame({{"mark": [mark] * 10_000}})}}
    print(store.write(folder, arrays, tables, {{"mark": mark}}), flush=True)
"""


def writer(folder: Path, first: int, times: int, large: int = 2000, before: str = "") -> subprocess.Popen:
    code = before + WRITER.format(sources=SOURCES)
    command = [sys.executable, "-c", code, str(folder), str(first), str(times), str(large)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_whole(folder: Path) -> int:
    """Check that every named version is complete; return the mark of the current one."""
    for version in (folder / "versions").iterdir():
        if not version.name.startswith("."):
            store.verify(folder, version.name)
            stored = store.open_model(folder, version.name)
            found = {stored.meta["mark"], *stored.tables["t"]["mark"].unique()}
            for array in stored.arrays.values():
                found |= {int(array.min()), int(array.max())}
            assert len(found) == 1
    return int(store.open_model(folder).meta["mark"])


STOPPER = """
import os, signal, sys, time
sys.path.insert(0, {sources!r})
import numpy as np, polars as pl
from pathlib import Path
from segue import store
os.fsync = lambda handle: time.sleep(0.001)  # a disk of constant speed, so that the delays cover all steps
for number, delay in enumerate(sys.argv[3:]):
    folder = Path(sys.argv[1]) / str(number)
    child = os.fork()
    if not child:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            for mark in range(10**6):
                arrays = {{name: np.full((2000, 64), mark, np.float32) for name in "abc"}}
                tables = {{"t": pl.DataFrame({{"mark": [mark] * 10_000}})}}
                store.write(folder, arrays, tables, {{"mark": mark}})
                store.prune(folder, 2)
        except KeyboardInterrupt:
            os._exit(130)
        finally:
            os._exit(1)
    while not (folder / "CURRENT").exists():
        time.sleep(0.001)
    time.sleep(float(delay))
    os.kill(child, int(sys.argv[2]))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def stop_in_the_middle(base: Path, how: signal.Signals, delays: list[float]) -> list[int]:
    """Stop one writer per delay, each in its own folder, this long after its first version."""
    code = STOPPER.format(sources=SOURCES)
    command = [sys.executable, "-W", "ignore", "-c", code, str(base), str(int(how)), *map(str, delays)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return [int(code) for code in done.stdout.split()]


def test_killed_at_any_moment(tmp_path):
    delays = [number * 0.0037 for number in range(20)]
    assert stop_in_the_middle(tmp_path, signal.SIGKILL, delays) == [-signal.SIGKILL] * len(delays)
    unfinished = 0
    for number in range(len(delays)):
        folder = tmp_path / str(number)
        unfinished += bool(leftovers(folder))
        mark = check_whole(folder) + 1
        table = pl.DataFrame({"mark": [mark]})
        store.write(folder, {"a": np.full(3, mark)}, {"t": table}, {"mark": mark})
        assert leftovers(folder) == []
        assert check_whole(folder) == mark
    assert unfinished  # at least one writer was killed while it wrote


def test_interrupted_at_any_moment(tmp_path):
    delays = [0.001 + number * 0.0043 for number in range(15)]
    assert stop_in_the_middle(tmp_path, signal.SIGINT, delays) == [130] * len(delays)
    for number in range(len(delays)):
        assert set(leftovers(tmp_path / str(number))) <= {".dropped"}  # an old version, half removed
        check_whole(tmp_path / str(number))


def test_full_disk(tmp_path):
    """A file size limit of the system stands in for a full disk."""
    with writer(tmp_path, 7, 1, large=100) as process:
        _, words = process.communicate(timeout=60)
        assert process.returncode == 0, words
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
    with writer(tmp_path, 8, 1, large=100_000, before=limit) as process:
        _, words = process.communicate(timeout=60)
    assert process.returncode == 1
    last = words.strip().splitlines()[-1]
    assert last.startswith(
        f"segue.errors.ModelFolderError: cannot write the model in {tmp_path}: [Errno 27] "
    )
    assert last.endswith(
        "free some space, or name a folder that you may write to; earlier versions still load"
    )
    assert leftovers(tmp_path) == []
    assert len(list((tmp_path / "versions").iterdir())) == 1
    assert check_whole(tmp_path) == 7


def test_two_concurrent_writers(tmp_path):
    with writer(tmp_path, 0, 5) as one, writer(tmp_path, 100, 5) as other:
        ends = [process.communicate(timeout=60) for process in (one, other)]
        assert (one.returncode, other.returncode) == (0, 0), ends
    names = sorted(line for out, _ in ends for line in out.split())
    assert [int(name[:6]) for name in names] == list(range(1, 11))
    assert store.current_version(tmp_path) == names[-1]
    assert check_whole(tmp_path) in (4, 104)


def test_concurrent_threads(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda mark: save(tmp_path, mark), range(16)))
    assert sorted(int(name[:6]) for name in names) == list(range(1, 17))
    for mark, name in enumerate(names):
        assert marks(store.open_model(tmp_path, name)) == {mark}


def test_wait_for_a_live_writer_without_touching_its_draft(model, monkeypatch, caplog):
    monkeypatch.setattr(lock, "TIMEOUT", 0.1)
    caplog.set_level(logging.INFO, "segue")
    draft = model / "versions" / ".draft"
    with lock.locked(model / ".lock"):
        draft.mkdir()
        (draft / "users.npy").write_bytes(b"half")
        message = "another process has been writing to .*model for 0.1 seconds; wait until it ends or stop it"
        for call in (lambda: save(model, 1), lambda: store.prune(model, 1)):
            with pytest.raises(ModelFolderError, match=message):
                call()
        assert (draft / "users.npy").read_bytes() == b"half"
        assert marks(store.open_model(model)) == {0}
        assert "waiting for another process that writes to" in caplog.text
        monkeypatch.setattr(lock, "TIMEOUT", 30.0)
        started = threading.Event()

        def late() -> str:
            started.set()
            return save(model, 1)

        pool = ThreadPoolExecutor(1)
        waiting = pool.submit(late)
        started.wait()
        time.sleep(0.1)
        assert not waiting.done()
    assert waiting.result(timeout=30).startswith("000002-")
    pool.shutdown()
    assert leftovers(model) == []
    assert "removing the incomplete" in caplog.text


def test_lock_is_released_although_a_forked_child_has_the_file_open(tmp_path):
    """A worker that was forked while the model was saved must not block other writers."""
    code = (
        f"import sys, os, subprocess; sys.path.insert(0, {SOURCES!r})\n"
        "from pathlib import Path\n"
        "from segue.store.lock import locked\n"
        "with locked(Path(sys.argv[1])):\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        sys.stdin.read()\n"
        "        os._exit(0)\n"
        "print('free', flush=True)\n"
        "os.waitpid(child, 0)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "free\n"
        assert save(tmp_path).startswith("000001-")
        process.stdin.close()
        assert process.wait(30) == 0
