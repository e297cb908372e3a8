"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import polars as pl

from segue.cli.terminal import UNBROKEN, errors, evaluation_table, output, reasoned_table, rows_table
from segue.data.interactions import Interactions
from segue.evaluation.evaluate import Evaluation, RatingErrors, evaluate_ratings
from segue.models import BiasedMF
from segue.recommender.facade import TrainedRecommender


def print_rows(frame: pl.DataFrame) -> None:
    """A frame as a table."""
    if frame.is_empty():
        errors().print("Nothing is left to give: no item is eligible, or nobody is known.")
        return
    console = output()
    people_read = "because" in frame.columns and console.width < UNBROKEN
    console.print(reasoned_table(frame) if people_read else rows_table(frame))


def rating_errors(
    trained: TrainedRecommender, held: Interactions, history: Interactions | None
) -> RatingErrors | None:
    """How far the predicted ratings are off, for a model that predicts them."""
    if not isinstance(trained.settings.model, BiasedMF):
        return None
    return evaluate_ratings(trained, held, history=history)


def print_evaluation(result: Evaluation, ratings: RatingErrors | None) -> None:
    """The metrics of a model beside its baselines."""
    left_out = f"; {result.left_out:,} without history left out" if result.left_out else ""
    output().print(f"Mean over {result.model.users:,} users ± standard error, all items ranked{left_out}")
    output().print(evaluation_table(result))
    if ratings is not None:
        output().print(f"RMSE {ratings.rmse:.4f}, MAE {ratings.mae:.4f} over {ratings.pairs:,} ratings")


def evaluation_json(result: Evaluation, ratings: RatingErrors | None) -> dict[str, Any]:
    """The same for programs: every row, every metric, with its standard error."""
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
    """JSON has no NaN."""
    return float(value) if value == value else None


def print_json(value: Any) -> None:
    """One line of JSON, in ASCII where the stream is no UTF."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    sys.stdout.write(json.dumps(value, ensure_ascii=not unicode, default=str) + "\n")
    sys.stdout.flush()  # where the reader has gone, it is told here
