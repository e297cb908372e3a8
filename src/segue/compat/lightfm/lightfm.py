"""LightFM: the model with LightFM's signatures, trained by segue's kernels."""

from __future__ import annotations

from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from segue import store
from segue.compat.lightfm import inputs, training
from segue.compat.lightfm.errors import ParameterError
from segue.compat.lightfm.parameters import Packed, Parameters, begin, pack, unpack
from segue.compat.lightfm.verbose import epoch_progress
from segue.errors import CorruptModelError, DataError, NotAModelError, SettingError
from segue.kernels import pairs as kernels
from segue.kernels import threads
from segue.kernels.arrays import readonly
from segue.models.sgd.parameters import side_of
from segue.numerics.blas import on_one_thread
from segue.progress import Progress

CYTHON_DTYPE = np.float32  # the name that programs import
LOSSES, SCHEDULES = ("logistic", "warp", "bpr", "warp-kos"), ("adagrad", "adadelta")
SIDES = ("item", "user")  # in the order in which they are begun at random
BLOCK = 256  # users whose scores of all items are held at a time
PARAMETERS = (
    "loss", "learning_schedule", "no_components", "learning_rate", "k", "n", "rho", "epsilon", "max_sampled",
    "item_alpha", "user_alpha", "random_state",
)  # fmt: skip


