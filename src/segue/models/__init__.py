"""The models: settings with one verb, `fit`."""

from typing import Any

from segue.models.baselines import ItemKNN, Popularity
from segue.models.embeddings import Embeddings
from segue.models.ials import IALS

MODELS: dict[str, Any] = {"ials": IALS, "popularity": Popularity}

__all__ = ["IALS", "MODELS", "Embeddings", "ItemKNN", "Popularity"]
