"""segue evaluate: measure a model on held-out interactions."""

from __future__ import annotations

from typing import Annotated

import typer

from segue.cli.answers import print_json
from segue.cli.evaluations import evaluation_json, print_evaluation, rating_errors
from segue.cli.options import (
    Duplicates,
    Item,
    Json,
    MinWeight,
    ModelArgument,
    Query,
    Quiet,
    Time,
    User,
    Weight,
)
from segue.cli.progress import ProgressBars
from segue.cli.values import parse_depths
from segue.data.interactions import Interactions
from segue.data.sources import read_interactions
from segue.evaluation import evaluate as evaluation
from segue.recommender.fitting import load


def evaluate(
    model: ModelArgument,
    test: Annotated[
        str,
        typer.Argument(metavar="TEST", help="Held-out interactions, in any form that fit accepts."),
    ],
    k: Annotated[str, typer.Option("-k", metavar="K,K,…", help="Depths of the metrics.")] = "5,10,20",
    include_seen: Annotated[
        bool,
        typer.Option("--include-seen", help="Rank the training items of a user, too, as LightFM does."),
    ] = False,
    history: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Histories to fold in instead of the training interactions."),
    ] = None,
    user: User = None,
    item: Item = None,
    weight: Weight = None,
    time: Time = None,
    min_weight: MinWeight = None,
    duplicates: Duplicates = "sum",
    query: Query = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure a model on held-out interactions, beside popularity and item-kNN.

    [dim]Example: segue evaluate model test.csv --min-weight 4 -k 10,50[/dim]
    """

    def read(source: str, query: str | None = None) -> Interactions:
        return read_interactions(
            source, user=user, item=item, weight=weight, time=time, min_weight=min_weight,
            duplicates=duplicates, query=query,
        )  # fmt: skip

    depths = parse_depths(k)
    trained = load(model)
    test_data = read(test, query)
    histories = None if history is None else read(history)
    with ProgressBars(shown=not quiet) as bars:
        result = evaluation.evaluate(
            trained, test_data, depths, exclude_seen=not include_seen, history=histories, progress=bars
        )
    ratings = rating_errors(trained, test_data, histories)
    if as_json:
        print_json(evaluation_json(result, ratings))
    else:
        print_evaluation(result, ratings)
