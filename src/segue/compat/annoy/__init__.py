"""Annoy's interface and its files: change `annoy` to `segue.compat.annoy` in the imports."""

from segue.compat.annoy.index import AnnoyIndex

__all__ = ["AnnoyIndex"]
