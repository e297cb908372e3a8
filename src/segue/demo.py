"""`segue demo`: the whole path on one data set, told as it goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console

from segue.data.download import cache_folder, movielens_small
from segue.data.interactions import Interactions
from segue.data.simulate import simulate
from segue.data.sources import read_interactions
from segue.errors import DataError
from segue.evaluation import evaluate
from segue.recommender import Recommender, TrainedRecommender
from segue.terminal import Bars, evaluation_table, rows_table, summary

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
    console.print(f"[bold]1 · The data[/bold]: {what}\n  {summary(data)}")
    popular = _popular(data)
    console.print(rows_table(_described(data, popular).with_columns(users=_counts(data)[popular])), "")

    train, test = data.split(test=0.2, by="random", seed=0)
    console.print(
        f"[bold]2 · Training[/bold] iALS on {len(train):,} of them; {len(test):,} are held out. "
        "(The first run on a machine compiles the kernels; later ones load them.)"
    )
    with Bars(shown=progress) as bars:
        recommender = Recommender().fit(train, progress=bars)
        result = evaluate(recommender, test, k=10, progress=bars)
    recommender = replace(recommender, metrics=dict(result.model)).save(output)
    title = (
        "[bold]3 · How good it is[/bold]: held-out items in each user's ranking of all items ± standard error"
    )
    console.print("", evaluation_table(result, title), "", sep="\n")
    _show_person(recommender, console)
    _show_similar(recommender, popular[0], console)
    _show_next(recommender, output, console)


def _show_person(recommender: TrainedRecommender, console: Console) -> None:
    row = _typical_user(recommender)
    had = recommender.history(np.array([row], np.int32))
    best = had.indices[np.argsort(-had.data, kind="stable")][:SHOWN]
    user = recommender.users[row]
    console.print(
        rows_table(
            _described(recommender, best),
            f"[bold]4 · A person[/bold]: user {user} had {had.nnz} items, such as",
        )
    )
    found = recommender.recommend(user, k=SHOWN)
    rows = recommender.items.rows(found["item_id"])
    listed = _described(recommender, rows).with_columns(found["score"])
    console.print(
        "", rows_table(listed, f"and gets these recommended, out of {len(recommender.items):,}"), "", sep="\n"
    )


def _show_similar(recommender: TrainedRecommender, row: int, console: Console) -> None:
    found = recommender.similar(recommender.items[row], k=SHOWN)
    name = recommender.titles(np.array([row]))
    called = recommender.items[row] if name is None else name[0]
    listed = _described(recommender, recommender.items.rows(found["neighbor_id"])).with_columns(
        found["score"]
    )
    console.print(
        rows_table(listed, f"[bold]5 · Similar items[/bold]: people who take {called} also take"), ""
    )


def _show_next(recommender: TrainedRecommender, output: Path, console: Console) -> None:
    user, item = recommender.users[_typical_user(recommender)], recommender.items[0]
    console.print(
        f"[bold]6 · What next[/bold]: the model is in {output} (version {recommender.version})\n"
        f"  segue recommend {output} --user {user} -k 5     more for this person\n"
        f"  segue recommend {output} --history {item}         for someone new, from what they had\n"
        f"  segue similar {output} --item {item}              what goes with an item\n"
        f"  segue batch {output} -o recs.parquet         for everybody, as a file\n"
        "  segue fit ratings.csv -o model               the same with your own data (segue fit --help)"
    )


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
    counts = np.diff(recommender.seen.indptr)
    return int(np.argsort(counts, kind="stable")[len(counts) // 2])
