"""Search spaces: the settings of a model that tuning changes, with their ranges."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from segue.data.interactions import Interactions


@dataclass(frozen=True)
class Range:
    """A range of numbers; of integers if both bounds are integers.

    Attributes:
        low, high: the bounds, inclusive.
        log: whether values are sampled on a logarithmic scale.
        relative: whether the bounds are multiples of the value that `resolved` computes from the data.
    """

    low: float
    high: float
    log: bool = False
    relative: bool = False


Choices: TypeAlias = tuple[int, ...] | tuple[float, ...] | tuple[str, ...]
SearchSpace: TypeAlias = Mapping[str, Range | Choices]


def resolve_space(
    space: SearchSpace,
    settings: Any,  # of any model
    interactions: Interactions,
    fixed: Collection[str] = (),
) -> dict[str, Range | Choices]:
    """Return a search space without the fixed settings and with relative ranges made absolute."""
    resolved: dict[str, Range | Choices] = {}
    for name, values in space.items():
        if name in fixed:
            continue
        if isinstance(values, Range) and values.relative:
            default = getattr(settings.resolved(interactions), name)
            values = Range(values.low * default, values.high * default, values.log)
        resolved[name] = values
    return resolved


def passes_field(settings: Any) -> str:
    """Return the name of the setting that counts the passes over the data: epochs or iterations."""
    return next(field.name for field in fields(settings) if field.name in ("epochs", "iterations"))
