"""The models: settings with one verb, `fit`."""

from typing import Any

from segue.models.baselines import ItemKNN, Popularity
from segue.models.embeddings import Embeddings
from segue.models.ials import IALS
from segue.models.sgd import BPR, KOSWARP, WARP, Logistic

MODELS: dict[str, Any] = {
    "ials": IALS,
    "popularity": Popularity,
    "warp": WARP,
    "koswarp": KOSWARP,
    "bpr": BPR,
    "logistic": Logistic,
}
HYBRID: tuple[type, ...] = (WARP, KOSWARP, BPR, Logistic)  # those whose `fit` takes features and validation

__all__ = [
    "BPR",
    "HYBRID",
    "IALS",
    "KOSWARP",
    "MODELS",
    "WARP",
    "Embeddings",
    "ItemKNN",
    "Logistic",
    "Popularity",
]
