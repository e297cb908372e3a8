"""The models: settings with one verb, `fit`."""

from typing import Any

from segue.models.als import ALS
from segue.models.baselines import ItemKNN, Popularity
from segue.models.blend import Blend
from segue.models.contrastive import Contrastive
from segue.models.ease import EASE
from segue.models.embeddings import Embeddings
from segue.models.explicit import BiasedMF
from segue.models.ials import IALS
from segue.models.item2vec import Item2Vec
from segue.models.sgd.losses import BPR, KOSWARP, WARP, Logistic
from segue.models.svdae import SVDAE
from segue.models.text import Text

MODELS: dict[str, Any] = {
    "als": ALS,
    "biasedmf": BiasedMF,
    "blend": Blend,
    "bpr": BPR,
    "contrastive": Contrastive,
    "ials": IALS,
    "item2vec": Item2Vec,
    "koswarp": KOSWARP,
    "logistic": Logistic,
    "popularity": Popularity,
    "svdae": SVDAE,
    "text": Text,
    "warp": WARP,
}
HYBRID: tuple[type, ...] = (WARP, KOSWARP, BPR, Logistic)  # those whose `fit` takes validation and a start
FEATURED: tuple[type, ...] = (*HYBRID, IALS)  # those whose `fit` takes features

__all__ = [
    "ALS",
    "BPR",
    "EASE",
    "FEATURED",
    "HYBRID",
    "IALS",
    "KOSWARP",
    "MODELS",
    "SVDAE",
    "WARP",
    "BiasedMF",
    "Blend",
    "Contrastive",
    "Embeddings",
    "Item2Vec",
    "ItemKNN",
    "Logistic",
    "Popularity",
    "Text",
]
