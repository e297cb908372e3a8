"""Item2Vec: items as words, what each user had as a sentence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from segue.data.interactions import Interactions
from segue.kernels import item2vec as kernels
from segue.kernels import threads
from segue.models.base import ModelSpec
from segue.models.checks import check_implicit
from segue.models.cold_start import update_by_regression
from segue.models.embeddings import Embeddings
from segue.models.search_space import Range
from segue.models.updates import Update
from segue.progress import Progress, silent
from segue.types import CSR
from segue.validation import at_least

NOISE = 1 << 20  # places in the table from which negatives are drawn, at least
LEAST_RATE = 1e-4  # a setting, and of it what is left at the end
USERS = 64  # that a thread takes at a time


@dataclass(frozen=True)
class Item2Vec:
    """Skip-gram with negative sampling over what each user had.

    An item is to tell the items near it in a user's sequence from items that were drawn at random, as in
    Barkan and Koenigstein, "Item2Vec: neural item embedding for collaborative filtering" (MLSP 2016). The
    sequences are in the order of time where the interactions have times, and else sets. An item has one
    vector for both of its parts, centre and context, so a user is the mean of what they had.

    Attributes:
        dim: length of the vectors.
        epochs: passes over all sequences.
        window: how many places away a context may be; in a set, how many others an item is paired with.
        negatives: items drawn against each pair.
        learning_rate: of the steps, at the start; it falls linearly to next to zero.
        subsample: an item with more than this share of the interactions is often left out of the
            sequences, as word2vec does; 0 leaves none out.
        noise_exponent: negatives are drawn by the items' counts to this power: 0.75 in the paper, for
            similar items; 0, which draws all items alike and so keeps popularity in the scores, measured
            better for recommendations.
        seed: of the random start, the order of the users and all draws.
        threads: how many to use; None is all of the machine. They share the vectors without locks, so
            only one thread gives the same vectors each time.
    """

    dim: int = 64
    epochs: int = 20
    window: int = 5
    negatives: int = 5
    learning_rate: float = 0.05
    subsample: float = 0.0
    noise_exponent: float = 0.0
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        at_least(self, dim=1, epochs=1, window=1, negatives=1, seed=0)
        at_least(self, learning_rate=LEAST_RATE, subsample=0.0, noise_exponent=-1.0)

    def resolved(self, interactions: Interactions) -> Item2Vec:
        """Nothing depends on the data."""
        return self

    def fit(self, interactions: Interactions, *, progress: Progress = silent) -> Embeddings:
        """Learn vectors (n, dim) float32 of all items, and the means of what each user had.

        Users and items without interactions get zeros. Raises `DataError` where there is nothing to learn.
        """
        check_implicit(interactions)
        corpus = self._corpus(interactions)
        random = np.random.default_rng(self.seed)
        n_items = interactions.matrix.shape[1]
        items = (random.random((n_items, self.dim), np.float32) - np.float32(0.5)) / np.float32(self.dim)
        items[np.bincount(interactions.matrix.indices, minlength=n_items) == 0] = 0
        for epoch in range(self.epochs):
            progress("training", epoch, self.epochs)
            self._pass(items, corpus, random, epoch)
        progress("training", self.epochs, self.epochs)
        return Embeddings(MeanFoldIn(items).fold_in(interactions.matrix), items)

    def prepare_fold_in(self, embeddings: Embeddings) -> MeanFoldIn:
        """Nothing is to be prepared: histories fold in as the mean of their items' vectors."""
        return MeanFoldIn(embeddings.items)

    def update(self, update: Update) -> Embeddings:
        """Place items that nobody had before; users with new interactions are the means of what they had."""
        check_implicit(update.interactions)
        return update_by_regression(update, lambda items: MeanFoldIn(items), user_means=True)

    def _corpus(self, interactions: Interactions) -> Corpus:
        matrix = interactions.matrix
        counts = np.bincount(matrix.indices, minlength=matrix.shape[1])
        return Corpus(
            matrix.indptr.astype(np.int64, copy=False),
            in_time(interactions),
            interactions.times is not None,
            kept_shares(counts, self.subsample),
            noise_table(counts, self.noise_exponent),
        )

    def _pass(self, items: np.ndarray, corpus: Corpus, random: np.random.Generator, epoch: int) -> None:
        """Learn from the sequences of all users once, in a new order."""
        order = random.permutation(len(corpus.starts) - 1)
        seeds = random.integers(np.iinfo(np.uint64).max, size=len(order), dtype=np.uint64)
        rates = (self.learning_rate * max(LEAST_RATE, 1 - done / self.epochs) for done in (epoch, epoch + 1))
        first, last = map(np.float32, rates)

        def work(start: int, stop: int) -> None:
            kernels.learn(
                items, order, corpus.starts, corpus.items, corpus.in_order, corpus.keep, corpus.noise,
                self.window, self.negatives, first, last, seeds, start, stop,
            )  # fmt: skip

        threads.run(work, len(order), chunk=USERS, threads=self.threads)


