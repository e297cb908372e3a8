"""A contrastive loss: users and items as unit vectors, smoothed over the graph of who had what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from segue.data.interactions import Interactions
from segue.kernels import contrastive as kernels
from segue.kernels import threads
from segue.models.base import ModelSpec
from segue.models.checks import check_implicit
from segue.models.cold_start import update_by_regression
from segue.models.embeddings import Embeddings
from segue.models.ials import IALS
from segue.models.search_space import Range
from segue.models.updates import Update
from segue.numerics.blas import on_one_thread
from segue.progress import Progress, silent
from segue.types import CSR
from segue.validation import at_least, one_of

ROWS = 1024  # vectors that a thread takes at a time
USERS = 128  # whose scores against ITEMS candidates a thread makes at a time
ITEMS = 2048  # of a tile of scores
BETA_1, BETA_2 = 0.9, 0.999  # of Adam
RANDOM = 0.1  # the standard deviation of the random start
LEARNED, FIRST = 0.3, 8  # that of the start with iALS, and its iterations
STEPS, LEAST, MOST = 30, 32, 1024  # steps an epoch, as long as a step takes so many users
ALL = 65_536  # items, of which a softmax is taken over all
SHARP, BLUNT, MANY, FALL = (
    0.1,
    0.5,
    40_000,
    0.3,
)  # temperatures of many items and of few, and what lies between
LEAST_RATE = 1e-6
LEAST_TEMPERATURE = 0.025  # below it the exponentials of the least scores vanish in float32


@dataclass(frozen=True)
class Contrastive:
    """Softmax over cosine scores, of vectors smoothed over the graph of interactions.

    With t the temperature, x and y the vectors, S_u what u had and C the candidates, it minimises

        sum_u |S_u|^(user_exponent - 1) sum_{i in S_u} (log sum_{j in C} exp(cos(x_u, y_j) / t)
            - cos(x_u, y_i) / t)

    the loss of Wu et al., "On the effectiveness of sampled softmax loss for item recommendation" (TOIS
    2024), for all items as candidates or a fresh sample of them in each step. The vectors are the sum
    of learned ones and those after 1, 2, … `layers` smoothings by the normalised adjacency matrix, as in
    He et al., "LightGCN" (SIGIR 2020). They come out as unit vectors, whose inner product is the cosine. A
    step takes Adam along the exact gradient for many users with all they had.

    Attributes:
        dim: length of the vectors.
        epochs: passes over the users. The rate falls linearly to zero over them.
        layers: how many times the vectors are smoothed; 0 is plain matrix factorisation.
        temperature: of the softmax; the lower, the more the best-scored candidates count. None sets it by
            the number of items: 0.1 from 40,000 on, 0.18 for 6,000, 0.5 for 200, near the best values found
            for data sets of these sizes.
        learning_rate: of Adam, at the start.
        negatives: how many candidates a step draws; None takes all items where there are at most
            65,536 of them, and draws so many where there are more.
        batch_size: users per step; None takes a thirtieth of them, at least 32 and at most 1,024.
        start: "ials" begins with the directions of vectors that `IALS` learns in a few seconds, "random"
            with random ones.
        user_exponent: how the weight of a user grows with its interactions; 1 counts every interaction alike,
            0 every user.
        seed: of the random start, the order of the users and the candidates.
        threads: how many to use; None is all of the machine. The result is the same for any number.
    """

    dim: int = 64
    epochs: int = 8
    layers: int = 2
    temperature: float | None = None
    learning_rate: float = 0.03
    negatives: int | None = None
    batch_size: int | None = None
    start: str = "ials"
    user_exponent: float = 1.0
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        at_least(self, dim=1, epochs=1, layers=0, seed=0)
        at_least(self, learning_rate=LEAST_RATE, user_exponent=0.0)
        if self.temperature is not None:
            at_least(self, temperature=LEAST_TEMPERATURE)
        one_of(self, start=("ials", "random"))
        for name in ("negatives", "batch_size"):
            if getattr(self, name) is not None:
                at_least(self, **{name: 1})

    def resolved(self, interactions: Interactions) -> Contrastive:
        """Return the same settings with what depends on the data filled in."""
        return replace(self, temperature=self.temperature_for(interactions.matrix))

    def temperature_for(self, matrix: CSR) -> float:
        """The temperature that is set, or that the number of items somebody had leads to."""
        if self.temperature is not None:
            return self.temperature
        temperature = SHARP * (MANY / max(1, np.unique(matrix.indices).size)) ** FALL
        return round(float(np.clip(temperature, SHARP, BLUNT)), 3)

    def fit(self, interactions: Interactions, *, progress: Progress = silent) -> Embeddings:
        """Learn unit vectors (n, dim) float32 of all users and items; zeros without interactions."""
        check_implicit(interactions)
        training = Training(self, interactions)
        for epoch in range(self.epochs):
            progress("training", epoch, self.epochs)
            for users in training.batches():
                training.step(users)
        progress("training", self.epochs, self.epochs)
        return training.embeddings()

    def prepare_fold_in(self, embeddings: Embeddings) -> CosineFoldIn:
        """Nothing is to be prepared: histories fold in by their items' vectors."""
        return CosineFoldIn(embeddings.items)

    def update(self, update: Update) -> Embeddings:
        """Place users with new interactions and items that had none before; others stand still."""
        check_implicit(update.interactions)
        return update_by_regression(update, lambda items: CosineFoldIn(items))


