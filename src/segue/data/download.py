"""Download MovieLens small, verify its checksums and keep it in a cache folder."""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import sys
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path

from segue.errors import DataError

URL = "https://files.grouplens.org/datasets/movielens/ml-latest-small.zip"
FOLDER = "ml-latest-small"
SHA256 = {  # the edition of September 2018
    "ratings.csv": "aa289ca83157595d0df6aea1be6a4ded676ddc4385472e8313a8ed9805352646",
    "movies.csv": "5a5f32dd9bb3797b8e728a1b98958789d2b13f294a69fdfbc5727f8a9611aa07",
}
LIMIT = 16 << 20  # bytes to download at most; the archive has about a million
TIMEOUT = 5.0  # seconds to wait for the server


def cache_folder() -> Path:
    """Return the folder for downloads: `SEGUE_CACHE`, or else the cache folder of the platform."""
    if folder := os.environ.get("SEGUE_CACHE"):
        return Path(folder)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "segue"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "segue"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segue"


def movielens_small(cache: Path, url: str = URL) -> Path:
    """Return the folder of MovieLens small; download it on the first call.

    Raises:
        DataError: the download fails, or the cache cannot be written.
    """
    folder = cache / FOLDER
    try:
        if not all(_is_intact(folder / name) for name in SHA256):
            save_files(_unpack(fetch(url, LIMIT), url), folder)
    except OSError as error:
        raise DataError(f"the cache {folder} cannot be used: {error}; set SEGUE_CACHE") from error
    return folder


def save_files(files: dict[str, bytes], folder: Path) -> None:
    """Write files into a folder; each replaces an existing one only when it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        draft = folder / f"{name}.{os.getpid()}.draft"
        try:
            draft.write_bytes(content)
            draft.replace(folder / name)
        finally:
            draft.unlink(missing_ok=True)


def fetch(url: str, limit: int) -> bytes:
    """Return the content of a URL, at most `limit` + 1 bytes of it.

    Raises:
        DataError: the download fails.
    """
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310 - https, or the server of a test
            content: bytes = answer.read(limit + 1)
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise DataError(f"{url} cannot be downloaded: {reason}") from error
    return content


def _unpack(content: bytes, url: str) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = {name: _read_member(archive, f"{FOLDER}/{name}") for name in SHA256}
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, RuntimeError) as error:
        raise DataError(f"{url} did not send the expected archive: {error}") from error
    for name, data in files.items():
        if hashlib.sha256(data).hexdigest() != SHA256[name]:
            raise DataError(f"{name} from {url} is not the expected edition (its checksum differs)")
    return files


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as member:
        return member.read(LIMIT)


def _is_intact(path: Path) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == SHA256[path.name]
