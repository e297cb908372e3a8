"""What happens between two trainings: profiles, exploration, diversity, reasons."""

from segue.online.averages import EMA, HalfLife, Neighbours, Recent
from segue.online.candidates import CandidateContext, Selection
from segue.online.diversify import DIVERSIFIERS, DPP, MMR, diversify
from segue.online.explore import EXPLORERS, Buckets, Gaussian, Gumbel, Optimism, Reserved, Thompson, explore
from segue.online.interests import Interests
from segue.online.posterior import Posterior
from segue.online.profile import PROFILES, Profile, stored
from segue.online.space import Space
from segue.online.state import Queries, State

__all__ = [
    "DIVERSIFIERS",
    "DPP",
    "EMA",
    "EXPLORERS",
    "MMR",
    "PROFILES",
    "Buckets",
    "CandidateContext",
    "Gaussian",
    "Gumbel",
    "HalfLife",
    "Interests",
    "Neighbours",
    "Optimism",
    "Posterior",
    "Profile",
    "Queries",
    "Recent",
    "Reserved",
    "Selection",
    "Space",
    "State",
    "Thompson",
    "diversify",
    "explore",
    "stored",
]