class LightFM:
    """A hybrid model: users and items are sums of their features' vectors and biases.

    Kula, "Metadata embeddings for user and item cold-start recommendations" (CBRecSys 2015). Without feature
    matrices every user and item has one feature of its own.

    Args:
        no_components: length of the vectors.
        k, n: of "warp-kos": of `n` of a user's items, drawn anew each time, it learns from the k-th best.
        learning_schedule: "adagrad" or "adadelta".
        loss: "logistic" (interactions above 0 against all others given), "bpr", "warp" or "warp-kos".
        learning_rate: the size of adagrad's first steps.
        rho, epsilon: adadelta's.
        item_alpha, user_alpha: L2 penalties on the features of items and users.
        max_sampled: how many negatives WARP draws at most.
        random_state: seed, generator, or None.

    Attributes:
        item_embeddings, user_embeddings: (features, no_components) float32, None before training.
        item_biases, user_biases: (features,) float32.
        item_embedding_gradients, …, user_bias_momentum: the state of the schedule, in the same shapes.

    Raises `ParameterError`, an `AssertionError` and a `ValueError`, for a parameter outside what it may be.
    """

    item_embeddings: Any
    item_embedding_gradients: Any
    item_embedding_momentum: Any
    item_biases: Any
    item_bias_gradients: Any
    item_bias_momentum: Any
    user_embeddings: Any
    user_embedding_gradients: Any
    user_embedding_momentum: Any
    user_biases: Any
    user_bias_gradients: Any
    user_bias_momentum: Any

    def __init__(
        self,
        no_components: int = 10,
        k: int = 5,
        n: int = 10,
        learning_schedule: str = "adagrad",
        loss: str = "logistic",
        learning_rate: float = 0.05,
        rho: float = 0.95,
        epsilon: float = 1e-6,
        item_alpha: float = 0.0,
        user_alpha: float = 0.0,
        max_sampled: int = 10,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        _require(item_alpha >= 0, f"item_alpha={item_alpha!r} must be at least 0")
        _require(user_alpha >= 0, f"user_alpha={user_alpha!r} must be at least 0")
        _require(no_components > 0, f"no_components={no_components!r} must be at least 1")
        _require(k > 0, f"k={k!r} must be at least 1")
        _require(n > 0, f"n={n!r} must be at least 1")
        _require(0 < rho < 1, f"rho={rho!r} must be above 0 and below 1")
        _require(epsilon >= 0, f"epsilon={epsilon!r} must be at least 0")
        _require(max_sampled >= 1, f"max_sampled={max_sampled!r} must be at least 1")
        _require(
            learning_schedule in SCHEDULES,
            f"learning_schedule={learning_schedule!r} must be one of {', '.join(map(repr, SCHEDULES))}",
        )
        _require(loss in LOSSES, f"loss={loss!r} must be one of {', '.join(map(repr, LOSSES))}")
        self.no_components, self.k, self.n = no_components, int(k), int(n)
        self.learning_schedule, self.loss = learning_schedule, loss
        self.learning_rate, self.rho, self.epsilon = learning_rate, rho, epsilon
        self.item_alpha, self.user_alpha, self.max_sampled = item_alpha, user_alpha, max_sampled
        self.random_state = _generator(random_state)
        self._reset()

    def fit(
        self,
        interactions: Any,
        user_features: Any = None,
        item_features: Any = None,
        sample_weight: Any = None,
        epochs: int = 1,
        num_threads: int = 1,
        verbose: bool = False,
    ) -> LightFM:
        """Forget what was learned, and learn; see `fit_partial`."""
        self._reset()
        return self.fit_partial(
            interactions, user_features, item_features, sample_weight, epochs, num_threads, verbose
        )

    def fit_partial(
        self,
        interactions: Any,
        user_features: Any = None,
        item_features: Any = None,
        sample_weight: Any = None,
        epochs: int = 1,
        num_threads: int = 1,
        verbose: bool = False,
    ) -> LightFM:
        """Learn, going on from what was learned before, step sizes included; return the model.

        Args:
            interactions: users × items, any sparse matrix. What is given is never drawn as a negative;
                entries of 0 or less are dislikes to the logistic loss; BPR and WARP do not learn from them.
            user_features, item_features: sparse, a row of weights for each user or item, or the identity.
            sample_weight: COO matrix of the same entries in the same order.
            epochs: passes over the interactions.
            num_threads: how many threads to use. With one the same random state gives the same bytes; more
                share the parameters without locks.
            verbose: draw a progress bar on the error stream.

        Raises:
            DataError, SettingError: (both `ValueError`) matrices that do not fit each other or what was
                learned before, values that are not finite, training that diverges.
            UnsupportedError: (a `NotImplementedError`) sample weights with "warp-kos".
        """
        entries = inputs.entries_of(interactions)
        weights = inputs.weights_of(entries, sample_weight, self.loss)
        features = self._features(entries.shape, user_features, item_features)
        for what, data in (("interactions", entries.data), ("sample_weight", weights)):
            inputs.check_finite(what, data)
        for side, matrix in features.items():
            inputs.check_finite(f"{side}_features", np.zeros(0) if matrix is None else matrix.data)
        counts = {"user": entries.shape[0], "item": entries.shape[1]}
        columns = {side: inputs.columns_of(features[side], counts[side]) for side in SIDES}
        if self.item_embeddings is None:
            for side in SIDES:
                dim, schedule = self.no_components, self.learning_schedule
                self._keep(side, begin(self.random_state, columns[side], dim, schedule))
        self._check_features(columns)
        inputs.check_threads(num_threads)
        with epoch_progress(verbose, epochs) as progress:
            self._learn(entries, weights, features, epochs, num_threads, progress)
        return self

    def predict(
        self,
        user_ids: Any,
        item_ids: Any,
        item_features: Any = None,
        user_features: Any = None,
        num_threads: int = 1,
    ) -> np.ndarray:
        """Scores of pairs of users and items, x_u·y_i + b_u + b_i: (pairs,) float32.

        Args:
            user_ids: rows of users, (pairs,) integers, or one user for all the items.
            item_ids: rows of items, (pairs,) integers.
            item_features, user_features: as the model was trained with.
            num_threads: how many threads to use.

        Raises `DataError` and `SettingError`, both `ValueError`, before training, for ids that are negative
        or beyond what the model knows, and where there are not as many users as items.
        """
        self._check_trained()
        item_ids = inputs.ids_of(item_ids, "item_ids")
        if isinstance(user_ids, Integral):
            user_ids = np.full(len(item_ids), user_ids)
        user_ids = inputs.ids_of(user_ids, "user_ids")
        if len(user_ids) != len(item_ids):
            raise DataError(f"{len(user_ids):,} user_ids and {len(item_ids):,} item_ids must be as many")
        inputs.check_threads(num_threads)
        scores = np.empty(len(item_ids), np.float32)
        if not len(scores):
            return scores
        least = min(user_ids.min(), item_ids.min())
        if least < 0:
            raise DataError(f"user_ids and item_ids must not be negative, but there is {least}")
        shape = int(user_ids.max()) + 1, int(item_ids.max()) + 1
        features = self._features(shape, user_features, item_features)
        x, users = self._rows("user", features["user"], user_ids.astype(np.int64))
        y, items = self._rows("item", features["item"], item_ids.astype(np.int64))
        x, y = (Packed(*map(readonly, table)) for table in (x, y))
        pairs = readonly(users), readonly(items)
        threads.run(
            lambda start, stop: kernels.score_pairs(*x, *y, *pairs, scores, start, stop),
            len(scores), chunk=max(4096, -(-len(scores) // num_threads)), threads=num_threads,
        )  # fmt: skip
        return scores

    def predict_rank(
        self,
        test_interactions: Any,
        train_interactions: Any = None,
        item_features: Any = None,
        user_features: Any = None,
        num_threads: int = 1,
        check_intersections: bool = True,
    ) -> sp.csr_matrix:
        """Where the test items stand among all items of each user, 0 being the best.

        Args:
            test_interactions: users × items, sparse; its entries are ranked.
            train_interactions: users × items, sparse; its entries are left out of the ranking.
            item_features, user_features: as the model was trained with.
            num_threads: how many threads to use.
            check_intersections: raise where test and train share interactions.

        Returns users × items CSR float32 with the entries of the test: how many of the others score as high
        or higher, so ties count against an item.

        Raises `DataError` and `SettingError`, both `ValueError`, before training and for matrices that do not
        fit.
        """
        self._check_trained()
        inputs.check_threads(num_threads)
        test = inputs.rows_of(test_interactions, "test_interactions")
        train = sp.csr_matrix(test.shape, dtype=np.float32)
        if train_interactions is not None:
            train = inputs.rows_of(train_interactions, "train_interactions")
            if train.shape != test.shape:
                raise DataError(f"train_interactions of shape {train.shape} must have test's, {test.shape}")
        shared = test.multiply(train).nnz if check_intersections else 0
        if shared:
            raise DataError(
                f"test_interactions and train_interactions share {shared:,} interactions: check the split, "
                "or pass check_intersections=False"
            )
        features = self._features(test.shape, user_features, item_features)
        counts = {"user": test.shape[0], "item": test.shape[1]}
        self._check_features({side: inputs.columns_of(features[side], counts[side]) for side in SIDES})
        return self._ranks(test, train, features, num_threads)

    def get_item_representations(self, features: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Biases (items,) and vectors (items, no_components), float32; the features' own if None."""
        return self._representations("item", features)

    def get_user_representations(self, features: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Biases (users,) and vectors (users, no_components), float32; the features' own if None."""
        return self._representations("user", features)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name, as scikit-learn asks for them."""
        return {name: getattr(self, name) for name in PARAMETERS}

    def set_params(self, **params: Any) -> LightFM:
        """Set parameters by name; return the model.

        Raises `SettingError`, a `ValueError`, for other names.
        """
        for name, value in params.items():
            if name not in PARAMETERS:
                raise SettingError(
                    f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(PARAMETERS)}"
                )
            setattr(self, name, _generator(value) if name == "random_state" else value)
        return self

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn's searches ask of an estimator; only they call it."""
        from sklearn.base import BaseEstimator

        return BaseEstimator().__sklearn_tags__()

    def save(self, folder: str | Path) -> None:
        """Write the model, with all that `fit_partial` and the random state need to go on, into a folder.

        Raises the errors of `segue.errors.ModelFolderError`, and `SettingError` for a random generator that
        is no Mersenne Twister.
        """
        self._check_trained()
        state: Any = self.random_state.get_state(legacy=False)
        if state["bit_generator"] != "MT19937":
            raise SettingError(
                f"a random_state of the kind {state['bit_generator']} cannot be saved; only MT19937 can"
            )
        parameters = {name: getattr(self, name) for name in PARAMETERS if name != "random_state"}
        plain = {name: one.item() if isinstance(one, np.generic) else one for name, one in parameters.items()}
        rest = [state["state"]["pos"], state["has_gauss"], state["gauss"]]
        arrays = {
            f"{side}_{slot}": np.ascontiguousarray(array)
            for side in SIDES
            for slot, array in self._parameters(side)._asdict().items()
        }
        arrays["random_state"] = np.asarray(state["state"]["key"], np.uint32)
        store.write(folder, arrays, {}, {"kind": "lightfm", "parameters": plain, "random_state": rest})

    @classmethod
    def load(cls, folder: str | Path) -> LightFM:
        """Read a model that `save` wrote. Raises the errors of `segue.errors.ModelFolderError`."""
        stored = store.open_model(folder)
        if stored.meta.get("kind") != "lightfm":
            raise NotAModelError(f"{folder} holds a model of another kind; open it with segue.load")
        try:
            model = cls().set_params(**stored.meta["parameters"])
            model.random_state.set_state(
                ("MT19937", stored.arrays["random_state"], *stored.meta["random_state"])
            )
            for side in SIDES:
                for slot in Parameters._fields:
                    setattr(model, f"{side}_{slot}", np.array(stored.arrays[f"{side}_{slot}"]))
            model._check_trained()
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptModelError(f"{folder} does not hold what a LightFM model needs: {error}") from error
        return model

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_packed": {}}

    def _reset(self) -> None:
        self._packed: dict[str, tuple[Parameters, Packed]] = {}
        for side in SIDES:
            for slot in Parameters._fields:
                setattr(self, f"{side}_{slot}", None)

    def _parameters(self, side: str) -> Parameters:
        return Parameters(*(getattr(self, f"{side}_{slot}") for slot in Parameters._fields))

    def _keep(self, side: str, packed: Packed) -> None:
        """Make the attributes views of what the kernels change."""
        views = unpack(packed)
        self._packed[side] = views, packed
        for slot, array in views._asdict().items():
            setattr(self, f"{side}_{slot}", array)

    def _current(self, side: str) -> Packed | None:
        """What the attributes are views of, None where one of them has been replaced."""
        views, packed = self._packed.get(side, (None, None))
        same = views is not None and all(a is b for a, b in zip(views, self._parameters(side), strict=True))
        return packed if same else None

    def _trainable(self, side: str) -> Packed:
        packed = self._current(side)
        slots = 2 if self.learning_schedule == "adagrad" else 3
        if packed is None or packed.biases.shape[1] != slots:
            packed = pack(self._parameters(side), self.learning_schedule)
            self._keep(side, packed)
        return packed

    def _learn(
        self,
        entries: sp.coo_matrix,
        weights: np.ndarray,
        features: dict[str, sp.csr_matrix | None],
        epochs: int,
        num_threads: int,
        progress: Progress,
    ) -> None:
        if not len(entries.data):
            return
        if self.loss == "logistic":
            weights = np.where(entries.data > 0, weights, -weights)
        elif self.loss != "warp-kos":
            weights = np.where(entries.data > 0, weights, 0)
        pairs = inputs.pairs_of(entries, weights.astype(np.float32, copy=False))
        sides = []
        for side in ("user", "item"):
            alpha = getattr(self, f"{side}_alpha")
            rates = training.rates_of(
                self.learning_schedule, self.learning_rate, self.rho, self.epsilon, alpha, bias=1
            )
            sides.append(training.Penalised(side_of(*self._trainable(side), features[side]), alpha, rates))
        users, items = sides
        sampling = training.sampling_of(self.loss, pairs, items.side.rows(), self.k, self.n, self.max_sampled)
        for done in range(epochs):
            training.epoch(sampling, pairs, users, items, self.random_state, num_threads)
            self._check_converged()
            progress("training", done + 1, epochs)

    def _check_converged(self) -> None:
        for side in SIDES:
            for slot in ("embeddings", "biases"):
                if not np.isfinite(getattr(self, f"{side}_{slot}")).all():
                    raise SettingError(
                        f"LightFM(learning_rate={self.learning_rate}) diverged: {side}_{slot} are not all "
                        "finite; take a lower learning_rate, or smaller feature values and sample weights"
                    )

    def _check_trained(self) -> None:
        if any(array is None for side in SIDES for array in self._parameters(side)):
            raise SettingError("this LightFM has not been trained; call fit or fit_partial first")
        for side in SIDES:
            vectors, *others = self._parameters(side)
            wanted = [vectors.shape] * 2 + [vectors.shape[:1]] * 3
            wide = vectors.ndim == 2 and vectors.shape[1] == self.item_embeddings.shape[-1]
            if not wide or [other.shape for other in others] != wanted:
                raise DataError(
                    f"the arrays of {side} features do not fit each other: {side}_embeddings has the shape "
                    f"{vectors.shape}, item_embeddings {self.item_embeddings.shape}, the others of {side}s "
                    f"{', '.join(str(other.shape) for other in others)}"
                )

    def _features(
        self, shape: tuple[int, int], user_features: Any, item_features: Any
    ) -> dict[str, sp.csr_matrix | None]:
        """The features of both sides, checked against users × items and against the model."""
        known = {
            side: None
            if getattr(self, f"{side}_embeddings") is None
            else len(getattr(self, f"{side}_embeddings"))
            for side in SIDES
        }
        return {
            "user": inputs.features_of(user_features, shape[0], "user", known["user"]),
            "item": inputs.features_of(item_features, shape[1], "item", known["item"]),
        }

    def _check_features(self, columns: dict[str, int]) -> None:
        for side in SIDES:
            known = len(getattr(self, f"{side}_embeddings"))
            if columns[side] != known:
                raise DataError(
                    f"{side}_features has {columns[side]:,} features, but the model was trained with "
                    f"{known:,}"
                )

    def _representations(self, side: str, features: Any) -> tuple[np.ndarray, np.ndarray]:
        self._check_trained()
        vectors, biases = getattr(self, f"{side}_embeddings"), getattr(self, f"{side}_biases")
        if features is None:
            return biases, vectors
        matrix = sp.csr_matrix(features, dtype=np.float32)
        if matrix.shape[1] != len(vectors):
            raise DataError(
                f"{side} features of shape {matrix.shape} do not fit a model of {len(vectors):,} of them"
            )
        return matrix @ biases, matrix @ vectors

    def _rows(self, side: str, features: sp.csr_matrix | None, ids: np.ndarray) -> tuple[Packed, np.ndarray]:
        """Vectors and biases as kernels take them, and the rows of the ids there."""
        if features is not None:
            rows, ids = np.unique(ids, return_inverse=True)
            chosen, count = features[rows], features.shape[1]
            vectors, biases = self._representations_of(side, chosen, count)
        elif (packed := self._current(side)) is not None:
            return packed, ids
        else:
            vectors, biases = getattr(self, f"{side}_embeddings"), getattr(self, f"{side}_biases")
        vectors, biases = (np.ascontiguousarray(array, np.float32)[:, None] for array in (vectors, biases))
        return Packed(vectors, biases), ids

    def _representations_of(
        self, side: str, features: sp.csr_matrix, count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        vectors, biases = getattr(self, f"{side}_embeddings"), getattr(self, f"{side}_biases")
        return features @ vectors[:count], features @ biases[:count]

    def _ranks(
        self,
        test: sp.csr_matrix,
        train: sp.csr_matrix,
        features: dict[str, sp.csr_matrix | None],
        num_threads: int,
    ) -> sp.csr_matrix:
        asked = np.flatnonzero(np.diff(test.indptr))
        (x, _), users = self._rows("user", features["user"], asked)
        every = np.arange(test.shape[1])
        (y, b), items = self._rows("item", features["item"], every)
        vectors, biases = y[items, 0] if len(items) != len(y) else y[:, 0], b[items, 0]
        above = np.zeros(test.nnz, np.float32)
        held, hidden = ((readonly(matrix.indptr), readonly(matrix.indices)) for matrix in (test, train))

        def work(start: int, stop: int) -> None:
            scores = x[users[start:stop], 0] @ vectors.T + biases
            kernels.count_above(scores, asked[start:stop], *held, *hidden, above)

        with on_one_thread():
            threads.run(work, len(asked), chunk=BLOCK, threads=num_threads)
        return sp.csr_matrix((above, test.indices, test.indptr), shape=test.shape)


def _require(held: bool, message: str) -> None:
    if not held:
        raise ParameterError(f"LightFM({message.split(' ', 1)[0]}) {message.split(' ', 1)[1]}")


def _generator(random_state: Any) -> np.random.RandomState:
    known = isinstance(random_state, np.random.RandomState)
    return random_state if known else np.random.RandomState(random_state)
