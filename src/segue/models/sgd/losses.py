"""WARP, k-OS WARP, BPR and logistic loss by stochastic gradient descent, with or without features."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from segue.data.features import Features
from segue.data.ids import IdMap
from segue.data.interactions import Interactions
from segue.errors import DataError, SettingError
from segue.kernels import sgd as kernels
from segue.kernels import threads
from segue.kernels.arrays import aligned, readonly
from segue.models.checkpoint import RANDOM, random_of, restore
from segue.models.embeddings import Embeddings
from segue.models.settings import at_least, check_features, check_implicit, one_of
from segue.models.updates import Update
from segue.numerics.ranks import ndcg, rank
from segue.progress import Progress, silent

USERS = 4096  # whose interactions a thread takes at a time, at most; fewer learn less from each epoch
HIGHEST = 10.0  # what a rank's loss is at most
TRIES = 10  # draws of BPR until one is an item that the user has not had
VALIDATED, DEPTH = 2000, 10  # users whose NDCG at this depth decides when to stop
FOLDED = 20  # passes over a history to find its vector
log = logging.getLogger("segue")


@dataclass(frozen=True)
class SGD:
    """What the four losses share: a score is x_u·y_i + b_u + b_i, learned by stochastic gradient descent.

    With features a vector or bias is the sum of the features' own, times their weights, as in Kula,
    "Metadata embeddings for user and item cold-start recommendations" (CBRecSys 2015).

    Attributes:
        dim: length of the vectors, without the biases.
        epochs: passes over the interactions, at most.
        learning_rate: the size of adagrad's first steps.
        schedule: "adagrad" (Duchi et al., 2011) or "adadelta" (Zeiler, 2012), which ignores `learning_rate`.
        rho, epsilon: adadelta's.
        user_reg, item_reg: L2 penalties on the vectors and biases of whoever is learned from.
        negatives: items the user has not had are drawn "uniform", or "popular": as often as they are had.
        patience: with validation data, the epochs without improvement after which training stops.
        seed: of the random start, the order and the draws.
        threads: how many to use; None is all of the machine. One thread gives the same bytes each time,
            more work on the same vectors without locks (Niu et al., "Hogwild!", NIPS 2011).
    """

    dim: int = 64
    epochs: int = 30
    learning_rate: float = 0.05
    schedule: str = "adagrad"
    rho: float = 0.95
    epsilon: float = 1e-6
    user_reg: float = 0.0
    item_reg: float = 0.0
    negatives: str = "uniform"
    patience: int = 5
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        at_least(self, dim=1, epochs=1, patience=1, seed=0)
        at_least(self, learning_rate=0.0, rho=0.0, epsilon=0.0, user_reg=0.0, item_reg=0.0)
        one_of(self, schedule=("adagrad", "adadelta"), negatives=("uniform", "popular"))
        if self.rho >= 1 or (self.schedule == "adadelta" and self.epsilon == 0):
            raise SettingError(
                f"{type(self).__name__}(rho={self.rho}, epsilon={self.epsilon}): adadelta needs a rho "
                "below 1 and an epsilon above 0"
            )

    def resolved(self, interactions: Interactions) -> SGD:
        """Nothing depends on the data."""
        return self

    def fit(
        self,
        interactions: Interactions,
        *,
        item_features: Features | None = None,
        user_features: Features | None = None,
        validation: Interactions | None = None,
        start: Embeddings | None = None,
        keep_state: bool = False,
        progress: Progress = silent,
    ) -> Embeddings:
        """Learn vectors (n, dim + 2) float32; the last columns are [b_u, 1] of users, [1, b_i] of items.

        Users without interactions and features get zeros.

        Args:
            interactions: what to learn from; their weights, divided by the mean one, scale the steps.
            item_features, user_features: a row for each item or user of the interactions.
            validation: held-out interactions of the same users and items. Training stops when their NDCG@10
                has not risen for `patience` epochs, and the best epoch's vectors are returned.
            start: earlier embeddings of the same users, items and features to go on from for `epochs` more.
                If their state was kept, training goes on as if it had not stopped: with one thread, 5 epochs
                and 5 more give the same bytes as 10. Else the step sizes start afresh.
            keep_state: keep the step sizes and the random stream in the embeddings, for going on: those after
                the last epoch, also where an earlier one was best on the validation data.
            progress: told of each epoch, with the mean loss and the share of violations.

        Raises `DataError` for features, validation or start that do not fit the interactions, and
        `SettingError` where training diverges.
        """
        check_implicit(interactions, signed=isinstance(self, Logistic))
        _check_validation(interactions, validation)
        training = _Training(self, interactions, user_features, item_features, start)
        learned = training.run(validation, progress)
        return replace(learned, state=training.state()) if keep_state else learned

    def folding(self, embeddings: Embeddings) -> Folding:
        """Prepare the item side once, for folding in many histories."""
        return Folding(self, embeddings)

    def update(self, change: Update) -> Embeddings:
        """Take steps for the rows that much is new of, all others standing still."""
        from segue.models.sgd.update import update  # which is made of the parts below

        return update(self, change)

    def draws(self) -> int:
        """How many items are drawn at most for an interaction."""
        return TRIES

    def kos(self) -> tuple[int, int]:
        """k and n of k-OS WARP, 0 and 1 otherwise."""
        return 0, 1


@dataclass(frozen=True)
class WARP(SGD):
    """Weighted approximate-rank pairwise loss: items are drawn until one comes too near to the positive.

    The more draws it takes, the smaller is the step. Weston, Bengio and Usunier, "WSABIE: Scaling up to large
    vocabulary image annotation" (IJCAI 2011).

    Attributes:
        max_sampled: how many are drawn at most.
    """

    max_sampled: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, max_sampled=1)

    def draws(self) -> int:
        """How many items are drawn at most for an interaction."""
        return self.max_sampled


@dataclass(frozen=True)
class KOSWARP(WARP):
    """k-OS WARP: of n items that the user had, drawn anew each time, it learns from the one ranked k-th.

    Weston, Yee and Weiss, "Learning to rank recommendations with the k-order statistic loss" (RecSys 2013).
    An epoch takes as many steps as there are interactions.

    Attributes:
        k: which of them, counted from the best.
        n: how many of the user's items are drawn.
    """

    k: int = 5
    n: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, k=1, n=1)
        if self.k > self.n:
            raise SettingError(f"KOSWARP(k={self.k}, n={self.n}): k must be at most n")

    def kos(self) -> tuple[int, int]:
        """k and n."""
        return self.k, self.n


@dataclass(frozen=True)
class BPR(SGD):
    """Bayesian personalised ranking: an item the user had against one drawn from the others.

    Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback" (UAI 2009). The others are
    drawn as often as they are had: drawn uniformly, most steps would learn of popularity only.
    """

    negatives: str = "popular"


@dataclass(frozen=True)
class Logistic(SGD):
    """Logistic loss: how likely it is that an interaction is positive.

    Interactions of negative weight are taken as dislikes.

    Attributes:
        sampled: items drawn for each interaction that count as not liked, too; 0 where dislikes are known.
    """

    sampled: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, sampled=0)

    def draws(self) -> int:
        """How many items are drawn for an interaction."""
        return self.sampled


KERNELS: dict[type[SGD], Any] = {
    WARP: kernels.warp,
    KOSWARP: kernels.warp,
    BPR: kernels.bpr,
    Logistic: kernels.logistic,
}


class Side(NamedTuple):
    """One side's parameters as the kernels take them; see there."""

    vectors: np.ndarray
    biases: np.ndarray
    summed: bool
    indptr: np.ndarray
    features: np.ndarray
    weights: np.ndarray

    def rows(self) -> int:
        """How many users or items there are."""
        return len(self.indptr) - 1 if self.summed else len(self.vectors)

    def values(self) -> tuple[np.ndarray, np.ndarray]:
        """Copies of the vectors (rows, dim) and biases (rows,)."""
        return self.vectors[:, 0].copy(), self.biases[:, 0].copy()


