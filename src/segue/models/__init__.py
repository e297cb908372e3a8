"""The models: settings with one verb, `fit`."""

from typing import Any

from segue.models.baselines import ItemKNN, Popularity
from segue.models.contrastive import Contrastive
from segue.models.ease import EASE
from segue.models.embeddings import Embeddings
from segue.models.explicit import BiasedMF
from segue.models.ials import IALS
from segue.models.item2vec import Item2Vec
from segue.models.sgd import BPR, KOSWARP, WARP, Logistic
from segue.models.text import Text

MODELS: dict[str, Any] = {
    "biasedmf": BiasedMF,
    "bpr": BPR,
    "contrastive": Contrastive,
    "ials": IALS,
    "item2vec": Item2Vec,
    "koswarp": KOSWARP,
    "logistic": Logistic,
    "popularity": Popularity,
    "text": Text,
    "warp": WARP,
}
HYBRID: tuple[type, ...] = (WARP, KOSWARP, BPR, Logistic)  # those whose `fit` takes features and validation

__all__ = [
    "BPR",
    "EASE",
    "HYBRID",
    "IALS",
    "KOSWARP",
    "MODELS",
    "WARP",
    "BiasedMF",
    "Contrastive",
    "Embeddings",
    "Item2Vec",
    "ItemKNN",
    "Logistic",
    "Popularity",
    "Text",
]
