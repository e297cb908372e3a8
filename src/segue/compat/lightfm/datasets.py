"""The two data sets that LightFM's examples use, from a folder or from where LightFM keeps them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from segue.compat.lightfm.errors import AbsentError
from segue.data.download import fetch, save_files
from segue.errors import DataError

SOURCE = "https://github.com/maciejkula/lightfm_datasets/releases/download/v0.1.0/"
MOVIELENS = "movielens.zip"
STACKEXCHANGE = ("crossvalidated", "stackoverflow")
LIMIT = 1 << 30  # bytes that are downloaded at most
SKIPPED = 5  # fields of a movie before those of its genres


def fetch_movielens(
    data_home: str | Path | None = None,
    indicator_features: bool = True,
    genre_features: bool = False,
    min_rating: float = 0.0,
    download_if_missing: bool = True,
) -> dict[str, Any]:
    """MovieLens 100K in the split of its publisher with ten ratings of each user held out.

    Args:
        data_home: the folder that holds, or is to hold, `movielens100k/movielens.zip`; None is
            `lightfm_data` in the user's home, where LightFM keeps it too.
        indicator_features: whether each item has a feature of its own.
        genre_features: whether its genres are features.
        min_rating: lower ratings are left out.
        download_if_missing: whether to download the file where it is not there.

    Returns a dict: `train` and `test`, users × items COO int32 of ratings; `item_features`, items × features
    CSR float32; `item_feature_labels` and `item_labels`, arrays of strings.

    Raises `DataError`, a `ValueError`, where neither features are wanted and for a file that is no such
    archive; `AbsentError`, an `OSError`, where the file is missing and not to be downloaded.
    """
    if not (indicator_features or genre_features):
        raise DataError("there are no features left: pass indicator_features=True or genre_features=True")
    path = _file(data_home, "movielens100k", MOVIELENS, MOVIELENS, download_if_missing)
    train, test, movies, genres = _read(path, _movielens)
    shape = tuple(np.maximum(train[:, :2].max(0), test[:, :2].max(0)))
    flags = np.zeros((shape[1], len(genres)), np.float32)
    titles = np.empty(shape[1], object)
    for number, title, *fields in movies:
        row = int(number) - 1
        titles[row], flags[row] = title, [int(flag) > 0 for flag in fields[SKIPPED - 2 :]]
    titles = titles.astype(str)
    made = {"train": _ratings(train, shape, min_rating), "test": _ratings(test, shape, min_rating)}
    names = np.array([f"genre:{genre}" for genre in genres])
    features, labels = _features(indicator_features, titles, genre_features, sp.csr_matrix(flags), names)
    return made | {"item_features": features, "item_feature_labels": labels, "item_labels": titles}


def fetch_stackexchange(
    dataset: str,
    test_set_fraction: float = 0.2,
    min_training_interactions: int = 1,
    data_home: str | Path | None = None,
    indicator_features: bool = True,
    tag_features: bool = False,
    download_if_missing: bool = True,
) -> dict[str, Any]:
    """Who answered which question on a site of StackExchange, the latest answers held out.

    Args:
        dataset: "crossvalidated" or "stackoverflow".
        test_set_fraction: the share of the interactions, the latest, that are the test set.
        min_training_interactions: users with more than so many in the training set are kept; 0 keeps all.
        data_home: the folder that holds, or is to hold, `stackexchange/DATASET/data.npz`, as in
            `fetch_movielens`.
        indicator_features: whether each question has a feature of its own.
        tag_features: whether its tags are features.
        download_if_missing: whether to download the file where it is not there.

    Returns a dict as `fetch_movielens` does, without `item_labels`; `train` and `test` are ones, float32.

    Raises the errors of `fetch_movielens`, and `DataError` for another data set or share.
    """
    if not (indicator_features or tag_features):
        raise DataError("there are no features left: pass indicator_features=True or tag_features=True")
    if dataset not in STACKEXCHANGE:
        raise DataError(f"dataset={dataset!r} must be one of {', '.join(map(repr, STACKEXCHANGE))}")
    if not 0 < test_set_fraction < 1:
        raise DataError(f"test_set_fraction={test_set_fraction!r} must be above 0 and below 1")
    place = f"stackexchange/{dataset}"
    path = _file(data_home, place, "data.npz", f"stackexchange_{dataset}.npz", download_if_missing)
    answers, tags, labels = _read(path, _answers)
    latest = answers.data >= np.sort(answers.data)[int(len(answers.data) * (1.0 - test_set_fraction))]
    train, test = (
        sp.coo_matrix(
            (np.ones(part.sum(), np.float32), (answers.row[part], answers.col[part])), answers.shape
        )
        for part in (~latest, latest)
    )
    if min_training_interactions > 0:
        active = np.flatnonzero(train.getnnz(axis=1) > min_training_interactions)
        train, test = (part.tocsr()[active].tocoo() for part in (train, test))
    own = np.array([f"question_id:{number}" for number in range(train.shape[1])])
    features, names = _features(indicator_features, own, tag_features, tags, labels)
    return {"train": train, "test": test, "item_features": features, "item_feature_labels": names}


def _file(home: str | Path | None, folder: str, name: str, remote: str, download: bool) -> Path:
    """The path of a data set's file, downloaded where it is missing."""
    path = (Path.home() / "lightfm_data" if home is None else Path(home)) / folder / name
    if not path.is_file():
        if not download:
            raise AbsentError(f"{path} is missing: put it there, or pass download_if_missing=True")
        save_files({name: fetch(SOURCE + remote, LIMIT)}, path.parent)
    return path


