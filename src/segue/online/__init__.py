"""Between two trainings: profiles, exploration, diversification, explanations."""

from segue.online.averages import EMA, HalfLife, Neighbors, Recent
from segue.online.candidates import CandidateContext, Selection
from segue.online.diversity import DIVERSIFIERS, DPP, MMR, diversify
from segue.online.exploration import (
    EXPLORERS,
    Buckets,
    Gaussian,
    Gumbel,
    Optimism,
    RankBuckets,
    Reserved,
    ShiftedGaussian,
    Thompson,
    explore,
)
from segue.online.interests import Interests
from segue.online.posterior import Posterior
from segue.online.profile import PROFILES, Profile, to_json
from segue.online.profile_state import Queries, State
from segue.online.space import Space

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
    "Neighbors",
    "Optimism",
    "Posterior",
    "Profile",
    "Queries",
    "RankBuckets",
    "Recent",
    "Reserved",
    "Selection",
    "ShiftedGaussian",
    "Space",
    "State",
    "Thompson",
    "diversify",
    "explore",
    "to_json",
]