class Pairs(NamedTuple):
    """Interactions as the kernels take them: a CSR, and the users in an order."""

    items: np.ndarray
    weights: np.ndarray
    indptr: np.ndarray
    order: np.ndarray


class _Training:
    """The state of one training: both sides' parameters, which the kernels change in place."""

    def __init__(
        self,
        settings: SGD,
        interactions: Interactions,
        user_features: Features | None,
        item_features: Features | None,
        start: Embeddings | None,
    ) -> None:
        self.settings, self.interactions = settings, interactions
        self.rng = np.random.default_rng(settings.seed)
        matrix = interactions.matrix
        active = np.diff(matrix.indptr) > 0, np.bincount(matrix.indices, minlength=matrix.shape[1]) > 0
        self.idle_users, self.idle_items = ~active[0], ~active[1]
        self.features = (
            _checked(user_features, interactions.users),
            _checked(item_features, interactions.items),
        )
        values = _start(start, settings, matrix.shape, self.features)
        self.users, self.items = (
            new_side(settings, count, rows, learned, value, self.rng)
            for count, rows, learned, value in zip(matrix.shape, self.features, active, values, strict=True)
        )
        self.pairs = pairs_of(matrix)
        if settings.negatives == "popular":
            self.pool = self.pairs.items
        else:  # an item known by its features alone is not pushed down for being new
            pool = np.arange(matrix.shape[1]) if item_features is None else np.flatnonzero(active[1])
            self.pool = readonly(pool.astype(np.int32))
        if start is not None and start.state is not None:
            restore(start.state, self.rng, **self._parts())

    def _parts(self) -> dict[str, np.ndarray]:
        """What the kernels and the order of the users change."""
        return {
            "user_vectors": self.users.vectors, "user_biases": self.users.biases,
            "item_vectors": self.items.vectors, "item_biases": self.items.biases,
            "order": self.pairs.order,
        }  # fmt: skip

    def state(self) -> dict[str, np.ndarray]:
        """All that going on needs."""
        return {**self._parts(), RANDOM: random_of(self.rng)}

    def run(self, validation: Interactions | None, progress: Progress) -> Embeddings:
        best, best_score, since = None, -np.inf, 0
        epochs = self.settings.epochs
        progress("training", 0, epochs)
        for epoch in range(epochs):
            self.rng.shuffle(self.pairs.order)
            seed = int(self.rng.integers(2**62))
            tally = learn(self.settings, self.pairs, self.users, self.items, self.pool, seed)
            values = self._means(tally, epoch)
            if validation is not None:
                score = values[f"ndcg@{DEPTH}"] = self._score(validation)
                since += 1
                if score > best_score:
                    best, best_score, since = self._values(), score, 0
            progress("training", epoch + 1, epochs, values)
            if since >= self.settings.patience:
                log.info("stopped after %s epochs, the best was epoch %s", epoch + 1, epoch + 1 - since)
                progress("training", epochs, epochs, values)
                break
        return self._embeddings(*(best or self._values()))

    def _means(self, tally: np.ndarray, epoch: int) -> dict[str, float]:
        loss, violations, steps = tally
        if not np.isfinite(loss) or not all(
            np.isfinite(side.biases).all() for side in (self.users, self.items)
        ):
            raise SettingError(
                f"{type(self.settings).__name__}(learning_rate={self.settings.learning_rate}) diverged in "
                f"epoch {epoch + 1}: the loss is {loss}; take a lower learning_rate, or smaller weights"
            )
        steps = max(1.0, steps)
        return {"loss": float(loss / steps), "violations": float(violations / steps)}

    def _score(self, validation: Interactions) -> float:
        """NDCG of the held-out items among all, over some users."""
        vectors = self._embeddings(*self._values())
        held = np.flatnonzero(np.diff(validation.matrix.indptr))
        users = np.random.default_rng(self.settings.seed).permutation(held)[:VALIDATED]
        seen = self.interactions.matrix
        ranks = rank(
            lambda rows: vectors.users[rows] @ vectors.items.T, users, validation.matrix, seen, k=DEPTH
        )
        return float(ndcg(ranks, DEPTH).mean())

    def _values(self) -> tuple[Any, Any]:
        return self.users.values(), self.items.values()

    def _embeddings(self, users: Any, items: Any) -> Embeddings:
        """Put vectors, biases and ones together, and sum up the features' where there are any."""
        x, y = (_columns(users, self.features[0], one=1), _columns(items, self.features[1], one=0))
        made = [rows for rows, _ in (x, y)]
        if self.features[0] is None:
            made[0][self.idle_users] = 0
        if self.features[1] is None and self.settings.negatives == "popular":
            made[1][self.idle_items] = 0
        return Embeddings(made[0], made[1], 2, x[1], y[1])


