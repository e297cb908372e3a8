"""segue bench: compare indexes on the vectors of a model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from segue.cli.answers import print_json
from segue.cli.options import Item, Json, MinWeight, ModelArgument, Quiet, Time, User, Weight
from segue.cli.progress import ProgressBars
from segue.cli.tables import rows_table
from segue.cli.terminal import output
from segue.data.sources import read_interactions
from segue.evaluation.figures import check_picture
from segue.index.registry import concrete_indexes
from segue.recommender.fitting import load


def bench(
    model: ModelArgument,
    test: Annotated[
        str | None,
        typer.Argument(
            metavar="TEST",
            help="Held-out interactions, to measure also what each index costs in NDCG and recall.",
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Number of neighbors of each query.")] = 10,
    target: Annotated[float, typer.Option(help="Required share of the true neighbors (recall).")] = 0.95,
    queries: Annotated[int, typer.Option(help="Number of random users as queries.")] = 2000,
    index: Annotated[
        list[str] | None,
        typer.Option(help=f"Index, repeatable: {', '.join(concrete_indexes())}; by default all."),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(help="Library to compare, by a part of its name, such as hnswlib; repeatable."),
    ] = None,
    no_peers: Annotated[bool, typer.Option("--no-peers", help="Compare no other libraries.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Plot speed against recall: .png, .svg, .pdf."),
    ] = None,
    user: User = None,
    item: Item = None,
    weight: Weight = None,
    time: Time = None,
    min_weight: MinWeight = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare all indexes, and the installed libraries, on the vectors of a model.

    Each index is built, and its search effort is raised until it reaches the required recall. The table has
    the time of a query in a batch and of a single query, the build time, the memory, and, with TEST, what the
    index costs in NDCG and recall. SEGUE_THREADS sets the number of threads for all of them.

    [dim]Example: segue bench model test.csv --min-weight 4 --plot bench.png[/dim]
    """
    from segue.bench.chart import draw
    from segue.bench.compare import compare

    if plot is not None:
        check_picture(plot)
    trained = load(model)
    test_data = None
    if test is not None:
        test_data = read_interactions(
            test, user=user, item=item, weight=weight, time=time, min_weight=min_weight
        )
    with ProgressBars(shown=not quiet) as bars:
        comparison = compare(
            trained, test_data, k=k, target=target, queries=queries, indexes=index or None,
            peers=() if no_peers else peer or None, progress=bars,
        )  # fmt: skip
    size = f"{comparison.items:,} items × {trained.embeddings.dim}"
    if plot is not None:
        draw(
            {f"{size}, k={comparison.k}": comparison.curves},
            plot,
        )
    if as_json:
        print_json(asdict(comparison))
        return
    output().print(
        f"{size}, {comparison.queries:,} users, {comparison.k} neighbors each, {comparison.threads} threads; "
        f"each index at its first setting with recall {comparison.target:g}"
    )
    output().print(rows_table(_table_rows(comparison.frame(), comparison.k)))
    if comparison.absent:
        output().print(f"Not installed: {', '.join(comparison.absent)}")


def _table_rows(rows: pl.DataFrame, k: int) -> pl.DataFrame:
    """Return the rows with short column names, and costs with their standard errors."""

    def text(value: float | None, spec: str) -> str:
        return "–" if value is None else format(value, spec)

    table = []
    for row in rows.iter_rows(named=True):
        cells = {
            "index": row["index"] + (" (exact)" if row["recall"] == 1 and not row["setting"] else ""),
            "setting": row["setting"],
            "recall": f"{row['recall']:.4f}" + ("" if row["reached"] else " missed"),
            "us per query": f"{row['us']:.1f}",
            "us single": f"{row['single_us']:.0f}",
            "build s": f"{row['build_s']:.2f}",
            "MiB": text(row["mib"], ".1f"),
        }
        if "ndcg_test" in row:
            for name in ("ndcg", "recall"):
                cost, error = row[f"{name}_cost"], row[f"{name}_cost_error"]
                note = "" if cost is None or row["index"] == "exact" else f" ({cost:+.4f} ± {error:.4f})"
                cells[f"test {name}@{k}"] = text(row[f"{name}_test"], ".4f") + note
        table.append(cells)
    return pl.DataFrame(table)
