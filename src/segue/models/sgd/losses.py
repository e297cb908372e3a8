"""The settings WARP, KOSWARP, BPR and Logistic: models learned by stochastic gradient descent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from segue.data.features import Features
from segue.data.interactions import Interactions
from segue.errors import SettingError
from segue.kernels import sgd as kernels
from segue.models.checks import check_implicit
from segue.models.embeddings import Embeddings
from segue.models.sgd.fold_in import SGDFoldIn
from segue.models.sgd.passes import TRIES, Sampling
from segue.models.sgd.settings import SGDSettings
from segue.models.sgd.training import Training, check_validation
from segue.models.sgd.update import update_embeddings
from segue.models.updates import Update
from segue.progress import Progress, silent
from segue.validation import at_least


@dataclass(frozen=True)
class SGD(SGDSettings):
    """Base class of the four losses: a score is x_u·y_i + b_u + b_i, learned by stochastic gradient descent.

    With features, a vector or bias is the sum of the vectors or biases of the features times their weights.
    Kula, "Metadata embeddings for user and item cold-start recommendations" (CBRecSys 2015).

    Attributes:
        dim: length of the vectors, without the biases.
        epochs: maximum number of passes over the interactions.
        learning_rate: size of adagrad's first steps.
        schedule: "adagrad" (Duchi et al., 2011) or "adadelta" (Zeiler, 2012), which ignores `learning_rate`.
        rho, epsilon: parameters of adadelta.
        user_reg, item_reg: L2 penalties on the vectors and biases in each step.
        negative_sampling: draw negatives "uniform" over the items, or "popular": by number of interactions.
        patience: with validation data, stop after this number of epochs without improvement.
        seed: random seed of the initial values, the order and the draws.
        threads: number of threads, None for all. One thread gives the same bytes each time; more threads
            share the vectors without locks (Niu et al., "Hogwild!", NIPS 2011).
    """

    def resolved(self, interactions: Interactions) -> SGD:
        """Return the settings as they are; none of them depends on the data."""
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
            interactions: training data; weights, divided by their mean absolute value, scale the steps.
            item_features, user_features: a row for each item or user of the interactions.
            validation: held-out interactions of the same users and items. Training stops when their NDCG@10
                has not risen for `patience` epochs, and the vectors of the best epoch are returned.
            start: earlier embeddings of the same users, items and features to continue from for `epochs`
                more. If their state was kept, the result is that of an uninterrupted training: with one
                thread, 5 epochs and 5 more give the same bytes as 10. Otherwise the step sizes start again.
            keep_state: keep the step sizes and the random state in the embeddings, for exact resumption:
                those after the last epoch, even if an earlier one was best on the validation data.
            progress: called after each epoch, with the mean loss and the share of violations.

        Raises:
            DataError: features, validation or start do not match the interactions.
            SettingError: training diverges.
        """
        check_implicit(interactions, signed=self.signed_weights)
        check_validation(interactions, validation)
        training = Training(self, interactions, user_features, item_features, start)
        embeddings = training.run(validation, progress)
        return replace(embeddings, state=training.state()) if keep_state else embeddings

    def prepare_fold_in(self, embeddings: Embeddings) -> SGDFoldIn:
        """Prepare the item side once, for folding in many histories."""
        return SGDFoldIn(self, embeddings)

    def update(self, update: Update) -> Embeddings:
        """Learn the rows with new interactions; other rows are unchanged."""
        check_implicit(update.interactions, signed=self.signed_weights)
        return update_embeddings(self, update)


@dataclass(frozen=True)
class WARP(SGD):
    """Weighted approximate-rank pairwise loss: draw items until one scores within the margin of the positive.

    The more draws it takes, the smaller the step. Weston, Bengio and Usunier, "WSABIE: Scaling up to large
    vocabulary image annotation" (IJCAI 2011).

    Attributes:
        max_sampled: maximum number of draws.
    """

    max_sampled: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, max_sampled=1)

    def sampling(self, pool: np.ndarray) -> Sampling:
        """Return the loss with its draws from a pool of items, (m,) int32."""
        return Sampling(kernels.warp, pool, self.max_sampled)


@dataclass(frozen=True)
class KOSWARP(WARP):
    """k-OS WARP: draw n of the user's items for each step, and learn from the one with the k-th best score.

    Weston, Yee and Weiss, "Learning to rank recommendations with the k-order statistic loss" (RecSys 2013).
    An epoch takes as many steps as there are interactions.

    Attributes:
        k: rank of the positive among the drawn items, from 1 for the best.
        n: number of the user's items drawn.
    """

    k: int = 5
    n: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, k=1, n=1)
        if self.k > self.n:
            raise SettingError(f"KOSWARP(k={self.k}, n={self.n}): k must be at most n", arguments=("k", "n"))

    def sampling(self, pool: np.ndarray) -> Sampling:
        """Return the loss with its draws from a pool of items, (m,) int32."""
        return Sampling(kernels.warp, pool, self.max_sampled, self.k, self.n)


@dataclass(frozen=True)
class BPR(SGD):
    """Bayesian personalized ranking: an item of the user's history against an item drawn from the others.

    Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback" (UAI 2009). Negatives are drawn
    by popularity; with uniform draws most steps would learn popularity only.
    """

    negative_sampling: str = "popular"

    def sampling(self, pool: np.ndarray) -> Sampling:
        """Return the loss with its draws from a pool of items, (m,) int32."""
        return Sampling(kernels.bpr, pool, TRIES)


@dataclass(frozen=True)
class Logistic(SGD):
    """Logistic loss: the probability that an interaction is positive.

    Interactions of negative weight are dislikes.

    Attributes:
        negatives: number of items drawn for each interaction as further dislikes; 0 if dislikes are known.
    """

    negatives: int = 3

    signed_weights: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, negatives=0)

    def sampling(self, pool: np.ndarray) -> Sampling:
        """Return the loss with its draws from a pool of items, (m,) int32."""
        return Sampling(kernels.logistic, pool, self.negatives)
