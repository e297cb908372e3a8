"""segue batch: recommendations for everybody, in a Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from segue.cli.answers import print_json
from segue.cli.cluster import Spark, batch_on_spark
from segue.cli.options import Allow, Depth, Exclude, IncludeSeen, Json, ModelArgument, OnUnknown, Quiet
from segue.cli.terminal import Bars, output
from segue.cli.values import ids_of
from segue.data.parquet import write_parts
from segue.data.sources import read_table
from segue.recommender.fitting import load


def batch(
    model: ModelArgument,
    file: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The Parquet file to write.")],
    users: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="CSV or Parquet whose first column names the users, once or often; else all."
        ),
    ] = None,
    k: Depth = 10,
    exclude: Exclude = "",
    allow: Allow = None,
    include_seen: IncludeSeen = False,
    on_unknown: OnUnknown = "raise",
    spark: Spark = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Recommend to all users, or to those in a file, and write Parquet: user_id, item_id, score, rank.

    With --spark the work is done on a cluster, whose hosts must see MODEL and the folder that -o names.

    [dim]Example: segue batch model -o recs.parquet -k 20[/dim]
    """
    rules: dict[str, Any] = {
        "exclude_seen": not include_seen,
        "exclude": ids_of(exclude),
        "allow": None if allow is None else ids_of(allow),
        "on_unknown": on_unknown,
    }
    if spark is None:
        rows, version = _batch_here(model, file, users, k, rules, quiet)
    else:
        rows, version = batch_on_spark(spark, model, file, users, k, rules)
    told = {"file": str(file), "rows": rows, "model_version": version}
    if as_json:
        print_json(told)
    else:
        output().print(f"Wrote {rows:,} rows to {file} (model version {version})")


def _batch_here(
    model: Path, file: Path, users: str | None, k: int, rules: dict[str, Any], quiet: bool
) -> tuple[int, str | None]:
    trained = load(model)
    asked = None if users is None else read_table(users).to_series(0).unique(maintain_order=True)
    with Bars(shown=not quiet) as bars:
        return write_parts(
            trained.recommend_in_parts(asked, k, **rules, progress=bars), file
        ), trained.version
