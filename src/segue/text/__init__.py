"""Text of items: encoded into vectors, cached, searched by words and by meaning."""

from segue.text.encoders import ENCODERS, encoder_of
from segue.text.index import TextIndex

__all__ = ["ENCODERS", "TextIndex", "encoder_of"]
