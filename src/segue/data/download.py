"""MovieLens small from its publisher, checked byte for byte and kept in the user's cache."""

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
SHA256 = {  # of the edition of September 2018
    "ratings.csv": "aa289ca83157595d0df6aea1be6a4ded676ddc4385472e8313a8ed9805352646",
    "movies.csv": "5a5f32dd9bb3797b8e728a1b98958789d2b13f294a69fdfbc5727f8a9611aa07",
}
LIMIT = 16 << 20  # bytes of the archive, which has about a million
TIMEOUT = 5.0  # seconds without an answer


def cache_folder() -> Path:
    """Where downloads are kept: `SEGUE_CACHE`, else the platform's folder for caches."""
    if named := os.environ.get("SEGUE_CACHE"):
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "segue"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "segue"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segue"


def movielens_small(cache: Path, url: str = URL) -> Path:
    """Return the folder with MovieLens small, downloaded on the first call; `DataError` where that fails."""
    folder = cache / FOLDER
    try:
        if not all(_intact(folder / name) for name in SHA256):
            keep(_unpacked(fetch(url, LIMIT), url), folder)
    except OSError as error:
        raise DataError(f"the cache {folder} cannot be used: {error}; set SEGUE_CACHE") from error
    return folder


def keep(files: dict[str, bytes], folder: Path) -> None:
    """Write files into a folder, each under another name first."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        draft = folder / f"{name}.{os.getpid()}.draft"
        try:
            draft.write_bytes(content)
            draft.replace(folder / name)
        finally:
            draft.unlink(missing_ok=True)


def fetch(url: str, limit: int) -> bytes:
    """Download what is at a URL, and no more than a byte above `limit`; `DataError` where that fails."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310 - https, or a test's own server
            content: bytes = answer.read(limit + 1)
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise DataError(f"{url} cannot be downloaded: {reason}") from error
    return content


def _unpacked(content: bytes, url: str) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = {name: _member(archive, f"{FOLDER}/{name}") for name in SHA256}
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, RuntimeError) as error:
        raise DataError(f"{url} did not send the expected archive: {error}") from error
    for name, read in files.items():
        if hashlib.sha256(read).hexdigest() != SHA256[name]:
            raise DataError(f"{name} from {url} is not the expected edition (its checksum differs)")
    return files


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as member:
        return member.read(LIMIT)


def _intact(path: Path) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == SHA256[path.name]
