"""segue tune: settings tried, the best of them learned and saved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from segue import store
from segue.cli.answers import evaluation_json, json_number, print_evaluation, print_json, rating_errors
from segue.cli.options import Duplicates, Item, Json, MinWeight, Query, Quiet, Time, User, Weight
from segue.cli.terminal import Bars, output, summary, trials_table, verdict
from segue.cli.values import fixed_settings, seconds_of
from segue.data.interactions import Interactions
from segue.data.sources import read_interactions
from segue.evaluation.evaluate import Evaluation, evaluate
from segue.evaluation.figures import check_picture
from segue.evaluation.metrics import difference
from segue.index import INDEXES
from segue.models.spaces import SPACES
from segue.progress import Progress
from segue.recommender.facade import TrainedRecommender
from segue.recommender.fitting import Recommender
from segue.tuning import search as tuning


def tune(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The interactions, in any form fit takes.")],
    folder: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL", help="The model folder to write the best into.")
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"One of: {', '.join(SPACES)}; repeatable; ials if none."),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(help="How many settings to try, those in --study included; 30 without a time budget."),
    ] = None,
    time_budget: Annotated[
        str | None,
        typer.Option(metavar="90s|10m|2h", help="Begin no trial after this time, and cut the last."),
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            metavar="NAME[@K]",
            help="What to tune for: ndcg, recall, precision, map, mrr, hit_rate, auc; biasedmf: rmse, mae.",
        ),
    ] = "ndcg",
    k: Annotated[int, typer.Option("-k", help="The metric's depth, where its name has none.")] = 10,
    study: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep the trials in this SQLite file: to go on, and to share."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the trials into a .png, .svg or .pdf.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting that stays as it is; repeatable."),
    ] = None,
    user: User = None,
    item: Item = None,
    weight: Weight = None,
    time: Time = None,
    min_weight: MinWeight = None,
    duplicates: Duplicates = "sum",
    query: Query = None,
    items: Annotated[
        str | None, typer.Option(metavar="FILE", help="CSV or Parquet with what is known of the items.")
    ] = None,
    index: Annotated[str, typer.Option(help=f"One of: {', '.join(INDEXES)}.")] = "auto",
    test: Annotated[
        float | None,
        typer.Option(help="Hold out this share first, and measure the best and the default settings on it."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="time|last|random", help="How to hold out, for validation and for --test."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the splits and the choices.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Try settings of one model or several, and save a model with the best.

    Every model's default settings are tried first, so that the answer says whether tuning was worth it.
    Each trial learns from nine tenths of the interactions and is measured on the rest: the latest ones where
    there are times, or each user's latest where too few users would have both, or else random ones. What
    looks bad after a quarter of its passes is given up. In the end a model learns from everything with the
    best settings; that takes as long as a trial, beyond the time budget. All trials are in MODEL.trials.csv.

    Ctrl-C ends the search and still saves the best so far. With --study the same command goes on later, and
    several processes may run it at once.

    [dim]Example: segue tune ratings.csv -o model --min-weight 4 --trials 20 --study study.db[/dim]
    """
    from segue.tuning.plot import draw
    from segue.tuning.study import check_file  # what only tuning needs

    names = model or ["ials"]
    budget = None if time_budget is None else seconds_of(time_budget)
    depth = metric if "@" in metric or metric in ("auc", "rmse", "mae") else f"{metric}@{k}"
    fixed = fixed_settings(names, setting or [])
    store.check_target(folder)
    if plot is not None:
        check_picture(plot)
    if study is not None:
        check_file(study)
    data = read_interactions(
        source, user=user, item=item, weight=weight, time=time, min_weight=min_weight,
        duplicates=duplicates, query=query, items=items,
    )  # fmt: skip
    train, held = data, None
    if test is not None:
        train, held, by = tuning.split_off(data, by, seed, test)
    if not as_json:
        output().print(f"Read {summary(data)}")
    with Bars(shown=not quiet) as bars:
        found = tuning.tune(
            train, names, trials=trials, seconds=budget, metric=depth, by=by, fixed=fixed, study=study,
            seed=seed, progress=bars,
        )  # fmt: skip
        file = _keep_trials(found, folder)
        if plot is not None:
            draw(found, plot)
        trained = Recommender(found.settings, index).fit(train, progress=bars)
        trained = replace(trained, metrics={f"validation_{found.metric}": found.value})
        result = ratings = None
        if held is not None:
            result = _beside_default(found, trained, train, held, fixed, bars)
            ratings = rating_errors(trained, held, None)
        trained = trained.save(folder)
    if as_json:
        told = {"model": str(folder), "version": trained.version, "trials_file": str(file)}
        print_json(
            {**told, **_tuned_json(found), **({} if result is None else evaluation_json(result, ratings))}
        )
        return
    output().print(trials_table(found), verdict(found), sep="\n")
    if result is not None:
        print_evaluation(result, ratings)
        _print_difference(found, result)
    output().print(f"Saved version {trained.version} in {folder}, all trials in {file}\n{found.settings!r}")


def _keep_trials(found: tuning.Tuned, folder: Path) -> Path:
    """Write the trials into a file beside the model folder, before the model that may not come to its end."""
    file = folder.absolute().with_name(f"{folder.absolute().name}.trials.csv")
    file.parent.mkdir(parents=True, exist_ok=True)
    found.trials.write_csv(file)
    return folder.with_name(file.name) if folder.name else file


def _beside_default(
    found: tuning.Tuned,
    trained: TrainedRecommender,
    train: Interactions,
    held: Interactions,
    fixed: dict[str, Any],
    progress: Progress,
) -> Evaluation:
    """The best settings on the test part, with the winning model's defaults and the baselines beside them."""
    depths = {5, 10, 20, int(found.metric.partition("@")[2] or 10)}
    result = evaluate(trained, held, depths, progress=progress)
    plain = Recommender(tuning.default_of(found.model, fixed), trained.settings.index).fit(
        train, progress=progress
    )
    default = evaluate(plain, held, depths, baselines=(), progress=progress)
    return replace(result, beside={"default": default.model, **result.beside})


def _print_difference(found: tuning.Tuned, result: Evaluation) -> None:
    if not found.improved:
        output().print(f"The best settings are the defaults of {found.model}: the rows of both are the same")
    elif found.metric in result.model:
        more, error = difference(result.model, result.beside["default"], found.metric)
        output().print(
            f"{found.metric} is {more:+.4f} ± {error:.4f} from that of the default settings, user by user"
        )


def _tuned_json(found: tuning.Tuned) -> dict[str, Any]:
    return {
        "settings": repr(found.settings),
        **{name: getattr(found, name) for name in (
            "metric", "value", "default", "default_model", "improved", "split", "users", "interrupted"
        )},
        "error": json_number(found.error),
        "trials": [{**row, "settings": json.loads(row["settings"])} for row in found.trials.to_dicts()],
    }  # fmt: skip
