"""The download of MovieLens small, from a server on this machine that sends what it should and what not."""

import contextlib
import io
import socket
import sys
import threading
import time
import tracemalloc
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from segue.data import download
from segue.data.download import cache_folder, movielens_small
from segue.errors import DataError

MOVIELENS = Path(__file__).parents[2] / "shared" / "data" / "ml-latest-small"
FILES = ("movies.csv", "ratings.csv")


def zipped(**changed):
    """The archive as its publisher makes it, but for the files that are changed (None: not there)."""
    contents = {name: (MOVIELENS / name).read_bytes() for name in FILES}
    contents |= {f"{stem}.csv": content for stem, content in changed.items()}
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in contents.items():
            if content is not None:
                archive.writestr(f"ml-latest-small/{name}", content)
    return made.getvalue()


@contextlib.contextmanager
def serving(content=b"", *, status=200, length=None, raw=None, delay=0.0):
    """A server that answers every request alike; gives its URL and the list of the paths asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            time.sleep(delay)
            if raw is not None:
                self.wfile.write(raw)
                return
            with contextlib.suppress(ConnectionError):  # of those who do not wait for the end
                self.send_response(status)
                self.send_header("Content-Length", str(len(content) if length is None else length))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/ml-latest-small.zip", asked
        finally:
            server.shutdown()
            thread.join()


def nobody_serving():
    """The URL of a port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}/ml-latest-small.zip"


@pytest.fixture(autouse=True)
def _direct(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="module")
def archive():
    return zipped()


def refused(cache, url, message):
    """The download fails with the message, and leaves nothing in the cache."""
    with pytest.raises(DataError, match=message):
        movielens_small(cache, url)
    assert not list(cache.rglob("*"))


def test_downloaded_once_and_kept(tmp_path, archive):
    with serving(archive) as (url, asked):
        folder = movielens_small(tmp_path / "new" / "cache", url)
        assert folder == tmp_path / "new" / "cache" / "ml-latest-small"
        assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
        for name in FILES:
            assert (folder / name).read_bytes() == (MOVIELENS / name).read_bytes()
        assert movielens_small(tmp_path / "new" / "cache", url) == folder
        assert asked == ["/ml-latest-small.zip"]
    assert movielens_small(tmp_path / "new" / "cache", nobody_serving()) == folder


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
def test_damage_in_the_cache_is_fetched_anew(tmp_path, archive, name, damage):
    with serving(archive) as (url, asked):
        file = movielens_small(tmp_path, url) / name
        whole = file.read_bytes()
        if damage == "missing":
            file.unlink()
        else:
            half = len(whole) // 2
            flipped = whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1 :]
            file.write_bytes(flipped if damage == "flipped" else whole[:-1])
        movielens_small(tmp_path, url)
        assert len(asked) == 2
        assert file.read_bytes() == whole


def test_damage_that_cannot_be_mended(tmp_path, archive):
    with serving(archive) as (url, _):
        file = movielens_small(tmp_path, url) / "movies.csv"
    file.write_bytes(b"movieId,title,genres\n")
    with pytest.raises(DataError, match="cannot be downloaded"):
        movielens_small(tmp_path, nobody_serving())


def test_other_bytes_in_the_archive(tmp_path):
    changed = (MOVIELENS / "movies.csv").read_bytes() + b"\n"
    with serving(zipped(movies=changed)) as (url, _):
        refused(tmp_path, url, r"movies\.csv from http.* is not the edition that is wanted \(its checksum")


def test_a_file_that_is_not_in_the_archive(tmp_path):
    with serving(zipped(ratings=None)) as (url, _):
        refused(tmp_path, url, r"did not send the expected archive: .*ml-latest-small/ratings\.csv")


@pytest.mark.parametrize("content", [b"", b"<html>Please log in</html>"])
def test_no_archive(tmp_path, content):
    with serving(content) as (url, _):
        refused(tmp_path, url, "did not send the expected archive: File is not a zip file")