def _read(path: Path, read: Callable[[Path], Any]) -> Any:
    try:
        return read(path)
    except (zipfile.BadZipFile, zlib.error, EOFError, LookupError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is not the expected data: {error!r}; delete it to download it anew"
        ) from error


def _movielens(path: Path) -> tuple[np.ndarray, np.ndarray, list[list[str]], list[str]]:
    """The ratings of train and test (n, 4), the fields of the movies, and the names of the genres."""
    with zipfile.ZipFile(path) as archive:
        texts = [
            archive.read(f"ml-100k/{name}").decode("latin-1")
            for name in ("ua.base", "ua.test", "u.item", "u.genre")
        ]
    train, test = (np.array(text.split(), np.int64).reshape(-1, 4) for text in texts[:2])
    movies, genres = ([line.split("|") for line in text.splitlines() if line] for text in texts[2:])
    return train, test, movies, [name for name, _ in genres]


def _answers(path: Path) -> tuple[sp.coo_matrix, sp.csr_matrix, np.ndarray]:
    """When who answered what, users × questions COO; the questions' tags, a CSR; and the tags' names."""
    with path.open("rb") as file, np.load(file) as data:
        answers, tags = (
            sp.coo_matrix(
                (data[f"{part}_data"], (data[f"{part}_row"], data[f"{part}_col"])),
                data[f"{part}_shape"].flatten(),
            )
            for part in ("interactions", "features")
        )
        labels = data["labels"]
    answers.sum_duplicates()
    return answers, tags.tocsr(), labels


def _ratings(rows: np.ndarray, shape: tuple[int, ...], least: float) -> sp.coo_matrix:
    """Ratings (n, 4) of users and items counted from 1, as users × items COO int32 in their order."""
    users, items, ratings, _ = rows[rows[:, 2] >= least].T
    order = np.lexsort((items, users))
    places = users[order] - 1, items[order] - 1
    return sp.coo_matrix((ratings[order].astype(np.int32), places), shape)


def _features(
    own: bool, names: np.ndarray, others: bool, matrix: sp.csr_matrix, labels: np.ndarray
) -> tuple[sp.csr_matrix, np.ndarray]:
    """Features of one's own, other ones, or both, as CSR float32 with the names of the columns."""
    if not own:
        return matrix, labels
    identity = sp.identity(len(names), format="csr", dtype=np.float32)
    if not others:
        return identity, names
    return sp.hstack([identity, matrix], format="csr"), np.concatenate([names, labels])
