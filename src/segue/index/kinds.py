"""The indexes that a choice is made of, by their names."""

from __future__ import annotations

from typing import Any

from segue.index.exact import Exact
from segue.index.forest import Forest

KINDS: dict[str, Any] = {"exact": Exact, "forest": Forest}
