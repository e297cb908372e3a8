"""Hints for someone who names an item by its title instead of its id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import polars as pl

from segue.errors import UnknownIdError
from segue.recommender.facade import TrainedRecommender


@contextmanager
def looked_up(trained: TrainedRecommender, asked: Iterable[str]) -> Iterator[None]:
    """Say of items that are not known by their id which ones have such a title."""
    try:
        yield
    except UnknownIdError as error:
        unknown = [text for text in asked if trained.items.find(text) < 0]
        hints = "".join(_titled(trained, text) for text in unknown[:3])
        raise UnknownIdError(f"{error}{hints}") from error


def _titled(trained: TrainedRecommender, text: str) -> str:
    titles = trained.titles(np.arange(len(trained.items)))
    if titles is None:
        return ""
    named = pl.DataFrame({"id": trained.items.series, "title": titles.cast(pl.String)})
    alike = named.filter(pl.col("title").str.to_lowercase().str.contains(text.lower(), literal=True))
    if alike.is_empty():
        return ""
    first = alike.sort(pl.col("title").str.len_chars(), maintain_order=True).head(3)
    told = ", ".join(f"{one} ({title})" for one, title in first.iter_rows())
    return f"; items with {text!r} in their title: {told}"
