"""Other libraries' interfaces, over segue's own kernels."""

from segue.compat import lightfm

__all__ = ["lightfm"]
