"""The registry entries of the models of stochastic gradient descent."""

from __future__ import annotations

from segue.models.base import ModelSpec
from segue.models.search_space import Choices, Range
from segue.models.sgd.losses import BPR, KOSWARP, WARP, Logistic

PENALTIES = (0.0, 1e-6, 1e-5, 1e-4, 1e-3)
SPACE: dict[str, Range | Choices] = {
    "dim": (32, 64, 128),
    "epochs": Range(5, 80, log=True),
    "learning_rate": Range(0.005, 0.3, log=True),
    "user_reg": PENALTIES,
    "item_reg": PENALTIES,
}


def _spec(settings: type, *, signed_weights: bool = False, **space: Range | Choices) -> ModelSpec:
    return ModelSpec(
        settings,
        {**SPACE, **space},
        features=True,
        validation=True,
        warm_start=True,
        signed_weights=signed_weights,
        lock_free=True,
    )


BPR_SPEC = _spec(BPR, negative_sampling=("popular", "uniform"))
KOSWARP_SPEC = _spec(KOSWARP, max_sampled=Range(5, 50, log=True), k=Range(1, 8), n=Range(8, 20))
LOGISTIC_SPEC = _spec(Logistic, negatives=Range(1, 10), signed_weights=True)
WARP_SPEC = _spec(WARP, max_sampled=Range(5, 50, log=True))
