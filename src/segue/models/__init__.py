"""The models: settings classes with the verb `fit`, and their registry `MODELS`."""

from segue.models.als import ALS
from segue.models.base import Baseline, FoldIn, Model, ModelSpec, Representation, Updatable
from segue.models.baselines import ItemKNN, Popularity
from segue.models.blend import Blend
from segue.models.contrastive import Contrastive
from segue.models.ease import EASE
from segue.models.embeddings import Embeddings
from segue.models.explicit import BiasedMF
from segue.models.ials import IALS
from segue.models.item2vec import Item2Vec
from segue.models.registry import MODELS, SERVED, TUNABLE, check_tunable, spec_of
from segue.models.sgd.losses import BPR, KOSWARP, WARP, Logistic
from segue.models.svdae import SVDAE
from segue.models.text import Text

__all__ = [
    "ALS",
    "BPR",
    "EASE",
    "IALS",
    "KOSWARP",
    "MODELS",
    "SERVED",
    "SVDAE",
    "TUNABLE",
    "WARP",
    "Baseline",
    "BiasedMF",
    "Blend",
    "Contrastive",
    "Embeddings",
    "FoldIn",
    "Item2Vec",
    "ItemKNN",
    "Logistic",
    "Model",
    "ModelSpec",
    "Popularity",
    "Representation",
    "Text",
    "Updatable",
    "check_tunable",
    "spec_of",
]
