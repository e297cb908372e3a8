"""AnnoyIndex: Annoy's class, method by method, over segue's kernels."""

from __future__ import annotations

import array
import logging
import math
import os
import secrets
import stat
import struct
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from segue.compat.annoy import nodes as files
from segue.compat.annoy.errors import IndexFileError, ItemError, StateError, UnsavableError
from segue.errors import DataError, SettingError
from segue.index.trees import Tree, grow_trees
from segue.kernels import threads, trees
from segue.kernels.arrays import readonly

log = logging.getLogger("segue")
DEFAULT_SEED = 1234567890987654321
GROWTH = 1.3
NO_QUERY, NO_WORDS = readonly(np.empty(0, np.float32)), readonly(np.empty(0, np.uint64))
NO_NODES = np.empty(0, np.int32)


class AnnoyIndex:
    """Approximate nearest neighbours as Annoy 1.17 finds them, in memory or in a mapped file of Annoy's
    format.

    Attributes:
        f: the number of dimensions.
    """

    f: int

    def __init__(self, f: int, metric: str | None = None) -> None:
        """Begin an empty index of `f` dimensions, for one of `nodes.METRICS`."""
        if metric is None:
            warnings.warn(
                "The default argument for metric will be removed in future version of Annoy. "
                "Please pass metric='angular' explicitly.",
                FutureWarning,
                stacklevel=2,
            )
            metric = "angular"
        if metric not in files.METRICS:
            raise SettingError(
                f"No such metric: {metric!r} must be one of {', '.join(map(repr, files.METRICS))}"
            )
        if _whole(f, "f") < 1:
            raise SettingError(f"f={f!r} must be at least 1")
        self.f = int(f)
        self._metric = metric
        self._shape = files.shape_of(metric, self.f)
        self._head, self._floats = _packing(self.f, self._shape.vector)
        self._verbose = False
        self._forget()

    def _forget(self) -> None:
        self._hold(NO_NODES)
        self._items = 0
        self._roots = NO_NODES
        self._built = self._loaded = False
        self._file: str | None = None
        self._seed = DEFAULT_SEED

    def _tell(self, text: str, *values: Any) -> None:
        if self._verbose:
            log.info(text, *values)

    def _hold(self, data: np.ndarray) -> None:
        """Work on these int32 words of whole nodes."""
        self._nodes = files.Nodes(data, self._shape)

    def _reserve(self, count: int) -> None:
        """Make room for so many nodes, zeros where they are new."""
        size, now = self._shape.size, len(self._nodes)
        if count > files.LARGEST:
            raise DataError(
                f"{count:,} nodes are more than the {files.LARGEST:,} that Annoy's format can number"
            )
        if count <= now:
            return
        if self._file is None:
            data = np.zeros(count * size, np.int32)
            data[: now * size] = self._nodes.ints
        else:
            self._hold(NO_NODES)
            os.truncate(self._file, 4 * count * size)
            data = np.memmap(self._file, np.int32, "r+").view(np.ndarray)
        self._hold(data)

    def add_item(self, i: int, vector: Sequence[float] | np.ndarray) -> None:
        """Add the item number `i`, from 0, with its vector of f numbers; room is made for those below."""
        i = _whole(i, "i")
        if i < 0:
            raise ItemError("Item index can not be negative")
        if self._loaded:
            raise StateError("You can't add an item to a loaded index; begin a new one with its vectors")
        if self._built:
            raise StateError("You can't add an item to a built index; call unbuild() first")
        values = self._numbers(vector)
        if i >= len(self._nodes):
            grown = len(self._nodes) and int((len(self._nodes) + 1) * GROWTH)
            self._reserve(max(i + 1, min(grown, files.LARGEST)))
        node = self._head + values
        start = i * 4 * self._shape.size
        self._nodes.memory[start : start + len(node)] = node
        if i >= self._items:
            self._items = i + 1

    def _numbers(self, vector: Any) -> bytes:
        """A vector as its nodes hold it: f float32, or words of bits."""
        length = len(vector)
        if length != self.f:
            raise ItemError(f"Vector has wrong length (expected {self.f}, got {length})")
        floats = self._packed(vector)
        if self._shape.kind != trees.BITS:
            return floats
        bits = np.zeros(64 * self._shape.width, bool)
        bits[: self.f] = np.frombuffer(floats, np.float32) > 0.5
        return np.packbits(bits, bitorder="little").tobytes()

    def _packed(self, vector: Any) -> bytes:
        """The bytes of f finite float32 numbers."""
        if type(vector) in (list, tuple):
            try:
                if math.isfinite(sum(vector)):
                    return self._floats.pack(*vector)
            except (TypeError, OverflowError, struct.error):  # what is wrong is said below
                pass
        if isinstance(vector, np.ndarray) and vector.ndim == 1 and vector.dtype.kind in "fiub":
            values = vector.astype(np.float32)
        else:
            values = np.array(array.array("f", [vector[z] for z in range(self.f)]))
        if not (math.isfinite(values.dot(values)) or np.isfinite(values).all()):
            raise DataError("a vector must be of finite float32 numbers, but this one holds NaN or infinity")
        return values.tobytes()

    def build(self, n_trees: int, n_jobs: int = -1) -> Literal[True]:
        """Grow `n_trees` trees, or with -1 as many as take as much room as the items, on `n_jobs` threads
        (-1: all).

        The trees are the same with any number of threads.
        """
        n_trees, n_jobs = _whole(n_trees, "n_trees"), _whole(n_jobs, "n_jobs")
        if self._loaded:
            raise StateError("You can't build a loaded index")
        if self._built:
            raise StateError("You can't build a built index; call unbuild() first")
        if n_trees < 1 and n_trees != -1:
            raise SettingError(f"n_trees={n_trees} must be at least 1, or -1 for as many as double the room")
        if n_jobs < 1 and n_jobs != -1:
            raise SettingError(f"n_jobs={n_jobs} must be at least 1, or -1 for all processors")
        workers = threads.available() if n_jobs == -1 else n_jobs
        shape, end = self._shape, self._items
        roots: list[int] = []
        planting = files.planting(self._nodes, shape, self._items)

        def grow(number: int) -> Tree:
            return files.grown(planting, shape, self._items, self._seed + number)

        while len(roots) != n_trees and (n_trees > 0 or end < 2 * self._items or not roots):
            several = workers if n_trees == -1 else min(workers, n_trees - len(roots))
            numbers = range(len(roots), len(roots) + several)
            for tree in grow_trees(grow, numbers, workers):
                if n_trees == -1 and roots and end >= 2 * self._items:
                    break
                self._tell("pass %d...", len(roots))
                after = end + files.node_count(tree)
                if after > len(self._nodes):
                    self._reserve(max(after, min(int(len(self._nodes) * GROWTH), files.LARGEST)))
                end = files.write_tree(self._nodes, shape, self._items, end, planting, tree)
                roots.append(end - 1)
        self._finish(end, roots)
        return True

    def _finish(self, end: int, roots: list[int]) -> None:
        """Copy the roots to the end, and let go of what room is left."""
        size, data = self._shape.size, self._nodes.ints
        count = end + len(roots)
        if self._file is None:
            whole = np.empty(count * size, np.int32) if count > len(self._nodes) else data
            whole[: end * size] = data[: end * size]
            data = whole
        else:
            self._reserve(count)
            data = self._nodes.ints
        rows = data[: count * size].reshape(count, size)
        rows[end:] = rows[roots]
        self._hold(data[: count * size])
        if self._file is not None:
            os.truncate(self._file, 4 * count * size)
        self._roots, self._built = np.array(roots, np.int32), True
        self._tell("has %d nodes", count)

    def unbuild(self) -> Literal[True]:
        """Forget the trees, so that items can be added."""
        if self._loaded:
            raise StateError("You can't unbuild a loaded index")
        self._roots, self._built = np.empty(0, np.int32), False
        size = self._shape.size
        self._nodes.ints[self._items * size :] = 0
        return True

    def on_disk_build(self, fn: str) -> Literal[True]:
        """Keep what is added and built from now on in the file `fn`, which is emptied first."""
        if self._items:
            raise UnsavableError("on_disk_build must come before the first item")
        path = os.fspath(fn)
        Path(path).open("wb").close()
        self._forget()
        self._file = path
        return True

    def save(self, fn: str, prefault: bool = False) -> Literal[True]:
        """Write the index to the file `fn`, which is replaced as a whole, and go on with the file."""
        if not self._built:
            raise UnsavableError("You can't save an index that hasn't been built")
        if self._file is not None:
            if isinstance(mapped := _base(self._nodes.ints), np.memmap):
                mapped.flush()
            return True
        _replace(os.fspath(fn), self._nodes.ints)
        return self.load(fn, prefault)

    def load(self, fn: str, prefault: bool = False) -> Literal[True]:
        """Map the file `fn`, which Annoy or segue wrote, and check every node of it."""
        path = os.fspath(fn)
        self._take(files.mapped(path, self._shape, bool(prefault)), repr(path))
        return True

    def _take(self, data: np.ndarray, name: str) -> None:
        found = files.checked(data, self._shape, name)
        self._forget()
        self._nodes, self._items, self._roots = found
        self._built = self._loaded = True
        self._tell("found %d roots with degree %d", len(self._roots), self._items)

    def unload(self) -> Literal[True]:
        """Let go of everything; the index is empty again."""
        self._forget()
        self._tell("unloaded")
        return True

    def serialize(self) -> bytes:
        """Return the bytes that `save` would write."""
        if not self._built:
            raise UnsavableError("You can't save an index that hasn't been built")
        return self._nodes.ints.tobytes()

    def deserialize(self, data: bytes, prefault: bool = False) -> Literal[True]:
        """Take the bytes that `serialize` gave, in place of what there was."""
        if not data or len(data) % (4 * self._shape.size):
            raise IndexFileError(
                f"{len(data):,} bytes are no multiple of vector size, {4 * self._shape.size}"
            )
        self._take(np.frombuffer(data, np.int32), "the data")
        return True

    @overload
    def get_nns_by_item(
        self, i: int, n: int, search_k: int = -1, include_distances: Literal[False] = False
    ) -> list[int]: ...
    @overload
    def get_nns_by_item(
        self, i: int, n: int, search_k: int = -1, *, include_distances: Literal[True]
    ) -> tuple[list[int], list[float]]: ...
    @overload
    def get_nns_by_item(
        self, i: int, n: int, search_k: int, include_distances: Literal[True]
    ) -> tuple[list[int], list[float]]: ...
    def get_nns_by_item(self, i: int, n: int, search_k: int = -1, include_distances: bool = False) -> Any:
        """Return the numbers of the `n` items nearest to the item `i`, itself among them, and their
        distances if asked.

        `search_k`: how many items of leaves are looked at, by default n × trees.
        """
        return self._nearest(self._nodes.vectors[self._item(i)], n, search_k, include_distances)

    @overload
    def get_nns_by_vector(
        self, vector: Sequence[float] | np.ndarray, n: int, search_k: int = -1,
        include_distances: Literal[False] = False,
    ) -> list[int]: ...  # fmt: skip
    @overload
    def get_nns_by_vector(
        self, vector: Sequence[float] | np.ndarray, n: int, search_k: int = -1, *,
        include_distances: Literal[True],
    ) -> tuple[list[int], list[float]]: ...  # fmt: skip
    @overload
    def get_nns_by_vector(
        self, vector: Sequence[float] | np.ndarray, n: int, search_k: int, include_distances: Literal[True]
    ) -> tuple[list[int], list[float]]: ...
    def get_nns_by_vector(
        self,
        vector: Sequence[float] | np.ndarray,
        n: int,
        search_k: int = -1,
        include_distances: bool = False,
    ) -> Any:
        """Return the numbers of the `n` items nearest to a vector, and their distances if asked."""
        kind = np.uint64 if self._shape.kind == trees.BITS else np.float32
        return self._nearest(np.frombuffer(self._numbers(vector), kind), n, search_k, include_distances)

    def _nearest(self, values: np.ndarray, n: int, search_k: int, include_distances: bool) -> Any:
        n, search_k = _whole(n, "n"), _whole(search_k, "search_k")
        wanted = _int32(n * len(self._roots)) if search_k == -1 else search_k
        width = self._items if n < 0 else min(n, self._items)
        if width == 0 or not len(self._roots):
            return ([], []) if include_distances else []
        query, words = (NO_QUERY, values) if self._shape.kind == trees.BITS else (values, NO_WORDS)
        ids, distances = np.empty(width, np.int32), np.empty(width, np.float32)
        count = files.kernels.nearest(
            *self._nodes.given, self._items, self._roots, query, words,
            wanted if wanted >= 0 else 2**62, ids, distances,
        )  # fmt: skip
        found = ids[:count].tolist()
        return (found, distances[:count].tolist()) if include_distances else found

    def _item(self, i: int) -> int:
        i = _whole(i, "i")
        if i < 0:
            raise ItemError("Item index can not be negative")
        if i >= self._items:
            raise ItemError(f"Item index larger than the largest item index: {i}, of {self._items:,} items")
        return i

    def get_item_vector(self, i: int, /) -> list[float]:
        """Return the vector of the item `i`."""
        values = self._nodes.vectors[self._item(i)]
        if self._shape.kind == trees.BITS:
            bits = np.unpackbits(np.ascontiguousarray(values).view(np.uint8), count=self.f, bitorder="little")
            return bits.astype(np.float32).tolist()
        return values.tolist()  # type: ignore[no-any-return]

    def get_distance(self, i: int, j: int, /) -> float:
        """Return the distance of two items, or for dot their inner product."""
        metric, _, *nodes, size, _, vector, width, _ = self._nodes.given
        i, j = self._item(i), self._item(j)
        return float(files.kernels.between(metric, *nodes, size, vector, width, i, j))

    def get_n_items(self) -> int:
        """Return how many item numbers there are: the largest, and one more."""
        return self._items

    def get_n_trees(self) -> int:
        """Return how many trees there are."""
        return len(self._roots)

    def verbose(self, v: bool, /) -> Literal[True]:
        """Say what goes on, to the logger "segue"."""
        self._verbose = bool(v)
        return True

    def set_seed(self, s: int, /) -> None:
        """Grow trees from another seed."""
        self._seed = _whole(s, "seed")

    def __reduce__(self) -> Any:
        raise TypeError("an AnnoyIndex cannot be pickled: save() it and load() the file where it is needed")


