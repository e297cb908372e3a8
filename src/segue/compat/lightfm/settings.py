"""The names of LightFM's parameters, and the checks of their values."""

from __future__ import annotations

from segue.compat.lightfm.errors import ParameterError

LOSSES, SCHEDULES = ("logistic", "warp", "bpr", "warp-kos"), ("adagrad", "adadelta")
NAMES = (
    "loss", "learning_schedule", "no_components", "learning_rate", "k", "n", "rho", "epsilon", "max_sampled",
    "item_alpha", "user_alpha", "random_state",
)  # fmt: skip


def check_settings(
    no_components: int,
    k: int,
    n: int,
    learning_schedule: str,
    loss: str,
    rho: float,
    epsilon: float,
    item_alpha: float,
    user_alpha: float,
    max_sampled: int,
) -> None:
    """Raise `ParameterError` for a parameter of LightFM that is out of range."""
    _require(item_alpha >= 0, "item_alpha", item_alpha, "must be at least 0")
    _require(user_alpha >= 0, "user_alpha", user_alpha, "must be at least 0")
    _require(no_components > 0, "no_components", no_components, "must be at least 1")
    _require(k > 0, "k", k, "must be at least 1")
    _require(n > 0, "n", n, "must be at least 1")
    _require(0 < rho < 1, "rho", rho, "must be above 0 and below 1")
    _require(epsilon >= 0, "epsilon", epsilon, "must be at least 0")
    _require(max_sampled >= 1, "max_sampled", max_sampled, "must be at least 1")
    schedules, losses = (", ".join(map(repr, names)) for names in (SCHEDULES, LOSSES))
    known = learning_schedule in SCHEDULES
    _require(known, "learning_schedule", learning_schedule, f"must be one of {schedules}")
    _require(loss in LOSSES, "loss", loss, f"must be one of {losses}")


def _require(valid: bool, name: str, value: object, condition: str) -> None:
    if not valid:
        raise ParameterError(f"LightFM({name}={value!r}) {condition}")
