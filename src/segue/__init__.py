"""segue: learn vectors from interactions, find the best items for a vector, recommend."""

from segue import data, index, models
from segue.data.interactions import Interactions
from segue.data.sources import read_interactions
from segue.errors import SegueError
from segue.evaluation import Evaluation, evaluate
from segue.index import Exact
from segue.models import IALS, Embeddings, ItemKNN, Popularity
from segue.recommender import Recommender, TrainedRecommender, load

__version__ = "0.1.0"

__all__ = [
    "IALS",
    "Embeddings",
    "Evaluation",
    "Exact",
    "Interactions",
    "ItemKNN",
    "Popularity",
    "Recommender",
    "SegueError",
    "TrainedRecommender",
    "data",
    "evaluate",
    "index",
    "load",
    "models",
    "read_interactions",
]
