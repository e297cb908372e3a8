"""LightFM's interface: change `lightfm` to `segue.compat.lightfm` in the imports."""

from segue.compat.lightfm import cross_validation, data, datasets, evaluation
from segue.compat.lightfm.lightfm import LightFM

__all__ = ["LightFM", "cross_validation", "data", "datasets", "evaluation"]