@pytest.mark.parametrize("place", [200, 2_000, 100_000])
def test_a_damaged_archive(tmp_path, archive, place):
    damaged = bytearray(archive)
    damaged[place] ^= 0xFF
    with serving(bytes(damaged)) as (url, _):
        refused(tmp_path, url, "did not send the expected archive")


def test_an_archive_with_a_password(tmp_path, archive):
    locked = bytearray(archive)
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = locked.find(mark)
        while place >= 0:
            locked[place + flags] |= 1
            place = locked.find(mark, place + 1)
    with serving(bytes(locked)) as (url, _):
        refused(tmp_path, url, "did not send the expected archive: .*encrypted")


def test_no_more_is_read_than_the_limit(tmp_path, archive, monkeypatch):
    monkeypatch.setattr(download, "LIMIT", 1_000)
    with serving(archive) as (url, _):
        refused(tmp_path, url, "did not send the expected archive")


def test_no_more_is_unpacked_than_the_limit(tmp_path, monkeypatch):
    bomb = zipped(movies=bytes(80_000_000))
    monkeypatch.setattr(download, "LIMIT", len(bomb))
    with serving(bomb) as (url, _):
        tracemalloc.start()
        refused(tmp_path, url, "is not the edition that is wanted")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 20_000_000


@pytest.mark.parametrize("status", [404, 500])
def test_a_server_that_says_no(tmp_path, status):
    with serving(b"no", status=status) as (url, _):
        refused(
            tmp_path, url, rf"cannot be downloaded: (HTTP Error {status}|Not Found|Internal Server Error)"
        )


def test_a_connection_that_ends_early(tmp_path, archive):
    with serving(archive[:1_000], length=len(archive)) as (url, _):
        refused(tmp_path, url, "did not send the expected archive|IncompleteRead")


def test_something_else_than_a_web_server(tmp_path):
    with serving(raw=b"SSH-2.0-OpenSSH_9.2\r\n") as (url, _):
        refused(tmp_path, url, "cannot be downloaded: SSH-2.0")


def test_a_server_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.1)
    with serving(delay=0.5) as (url, _):
        refused(tmp_path, url, "cannot be downloaded: timed out")


def test_no_server(tmp_path):
    refused(tmp_path, nobody_serving(), r"http://127\.0\.0\.1:\d+/.* cannot be downloaded: .*refused")


def test_a_cache_that_cannot_be_written(tmp_path, archive):
    (tmp_path / "file").touch()
    with (
        serving(archive) as (url, _),
        pytest.raises(DataError, match=r"cache .* cannot be used: .*SEGUE_CACHE"),
    ):
        movielens_small(tmp_path / "file", url)


def test_a_disk_that_is_full(tmp_path, archive, monkeypatch):
    def fail(path, content):
        path.touch()
        raise OSError(28, "No space left on device")

    with serving(archive) as (url, _):
        monkeypatch.setattr(Path, "write_bytes", fail)
        with pytest.raises(DataError, match="No space left on device"):
            movielens_small(tmp_path, url)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


class TestCacheFolder:
    @pytest.fixture(autouse=True)
    def _bare(self, monkeypatch):
        for name in ("SEGUE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))

    def test_named(self, monkeypatch):
        monkeypatch.setenv("SEGUE_CACHE", "/elsewhere")
        assert cache_folder() == Path("/elsewhere")

    @pytest.mark.parametrize(
        ("platform", "wanted"),
        [
            ("linux", "/home/me/.cache/segue"),
            ("darwin", "/home/me/Library/Caches/segue"),
            ("win32", "/home/me/AppData/Local/segue"),
        ],
    )
    def test_of_the_platform(self, monkeypatch, platform, wanted):
        monkeypatch.setattr(sys, "platform", platform)
        assert cache_folder() == Path(wanted)

    def test_of_the_desktop(self, monkeypatch):
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
        assert cache_folder() == Path("/xdg/segue")
        monkeypatch.setattr(sys, "platform", "win32")
        monkeypatch.setenv("LOCALAPPDATA", "/local")
        assert cache_folder() == Path("/local/segue")


def test_the_publishers_address():
    assert download.URL == "https://files.grouplens.org/datasets/movielens/ml-latest-small.zip"
