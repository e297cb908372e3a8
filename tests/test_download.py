"""Download MovieLens small from a local server that sends correct and incorrect answers."""

import sys
import tracemalloc
from pathlib import Path

import pytest

import movielens
from movielens import serving, unused_url
from segue.data import download
from segue.data.download import cache_folder, movielens_small
from segue.errors import DataError

FILES = ("movies.csv", "ratings.csv")


@pytest.fixture(autouse=True)
def _local_edition(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "SHA256", movielens.checksums())


@pytest.fixture(scope="module")
def archive():
    return movielens.archive()


def assert_fails(cache, url, message):
    """Assert that the download fails with this message and leaves nothing in the cache."""
    with pytest.raises(DataError, match=message):
        movielens_small(cache, url)
    assert not list(cache.rglob("*"))


def test_download_happens_once(tmp_path, archive):
    with serving(archive) as (url, paths):
        folder = movielens_small(tmp_path / "new" / "cache", url)
        assert folder == tmp_path / "new" / "cache" / "ml-latest-small"
        assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
        for name in FILES:
            assert (folder / name).read_bytes() == movielens.contents()[name]
        assert movielens_small(tmp_path / "new" / "cache", url) == folder
        assert paths == ["/ml-latest-small.zip"]
    assert movielens_small(tmp_path / "new" / "cache", unused_url()) == folder


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
def test_damaged_cache_is_downloaded_again(tmp_path, archive, name, damage):
    with serving(archive) as (url, paths):
        file = movielens_small(tmp_path, url) / name
        original = file.read_bytes()
        if damage == "missing":
            file.unlink()
        else:
            half = len(original) // 2
            flipped = original[:half] + bytes([original[half] ^ 1]) + original[half + 1 :]
            file.write_bytes(flipped if damage == "flipped" else original[:-1])
        movielens_small(tmp_path, url)
        assert len(paths) == 2
        assert file.read_bytes() == original


def test_damaged_cache_without_a_server_is_an_error(tmp_path, archive):
    with serving(archive) as (url, _):
        file = movielens_small(tmp_path, url) / "movies.csv"
    file.write_bytes(b"movieId,title,genres\n")
    with pytest.raises(DataError, match="cannot be downloaded"):
        movielens_small(tmp_path, unused_url())


def test_archive_with_a_different_edition(tmp_path):
    changed = movielens.contents()["movies.csv"] + b"\n"
    with serving(movielens.archive(movies=changed)) as (url, _):
        assert_fails(tmp_path, url, r"movies\.csv from http.* is not the expected edition \(its checksum")


def test_archive_without_one_of_the_files(tmp_path):
    with serving(movielens.archive(ratings=None)) as (url, _):
        assert_fails(tmp_path, url, r"did not send the expected archive: .*ml-latest-small/ratings\.csv")


@pytest.mark.parametrize("content", [b"", b"<html>Please log in</html>"])
def test_answer_that_is_not_an_archive(tmp_path, content):
    with serving(content) as (url, _):
        assert_fails(tmp_path, url, "did not send the expected archive: File is not a zip file")


@pytest.mark.parametrize("offset", [200, 2_000, 60_000])
def test_damaged_archive(tmp_path, archive, offset):
    damaged = bytearray(archive)
    damaged[offset] ^= 0xFF
    with serving(bytes(damaged)) as (url, _):
        assert_fails(tmp_path, url, "did not send the expected archive")


def test_encrypted_archive(tmp_path, archive):
    locked = bytearray(archive)
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        offset = locked.find(mark)
        while offset >= 0:
            locked[offset + flags] |= 1
            offset = locked.find(mark, offset + 1)
    with serving(bytes(locked)) as (url, _):
        assert_fails(tmp_path, url, "did not send the expected archive: .*encrypted")


def test_download_stops_at_the_size_limit(tmp_path, archive, monkeypatch):
    monkeypatch.setattr(download, "LIMIT", 1_000)
    with serving(archive) as (url, _):
        assert_fails(tmp_path, url, "did not send the expected archive")


def test_unpacking_stops_at_the_size_limit(tmp_path, monkeypatch):
    bomb = movielens.archive(movies=bytes(80_000_000))
    monkeypatch.setattr(download, "LIMIT", len(bomb))
    with serving(bomb) as (url, _):
        tracemalloc.start()
        assert_fails(tmp_path, url, "is not the expected edition")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 20_000_000


@pytest.mark.parametrize("status", [404, 500])
def test_http_error_status(tmp_path, status):
    with serving(b"no", status=status) as (url, _):
        assert_fails(
            tmp_path, url, rf"cannot be downloaded: (HTTP Error {status}|Not Found|Internal Server Error)"
        )


def test_connection_that_ends_early(tmp_path, archive):
    with serving(archive[:1_000], length=len(archive)) as (url, _):
        assert_fails(tmp_path, url, "did not send the expected archive|IncompleteRead")


def test_server_that_does_not_speak_http(tmp_path):
    with serving(raw=b"SSH-2.0-OpenSSH_9.2\r\n") as (url, _):
        assert_fails(tmp_path, url, "cannot be downloaded: SSH-2.0")


def test_server_that_times_out(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.1)
    with serving(delay=0.5) as (url, _):
        assert_fails(tmp_path, url, "cannot be downloaded: timed out")


def test_no_server(tmp_path):
    assert_fails(tmp_path, unused_url(), r"http://127\.0\.0\.1:\d+/.* cannot be downloaded: .*refused")


def test_cache_that_cannot_be_written(tmp_path, archive):
    (tmp_path / "file").touch()
    with (
        serving(archive) as (url, _),
        pytest.raises(DataError, match=r"cache .* cannot be used: .*SEGUE_CACHE"),
    ):
        movielens_small(tmp_path / "file", url)


def test_full_disk(tmp_path, archive, monkeypatch):
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
    def _clean_environment(self, monkeypatch):
        for name in ("SEGUE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))

    def test_environment_variable(self, monkeypatch):
        monkeypatch.setenv("SEGUE_CACHE", "/elsewhere")
        assert cache_folder() == Path("/elsewhere")

    @pytest.mark.parametrize(
        ("platform", "folder"),
        [
            ("linux", "/home/me/.cache/segue"),
            ("darwin", "/home/me/Library/Caches/segue"),
            ("win32", "/home/me/AppData/Local/segue"),
        ],
    )
    def test_default_of_each_platform(self, monkeypatch, platform, folder):
        monkeypatch.setattr(sys, "platform", platform)
        assert cache_folder() == Path(folder)

    def test_xdg_and_local_app_data(self, monkeypatch):
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
        assert cache_folder() == Path("/xdg/segue")
        monkeypatch.setattr(sys, "platform", "win32")
        monkeypatch.setenv("LOCALAPPDATA", "/local")
        assert cache_folder() == Path("/local/segue")


def test_published_url():
    assert download.URL == "https://files.grouplens.org/datasets/movielens/ml-latest-small.zip"
    assert sorted(download.SHA256) == sorted(FILES)
