"""The indexes that a choice is made of, by their names."""

from __future__ import annotations

from typing import Any

from segue.index.exact import Exact

KINDS: dict[str, Any] = {"exact": Exact}
