"""Encode item text into vectors and search it by words and by meaning."""

from segue.text.encoders import ENCODERS, parse_encoder
from segue.text.index import TextIndex

__all__ = ["ENCODERS", "TextIndex", "parse_encoder"]
