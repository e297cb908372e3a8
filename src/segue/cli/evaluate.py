"""segue evaluate: a model on held-out interactions."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from segue.cli.answers import evaluation_json, print_evaluation, print_json, rating_errors
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
from segue.cli.terminal import Bars
from segue.cli.values import depths_of
from segue.data.sources import read_interactions
from segue.evaluation.evaluate import evaluate
from segue.recommender.fitting import load


def evaluate_model(
    model: ModelArgument,
    test: Annotated[
        str, typer.Argument(metavar="TEST", help="The held-out interactions, in any form fit takes.")
    ],
    k: Annotated[str, typer.Option("-k", metavar="K,K,…", help="The depths of the metrics.")] = "5,10,20",
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Leave training items in the ranking (LightFM's protocol).")
    ] = False,
    history: Annotated[
        str | None, typer.Option(metavar="FILE", help="Histories to fold in instead of the training data.")
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
    columns: dict[str, Any] = {
        "user": user, "item": item, "weight": weight, "time": time,
        "min_weight": min_weight, "duplicates": duplicates,
    }  # fmt: skip
    depths = depths_of(k)
    trained = load(model)
    held = read_interactions(test, query=query, **columns)
    known = None if history is None else read_interactions(history, **columns)
    with Bars(shown=not quiet) as bars:
        result = evaluate(trained, held, depths, exclude_seen=not include_seen, history=known, progress=bars)
    ratings = rating_errors(trained, held, known)
    if as_json:
        print_json(evaluation_json(result, ratings))
    else:
        print_evaluation(result, ratings)
