"""Interactions: reading, holding, splitting and simulating them."""

from segue.data.ids import IdMap
from segue.data.interactions import Interactions
from segue.data.simulate import simulate
from segue.data.sources import read_interactions

__all__ = ["IdMap", "Interactions", "read_interactions", "simulate"]
