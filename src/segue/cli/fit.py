"""segue fit: from interactions to a model folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from segue import store
from segue.cli.answers import evaluation_json, print_evaluation, print_json, rating_errors
from segue.cli.cluster import Spark, fit_on_spark
from segue.cli.options import Duplicates, Item, Json, MinWeight, Query, Quiet, Time, User, Weight
from segue.cli.terminal import Bars, output, summary
from segue.cli.values import ids_of, model_settings
from segue.data.features import Features
from segue.data.interactions import Interactions
from segue.data.sources import read_interactions, read_items, read_table
from segue.errors import SettingError
from segue.evaluation.evaluate import Evaluation, RatingErrors, evaluate
from segue.index import INDEXES
from segue.models import MODELS, Text
from segue.recommender.facade import TrainedRecommender
from segue.recommender.fitting import Recommender


def fit(
    folder: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL", help="The model folder to write.")
    ],
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="CSV, Parquet, JSON, a MovieLens folder, or a database URL with --query. "
            "Without it --items and --text make a model of a table of items alone.",
        ),
    ] = None,
    user: User = None,
    item: Item = None,
    weight: Weight = None,
    time: Time = None,
    min_weight: MinWeight = None,
    duplicates: Duplicates = "sum",
    core: Annotated[
        int | None, typer.Option(help="Keep users and items with at least so many interactions.")
    ] = None,
    query: Query = None,
    items: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="CSV, Parquet or JSON with what is known of the items (title, …)."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help=f"One of: {', '.join(MODELS)}; ials, or text without a source."),
    ] = None,
    index: Annotated[str, typer.Option(help=f"One of: {', '.join(INDEXES)}.")] = "auto",
    dim: Annotated[int | None, typer.Option(help="Length of the vectors.")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the data (warp, koswarp, bpr, logistic).")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of the same models.")] = None,
    item_features: Annotated[
        str, typer.Option(metavar="COLUMN,…", help="Columns of --items to learn from, such as genres,year.")
    ] = "",
    text: Annotated[
        str,
        typer.Option(metavar="COLUMN,…", help="Columns of --items to search in, such as title,genres."),
    ] = "",
    encoder: Annotated[
        str,
        typer.Option(metavar="NAME", help="Of --text: static, sentence-transformers:MODEL or ollama:MODEL."),
    ] = "static",
    title_weight: Annotated[
        float, typer.Option(help="The title's part of the meaning of an item, from 0 to 1.")
    ] = 0.5,
    users: Annotated[
        str | None, typer.Option(metavar="FILE", help="CSV or Parquet with what is known of the users.")
    ] = None,
    user_features: Annotated[
        str, typer.Option(metavar="COLUMN,…", help="Columns of --users to learn from.")
    ] = "",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting of the model; repeatable."),
    ] = None,
    test: Annotated[
        float | None,
        typer.Option(
            help="Hold out this share (or so many of each user, with --by last) and evaluate on it."
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="random|time|last|users", help="How to hold out; random unless it is named."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the split; the model's is --set seed=1.")] = 0,
    spark: Spark = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Learn a model from interactions and save it.

    Columns are found by their usual names (user_id, movieId, rating, timestamp, …) or named.

    With --spark, Spark's own ALS learns on a cluster (--model als, of SOURCE, --user, --item, --weight, --dim
    and --set) from Parquet or CSV that its hosts see; MODEL must be there for them to read, too.

    [dim]Example: segue fit ratings.csv -o model --min-weight 4 --items movies.csv --test 0.2 --by last[/dim]
    """
    written: dict[str, Any] = (
        {"columns": text, "encoder": encoder, "title_weight": title_weight} if text else {}
    )
    name = model or ("text" if source is None else "ials")
    if source is None and name != "text":
        raise SettingError(f"--model {name} learns from interactions: name them (SOURCE), or leave it out")
    given = {"dim": dim, "epochs": epochs, "learning_rate": learning_rate}
    settings = model_settings(name, {**given, **(written if name == "text" else {})}, setting or [])
    about = Text(**written) if text else None
    recommender = Recommender(settings, index)
    store.check_target(folder)
    if spark is not None:
        names = {"user": user, "item": item, "weight": weight}
        trained = fit_on_spark(spark, source or "", folder, settings, index, names)
        _tell(trained, folder, None, None, as_json=as_json)
        return
    if source is None:
        data = _items_alone(items, item, text)
    else:
        data = read_interactions(
            source, user=user, item=item, weight=weight, time=time, min_weight=min_weight,
            duplicates=duplicates, core=core, query=query, items=items,
        )  # fmt: skip
    features = _features(data, ids_of(item_features), users, ids_of(user_features))
    train, held, history = _split(data, test, by, seed)
    if not as_json:
        output().print(f"Read {summary(data) if len(data) else f'{len(data.items):,} items'}")
    if held is not None and not as_json:
        output().print(f"Learning from {len(train):,} of them; the others are held out")
    result = ratings = None
    with Bars(shown=not quiet) as bars:
        trained = recommender.fit(train, **features, text=about, progress=bars)
        if held is not None:
            result = evaluate(trained, held, history=history, progress=bars)
            ratings = rating_errors(trained, held, history)
            stars = {} if ratings is None else {"rmse": ratings.rmse, "mae": ratings.mae}
            trained = replace(trained, metrics={**result.model, **stars})
        trained = trained.save(folder)
    _tell(trained, folder, result, ratings, as_json=as_json)


def _tell(
    trained: TrainedRecommender,
    folder: Path,
    result: Evaluation | None,
    ratings: RatingErrors | None,
    *,
    as_json: bool,
) -> None:
    if as_json:
        told = {"model": str(folder), "version": trained.version, "settings": repr(trained.settings.model)}
        print_json({**told, **({} if result is None else evaluation_json(result, ratings))})
        return
    if result is not None:
        print_evaluation(result, ratings)
    output().print(f"Saved version {trained.version} in {folder}\n{trained.settings.model!r}")


def _items_alone(items: str | None, item: str | None, text: str) -> Interactions:
    """The items of a table, without anybody who had them."""
    if items is None or not text:
        raise SettingError(
            "name the interactions to learn from (SOURCE), or --items FILE with --text COLUMNS "
            "to make a model of the items alone"
        )
    return read_items(items, item=item)


def _features(
    data: Interactions, of_items: list[str], users: str | None, of_users: list[str]
) -> dict[str, Any]:
    """The features that were asked for; the users' file has their ids in its first column."""
    made: dict[str, Any] = {}
    if of_items:
        if data.item_metadata is None:
            raise SettingError("--item-features needs to know of the items: name their file with --items")
        made["item_features"] = Features.from_frame(data.item_metadata, of_items, ids=data.items)
    if (users is None) != (not of_users):
        raise SettingError("--users and --user-features go together: the file, and the columns of it")
    if users is not None:
        table = read_table(users)
        made["user_features"] = Features.from_frame(table, of_users, ids=data.users, id=table.columns[0])
    return made


def _split(
    data: Interactions, test: float | None, by: str | None, seed: int
) -> tuple[Interactions, Interactions | None, Interactions | None]:
    """What to learn from, what to measure, and the histories of people who are not learned from."""
    if test is None and by is None:
        return data, None, None
    train, held = data.split(test=test, by=by or "random", seed=seed)
    if by != "users":
        return train, held, None
    history, held = held.split(test=0.2, by="random", seed=seed)
    return train, held, history