@dataclass(frozen=True, eq=False)
class CosineFoldIn:
    """Item vectors, whose sum over a history is where its person stands."""

    items: np.ndarray

    def fold_in(self, histories: CSR) -> np.ndarray:
        """Sum what histories (q × items CSR, weights ignored) hold to unit vectors (q, dim), or zeros."""
        ones = np.ones(histories.nnz, np.float32)
        summed = sp.csr_matrix((ones, histories.indices, histories.indptr), histories.shape) @ self.items
        return unit(summed)[0]


class Training:
    """The parameters of users and items, users first, and the state of Adam."""

    def __init__(self, settings: Contrastive, interactions: Interactions) -> None:
        matrix = interactions.matrix
        n_users = matrix.shape[0]
        self.settings, self.matrix = settings, matrix
        self.sharp = np.float32(1 / settings.temperature_for(matrix))
        self.graph = normalised_adjacency(matrix)
        self.alive = np.diff(self.graph.indptr) > 0
        self.active = np.flatnonzero(self.alive[:n_users])
        self.batch = settings.batch_size or min(MOST, max(LEAST, -(-len(self.active) // STEPS)))
        self.total = settings.epochs * -(-len(self.active) // self.batch)
        self.random = np.random.default_rng(settings.seed)
        self.parameters = self.start(interactions)
        self.moments = np.zeros_like(self.parameters), np.zeros_like(self.parameters)
        self.room = np.empty(0, np.float32)
        self.steps = 0

    def start(self, interactions: Interactions) -> np.ndarray:
        """The parameters at the start: random, or the directions of other vectors."""
        settings = self.settings
        if settings.start == "random":
            shape = (sum(self.matrix.shape), settings.dim)
            return self.random.standard_normal(shape, np.float32) * np.float32(RANDOM)
        ials = IALS(dim=settings.dim, iterations=FIRST, seed=settings.seed, threads=settings.threads)
        learned = ials.fit(interactions)
        directions = unit(np.vstack([learned.users, learned.items]), settings.threads)[0]
        return directions * np.float32(LEARNED * np.sqrt(settings.dim))

    def batches(self) -> list[np.ndarray]:
        """All users who had anything, in a new order, some at a time."""
        order = self.random.permutation(self.active)
        return [np.sort(order[first : first + self.batch]) for first in range(0, len(order), self.batch)]

    def embeddings(self) -> Embeddings:
        """The smoothed unit vectors of both sides."""
        vectors = unit(self.smooth(self.parameters), self.settings.threads)[0]
        vectors[~self.alive] = 0
        n_users = self.matrix.shape[0]
        return Embeddings(vectors[:n_users].copy(), vectors[n_users:].copy())

    def step(self, users: np.ndarray) -> None:
        """Move all parameters along the gradient of some users' loss; the rate falls from step to step."""
        _, gradient = self.loss(users)
        rate = self.settings.learning_rate * (1 - self.steps / self.total)
        self.steps += 1
        step, unbias_m, unbias_v = (
            np.float32(x) for x in (rate, 1 / (1 - BETA_1**self.steps), 1 / (1 - BETA_2**self.steps))
        )
        given = (self.parameters, gradient, *self.moments, step, unbias_m, unbias_v)
        self.run(lambda start, stop: kernels.adam(*given, start, stop), len(gradient))

    def loss(self, users: np.ndarray) -> tuple[float, np.ndarray]:
        """The mean loss of an interaction of some users, and its gradient by all the parameters."""
        vectors, inverse = unit(self.smooth(self.parameters), self.settings.threads)
        loss, gradient = self.contrast(vectors, users)
        self.run(
            lambda start, stop: kernels.normalise_back(gradient, vectors, inverse, start, stop), len(vectors)
        )
        return loss, self.smooth(gradient)  # smoothing is symmetric, and so its own transpose

    def smooth(self, vectors: np.ndarray) -> np.ndarray:
        """The sum of the vectors and those after each smoothing."""
        total, now = vectors.copy(), vectors
        for _ in range(self.settings.layers):
            now = self.product(self.graph, now)
            total += now
        return total

    def contrast(self, vectors: np.ndarray, users: np.ndarray) -> tuple[float, np.ndarray]:
        """The mean loss of an interaction of some users, and its gradient by all unit vectors."""
        n_users = self.matrix.shape[0]
        had, totals = self.weighted(users)
        chosen = n_users + self.candidates()
        theirs = vectors[users]
        sharp = self.sharp
        scale = sharp / totals.sum()
        losses, pushes, pulls = self.softmax(theirs, vectors[chosen], totals, sharp, scale)
        towards = self.product(had, vectors[n_users:])
        losses -= sharp * np.einsum("ij,ij->i", towards, theirs)
        gradient = np.zeros_like(vectors)
        gradient[users] = pushes - scale * towards
        gradient[n_users:] = self.product(had.T.tocsr(), -scale * theirs)
        gradient[chosen] += pulls
        return float(losses.sum(dtype=np.float64) / totals.sum()), gradient

    def weighted(self, users: np.ndarray) -> tuple[CSR, np.ndarray]:
        """What some users had, as a CSR of the weights of the interactions, and their sum for each user."""
        had = self.matrix[users]
        counts = np.diff(had.indptr)
        weights = counts ** (self.settings.user_exponent - 1)
        data = np.repeat(weights, counts).astype(np.float32)
        return sp.csr_matrix((data, had.indices, had.indptr), had.shape), (weights * counts).astype(
            np.float32
        )

    def candidates(self) -> np.ndarray:
        """The items among which the softmax is taken: those that anybody had, or a sample of them."""
        items = np.flatnonzero(self.alive[self.matrix.shape[0] :])
        wanted = ALL if self.settings.negatives is None else self.settings.negatives
        return items if wanted >= len(items) else np.sort(self.random.choice(items, wanted, replace=False))

    def softmax(
        self, theirs: np.ndarray, others: np.ndarray, totals: np.ndarray, sharp: np.float32, scale: np.float32
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each user's total × log sum exp of its scores, and `scale` times its gradients by both sides.

        The scores are kept, in tiles of some items each, because the items' gradients need the users' sums.
        """
        sums, pushes, pulls = np.zeros(len(theirs), np.float32), np.zeros_like(theirs), np.empty_like(others)
        tiles = self.tiles(len(theirs), len(others))

        def push(start: int, stop: int) -> None:
            part, some = slice(start, stop), np.empty(stop - start, np.float32)
            for items, tile in tiles:
                np.matmul(theirs[part], others[items].T, out=tile[part])
                kernels.exponentials(tile[part], sharp, -sharp, some)
                sums[part] += some
                pushes[part] += tile[part] @ others[items]

        def pull(start: int, stop: int) -> None:
            for items, tile in tiles[start:stop]:
                np.matmul(tile.T, weighted, out=pulls[items])

        with on_one_thread():
            self.run(push, len(theirs), USERS)
            share = (scale * totals / sums)[:, None]
            weighted = theirs * share
            self.run(pull, len(tiles), 1)
        return totals * (np.log(sums) + sharp), pushes * share, pulls

    def tiles(self, users: int, items: int) -> list[tuple[slice, np.ndarray]]:
        """Room for the scores of users: ranges of items, and (users, items of the range) float32 for each."""
        if users * items > len(self.room):
            self.room = np.empty(users * items, np.float32)
        ends = [*range(0, items, ITEMS), items]
        return [
            (slice(first, last), self.room[users * first : users * last].reshape(users, -1))
            for first, last in pairwise(ends)
        ]

    def product(self, matrix: CSR, vectors: np.ndarray) -> np.ndarray:
        """A CSR times vectors."""
        out = np.empty((matrix.shape[0], vectors.shape[1]), np.float32)
        given = (matrix.indptr, matrix.indices, matrix.data, vectors)
        self.run(lambda start, stop: kernels.add_neighbours(*given, start, stop, out), len(out))
        return out

    def run(self, work: Callable[[int, int], object], rows: int, chunk: int = ROWS) -> None:
        """Spread work over the threads."""
        threads.run(work, rows, chunk=chunk, threads=self.settings.threads)


def unit(vectors: np.ndarray, workers: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors (n, dim) at length 1, and the inverses (n,) of the lengths they had; 0 for zeros."""
    made, inverse = np.empty_like(vectors), np.empty(len(vectors), np.float32)

    def work(start: int, stop: int) -> None:
        kernels.normalise(vectors, start, stop, made, inverse)

    threads.run(work, len(vectors), chunk=ROWS, threads=workers)
    return made, inverse


def normalised_adjacency(matrix: CSR) -> CSR:
    """The graph of users and items, users first: a symmetric CSR of 1 / sqrt(degree · degree)."""
    ones = sp.csr_matrix((np.ones(matrix.nnz, np.float32), matrix.indices, matrix.indptr), matrix.shape)
    graph = sp.bmat([[None, ones], [ones.T, None]], format="csr", dtype=np.float32)
    degrees = np.diff(graph.indptr)
    rows = np.repeat(np.arange(len(degrees)), degrees)
    graph.data = (1 / np.sqrt(degrees[rows] * degrees[graph.indices].astype(np.float64))).astype(np.float32)
    return graph


SPEC = ModelSpec(
    Contrastive,
    {
        "dim": (32, 64, 128),
        "epochs": Range(4, 24, log=True),
        "layers": Range(0, 3),
        "temperature": Range(0.05, 0.5, log=True),
        "learning_rate": Range(0.005, 0.1, log=True),
        "user_exponent": Range(0.0, 1.0),
    },
)
