"""Read, check, split and simulate interactions of users with items."""

from segue.data.features import Features
from segue.data.ids import IdMap
from segue.data.interactions import Interactions
from segue.data.simulate import simulate
from segue.data.sources import read_interactions

__all__ = ["Features", "IdMap", "Interactions", "read_interactions", "simulate"]
