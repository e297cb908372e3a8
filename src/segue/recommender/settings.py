"""The settings of a recommender: which model learns the vectors and which index searches them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from segue.index import INDEXES
from segue.models import SERVED
from segue.validation import named

SERVED_CLASSES = {name: spec.settings for name, spec in SERVED.items()}


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
        object.__setattr__(self, "model", named(self.model, SERVED_CLASSES, "model"))
        object.__setattr__(self, "index", named(self.index, INDEXES, "index"))
