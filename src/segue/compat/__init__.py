"""Other libraries' interfaces, over segue's own kernels."""

from segue.compat import annoy, lightfm

__all__ = ["annoy", "lightfm"]
