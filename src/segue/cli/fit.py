"""segue fit: from interactions to a model folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, TypedDict

import typer

from segue import store
from segue.cli.answers import print_json
from segue.cli.cluster import Spark, fit_on_spark
from segue.cli.evaluations import evaluation_json, print_evaluation, rating_errors
from segue.cli.options import Duplicates, Item, Items, Json, MinWeight, Query, Quiet, Time, User, Weight
from segue.cli.progress import ProgressBars
from segue.cli.settings import Value, model_settings
from segue.cli.tables import summary
from segue.cli.terminal import output
from segue.cli.values import parse_ids
from segue.data.features import Features
from segue.data.interactions import Interactions
from segue.data.sources import read_interactions, read_items, read_table
from segue.errors import SettingError
from segue.evaluation.evaluate import Evaluation, RatingErrors, evaluate
from segue.index import INDEXES
from segue.models import served_models
from segue.models.text import Text
from segue.recommender.facade import TrainedRecommender
from segue.recommender.fitting import Recommender

HISTORY_SHARE = 0.2  # of the interactions of held-out users: the part to predict


class FeatureArguments(TypedDict, total=False):
    """The features that `Recommender.fit` takes."""

    item_features: Features
    user_features: Features


def fit(
    folder: Annotated[Path, typer.Option("--output", "-o", metavar="MODEL", help="Model folder to write.")],
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="CSV, Parquet or JSON file, MovieLens folder, or database URL with --query. "
            "Without SOURCE, --items and --text make a model from item texts alone.",
        ),
    ] = None,
    user: User = None,
    item: Item = None,
    weight: Weight = None,
    time: Time = None,
    min_weight: MinWeight = None,
    duplicates: Duplicates = "sum",
    core: Annotated[
        int | None, typer.Option(help="Keep only users and items with at least this many interactions.")
    ] = None,
    query: Query = None,
    items: Items = None,
    model: Annotated[
        str | None,
        typer.Option(help=f"Model: {', '.join(served_models())}; by default ials, or text without SOURCE."),
    ] = None,
    index: Annotated[str, typer.Option(help=f"Index: {', '.join(INDEXES)}.")] = "auto",
    dim: Annotated[int | None, typer.Option(help="Number of dimensions of the vectors.")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the data, for models trained by gradient descent.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Learning rate, for models trained by gradient descent.")
    ] = None,
    item_features: Annotated[
        str,
        typer.Option(metavar="COLUMN,…", help="Columns of --items to use as features, such as genres,year."),
    ] = "",
    text: Annotated[
        str,
        typer.Option(metavar="COLUMN,…", help="Columns of --items to search in, such as title,genres."),
    ] = "",
    encoder: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Encoder of --text: static, sentence-transformers:MODEL or ollama:MODEL."
        ),
    ] = "static",
    title_weight: Annotated[
        float, typer.Option(help="Weight of the title in the text vector of an item, from 0 to 1.")
    ] = 0.5,
    users: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="CSV or Parquet file of user metadata, ids in the first column."),
    ] = None,
    user_features: Annotated[
        str, typer.Option(metavar="COLUMN,…", help="Columns of --users to use as features.")
    ] = "",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting of the model; repeatable."),
    ] = None,
    test: Annotated[
        float | None,
        typer.Option(
            help="Hold out this share (with --by last: this many interactions per user) and evaluate on it."
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="random|time|last|users", help="How to hold out; by default at random."),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Random seed of the split; --set seed=1 sets the one of the model.")
    ] = 0,
    spark: Spark = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on interactions and save it.

    Columns are found by their usual names (user_id, movieId, rating, timestamp, …), or named with --user,
    --item, --weight and --time.

    With --spark, the ALS of Spark trains on a cluster (--model als; from SOURCE, --user, --item, --weight,
    --dim and --set only). SOURCE is then Parquet or CSV that all hosts see, and so is MODEL.

    [dim]Example: segue fit ratings.csv -o model --min-weight 4 --items movies.csv --test 0.2 --by last[/dim]
    """
    name = model or ("text" if source is None else "ials")
    if source is None and name != "text":
        raise SettingError(f"--model {name} learns from interactions: name them (SOURCE), or leave it out")
    text_settings = Text(columns=text, encoder=encoder, title_weight=title_weight) if text else None
    options: dict[str, Value] = {"dim": dim, "epochs": epochs, "learning_rate": learning_rate}
    if text and name == "text":
        options |= {"columns": text, "encoder": encoder, "title_weight": title_weight}
    settings = model_settings(name, options, setting or [])
    recommender = Recommender(settings, index)
    store.check_target(folder)
    if spark is not None:
        names = {"user": user, "item": item, "weight": weight}
        trained = fit_on_spark(spark, source or "", folder, settings, index, names)
        _print_result(trained, folder, None, None, as_json=as_json)
        return
    if source is None:
        data = _read_items_only(items, item, text)
    else:
        data = read_interactions(
            source, user=user, item=item, weight=weight, time=time, min_weight=min_weight,
            duplicates=duplicates, core=core, query=query, items=items,
        )  # fmt: skip
    features = _read_features(data, parse_ids(item_features), users, parse_ids(user_features))
    train, test_data, history = _split(data, test, by, seed)
    if not as_json:
        output().print(f"Read {summary(data) if len(data) else f'{len(data.items):,} items'}")
        if test_data is not None:
            output().print(f"Training on {len(train):,} of them; the others are held out")
    result = ratings = None
    with ProgressBars(shown=not quiet) as bars:
        trained = recommender.fit(train, **features, text=text_settings, progress=bars)
        if test_data is not None:
            result = evaluate(trained, test_data, history=history, progress=bars)
            ratings = rating_errors(trained, test_data, history)
            errors = {} if ratings is None else {"rmse": ratings.rmse, "mae": ratings.mae}
            trained = replace(trained, metrics={**result.model, **errors})
        trained = trained.save(folder)
    _print_result(trained, folder, result, ratings, as_json=as_json)