@dataclass(frozen=True, eq=False)
class Corpus:
    """What is learned from: the users' sequences, and how items are drawn.

    Attributes:
        starts: (n_users + 1,) int64, where each user's sequence begins.
        items: (nnz,) int32, the sequences after each other.
        in_order: whether their order is that of time.
        keep: (n_items,) float32, the chance of an item to stay in a sequence.
        noise: (places,) int32, the items that negatives are drawn from.
    """

    starts: np.ndarray
    items: np.ndarray
    in_order: bool
    keep: np.ndarray
    noise: np.ndarray


@dataclass(frozen=True, eq=False)
class MeanFoldIn:
    """Item vectors, whose mean over a history is where its person stands."""

    items: np.ndarray

    def fold_in(self, histories: CSR) -> np.ndarray:
        """Average the vectors of histories (q × items CSR, weights ignored): (q, dim) float32, or zeros."""
        counts = np.diff(histories.indptr)
        shares = np.repeat(1 / np.maximum(counts, 1), counts).astype(np.float32)
        averaging = sp.csr_matrix((shares, histories.indices, histories.indptr), histories.shape)
        means: np.ndarray = averaging @ self.items
        return means


def in_time(interactions: Interactions) -> np.ndarray:
    """The items of each user after each other (nnz,) int32, in the order of time where it is known."""
    matrix = interactions.matrix
    items: np.ndarray = matrix.indices.astype(np.int32, copy=False)
    if interactions.times is None:
        return items
    users = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    sorted_by_time: np.ndarray = items[np.lexsort((interactions.times, users))]
    return sorted_by_time


def noise_table(counts: np.ndarray, exponent: float) -> np.ndarray:
    """Items (int32), each as often as its count to the power asks for, for draws by one random place."""
    chances = np.cumsum(np.where(counts > 0, np.maximum(counts, 1.0) ** exponent, 0))
    size = max(NOISE, 8 * len(counts))
    found: np.ndarray = np.searchsorted(chances / chances[-1], (np.arange(size) + 0.5) / size)
    return found.astype(np.int32)


def kept_shares(counts: np.ndarray, subsample: float) -> np.ndarray:
    """The chances (n_items,) float32 of items to stay in a sequence, as in word2vec."""
    if not subsample:
        return np.ones(len(counts), np.float32)
    ratio = subsample * counts.sum() / np.maximum(counts, 1)
    shares: np.ndarray = np.minimum(1, np.sqrt(ratio) + ratio).astype(np.float32)
    return shares


SPEC = ModelSpec(
    Item2Vec,
    {
        "dim": (32, 64, 128),
        "epochs": Range(5, 60, log=True),
        "window": Range(2, 20, log=True),
        "negatives": Range(2, 20, log=True),
        "learning_rate": Range(0.01, 0.2, log=True),
        "noise_exponent": Range(-0.5, 1.0),
    },
    uses_times=True,
    lock_free=True,
)
