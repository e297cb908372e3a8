"""segue bench: the indexes compared on a model's own vectors."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from segue.cli.answers import print_json
from segue.cli.options import Item, Json, MinWeight, ModelArgument, Quiet, Time, User, Weight
from segue.cli.terminal import Bars, output, rows_table
from segue.data.sources import read_interactions
from segue.evaluation.figures import check_picture
from segue.index.kinds import KINDS
from segue.recommender.fitting import load


def bench(
    model: ModelArgument,
    test: Annotated[
        str | None,
        typer.Argument(
            metavar="TEST",
            help="Held-out interactions: also measure what each index costs in NDCG and recall.",
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Neighbors of each query.")] = 10,
    target: Annotated[float, typer.Option(help="The share of the true neighbors that must be found.")] = 0.95,
    queries: Annotated[int, typer.Option(help="How many users are drawn to ask.")] = 2000,
    index: Annotated[
        list[str] | None, typer.Option(help=f"Of ours, repeatable: {', '.join(KINDS)}; all if none is named.")
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(help="Of other libraries, by a part of the name, such as hnswlib; repeatable."),
    ] = None,
    no_peers: Annotated[bool, typer.Option("--no-peers", help="Ours only.")] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw speed against recall into a .png, .svg or .pdf.")
    ] = None,
    user: User = None,
    item: Item = None,
    weight: Weight = None,
    time: Time = None,
    min_weight: MinWeight = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare all indexes, and the libraries that are installed, on a model's own vectors.

    Each index is built, and its dial turned up until it finds the target share of the true neighbors. The
    table has the time of a query in a batch and of one alone, the time to build, the memory, and, with TEST,
    what the index costs in NDCG and recall. SEGUE_THREADS sets the threads of all of them.

    [dim]Example: segue bench model test.csv --min-weight 4 --plot bench.png[/dim]
    """
    from segue.bench.chart import draw  # what only the comparison needs
    from segue.bench.compare import compare

    if plot is not None:
        check_picture(plot)
    trained = load(model)
    held = None
    if test is not None:
        held = read_interactions(test, user=user, item=item, weight=weight, time=time, min_weight=min_weight)
    with Bars(shown=not quiet) as bars:
        found = compare(
            trained, held, k=k, target=target, queries=queries, indexes=index or None,
            peers=() if no_peers else peer or None, progress=bars,
        )  # fmt: skip
    if plot is not None:
        draw({f"{found.items:,} items × {trained.embeddings.dim}, k={found.k}": found.curves}, plot)
    if as_json:
        print_json(asdict(found))
        return
    output().print(
        f"{found.items:,} items × {trained.embeddings.dim}, {found.queries:,} users asked for {found.k} with "
        f"{found.threads} threads; each at the first setting that finds {found.target:g} of them"
    )
    output().print(rows_table(_shown(found.frame(), found.k)))
    if found.absent:
        output().print(f"Not installed: {', '.join(found.absent)}")


def _shown(rows: pl.DataFrame, k: int) -> pl.DataFrame:
    """The rows for people: short names, costs with their errors."""

    def text(value: Any, form: str) -> str:
        return "–" if value is None else format(value, form)

    made = []
    for row in rows.iter_rows(named=True):
        shown = {
            "index": row["index"] + (" (exact)" if row["recall"] == 1 and not row["setting"] else ""),
            "setting": row["setting"],
            "recall": f"{row['recall']:.4f}" + ("" if row["reached"] else " missed"),
            "us a query": f"{row['us']:.1f}",
            "us alone": f"{row['single_us']:.0f}",
            "build s": f"{row['build_s']:.2f}",
            "MiB": text(row["mib"], ".1f"),
        }
        if "ndcg_test" in row:
            for name in ("ndcg", "recall"):
                cost, error = row[f"{name}_cost"], row[f"{name}_cost_error"]
                lost = "" if cost is None or row["index"] == "exact" else f" ({cost:+.4f} ± {error:.4f})"
                shown[f"test {name}@{k}"] = text(row[f"{name}_test"], ".4f") + lost
        made.append(shown)
    return pl.DataFrame(made)
