"""What each feature of a hybrid model contributes."""

from __future__ import annotations

import numpy as np
import polars as pl

from segue.data.features import IDENTITY
from segue.recommender.state import RecommenderState

SCHEMA = {
    "side": pl.String, "column": pl.String, "value": pl.String, "bias": pl.Float32, "length": pl.Float32,
}  # fmt: skip


def feature_effects(state: RecommenderState) -> pl.DataFrame:
    """Return side, column, value, bias and vector length of each feature, the largest biases first."""
    embeddings = state.embeddings
    dim = embeddings.dim - embeddings.biases
    parts = [pl.DataFrame(schema=SCHEMA)]
    for side, encoding, vectors, bias_column in (
        ("item", state.item_encoding, embeddings.item_features, dim + 1),
        ("user", state.user_encoding, embeddings.user_features, dim),
    ):
        if encoding is None or vectors is None:
            continue
        biases = vectors[:, bias_column] if embeddings.biases else [None] * len(vectors)
        effects = encoding.table.select(pl.lit(side).alias("side"), "column", "value").with_columns(
            pl.Series("bias", biases, pl.Float32),
            pl.Series("length", np.linalg.norm(vectors[:, :dim], axis=1).astype(np.float32)),
        )
        parts.append(effects.filter(pl.col("column") != IDENTITY).sort("bias", descending=True))
    return pl.concat(parts)
