"""What tuning may change in each model, and how far: its search space."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any

from segue.data.interactions import Interactions
from segue.errors import SettingError


@dataclass(frozen=True)
class Span:
    """A range of numbers, whole ones where its ends are.

    Attributes:
        low, high: its ends, both included.
        log: whether 1 to 2 is as far as 10 to 20.
        relative: whether the ends are multiples of the default that the data lead to.
    """

    low: float
    high: float
    log: bool = False
    relative: bool = False


Setting = Span | tuple[Any, ...]  # a range, or the choices there are
PENALTIES = (0.0, 1e-6, 1e-5, 1e-4, 1e-3)
SGD: dict[str, Setting] = {
    "dim": (32, 64, 128),
    "epochs": Span(5, 80, log=True),
    "learning_rate": Span(0.005, 0.3, log=True),
    "user_reg": PENALTIES,
    "item_reg": PENALTIES,
}
SPACES: dict[str, dict[str, Setting]] = {
    "als": {
        "dim": (16, 32, 64, 128),
        "iterations": Span(4, 32, log=True),
        "reg": Span(1e-3, 1.0, log=True),
        "alpha": Span(0.1, 100.0, log=True),
    },
    "biasedmf": {
        "dim": (8, 16, 32, 64, 128),
        "iterations": Span(4, 32, log=True),
        "reg": Span(0.1, 10.0, log=True),
        "reg_exponent": Span(0.0, 1.0),
        "bias_reg": Span(0.5, 50.0, log=True),
    },
    "blend": {
        "dim": (64, 128, 256, 512),
        "directions": (128, 256, 512, 1024),
        "share": Span(0.0, 0.8),
        "iterations": Span(4, 32, log=True),
        "unobserved_weight": Span(0.05, 5.0, log=True, relative=True),
        "reg": Span(1e-4, 1.0, log=True),
    },
    "bpr": {**SGD, "negative_sampling": ("popular", "uniform")},
    "contrastive": {
        "dim": (32, 64, 128),
        "epochs": Span(4, 24, log=True),
        "layers": Span(0, 3),
        "temperature": Span(0.05, 0.5, log=True),
        "rate": Span(0.005, 0.1, log=True),
        "user_exponent": Span(0.0, 1.0),
    },
    "ials": {
        "dim": (32, 64, 128, 256),
        "iterations": Span(4, 32, log=True),
        "unobserved_weight": Span(0.05, 5.0, log=True, relative=True),
        "reg": Span(1e-4, 1.0, log=True),
    },
    "item2vec": {
        "dim": (32, 64, 128),
        "epochs": Span(5, 60, log=True),
        "window": Span(2, 20, log=True),
        "negatives": Span(2, 20, log=True),
        "rate": Span(0.01, 0.2, log=True),
        "noise_exponent": Span(-0.5, 1.0),
    },
    "koswarp": {**SGD, "max_sampled": Span(5, 50, log=True), "k": Span(1, 8), "n": Span(8, 20)},
    "logistic": {**SGD, "negatives": Span(1, 10)},
    "svdae": {"dim": (32, 64, 128, 256, 512, 1024), "iterations": Span(2, 6)},
    "warp": {**SGD, "max_sampled": Span(5, 50, log=True)},
}


def space_of(
    model: str, settings: Any, interactions: Interactions, fixed: Collection[str] = ()
) -> dict[str, Setting]:
    """Return what may be changed in a model's settings, relative ranges turned into plain ones."""
    found: dict[str, Setting] = {}
    for name, setting in SPACES[model].items():
        if name in fixed:
            continue
        if isinstance(setting, Span) and setting.relative:
            middle = getattr(settings.resolved(interactions), name)
            setting = Span(setting.low * middle, setting.high * middle, setting.log)
        found[name] = setting
    return found


def passes_of(settings: Any) -> str:
    """Return the setting that says how many passes over the data a model takes."""
    return next(field.name for field in fields(settings) if field.name in ("epochs", "iterations"))


def check_tunable(model: str) -> None:
    """Raise `SettingError` for a model that has nothing to tune, or does not exist."""
    if model not in SPACES:
        raise SettingError(
            f"{model!r} is no model with anything to tune; those that have are {', '.join(SPACES)}"
        )
