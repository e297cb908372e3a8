"""Fit a recommender, or open a saved one."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from segue import store
from segue.data.features import Features
from segue.data.interactions import Interactions
from segue.errors import DataError, SettingError
from segue.models import MODELS, ModelSpec, spec_of
from segue.models.text import Text
from segue.progress import Progress, silent
from segue.recommender.facade import TrainedRecommender
from segue.recommender.serialization import from_stored
from segue.recommender.settings import RecommenderSettings


@dataclass(frozen=True)
class Recommender(RecommenderSettings):
    """The settings of a recommender: which model learns the vectors and which index searches them.

    Attributes:
        model: the settings of a model, or its name in `segue.models.MODELS`.
        index: the settings of an index, or its name in `segue.index.INDEXES`.
    """

    def fit(
        self,
        interactions: Interactions,
        *,
        item_features: Features | None = None,
        user_features: Features | None = None,
        validation: Interactions | None = None,
        start: TrainedRecommender | None = None,
        keep_state: bool = False,
        text: Text | None = None,
        progress: Progress = silent,
    ) -> TrainedRecommender:
        """Train the model on the interactions, build the index, and return the trained recommender.

        Args:
            interactions: the training data.
            item_features, user_features: one row for each item or user of the interactions, for models that
                take features.
            validation: held-out interactions that decide when training stops, for models that take them.
            start: an earlier recommender of the same users and items from which training continues.
            keep_state: keep the training state (also in the model folder), so that continuing from it gives
                the same result as training without interruption.
            text: the text of the items, which makes them searchable (a `Text` model needs none).
            progress: callback for the steps of the training.

        Raises `SettingError` for arguments that the model does not take, `DataError` for data that it cannot
        learn from.
        """
        model = self.model.resolved(interactions)
        if start is not None and (start.users != interactions.users or start.items != interactions.items):
            raise DataError(
                f"{start!r} was not trained on the users and items of {interactions!r}, so training cannot "
                "continue from it; use its partial_fit for new users and items"
            )
        features = {"item_features": item_features, "user_features": user_features}
        training = {
            "validation": validation,
            "start": None if start is None else start.embeddings,
            "keep_state": keep_state or None,
        }
        arguments = _check_arguments(model, features) | _check_arguments(model, training)
        text = model if isinstance(model, Text) else text
        texts = None if text is None else text.build(interactions.item_metadata, progress=progress)
        if texts is not None and isinstance(model, Text):
            embeddings = model.embed(texts, interactions)
        else:
            embeddings = model.fit(interactions, **arguments, progress=progress)
        return TrainedRecommender(
            item_encoding=None if item_features is None else item_features.encoding,
            user_encoding=None if user_features is None else user_features.encoding,
            settings=replace(self, model=model),
            users=interactions.users,
            items=interactions.items,
            embeddings=embeddings,
            index=self.index.build(embeddings.items, queries=embeddings.users, progress=progress),
            interactions=interactions.matrix,
            item_metadata=interactions.item_metadata,
            texts=texts,
        )


def load(folder: str | Path, version: str | None = None) -> TrainedRecommender:
    """Open a version of a model folder, by default the current one; arrays are memory-mapped.

    Raises the errors of `segue.errors.ModelFolderError`: no model, another format, damaged files.
    """
    state = from_stored(store.open_model(folder, version))
    parts = {field.name: getattr(state, field.name) for field in fields(state)}
    settings = Recommender(state.settings.model, state.settings.index)
    return TrainedRecommender(**{**parts, "settings": settings})


def _check_arguments(model: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that are not None; raises `SettingError` if `fit` of the model does not take them."""
    present = {name: value for name, value in arguments.items() if value is not None}

    def takes(spec: ModelSpec) -> bool:
        return spec.fit_arguments() >= set(present)

    if present and not takes(spec_of(model)):
        names = ", ".join(sorted(spec.settings.__name__ for spec in MODELS.values() if takes(spec)))
        raise SettingError(
            f"{type(model).__name__} does not take {' and '.join(present)}; models that do: {names}",
            arguments=tuple(present),
        )
    return present