def _print_result(
    trained: TrainedRecommender,
    folder: Path,
    result: Evaluation | None,
    ratings: RatingErrors | None,
    *,
    as_json: bool,
) -> None:
    if as_json:
        saved = {"model": str(folder), "version": trained.version, "settings": repr(trained.settings.model)}
        print_json({**saved, **({} if result is None else evaluation_json(result, ratings))})
        return
    if result is not None:
        print_evaluation(result, ratings)
    output().print(f"Saved version {trained.version} in {folder}\n{trained.settings.model!r}")


def _read_items_only(items: str | None, item: str | None, text: str) -> Interactions:
    """Return the items of a table, without users and interactions."""
    if items is None or not text:
        raise SettingError(
            "name the interactions to learn from (SOURCE), or --items FILE with --text COLUMNS "
            "to make a model from item texts alone"
        )
    return read_items(items, item=item)


def _read_features(
    data: Interactions, item_columns: list[str], users: str | None, user_columns: list[str]
) -> FeatureArguments:
    """Return the features of the named columns; the file of users has their ids in its first column."""
    features: FeatureArguments = {}
    if item_columns:
        if data.item_metadata is None:
            raise SettingError("--item-features needs item metadata: name their file with --items")
        features["item_features"] = Features.from_frame(data.item_metadata, item_columns, ids=data.items)
    if (users is None) != (not user_columns):
        raise SettingError("--users and --user-features go together: the file, and its columns")
    if users is not None:
        table = read_table(users)
        features["user_features"] = Features.from_frame(
            table, user_columns, ids=data.users, id=table.columns[0]
        )
    return features


def _split(
    data: Interactions, test: float | None, by: str | None, seed: int
) -> tuple[Interactions, Interactions | None, Interactions | None]:
    """Return the training data, the test data, and the histories of held-out users."""
    if test is None and by is None:
        return data, None, None
    train, test_data = data.split(test=test, by=by or "random", seed=seed)
    if by != "users":
        return train, test_data, None
    history, test_data = test_data.split(test=HISTORY_SHARE, by="random", seed=seed)
    return train, test_data, history
