"""Invented files with the layout of MovieLens small, their archive, and a local server that sends it."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import random
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = "ml-latest-small"
USERS, MOVIES, RATED, RATINGS, FIVE_STAR = 120, 400, 390, 7_945, 809
GENRES = (
    "Action", "Adventure", "Animation", "Children", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "IMAX", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
# Cases that a reader can get wrong: five genres, none, no year, a quoted comma, a letter outside ASCII.
SPECIAL = {
    1: ("Clockwork Parade (1995)", "Adventure|Animation|Children|Comedy|Fantasy"),
    2: ("Lantern Keeper, The (1994)", "Drama"),
    3: ("Café Minuit (1957)", "Film-Noir|Romance"),
    40_697: ("Station Nine", "Sci-Fi"),
    114_335: ("Paper Tie (1957)", "(no genres listed)"),
}
ADJECTIVES = (
    "Amber", "Broken", "Copper", "Distant", "Eleventh", "Frozen", "Golden", "Hidden", "Iron", "Jagged",
)  # fmt: skip
NOUNS = ("Anchor", "Bridge", "Compass", "Engine", "Forest", "Garden", "Harbor", "Island", "Journey", "Kite")


@cache
def contents() -> dict[str, bytes]:
    """Return the published files by name: ratings.csv, movies.csv, tags.csv and links.csv."""
    rng = random.Random(5)
    movies = SPECIAL | {number: _movie(number, rng) for number in range(4, MOVIES - 1)}
    ids = sorted(movies)
    rated = ids[: RATED - 2] + ids[-2:]
    ratings = [rating for user in range(1, USERS + 1) for rating in _ratings(user, rated, rng)]
    tags = [(user, movie, f"tag {movie % 7}", at + 60) for user, movie, _, at in ratings[::100]]
    return {
        "ratings.csv": _csv("userId,movieId,rating,timestamp", ratings),
        "movies.csv": _csv("movieId,title,genres", [(number, *movies[number]) for number in ids]),
        "tags.csv": _csv("userId,movieId,tag,timestamp", tags),
        "links.csv": _csv("movieId,imdbId,tmdbId", [(number, f"{number:07}", number) for number in ids]),
    }


def _movie(number: int, rng: random.Random) -> tuple[str, str]:
    name = f"{ADJECTIVES[number % 10]} {NOUNS[number // 10 % 10]} {number}"
    title = f"{name} ({rng.randint(1930, 2018)})"
    return title, "|".join(sorted({GENRES[number % len(GENRES)], rng.choice(GENRES)}))


def _ratings(user: int, rated: list[int], rng: random.Random) -> list[tuple[int, int, float, int]]:
    """Return the ratings of a user: every USERS-th movie, so that each is rated, and random ones."""
    own = {*rated[user - 1 :: USERS], *(rng.choice(rated) for _ in range(10 + user))}
    start = 900_000_000 + user * 1_000_000
    return [(user, movie, rng.randint(1, 10) / 2, start + rng.randint(0, 9_999)) for movie in sorted(own)]


def _csv(header: str, rows: list[tuple[object, ...]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows([header.split(","), *rows])
    return text.getvalue().encode()


def checksums() -> dict[str, str]:
    """Return the SHA-256 of the two files that are kept, as `segue.data.download.SHA256` has them."""
    return {name: hashlib.sha256(contents()[name]).hexdigest() for name in ("ratings.csv", "movies.csv")}


def write_files(folder: Path) -> Path:
    """Write the files into a new folder, and return it."""
    folder.mkdir()
    for name, content in contents().items():
        (folder / name).write_bytes(content)
    return folder


def archive(**changed: bytes | None) -> bytes:
    """Return the zip archive; a keyword (`movies=…`) replaces the file of that stem, and None removes it."""
    files = contents() | {f"{stem}.csv": content for stem, content in changed.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
        for name, content in files.items():
            if content is not None:
                target.writestr(f"{FOLDER}/{name}", content)
    return buffer.getvalue()


@contextlib.contextmanager
def serving(
    content: bytes = b"",
    *,
    status: int = 200,
    length: int | None = None,
    raw: bytes | None = None,
    delay: float = 0.0,
) -> Iterator[tuple[str, list[str]]]:
    """Run a server that answers every request alike; yield its URL and the list of requested paths."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            time.sleep(delay)
            if raw is not None:
                self.wfile.write(raw)
                return
            with contextlib.suppress(ConnectionError):  # the client may stop before the end
                self.send_response(status)
                self.send_header("Content-Length", str(len(content) if length is None else length))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/{FOLDER}.zip", paths
        finally:
            server.shutdown()
            thread.join()


def unused_url() -> str:
    """Return the URL of a port where no server listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/{FOLDER}.zip"
