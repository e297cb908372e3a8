"""Evaluations as the commands fit, evaluate and tune print them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from segue.cli.tables import evaluation_table
from segue.cli.terminal import output
from segue.evaluation.evaluate import Evaluation, RatingErrors, evaluate_ratings
from segue.models import spec_of

if TYPE_CHECKING:
    from segue.data.interactions import Interactions
    from segue.recommender.facade import TrainedRecommender


def rating_errors(
    trained: TrainedRecommender, test: Interactions, history: Interactions | None
) -> RatingErrors | None:
    """Return the errors of the predicted ratings, or None for a model that does not predict ratings."""
    if not spec_of(trained.settings.model).ratings:
        return None
    return evaluate_ratings(trained, test, history=history)


def print_evaluation(result: Evaluation, ratings: RatingErrors | None) -> None:
    """Print the metrics of a model beside those of its baselines."""
    left_out = f"; {result.left_out:,} without history left out" if result.left_out else ""
    output().print(f"Mean over {result.model.users:,} users ± standard error, all items ranked{left_out}")
    output().print(evaluation_table(result))
    if ratings is not None:
        output().print(f"RMSE {ratings.rmse:.4f}, MAE {ratings.mae:.4f} over {ratings.pairs:,} ratings")


def evaluation_json(result: Evaluation, ratings: RatingErrors | None) -> dict[str, object]:
    """Return an evaluation for JSON: all rows and metrics with their standard errors."""
    return {
        **({} if ratings is None else {"ratings": asdict(ratings)}),
        "users": result.model.users,
        "left_out": result.left_out,
        "metrics": {
            name: {
                metric: {"value": json_number(row[metric]), "error": json_number(row.errors[metric])}
                for metric in row
            }
            for name, row in result.rows.items()
        },
    }


def json_number(value: float) -> float | None:
    """Return a number for JSON, which has no NaN: None instead."""
    return None if value != value else float(value)
