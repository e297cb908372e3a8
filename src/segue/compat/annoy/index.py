"""AnnoyIndex: Annoy's class, method by method, over segue's kernels."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NoReturn, TypeAlias, overload

import numpy as np

from segue.compat.annoy import nodes as files
from segue.compat.annoy.arguments import integer, packer_of, wrap_int32
from segue.compat.annoy.errors import IndexFileError, ItemError, StateError, UnsavableError
from segue.compat.annoy.writing import owner_of, replace_file
from segue.errors import DataError, SettingError
from segue.index.trees import Tree, grow_trees
from segue.kernels import threads, trees
from segue.kernels.arrays import readonly

log = logging.getLogger("segue")
DEFAULT_SEED = 1234567890987654321
GROWTH = 1.3
NO_QUERY, NO_WORDS = readonly(np.empty(0, np.float32)), readonly(np.empty(0, np.uint64))
NO_NODES = np.empty(0, np.int32)


Result: TypeAlias = list[int] | tuple[list[int], list[float]]  # with include_distances


class AnnoyIndex:
    """Approximate nearest neighbors with the results and the file format of Annoy 1.17.

    Attributes:
        f: number of dimensions.
    """

    f: int

    def __init__(self, f: int, metric: str | None = None) -> None:
        """Create an empty index of `f` dimensions for a metric of `nodes.METRICS`."""
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
        if integer(f, "f") < 1:
            raise SettingError(f"f={f!r} must be at least 1")
        self.f = int(f)
        self._metric = metric
        self._shape = files.shape_of(metric, self.f)
        self._packer = packer_of(self.f, self._shape)
        self._verbose = False
        self._clear()

    def _clear(self) -> None:
        self._set_nodes(NO_NODES)
        self._items = 0
        self._roots = NO_NODES
        self._built = self._loaded = False
        self._file: str | None = None
        self._seed = DEFAULT_SEED

    def _log(self, text: str, *values: object) -> None:
        if self._verbose:
            log.info(text, *values)

    def _set_nodes(self, data: np.ndarray) -> None:
        """Use these int32 words as the nodes."""
        self._nodes = files.Nodes(data, self._shape)

    def _reserve(self, count: int) -> None:
        """Allocate space for `count` nodes; new ones are zeros."""
        size, allocated = self._shape.size, len(self._nodes)
        if count > files.LARGEST:
            raise DataError(
                f"{count:,} nodes are more than the {files.LARGEST:,} that Annoy's format can number"
            )
        if count <= allocated:
            return
        if self._file is None:
            data = np.zeros(count * size, np.int32)
            data[: allocated * size] = self._nodes.ints
        else:
            self._set_nodes(NO_NODES)
            os.truncate(self._file, 4 * count * size)
            data = np.memmap(self._file, np.int32, "r+").view(np.ndarray)
        self._set_nodes(data)

    def add_item(self, i: int, vector: Sequence[float] | np.ndarray) -> None:
        """Add the item with number `i`, from 0, and a vector of f numbers; allocate all lower numbers."""
        i = integer(i, "i")
        if i < 0:
            raise ItemError("Item index can not be negative")
        if self._loaded:
            raise StateError("You can't add an item to a loaded index; create a new one with its vectors")
        if self._built:
            raise StateError("You can't add an item to a built index; call unbuild() first")
        values = self._packer.pack(vector)
        if i >= len(self._nodes):
            grown = len(self._nodes) and int((len(self._nodes) + 1) * GROWTH)
            self._reserve(max(i + 1, min(grown, files.LARGEST)))
        node = self._packer.head + values
        start = i * 4 * self._shape.size
        self._nodes.memory[start : start + len(node)] = node
        if i >= self._items:
            self._items = i + 1

    def build(self, n_trees: int, n_jobs: int = -1) -> Literal[True]:
        """Build `n_trees` trees on `n_jobs` threads; the trees do not depend on the number of threads.

        Args:
            n_trees: number of trees, or -1 to build trees until they take as much space as the items.
            n_jobs: number of threads, or -1 for all.
        """
        n_trees, n_jobs = integer(n_trees, "n_trees"), integer(n_jobs, "n_jobs")
        if self._loaded:
            raise StateError("You can't build a loaded index")
        if self._built:
            raise StateError("You can't build a built index; call unbuild() first")
        if n_trees < 1 and n_trees != -1:
            raise SettingError(
                f"n_trees={n_trees} must be at least 1, or -1 for as many as take the space of the items"
            )
        if n_jobs < 1 and n_jobs != -1:
            raise SettingError(f"n_jobs={n_jobs} must be at least 1, or -1 for all processors")
        workers = threads.available() if n_jobs == -1 else n_jobs
        shape, end = self._shape, self._items
        roots: list[int] = []
        source = files.tree_source(self._nodes, shape, self._items)

        def grow(number: int) -> Tree:
            return files.grow(source, shape, self._items, self._seed + number)

        while len(roots) != n_trees and (n_trees > 0 or end < 2 * self._items or not roots):
            batch = workers if n_trees == -1 else min(workers, n_trees - len(roots))
            numbers = range(len(roots), len(roots) + batch)
            for tree in grow_trees(grow, numbers, workers):
                if n_trees == -1 and roots and end >= 2 * self._items:
                    break
                self._log("pass %d...", len(roots))
                after = end + files.node_count(tree)
                if after > len(self._nodes):
                    self._reserve(max(after, min(int(len(self._nodes) * GROWTH), files.LARGEST)))
                end = files.write_tree(self._nodes, shape, self._items, end, source, tree)
                roots.append(end - 1)
        self._finish(end, roots)
        return True

    def _finish(self, end: int, roots: list[int]) -> None:
        """Copy the roots to the end, and free unused space."""
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
        self._set_nodes(data[: count * size])
        if self._file is not None:
            os.truncate(self._file, 4 * count * size)
        self._roots, self._built = np.array(roots, np.int32), True
        self._log("has %d nodes", count)

    def unbuild(self) -> Literal[True]:
        """Remove the trees, so that items can be added."""
        if self._loaded:
            raise StateError("You can't unbuild a loaded index")
        self._roots, self._built = np.empty(0, np.int32), False
        size = self._shape.size
        self._nodes.ints[self._items * size :] = 0
        return True

    def on_disk_build(self, fn: str) -> Literal[True]:
        """Store the items and trees in the file `fn` from now on; the file is emptied first."""
        if self._items:
            raise UnsavableError("on_disk_build must come before the first item")
        path = os.fspath(fn)
        Path(path).open("wb").close()
        self._clear()
        self._file = path
        return True

    def save(self, fn: str, prefault: bool = False) -> Literal[True]:
        """Write the index to the file `fn`, replacing it atomically, and load it."""
        if not self._built:
            raise UnsavableError("You can't save an index that hasn't been built")
        if self._file is not None:
            if isinstance(mapped := owner_of(self._nodes.ints), np.memmap):
                mapped.flush()
            return True
        replace_file(os.fspath(fn), self._nodes.ints)
        return self.load(fn, prefault)

    def load(self, fn: str, prefault: bool = False) -> Literal[True]:
        """Memory-map the file `fn` that Annoy or segue wrote, after a check of every node."""
        path = os.fspath(fn)
        self._open(files.mapped(path, self._shape, bool(prefault)), repr(path))
        return True

    def _open(self, data: np.ndarray, name: str) -> None:
        loaded = files.checked(data, self._shape, name)
        self._clear()
        self._nodes, self._items, self._roots = loaded
        self._built = self._loaded = True
        self._log("found %d roots with degree %d", len(self._roots), self._items)

    def unload(self) -> Literal[True]:
        """Empty the index and release its memory or file."""
        self._clear()
        self._log("unloaded")
        return True

    def serialize(self) -> bytes:
        """Return the bytes that `save` would write."""
        if not self._built:
            raise UnsavableError("You can't save an index that hasn't been built")
        return self._nodes.ints.tobytes()

    def deserialize(self, data: bytes, prefault: bool = False) -> Literal[True]:
        """Replace the content by bytes that `serialize` returned."""
        if not data or len(data) % (4 * self._shape.size):
            raise IndexFileError(
                f"{len(data):,} bytes are no multiple of vector size, {4 * self._shape.size}"
            )
        self._open(np.frombuffer(data, np.int32), "the data")
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
    def get_nns_by_item(self, i: int, n: int, search_k: int = -1, include_distances: bool = False) -> Result:
        """Return the numbers of the `n` items nearest to the item `i`, itself included.

        Args:
            i: item number.
            n: number of neighbors.
            search_k: number of items in leaves to examine, -1 for n × trees.
            include_distances: return (numbers, distances).
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
    ) -> Result:
        """Return the numbers of the `n` items nearest to a vector, as `get_nns_by_item` does."""
        dtype = np.uint64 if self._shape.kind == trees.BITS else np.float32
        return self._nearest(np.frombuffer(self._packer.pack(vector), dtype), n, search_k, include_distances)

    def _nearest(self, values: np.ndarray, n: int, search_k: int, include_distances: bool) -> Result:
        n, search_k = integer(n, "n"), integer(search_k, "search_k")
        examined = wrap_int32(n * len(self._roots)) if search_k == -1 else search_k
        count = self._items if n < 0 else min(n, self._items)
        if count == 0 or not len(self._roots):
            return ([], []) if include_distances else []
        query, words = (NO_QUERY, values) if self._shape.kind == trees.BITS else (values, NO_WORDS)
        ids, distances = np.empty(count, np.int32), np.empty(count, np.float32)
        found = files.kernels.nearest(
            *self._nodes.kernel_arguments, self._items, self._roots, query, words,
            examined if examined >= 0 else 2**62, ids, distances,
        )  # fmt: skip
        numbers = ids[:found].tolist()
        return (numbers, distances[:found].tolist()) if include_distances else numbers

    def _item(self, i: int) -> int:
        i = integer(i, "i")
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
        """Return the distance of two items; for dot, their inner product."""
        metric, _, *nodes, size, _, vector, width, _ = self._nodes.kernel_arguments
        i, j = self._item(i), self._item(j)
        return float(files.kernels.between(metric, *nodes, size, vector, width, i, j))

    def get_n_items(self) -> int:
        """Return the largest item number plus one."""
        return self._items

    def get_n_trees(self) -> int:
        """Return the number of trees."""
        return len(self._roots)

    def verbose(self, v: bool, /) -> Literal[True]:
        """Log progress to the logger "segue"."""
        self._verbose = bool(v)
        return True

    def set_seed(self, s: int, /) -> None:
        """Set the random seed of the trees."""
        self._seed = integer(s, "seed")

    def __reduce__(self) -> NoReturn:
        raise TypeError("an AnnoyIndex cannot be pickled: save() it and load() the file where it is needed")
