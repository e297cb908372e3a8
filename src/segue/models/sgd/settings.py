"""The settings that all models of stochastic gradient descent share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from segue.errors import SettingError
from segue.models.sgd.passes import Sampling
from segue.validation import at_least, one_of


@dataclass(frozen=True)
class SGDSettings:
    """Settings shared by the four losses; `losses.py` documents them."""

    dim: int = 64
    epochs: int = 30
    learning_rate: float = 0.05
    schedule: str = "adagrad"
    rho: float = 0.95
    epsilon: float = 1e-6
    user_reg: float = 0.0
    item_reg: float = 0.0
    negative_sampling: str = "uniform"
    patience: int = 5
    seed: int = 0
    threads: int | None = None

    signed_weights: ClassVar[bool] = False  # whether interactions may have negative weights

    def __post_init__(self) -> None:
        at_least(self, dim=1, epochs=1, patience=1, seed=0)
        at_least(self, learning_rate=0.0, rho=0.0, epsilon=0.0, user_reg=0.0, item_reg=0.0)
        one_of(self, schedule=("adagrad", "adadelta"), negative_sampling=("uniform", "popular"))
        if self.rho >= 1 or (self.schedule == "adadelta" and self.epsilon == 0):
            raise SettingError(
                f"{type(self).__name__}(rho={self.rho}, epsilon={self.epsilon}): adadelta needs a rho "
                "below 1 and an epsilon above 0",
                arguments=("rho", "epsilon"),
            )

    def sampling(self, pool: np.ndarray) -> Sampling:
        """Return the loss with its draws from a pool of items, (m,) int32."""
        raise NotImplementedError
