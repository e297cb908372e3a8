"""LightFM: the model with LightFM's signatures, trained by segue's kernels."""

from __future__ import annotations

from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from segue.compat.lightfm import inputs, prediction, serialization, training
from segue.compat.lightfm.parameters import (
    SIDES,
    ArrayAttributes,
    check_finite,
    check_shapes,
    initial,
)
from segue.compat.lightfm.settings import NAMES, check_settings
from segue.compat.lightfm.verbose import epoch_progress
from segue.errors import CorruptModelError, DataError, SettingError
from segue.models.sgd.parameters import side_of
from segue.progress import Progress

CYTHON_DTYPE = np.float32  # a public name of LightFM


class LightFM(ArrayAttributes):
    """A hybrid model: users and items are sums of their features' vectors and biases.

    Kula, "Metadata embeddings for user and item cold-start recommendations" (CBRecSys 2015). Without feature
    matrices every user and item has one feature of its own.

    Args:
        no_components: length of the vectors.
        k, n: for "warp-kos": draw `n` of a user's items for each step and learn from the k-th best.
        learning_schedule: "adagrad" or "adadelta".
        loss: "logistic" (interactions above 0 against the other given ones), "bpr", "warp" or "warp-kos".
        learning_rate: size of adagrad's first steps.
        rho, epsilon: parameters of adadelta.
        item_alpha, user_alpha: L2 penalties on the features of items and users.
        max_sampled: maximum number of negatives that WARP draws for a step.
        random_state: seed, generator, or None.

    Attributes:
        item_embeddings, user_embeddings: (features, no_components) float32, None before training.
        item_biases, user_biases: (features,) float32.
        item_embedding_gradients, …, user_bias_momentum: the state of the schedule, in the same shapes.

    Raises:
        ParameterError: (an `AssertionError` and a `ValueError`) a parameter is out of range.
    """

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
        check_settings(
            no_components, k, n, learning_schedule, loss, rho, epsilon, item_alpha, user_alpha, max_sampled
        )
        self.no_components, self.k, self.n = no_components, int(k), int(n)
        self.learning_schedule, self.loss = learning_schedule, loss
        self.learning_rate, self.rho, self.epsilon = learning_rate, rho, epsilon
        self.item_alpha, self.user_alpha, self.max_sampled = item_alpha, user_alpha, max_sampled
        self.random_state = _generator(random_state)
        self._reset()

    def fit(
        self,
        interactions: sp.spmatrix,
        user_features: sp.spmatrix | None = None,
        item_features: sp.spmatrix | None = None,
        sample_weight: sp.spmatrix | None = None,
        epochs: int = 1,
        num_threads: int = 1,
        verbose: bool = False,
    ) -> LightFM:
        """Train from the start; see `fit_partial`."""
        self._reset()
        return self.fit_partial(
            interactions, user_features, item_features, sample_weight, epochs, num_threads, verbose
        )

    def fit_partial(
        self,
        interactions: sp.spmatrix,
        user_features: sp.spmatrix | None = None,
        item_features: sp.spmatrix | None = None,
        sample_weight: sp.spmatrix | None = None,
        epochs: int = 1,
        num_threads: int = 1,
        verbose: bool = False,
    ) -> LightFM:
        """Continue training from the current parameters and step sizes; return the model.

        Args:
            interactions: users × items, any sparse matrix. Its entries are never drawn as negatives; entries
                of 0 or less are dislikes for the logistic loss, and BPR and WARP do not learn from them.
            user_features, item_features: sparse, a row of weights for each user or item; None for the
                identity.
            sample_weight: COO matrix with the entries of `interactions` in the same order.
            epochs: number of passes over the interactions.
            num_threads: number of threads. With one thread the same random state gives the same bytes; more
                threads share the parameters without locks.
            verbose: show progress on stderr.

        Raises:
            DataError, SettingError: (both `ValueError`) matrices do not match each other or the model, values
                are not finite, or training diverges.
            UnsupportedError: (a `NotImplementedError`) `sample_weight` with the loss "warp-kos".
        """
        entries = inputs.entries_of(interactions)
        weights = inputs.weights_of(entries, sample_weight, self.loss)
        features = self._features(entries.shape, user_features, item_features)
        for name, data in (("interactions", entries.data), ("sample_weight", weights)):
            inputs.check_finite(name, data)
        for side, matrix in features.items():
            inputs.check_finite(f"{side}_features", np.zeros(0) if matrix is None else matrix.data)
        counts = {"user": entries.shape[0], "item": entries.shape[1]}
        columns = {side: inputs.columns_of(features[side], counts[side]) for side in SIDES}
        if self.item_embeddings is None:
            for side in SIDES:
                dim, schedule = self.no_components, self.learning_schedule
                self._set_parameters(side, initial(self.random_state, columns[side], dim, schedule))
        self._check_features(columns)
        inputs.check_threads(num_threads)
        with epoch_progress(verbose, epochs) as progress:
            self._learn(entries, weights, features, epochs, num_threads, progress)
        return self

    def predict(
        self,
        user_ids: int | npt.ArrayLike,
        item_ids: npt.ArrayLike,
        item_features: sp.spmatrix | None = None,
        user_features: sp.spmatrix | None = None,
        num_threads: int = 1,
    ) -> np.ndarray:
        """Return the scores x_u·y_i + b_u + b_i of pairs of users and items, (pairs,) float32.

        Args:
            user_ids: rows of users, (pairs,) integers, or one user for all the items.
            item_ids: rows of items, (pairs,) integers.
            item_features, user_features: the features, with the columns of the training.
            num_threads: number of threads.

        Raises:
            DataError, SettingError: (both `ValueError`) the model is not trained, ids are negative or unknown
                to the model, or the numbers of users and items differ.
        """
        self._check_trained()
        item_ids = inputs.ids_of(item_ids, "item_ids")
        if isinstance(user_ids, Integral):
            user_ids = np.full(len(item_ids), user_ids)
        user_ids = inputs.ids_of(user_ids, "user_ids")
        if len(user_ids) != len(item_ids):
            raise DataError(
                f"{len(user_ids):,} user_ids and {len(item_ids):,} item_ids must have the same length"
            )
        inputs.check_threads(num_threads)
        if not len(item_ids):
            return np.empty(0, np.float32)
        least = min(user_ids.min(), item_ids.min())
        if least < 0:
            raise DataError(f"user_ids and item_ids must not be negative, but there is {least}")
        shape = int(user_ids.max()) + 1, int(item_ids.max()) + 1
        features = self._features(shape, user_features, item_features)
        users = self._lookup("user", features["user"], user_ids.astype(np.int64))
        items = self._lookup("item", features["item"], item_ids.astype(np.int64))
        return prediction.pair_scores(users, items, num_threads)

    def predict_rank(
        self,
        test_interactions: sp.spmatrix,
        train_interactions: sp.spmatrix | None = None,
        item_features: sp.spmatrix | None = None,
        user_features: sp.spmatrix | None = None,
        num_threads: int = 1,
        check_intersections: bool = True,
    ) -> sp.csr_matrix:
        """Return the rank of each test item among all items for its user; 0 is the best.

        Args:
            test_interactions: users × items, sparse; its entries are ranked.
            train_interactions: users × items, sparse; its entries are excluded from the ranking.
            item_features, user_features: the features, with the columns of the training.
            num_threads: number of threads.
            check_intersections: raise an error if test and train share interactions.

        Returns users × items CSR float32 with the entries of the test: the number of other items with an
        equal or higher score, so ties count against an item.

        Raises:
            DataError, SettingError: (both `ValueError`) the model is not trained, or the matrices do not
                match each other or the model.
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
        users = self._lookup("user", features["user"], np.flatnonzero(np.diff(test.indptr)))
        items = self._lookup("item", features["item"], np.arange(test.shape[1]))
        return prediction.rank_entries(test, train, users, items, num_threads)

    def get_item_representations(self, features: sp.spmatrix | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return biases (items,) and vectors (items, no_components), float32; of the features if None."""
        return self._representations("item", features)

    def get_user_representations(self, features: sp.spmatrix | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return biases (users,) and vectors (users, no_components), float32; of the features if None."""
        return self._representations("user", features)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name, for scikit-learn."""
        return {name: getattr(self, name) for name in NAMES}

    def set_params(self, **params: Any) -> LightFM:
        """Set parameters by name; return the model.

        Raises:
            SettingError: (a `ValueError`) for unknown names.
        """
        for name, value in params.items():
            if name not in NAMES:
                raise SettingError(
                    f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(NAMES)}"
                )
            setattr(self, name, _generator(value) if name == "random_state" else value)
        return self

    def __sklearn_tags__(self) -> Any:
        """Return the estimator tags that scikit-learn's searches need."""
        from sklearn.base import BaseEstimator

        return BaseEstimator().__sklearn_tags__()

    def save(self, folder: str | Path) -> None:
        """Write the model with its training and random state to a folder.

        Raises:
            ModelFolderError: the folder cannot be written.
            SettingError: the random generator is not a Mersenne Twister.
        """
        self._check_trained()
        settings = {name: getattr(self, name) for name in NAMES if name != "random_state"}
        arrays = {
            f"{side}_{slot}": array
            for side in SIDES
            for slot, array in self._parameters(side)._asdict().items()
        }
        serialization.write(folder, settings, arrays, self.random_state)

    @classmethod
    def load(cls, folder: str | Path) -> LightFM:
        """Read a model that `save` wrote. Raises the errors of `segue.errors.ModelFolderError`."""
        stored = serialization.read(folder)
        try:
            model = cls().set_params(**stored.settings, random_state=stored.random_state)
            for name, array in stored.arrays.items():
                setattr(model, name, array)
            model._check_trained()
        except (TypeError, ValueError) as error:
            raise CorruptModelError(f"{folder} is not a valid LightFM model: {error}") from error
        return model

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
            side_parameters = side_of(*self._trainable(side, self.learning_schedule), features[side])
            sides.append(training.PenalizedSide(side_parameters, alpha, rates))
        users, items = sides
        sampling = training.sampling_of(self.loss, pairs, items.side.rows(), self.k, self.n, self.max_sampled)
        for number in range(epochs):
            training.epoch(sampling, pairs, users, items, self.random_state, num_threads)
            check_finite({side: self._parameters(side) for side in SIDES}, self.learning_rate)
            progress("training", number + 1, epochs)

    def _check_trained(self) -> None:
        if any(array is None for side in SIDES for array in self._parameters(side)):
            raise SettingError("this LightFM has not been trained; call fit or fit_partial first")
        check_shapes({side: self._parameters(side) for side in SIDES})

    def _features(
        self,
        shape: tuple[int, int],
        user_features: sp.spmatrix | None,
        item_features: sp.spmatrix | None,
    ) -> dict[str, sp.csr_matrix | None]:
        """Return the features of both sides, checked against users × items and against the model."""
        counts = [
            None if vectors is None else len(vectors)
            for vectors in (self.user_embeddings, self.item_embeddings)
        ]
        return {
            "user": inputs.features_of(user_features, shape[0], "user", counts[0]),
            "item": inputs.features_of(item_features, shape[1], "item", counts[1]),
        }

    def _check_features(self, columns: dict[str, int]) -> None:
        for side in SIDES:
            known = len(getattr(self, f"{side}_embeddings"))
            if columns[side] != known:
                raise DataError(
                    f"{side}_features has {columns[side]:,} features, but the model was trained with "
                    f"{known:,}"
                )

    def _representations(self, side: str, features: sp.spmatrix | None) -> tuple[np.ndarray, np.ndarray]:
        self._check_trained()
        vectors, biases = getattr(self, f"{side}_embeddings"), getattr(self, f"{side}_biases")
        if features is None:
            return biases, vectors
        matrix = sp.csr_matrix(features, dtype=np.float32)
        if matrix.shape[1] != len(vectors):
            raise DataError(
                f"{side} features of shape {matrix.shape} do not match the model's {len(vectors):,} features"
            )
        return matrix @ biases, matrix @ vectors

    def _lookup(self, side: str, features: sp.csr_matrix | None, ids: np.ndarray) -> prediction.Lookup:
        """Return the parameters of users or items by id."""
        vectors, biases = getattr(self, f"{side}_embeddings"), getattr(self, f"{side}_biases")
        if features is not None:
            return prediction.sums(vectors, biases, features, ids)
        packed = self._current(side)
        return prediction.rows(vectors, biases, ids) if packed is None else prediction.Lookup(packed, ids)


def _generator(random_state: int | np.random.RandomState | None) -> np.random.RandomState:
    if isinstance(random_state, np.random.RandomState):
        return random_state
    return np.random.RandomState(random_state)
