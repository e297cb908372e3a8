"""The models: settings classes with the verb `fit`, and their registry `MODELS`."""

from typing import TYPE_CHECKING

from segue.lazy import lazy_names

if TYPE_CHECKING:
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
    from segue.models.registry import MODELS, check_tunable, name_of, served_models, spec_of, tunable_models
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
    "SVDAE",
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
    "name_of",
    "served_models",
    "spec_of",
    "tunable_models",
]

__getattr__ = lazy_names(
    "segue.models",
    {
        "als": ("ALS",),
        "base": (
            "Baseline",
            "FoldIn",
            "Model",
            "ModelSpec",
            "Representation",
            "Updatable",
        ),
        "baselines": (
            "ItemKNN",
            "Popularity",
        ),
        "blend": ("Blend",),
        "contrastive": ("Contrastive",),
        "ease": ("EASE",),
        "embeddings": ("Embeddings",),
        "explicit": ("BiasedMF",),
        "ials": ("IALS",),
        "item2vec": ("Item2Vec",),
        "registry": (
            "MODELS",
            "check_tunable",
            "name_of",
            "served_models",
            "spec_of",
            "tunable_models",
        ),
        "sgd.losses": (
            "BPR",
            "KOSWARP",
            "WARP",
            "Logistic",
        ),
        "svdae": ("SVDAE",),
        "text": ("Text",),
    },
)
