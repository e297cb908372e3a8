"""`segue demo`: the whole path on one data set, told as it goes."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.text import Text

from segue import store
from segue.cli.terminal import Bars, evaluation_table, rows_table, summary
from segue.data.download import cache_folder, movielens_small
from segue.data.ids import Id
from segue.data.interactions import Interactions
from segue.data.simulate import simulate
from segue.data.sources import read_interactions
from segue.errors import DataError
from segue.evaluation.evaluate import evaluate
from segue.recommender.facade import TrainedRecommender
from segue.recommender.fitting import Recommender

SHOWN = 8  # rows of the small tables
SIMULATED = {"users": 2000, "items": 5000, "interactions": 200_000}


def demo_data(folder: Path | None, *, simulated: bool, seed: int) -> tuple[Interactions, str]:
    """Return the data and what it is: a MovieLens folder, else MovieLens small, else simulated."""
    if folder is not None:
        return read_interactions(folder), f"MovieLens in {folder}"
    if not simulated:
        try:
            found = movielens_small(cache_folder())
            return read_interactions(found), "MovieLens small (GroupLens, for research; grouplens.org)"
        except DataError as error:
            why = f"a simulated catalogue, because {error}"
            return simulate(**SIMULATED, seed=seed), why
    return simulate(**SIMULATED, seed=seed), "a simulated catalogue"


def run_demo(data: Interactions, what: str, output: Path, console: Console, *, progress: bool) -> None:
    """Show the data, train, evaluate, recommend to a person, find similar items, say what comes next."""
    store.check_target(output)
    _head(console, "1 · The data", what)
    console.print(f"  {summary(data)}")
    popular = _popular(data)
    console.print(rows_table(_described(data, popular).with_columns(users=_counts(data)[popular])), "")

    train, test = data.split(test=0.2, by="random", seed=0)
    _head(console, "2 · Training", f"iALS learns from {len(train):,} of them; {len(test):,} are held out")
    console.print("  The first run on a machine compiles the kernels; later ones load them.", "", sep="\n")
    with Bars(shown=progress) as bars:
        recommender = Recommender().fit(train, progress=bars)
        result = evaluate(recommender, test, k=10, progress=bars)
    recommender = replace(recommender, metrics=dict(result.model)).save(output)

    _head(console, "3 · How good it is", "where the held-out items rank among all items")
    console.print(f"  mean over {result.model.users:,} users ± standard error", evaluation_table(result), "")
    row = _typical_user(recommender)
    had = recommender.histories(np.array([row], np.int32))
    best = had.indices[np.argsort(-had.data, kind="stable")]
    _show_person(recommender, row, best, console)
    _show_similar(recommender, recommender.users[row], int(best[0]), console)
    _show_next(recommender, recommender.users[row], recommender.items[int(best[0])], output, console)


def _head(console: Console, name: str, rest: str) -> None:
    console.print(Text.assemble((name, "bold"), f": {rest}"))


def _show_person(recommender: TrainedRecommender, row: int, had: np.ndarray, console: Console) -> None:
    user = recommender.users[row]
    _head(console, "4 · A person", f"user {user} had {len(had):,} items, such as")
    console.print(rows_table(_described(recommender, had[:SHOWN])), "")
    found = recommender.recommend(user, k=SHOWN)
    listed = _described(recommender, recommender.items.rows(found["item_id"])).with_columns(found["score"])
    console.print(f"and gets these recommended, out of {len(recommender.items):,}", rows_table(listed), "")


def _show_similar(recommender: TrainedRecommender, user: Id, row: int, console: Console) -> None:
    item, titles = recommender.items[row], recommender.titles(np.array([row]))
    called = f"item {item}" if titles is None else f"{titles[0]} (item {item})"
    _head(console, "5 · Similar items", f"closest to {called}, which user {user} had")
    found = recommender.similar(item, k=SHOWN)
    rows = recommender.items.rows(found["neighbor_id"])
    console.print(rows_table(_described(recommender, rows).with_columns(found["score"])), "")


def _show_next(recommender: TrainedRecommender, user: Id, item: Id, output: Path, console: Console) -> None:
    model = shlex.quote(str(output))
    commands = {
        f"segue recommend {model} --user {user} -k 5": "more for this person",
        f"segue recommend {model} --history {item}": "for someone new",
        f"segue similar {model} --item {item}": "what goes with an item",
        f"segue batch {model} -o recs.parquet": "for everybody, as a file",
        "segue fit ratings.csv -o model": "your own data",
    }
    width = max(map(len, commands))
    _head(console, "6 · What next", f"the model is in {output} (version {recommender.version})")
    for command, purpose in commands.items():
        console.print(f"  {command:{width}}  {purpose}")


def _described(source: Interactions | TrainedRecommender, rows: np.ndarray) -> pl.DataFrame:
    """The ids of some items and what is known of them."""
    ids = source.items.series.gather(rows).alias("item_id").to_frame()
    if source.item_metadata is None:
        return ids
    return ids.hstack(source.item_metadata[rows])


def _counts(data: Interactions) -> pl.Series:
    return pl.Series("users", np.bincount(data.matrix.indices, minlength=len(data.items)))


def _popular(data: Interactions) -> np.ndarray:
    counts = _counts(data).to_numpy()
    return np.argsort(-counts, kind="stable")[:SHOWN]


def _typical_user(recommender: TrainedRecommender) -> int:
    """The user whose number of items is the median."""
    counts = np.diff(recommender.interactions.indptr)
    return int(np.argsort(counts, kind="stable")[len(counts) // 2])
