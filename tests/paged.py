"""A model for the tests of the page: a title with HTML, an evaluation, measured indexes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

import segue
from segue.index.auto import Auto, AutoIndex, Measured

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><b>bold</b> & co"
MEASURED = (
    Measured("exact", "Exact(metric='dot')", 240, None, 1.0, 9.5, None, 40_000, True),
    Measured("hnsw", "HNSW(metric='dot')", 240, 64, 0.97, 21.5, 0.4, 90_000, True),
    Measured("ivf", "IVF(metric='dot')", 240, 8, 0.61, 4.5, 0.1, 60_000, False),
)


def save(folder: Path) -> Path:
    """Fit and save the model."""
    data = segue.data.simulate(150, 240, 5000, seed=5)
    titles = data.item_metadata["title"].to_list()
    titles[0] = HOSTILE
    data = replace(data, item_metadata=data.item_metadata.with_columns(pl.Series("title", titles)))
    trained = segue.Recommender(segue.IALS(dim=12, threads=1), index="auto").fit(data)
    index = AutoIndex(Auto(), segue.Exact().build(trained.embeddings.items), None, MEASURED)
    replace(trained, index=index, metrics={"ndcg@10": 0.3125, "recall@10": 0.25}).save(folder)
    return folder
