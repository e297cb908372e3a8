"""Protocols of models, and `ModelSpec`, the entry of a model in the registry `segue.models.MODELS`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from segue.data.interactions import Interactions
from segue.models.embeddings import Embeddings
from segue.models.search_space import SearchSpace
from segue.models.updates import Update
from segue.progress import Progress, silent
from segue.types import CSR

# What a model learns. Dense: `Embeddings`, where a score is an inner product of a user and an item vector.
# The other form, item weights (items × items CSR, where a user is a row of interactions), joins this alias.
Representation: TypeAlias = Embeddings


class FoldIn(Protocol):
    """Computes the representation of rows that were not in the training data, from their interactions."""

    def fold_in(self, histories: CSR) -> np.ndarray:
        """Return vectors (q, dim) float32 of histories (q × items CSR); zeros for empty histories.

        A vector depends on its own history only.
        """
        ...


@runtime_checkable
class Updatable(Protocol):
    """A model that learns from new interactions without a full training."""

    def update(self, update: Update) -> Representation:
        """Return the representation with new interactions; rows without new interactions are unchanged."""
        ...


class Model(Updatable, Protocol):
    """Settings of a model: a frozen dataclass that learns a representation of users and items.

    `fit` may take further arguments, which the capabilities in `ModelSpec` declare: `item_features` and
    `user_features`, `validation`, `start` and `keep_state`.
    """

    def resolved(self, interactions: Interactions) -> Model:
        """Return the same settings with the values that depend on the data filled in."""
        ...

    def fit(self, interactions: Interactions, *, progress: Progress = silent) -> Representation:
        """Learn the representation of all users and items of the interactions."""
        ...

    def prepare_fold_in(self, embeddings: Embeddings) -> FoldIn:
        """Prepare the item side once, for folding in many histories; the settings must be resolved."""
        ...


class Scorer(Protocol):
    """A trained baseline that scores all items for histories, without vectors."""

    def scores(self, histories: CSR) -> np.ndarray:
        """Return the scores (q, n_items) float32 of all items for histories (q × items CSR)."""
        ...


class Baseline(Protocol):
    """Settings of a baseline, which evaluations compare with models but which cannot be served."""

    def fit(self, interactions: Interactions, *, progress: Progress = silent) -> Scorer:
        """Learn from the interactions."""
        ...


@dataclass(frozen=True)
class ModelSpec:
    """A model: its settings class, its search space, and its capabilities.

    The facade, the command line, tuning, serialization and the contract tests read the capabilities here and
    never test for a class.

    Attributes:
        settings: the settings class, a frozen dataclass; see `Model`, and `Baseline` if not `served`.
        space: the settings that tuning changes, with their ranges; empty if there is nothing to tune.
        served: whether an index can serve the model; False for baselines of evaluations.
        features: whether `fit` takes `item_features` and `user_features`.
        validation: whether `fit` takes `validation` for early stopping.
        warm_start: whether `fit` takes `start` and `keep_state`.
        ratings: whether the weights are ratings, and scores predict them.
        signed_weights: whether weights may be negative.
        needs_text: whether the item vectors come from the text of the items, not from interactions.
        uses_times: whether the result depends on the times of the interactions.
        iterative: whether `fit` trains in passes and reports each to `progress`.
        lock_free: whether threads share the parameters without locks, so that only one thread gives the same
            bytes each time.
        posterior: whether the objective gives a Gaussian posterior of a user's vector (Thompson sampling).
    """

    settings: type[Any]  # the class varies; its instances satisfy `Model` or `Baseline`
    space: SearchSpace = field(default_factory=dict)
    served: bool = True
    features: bool = False
    validation: bool = False
    warm_start: bool = False
    ratings: bool = False
    signed_weights: bool = False
    needs_text: bool = False
    uses_times: bool = False
    iterative: bool = True
    lock_free: bool = False
    posterior: bool = False

    def fit_arguments(self) -> frozenset[str]:
        """Return the names of the optional arguments that `fit` takes."""
        names: set[str] = set()
        for supported, arguments in (
            (self.features, ("item_features", "user_features")),
            (self.validation, ("validation",)),
            (self.warm_start, ("start", "keep_state")),
        ):
            if supported:
                names.update(arguments)
        return frozenset(names)
