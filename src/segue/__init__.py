"""segue: learn vectors from interactions, find the best items for a vector, recommend."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segue import compat, data, errors, evaluation, index, models, online, serve, store
    from segue.data.features import Features
    from segue.data.interactions import Interactions
    from segue.data.sources import read_interactions, read_items
    from segue.errors import SegueError
    from segue.evaluation.evaluate import Evaluation, evaluate, evaluate_ratings
    from segue.index.exact import Exact
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
    from segue.recommender.facade import TrainedRecommender
    from segue.recommender.fitting import Recommender, load
    from segue.tuning.search import Tuned, tune

__version__ = "0.1.0"

__all__ = [
    "BPR",
    "EASE",
    "IALS",
    "KOSWARP",
    "SVDAE",
    "WARP",
    "BiasedMF",
    "Blend",
    "Contrastive",
    "Embeddings",
    "Evaluation",
    "Exact",
    "Features",
    "Interactions",
    "Item2Vec",
    "ItemKNN",
    "Logistic",
    "Popularity",
    "Recommender",
    "SegueError",
    "Text",
    "TrainedRecommender",
    "Tuned",
    "compat",
    "data",
    "errors",
    "evaluate",
    "evaluate_ratings",
    "evaluation",
    "index",
    "load",
    "models",
    "online",
    "read_interactions",
    "read_items",
    "serve",
    "store",
    "tune",
]

_HOMES = {  # the modules of the names; each is imported when it is first asked for
    "data.features": ("Features",),
    "data.interactions": ("Interactions",),
    "data.sources": ("read_interactions", "read_items"),
    "errors": ("SegueError",),
    "evaluation.evaluate": ("Evaluation", "evaluate", "evaluate_ratings"),
    "index.exact": ("Exact",),
    "models.baselines": ("ItemKNN", "Popularity"),
    "models.blend": ("Blend",),
    "models.contrastive": ("Contrastive",),
    "models.ease": ("EASE",),
    "models.embeddings": ("Embeddings",),
    "models.explicit": ("BiasedMF",),
    "models.ials": ("IALS",),
    "models.item2vec": ("Item2Vec",),
    "models.sgd.losses": ("BPR", "KOSWARP", "WARP", "Logistic"),
    "models.svdae": ("SVDAE",),
    "models.text": ("Text",),
    "recommender.facade": ("TrainedRecommender",),
    "recommender.fitting": ("Recommender", "load"),
    "tuning.search": ("Tuned", "tune"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'segue' has no attribute {name!r}")
    if name not in _HOME:
        return import_module(f"segue.{name}")
    return getattr(import_module(f"segue.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
