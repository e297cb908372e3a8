"""The models: settings with one verb, `fit`."""

from typing import Any

from segue.models.baselines import ItemKNN, Popularity
from segue.models.contrastive import Contrastive
from segue.models.ease import EASE
from segue.models.embeddings import Embeddings
from segue.models.explicit import BiasedMF
from segue.models.ials import IALS
from segue.models.item2vec import Item2Vec

MODELS: dict[str, Any] = {
    "biasedmf": BiasedMF,
    "contrastive": Contrastive,
    "ials": IALS,
    "item2vec": Item2Vec,
    "popularity": Popularity,
}

__all__ = [
    "EASE",
    "IALS",
    "MODELS",
    "BiasedMF",
    "Contrastive",
    "Embeddings",
    "Item2Vec",
    "ItemKNN",
    "Popularity",
]
