"""The settings of a recommender: which model learns the vectors and which index searches them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from segue.errors import SettingError
from segue.index import INDEXES
from segue.models import MODELS, served_models, spec_of
from segue.validation import named


@dataclass(frozen=True)
class RecommenderSettings:
    """A model and an index.

    Attributes:
        model: the settings of a model, or its name in `segue.models.MODELS`.
        index: the settings of an index, or its name in `segue.index.INDEXES`.
    """

    model: Any = "ials"
    index: Any = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", _model(self.model))
        object.__setattr__(self, "index", named(self.index, INDEXES, "index"))


def _model(model: Any) -> Any:
    """The settings of a model that an index can serve, from its name or as they are."""
    if not isinstance(model, str):
        if not spec_of(model).served:
            raise SettingError(f"{model!r} cannot be served; use one of {', '.join(served_models())}")
        return model
    name = model.lower()
    if name not in MODELS or not MODELS[name].served:
        raise SettingError(f"there is no model {model!r}; there are {', '.join(served_models())}")
    return MODELS[name].settings()
