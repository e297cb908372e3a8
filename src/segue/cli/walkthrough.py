"""The steps of `segue demo`: data, training, evaluation, recommendations, similar items."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.text import Text

from segue import store
from segue.cli.progress import ProgressBars
from segue.cli.tables import evaluation_table, rows_table, summary
from segue.data.download import cache_folder, movielens_small
from segue.data.ids import Id
from segue.data.interactions import Interactions
from segue.data.simulation import simulate
from segue.data.sources import read_interactions
from segue.errors import DataError
from segue.evaluation.evaluate import evaluate
from segue.recommender.facade import TrainedRecommender
from segue.recommender.fitting import Recommender

SHOWN = 8  # rows of the small tables
SIMULATED = {"users": 2000, "items": 5000, "interactions": 200_000}


def load_demo_data(folder: Path | None, *, simulated: bool, seed: int) -> tuple[Interactions, str]:
    """Return the data and their description: a MovieLens folder, else MovieLens small, else simulated."""
    if folder is not None:
        return read_interactions(folder), f"MovieLens in {folder}"
    if not simulated:
        try:
            downloaded = movielens_small(cache_folder())
            return read_interactions(downloaded), "MovieLens small (GroupLens, for research; grouplens.org)"
        except DataError as error:
            return simulate(**SIMULATED, seed=seed), f"simulated, because {error}"
    return simulate(**SIMULATED, seed=seed), "simulated"


def run_demo(data: Interactions, description: str, output: Path, console: Console, *, progress: bool) -> None:
    """Show the data, train, evaluate, recommend to a user, find similar items, name the next commands."""
    store.check_target(output)
    _heading(console, "1 · The data", description)
    console.print(f"  {summary(data)}")
    popular = _popular(data)
    console.print(rows_table(_described(data, popular).with_columns(users=_counts(data)[popular])), "")

    train, test = data.split(test=0.2, by="random", seed=0)
    _heading(console, "2 · Training", f"iALS trains on {len(train):,} of them; {len(test):,} are held out")
    console.print("  The first run on a machine compiles the kernels; later ones load them.", "", sep="\n")
    with ProgressBars(shown=progress) as bars:
        recommender = Recommender().fit(train, progress=bars)
        result = evaluate(recommender, test, k=10, progress=bars)
    recommender = replace(recommender, metrics=dict(result.model)).save(output)

    _heading(console, "3 · Evaluation", "the ranks of the held-out items among all items")
    console.print(f"  mean over {result.model.users:,} users ± standard error", evaluation_table(result), "")
    row = _typical_user(recommender)
    history = recommender.histories(np.array([row], np.int32))
    best = history.indices[np.argsort(-history.data, kind="stable")]
    _show_user(recommender, row, best, console)
    _show_similar(recommender, recommender.users[row], int(best[0]), console)
    _show_next(recommender, recommender.users[row], recommender.items[int(best[0])], output, console)


def _heading(console: Console, name: str, rest: str) -> None:
    console.print(Text.assemble((name, "bold"), f": {rest}"))


def _show_user(recommender: TrainedRecommender, row: int, history: np.ndarray, console: Console) -> None:
    user = recommender.users[row]
    _heading(console, "4 · A user", f"user {user} has {len(history):,} items, such as")
    console.print(rows_table(_described(recommender, history[:SHOWN])), "")
    lists = recommender.recommend(user, k=SHOWN)
    table = _described(recommender, recommender.items.rows(lists["item_id"])).with_columns(lists["score"])
    console.print(f"Recommendations out of {len(recommender.items):,} items", rows_table(table), "")


def _show_similar(recommender: TrainedRecommender, user: Id, row: int, console: Console) -> None:
    item, titles = recommender.items[row], recommender.titles(np.array([row]))
    name = f"item {item}" if titles is None else f"{titles[0]} (item {item})"
    _heading(console, "5 · Similar items", f"nearest to {name}, an item of user {user}")
    neighbors = recommender.similar(item, k=SHOWN)
    rows = recommender.items.rows(neighbors["neighbor_id"])
    console.print(rows_table(_described(recommender, rows).with_columns(neighbors["score"])), "")


def _show_next(recommender: TrainedRecommender, user: Id, item: Id, output: Path, console: Console) -> None:
    model = shlex.quote(str(output))
    commands = {
        f"segue recommend {model} --user {user} -k 5": "more for this user",
        f"segue recommend {model} --history {item}": "for a new user",
        f"segue similar {model} --item {item}": "items similar to an item",
        f"segue batch {model} -o recs.parquet": "for all users, as a file",
        "segue fit ratings.csv -o model": "your own data",
    }
    width = max(map(len, commands))
    _heading(console, "6 · Next steps", f"the model is in {output} (version {recommender.version})")
    for command, purpose in commands.items():
        console.print(f"  {command:{width}}  {purpose}")


def _described(source: Interactions | TrainedRecommender, rows: np.ndarray) -> pl.DataFrame:
    """Return the ids and the metadata of item rows."""
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
    """Return the row of a user with a median number of items."""
    counts = np.diff(recommender.interactions.indptr)
    return int(np.argsort(counts, kind="stable")[len(counts) // 2])