@lru_cache
def _packing(f: int, before: int) -> tuple[bytes, struct.Struct]:
    """What stands before the vector of an item that is just added, and what packs the vector."""
    return np.eye(1, before, dtype=np.int32).tobytes(), struct.Struct(f"={f}f")


def _whole(value: Any, what: str) -> int:
    """A whole number of int32, as Annoy's arguments are."""
    if type(value) is int and -(2**31) <= value < 2**31:
        return value
    number = value.__index__() if hasattr(value, "__index__") else None
    if number is None:
        raise TypeError(f"{what}: {type(value).__name__!r} object cannot be interpreted as an integer")
    if not -(2**31) <= number < 2**31:
        raise OverflowError(f"{what}={number} is outside what 32 bits hold")
    return int(number)


def _int32(number: int) -> int:
    """What is left of a product in 32 bits."""
    return (number + 2**31) % 2**32 - 2**31


def _base(array: np.ndarray) -> Any:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _replace(path: str, data: np.ndarray) -> None:
    """Write a file under another name and rename it, so that whoever has mapped the old one keeps it."""
    if os.path.lexists(path) and not stat.S_ISREG(Path(path).stat().st_mode):
        with Path(path).open("wb") as file:
            file.write(data.data)
        return
    if not path:
        raise FileNotFoundError("Unable to open: the file name is empty")
    spare = f"{path}.{secrets.token_hex(4)}.part"
    try:
        with Path(spare).open("wb") as file:
            file.write(data.data)
        Path(spare).replace(path)
    except BaseException:
        Path(spare).unlink(missing_ok=True)
        raise
