"""Read MovieLens as GroupLens publishes it: ratings in three layouts, and titles, years and genres."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from segue.data.delimited import open_delimited
from segue.data.tables import Table
from segue.errors import DataError

MOVIES = {"ratings.csv": "movies.csv", "ratings.dat": "movies.dat", "u.data": "u.item"}
COLUMNS = ("userId", "movieId", "rating", "timestamp")
ITEM = "movieId"
GENRES_100K = (
    "", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
NO_GENRES = "(no genres listed)"
# "Toy Story (1995)", "Babylon 5 (1994-1998)", "The Office (2005– )", "Gate II (1990) (V)"
YEAR = r"\s*\((\d{4})(?:\s*[-–]\s*\d{0,4})?\s*\)(?:\s*\(T?V\))?\s*$"


def find_ratings(path: Path) -> Path | None:
    """Return the ratings file in a folder, or the path if it is one itself; otherwise None."""
    if path.is_dir():
        return next((path / name for name in MOVIES if (path / name).is_file()), None)
    return path if path.name in MOVIES else None


def open_ratings(path: Path) -> Table:
    """Open ratings.csv (latest, 20M, 25M, 32M), ratings.dat (1M, 10M) or u.data (100K)."""
    if (
        path.name == "ratings.dat"
    ):  # fields are separated by "::", so every second field between colons is empty
        return open_delimited(
            path, separator=":", names=("userId", "", "movieId", "", "rating", "", "timestamp")
        )
    return (
        open_delimited(path, separator="\t", names=COLUMNS) if path.name == "u.data" else open_delimited(path)
    )


def find_movies(ratings: Path) -> pl.DataFrame | None:
    """Read the movies file in the folder of a ratings file; None if there is none."""
    movies = ratings.with_name(MOVIES[ratings.name])
    return read_movies(movies) if movies.is_file() else None


def read_movies(path: Path) -> pl.DataFrame | None:
    """Return movieId, title, year (null if unknown) and genres (a list); None if it is another table."""
    if path.name == "movies.csv":
        table = open_delimited(path)
        if set(table.columns) != {"movieId", "title", "genres"}:
            return None
        raw = table.read(table.columns, (ITEM,)).with_columns(pl.col("title", "genres").cast(pl.String))
    elif path.name in ("movies.dat", "u.item"):
        raw = _parse_rows(path)
    else:
        return None
    year = pl.col("title").str.extract(YEAR)
    genres = pl.col("genres").fill_null("").str.split("|")
    return raw.select(
        ITEM,
        title=pl.col("title").str.replace(YEAR, "").str.strip_chars(),
        year=year.cast(pl.Int32),
        genres=genres.list.eval(pl.element().filter(~pl.element().is_in(["", NO_GENRES]))),
    )


def _parse_rows(path: Path) -> pl.DataFrame:
    parse = _movie_100k if path.name == "u.item" else _movie_1m
    rows: list[tuple[int, str, str]] = []
    lines = _decode(path).splitlines()
    try:
        rows.extend(parse(line) for line in lines)
    except ValueError as error:
        number = len(rows) + 1
        raise DataError(
            f"line {number} of {path} is not a movie of MovieLens: {lines[number - 1][:60]!r}"
        ) from error
    if not rows:
        raise DataError(f"{path} is empty")
    return pl.DataFrame(rows, schema={ITEM: pl.Int64, "title": pl.String, "genres": pl.String}, orient="row")


def _movie_1m(line: str) -> tuple[int, str, str]:
    number, title, genres = line.split("::")
    return int(number), title, genres


def _movie_100k(line: str) -> tuple[int, str, str]:
    fields = line.split("|")
    flags = zip(GENRES_100K, fields[5:], strict=True)
    return int(fields[0]), fields[1], "|".join(genre for genre, flag in flags if int(flag))


def _decode(path: Path) -> str:
    """Decode a file: 10M is in UTF-8, 100K and 1M are in Latin-1."""
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
