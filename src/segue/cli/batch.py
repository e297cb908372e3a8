"""segue batch: recommendations for all users, in a Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segue.cli.answers import print_json
from segue.cli.cluster import Spark, batch_on_spark
from segue.cli.list_options import (
    Allow,
    Diversify,
    Exclude,
    Explain,
    Explore,
    IncludeSeen,
    K,
    OnUnknown,
    Seed,
    Where,
    filter_arguments,
    list_arguments,
)
from segue.cli.options import Json, ModelArgument, Quiet
from segue.cli.progress import ProgressBars
from segue.cli.terminal import output
from segue.data.parquet import write_parts
from segue.data.sources import read_table
from segue.recommender.fitting import load
from segue.recommender.options import ListArguments


def batch(
    model: ModelArgument,
    file: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Parquet file to write.")],
    users: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="CSV or Parquet file with user ids in its first column; duplicates count once; "
            "by default all users.",
        ),
    ] = None,
    k: K = 10,
    exclude: Exclude = "",
    allow: Allow = None,
    where: Where = None,
    include_seen: IncludeSeen = False,
    on_unknown: OnUnknown = "raise",
    explore: Explore = None,
    diversify: Diversify = None,
    seed: Seed = 0,
    explain: Explain = False,
    spark: Spark = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Recommend to all users, or to the users in a file, and write Parquet.

    The columns are user_id, item_id, score, rank, and also propensity with --explore, reasons with --explain,
    and title if the model has titles.

    With --spark a cluster does the work. Its hosts must see MODEL and the folder of --output, which then
    becomes a folder of Parquet files.

    [dim]Example: segue batch model -o recs.parquet -k 20[/dim]
    """
    arguments = list_arguments(
        filter_arguments(exclude, allow, where),
        include_seen=include_seen, explore=explore, diversify=diversify, seed=seed, explain=explain,
    )  # fmt: skip
    if spark is None:
        rows, version = _batch_here(model, file, users, k, on_unknown, arguments, quiet=quiet)
    else:
        rows, version = batch_on_spark(spark, model, file, users, k, on_unknown, arguments)
    if as_json:
        print_json({"file": str(file), "rows": rows, "model_version": version})
    else:
        output().print(f"Wrote {rows:,} rows to {file} (model version {version})")


def _batch_here(
    model: Path,
    file: Path,
    users: str | None,
    k: int,
    on_unknown: str,
    arguments: ListArguments,
    *,
    quiet: bool,
) -> tuple[int, str | None]:
    trained = load(model)
    requested = None if users is None else read_table(users).to_series(0).unique(maintain_order=True)
    with ProgressBars(shown=not quiet) as bars:
        parts = trained.recommend_in_parts(requested, k, on_unknown=on_unknown, progress=bars, **arguments)
        return write_parts(parts, file), trained.version