def learn(
    settings: SGD,
    pairs: Pairs,
    users: Side,
    items: Side,
    pool: np.ndarray,
    seed: int,
    *,
    move_items: bool = True,
) -> np.ndarray:
    """Pass once over the pairs in their order; returns the loss, the violations and the steps."""
    rate = settings.learning_rate if settings.schedule == "adagrad" else 1.0
    u_rates = np.array([rate, settings.rho, settings.epsilon, settings.user_reg, 0], np.float32)
    i_rates = np.array([rate * move_items, settings.rho, settings.epsilon, settings.item_reg, 0], np.float32)
    sampling = Sampling(KERNELS[type(settings)], pool, settings.draws(), *settings.kos())
    return one_pass(sampling, pairs, users, items, (u_rates, i_rates), seed, settings.threads)


class Sampling(NamedTuple):
    """A loss's kernel, and what it draws: `draws` items of the pool at most, and k and n of k-OS WARP."""

    kernel: Any
    pool: np.ndarray
    draws: int
    k: int
    n: int


def one_pass(
    sampling: Sampling,
    pairs: Pairs,
    users: Side,
    items: Side,
    rates: tuple[np.ndarray, np.ndarray],
    seed: int,
    workers: int | None,
) -> np.ndarray:
    """Pass once over the pairs with the rates of both sides, (5,) float32 as the kernels name them."""
    f, (kernel, pool, draws, k, n) = np.float32, sampling
    ranks, dim, count = losses_of_ranks(items.rows(), draws), users.vectors.shape[2], len(pairs.order)
    part = min(USERS, max(1, -(-count // (workers or threads.available()))))
    tally = np.zeros((-(-count // part), 3))
    sizes = np.diff(pairs.indptr)
    kind = np.int32 if pairs.indptr[-1] < 2**31 else np.int64

    def work(first: int, last: int) -> None:
        queue = np.empty((sizes[pairs.order[first:last]].sum(), 2), kind)
        scratch = (
            np.empty((4, 1, dim), f), np.empty((4, 1), f), np.empty(1, np.uint64),
            np.empty(kernels.DRAWN, np.int64), np.empty((n, 2)),
        )  # fmt: skip
        kernel(
            *pairs, queue, *users, *items, *rates, pool, draws, ranks, k,
            *scratch, seed, first, last, tally[first // part],
        )  # fmt: skip

    threads.run(work, count, chunk=part, threads=workers)
    total: np.ndarray = tally.sum(0)
    return total


def losses_of_ranks(items: int, draws: int) -> np.ndarray:
    """WARP's loss (draws + 1,) float32 of the rank that each number of draws stands for."""
    ranks = np.maximum(1, (items - 1) // np.arange(1, draws + 1))
    return np.concatenate([[0], np.minimum(HIGHEST, np.log(ranks))]).astype(np.float32)


def pairs_of(matrix: Any) -> Pairs:
    """Take a users × items CSR with sorted indices, the users in their order there.

    Weights are divided by their mean size: five stars throughout are no other data than ones.
    """
    weights = matrix.data / np.abs(matrix.data).mean()
    indptr, indices = matrix.indptr.astype(np.int64, copy=False), matrix.indices.astype(np.int32, copy=False)
    return Pairs(readonly(indices), readonly(weights), readonly(indptr), np.arange(matrix.shape[0]))


def new_side(
    settings: SGD,
    count: int,
    features: Any,
    active: np.ndarray,
    start: tuple[np.ndarray, np.ndarray] | None,
    rng: np.random.Generator,
) -> Side:
    """Parameters at their random start, or as given; features that nobody active has start at zero."""
    rows = count if features is None else features.shape[1]
    slots = 2 if settings.schedule == "adagrad" else 3
    vectors, biases = aligned((rows, slots, settings.dim), np.float32), np.zeros((rows, slots), np.float32)
    if start is None:
        vectors[:, 0] = (rng.random((rows, settings.dim), np.float32) - 0.5) / settings.dim
        if features is not None:
            vectors[abs(features).T @ active == 0, 0] = 0
    else:
        vectors[:, 0], biases[:, 0] = start
    if settings.schedule == "adagrad":
        vectors[:, 1], biases[:, 1] = 1, 1
    return side_of(vectors, biases, features)


def side_of(vectors: np.ndarray, biases: np.ndarray, features: Any) -> Side:
    """Parameters with the features (a CSR) that they are of, None where they are users' or items' own."""
    if features is None:
        none = (
            readonly(np.zeros(1, np.int64)),
            readonly(np.zeros(1, np.int32)),
            readonly(np.zeros(1, np.float32)),
        )
        return Side(vectors, biases, False, *none)
    indptr, indices = features.indptr.astype(np.int64), features.indices.astype(np.int32)
    return Side(
        vectors, biases, True, readonly(indptr), readonly(indices), readonly(features.data.astype(np.float32))
    )


def _columns(
    values: tuple[np.ndarray, np.ndarray], features: Any, *, one: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """The rows [x, b, 1] of users (one=1) or [y, 1, b] of items (one=0), and those of their features."""
    vectors, biases = values
    dim = vectors.shape[1]
    own = np.zeros((len(vectors), dim + 2), np.float32)
    own[:, :dim], own[:, dim + 1 - one] = vectors, biases
    if features is None:
        own[:, dim + one] = 1
        return own, None
    sums = np.asarray(features @ own, np.float32)
    sums[:, dim + one] = np.diff(features.indptr) > 0
    return sums, own


@dataclass(frozen=True, eq=False)
class Folding:
    """The item side of a trained model: it finds the vector that a history leads to."""

    settings: SGD
    embeddings: Embeddings

    def vectors(self, histories: Any) -> np.ndarray:
        """Learn user vectors from histories (q × items CSR) as training would, the items standing still.

        Returns (q, dim) float32, zeros where a history is empty; a vector depends on its history alone.
        """
        settings = replace(self.settings, schedule="adagrad", threads=1)
        made = np.zeros((histories.shape[0], self.embeddings.dim), np.float32)
        for row in range(histories.shape[0]):
            first, last = histories.indptr[row : row + 2]
            if first < last:
                made[row] = self._one(settings, histories.indices[first:last], histories.data[first:last])
        return made

    def _one(self, settings: SGD, items: np.ndarray, weights: np.ndarray) -> np.ndarray:
        place = np.argsort(items)
        items, weights = items[place].astype(np.int32), weights[place] / np.abs(weights).mean()
        rng = np.random.default_rng(settings.seed)
        indptr = np.array([0, len(items)])
        pairs = Pairs(readonly(items), readonly(weights), readonly(indptr), np.zeros(FOLDED, np.int64))
        user = new_side(settings, 1, None, np.ones(1), (np.zeros((1, settings.dim)), np.zeros(1)), rng)
        learn(settings, pairs, user, self._items, self._pool, settings.seed, move_items=False)
        vector: np.ndarray = _columns(user.values(), None, one=1)[0][0]
        return vector

    @cached_property
    def _items(self) -> Side:
        vectors, biases = _taken_apart(self.embeddings.items, one=0)
        settings = replace(self.settings, schedule="adagrad")
        return new_side(settings, len(vectors), None, np.ones(1), (vectors, biases), np.random.default_rng())

    @cached_property
    def _pool(self) -> np.ndarray:
        return readonly(np.arange(len(self.embeddings.items), dtype=np.int32))


def _taken_apart(rows: np.ndarray, *, one: int) -> tuple[np.ndarray, np.ndarray]:
    """The vectors and biases of rows [x, b, 1] of users (one=1) or [y, 1, b] of items (one=0)."""
    dim = rows.shape[1] - 2
    return rows[:, :dim], rows[:, dim + 1 - one]


def _start(
    start: Embeddings | None, settings: SGD, shape: tuple[int, int], features: tuple[Any, Any]
) -> list[Any]:
    """The vectors and biases to go on from, for users and items, None where they start at random."""
    if start is None:
        return [None, None]
    made = []
    for one, side, count, known in ((1, "user", shape[0], features[0]), (0, "item", shape[1], features[1])):
        rows = getattr(start, f"{side}s" if known is None else f"{side}_features")
        wanted = (count if known is None else known.shape[1], settings.dim + 2)
        if start.biases != 2 or rows is None or rows.shape != wanted:
            has = None if rows is None else rows.shape
            what = f"{side}s" if known is None else f"{side} features"
            raise DataError(
                f"start has {what} of the shape {has}, but {wanted} is wanted ({settings.dim} dimensions and "
                "2 of biases): go on with the same settings, interactions and features"
            )
        made.append(_taken_apart(rows, one=one))
    return made


def _checked(features: Features | None, ids: IdMap) -> Any:
    """The matrix of features that fit the ids."""
    if features is None:
        return None
    check_features(features, ids)
    return features.matrix


def _check_validation(interactions: Interactions, validation: Interactions | None) -> None:
    if validation is None:
        return
    if interactions.users != validation.users or interactions.items != validation.items:
        raise DataError(
            f"validation ({validation!r}) must have the users and items of the training data "
            f"({interactions!r}): split one data set"
        )
    if not len(validation):
        raise DataError("there are no interactions in validation")
