"""segue tune: try settings, train with the best, save the model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from segue import store
from segue.cli.answers import print_json
from segue.cli.evaluations import evaluation_json, json_number, print_evaluation, rating_errors
from segue.cli.options import Duplicates, Item, Items, Json, MinWeight, Query, Quiet, Time, User, Weight
from segue.cli.progress import ProgressBars
from segue.cli.settings import Value, fixed_settings
from segue.cli.tables import summary
from segue.cli.terminal import output
from segue.cli.trials import trials_table, verdict
from segue.cli.values import parse_duration
from segue.data.interactions import Interactions
from segue.data.sources import read_interactions
from segue.evaluation.evaluate import Evaluation, RatingErrors, evaluate
from segue.evaluation.figures import check_picture
from segue.evaluation.metrics import difference
from segue.index import INDEXES
from segue.models import tunable_models
from segue.progress import Progress
from segue.recommender.facade import TrainedRecommender
from segue.recommender.fitting import Recommender
from segue.tuning import search as tuning
from segue.tuning.measuring import split_off
from segue.tuning.trials import default_of


def tune(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Interactions, as for segue fit.")],
    folder: Annotated[Path, typer.Option("--output", "-o", metavar="MODEL", help="Model folder to write.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help=f"Model, repeatable: {', '.join(tunable_models())}; by default ials."
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(help="Number of trials, including those in --study; 30 without --time-budget."),
    ] = None,
    time_budget: Annotated[
        str | None,
        typer.Option(metavar="90s|10m|2h", help="Start no trial after this time, and stop a running one."),
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            metavar="NAME[@K]",
            help="Metric to optimize: ndcg, recall, precision, map, mrr, hit_rate, auc; biasedmf: rmse, mae.",
        ),
    ] = "ndcg",
    k: Annotated[int, typer.Option("-k", help="Depth of the metric, if --metric has no @K.")] = 10,
    study: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="SQLite file of trials, to continue or share a study."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Plot the trials into a .png, .svg or .pdf file.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Setting to keep fixed; repeatable."),
    ] = None,
    user: User = None,
    item: Item = None,
    weight: Weight = None,
    time: Time = None,
    min_weight: MinWeight = None,
    duplicates: Duplicates = "sum",
    query: Query = None,
    items: Items = None,
    index: Annotated[str, typer.Option(help=f"Index: {', '.join(INDEXES)}.")] = "auto",
    test: Annotated[
        float | None,
        typer.Option(help="Hold out this share, and measure the best and the default settings on it."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="time|last|random", help="How to hold out, for validation and for --test."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the splits and the search.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Try settings of one or more models, and save a model with the best settings.

    The default settings of each model are tried first, so that the result says whether tuning helped. Each
    trial trains on nine tenths of the interactions and is measured on the rest: the latest ones if there are
    timestamps, the latest of each user if too few users would be in both parts, else random ones. A trial
    that looks bad after a quarter of its passes is stopped. Finally a model is trained on all interactions
    with the best settings; this takes as long as one trial, beyond the time budget. MODEL.trials.csv has all
    trials.

    Ctrl-C ends the search and saves the best settings so far. With --study the same command continues later,
    and several processes can run it at once.

    [dim]Example: segue tune ratings.csv -o model --min-weight 4 --trials 20 --study study.db[/dim]
    """
    from segue.tuning.plot import draw
    from segue.tuning.study import check_file  # slow to import

    names = model or ["ials"]
    budget = None if time_budget is None else parse_duration(time_budget)
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
    train, test_data = data, None
    if test is not None:
        train, test_data, by = split_off(data, by, seed, test)
    if not as_json:
        output().print(f"Read {summary(data)}")
    with ProgressBars(shown=not quiet) as bars:
        tuned = tuning.tune(
            train, names, trials=trials, seconds=budget, metric=depth, by=by, fixed=fixed, study=study,
            seed=seed, progress=bars,
        )  # fmt: skip
        file = _write_trials(tuned, folder)
        if plot is not None:
            draw(tuned, plot)
        trained = Recommender(tuned.settings, index).fit(train, progress=bars)
        trained = replace(trained, metrics={f"validation_{tuned.metric}": tuned.value})
        result = ratings = None
        if test_data is not None:
            result = _evaluate_beside_default(tuned, trained, train, test_data, fixed, bars)
            ratings = rating_errors(trained, test_data, None)
        trained = trained.save(folder)
    if as_json:
        saved = {"model": str(folder), "version": trained.version, "trials_file": str(file)}
        print_json(
            {**saved, **_tuned_json(tuned), **({} if result is None else evaluation_json(result, ratings))}
        )
    else:
        _print_tuned(tuned, result, ratings)
        output().print(
            f"Saved version {trained.version} in {folder}, all trials in {file}\n{tuned.settings!r}"
        )


def _print_tuned(tuned: tuning.Tuned, result: Evaluation | None, ratings: RatingErrors | None) -> None:
    """Print the trials, and the evaluation if there is one."""
    output().print(trials_table(tuned), verdict(tuned), sep="\n")
    if result is not None:
        print_evaluation(result, ratings)
        _print_difference(tuned, result)


def _write_trials(tuned: tuning.Tuned, folder: Path) -> Path:
    """Write the trials into a file beside the model folder, before the final training, which may fail."""
    file = folder.absolute().with_name(f"{folder.absolute().name}.trials.csv")
    file.parent.mkdir(parents=True, exist_ok=True)
    tuned.trials.write_csv(file)
    return folder.with_name(file.name) if folder.name else file


def _evaluate_beside_default(
    tuned: tuning.Tuned,
    trained: TrainedRecommender,
    train: Interactions,
    test_data: Interactions,
    fixed: dict[str, Value],
    progress: Progress,
) -> Evaluation:
    """Evaluate the best settings on the test data, beside the defaults and the baselines."""
    depths = {5, 10, 20, int(tuned.metric.partition("@")[2] or 10)}
    result = evaluate(trained, test_data, depths, progress=progress)
    plain = Recommender(default_of(tuned.model, fixed), trained.settings.index).fit(train, progress=progress)
    default = evaluate(plain, test_data, depths, baselines=(), progress=progress)
    return replace(result, beside={"default": default.model, **result.beside})


def _print_difference(tuned: tuning.Tuned, result: Evaluation) -> None:
    if not tuned.improved:
        output().print(f"The best settings are the defaults of {tuned.model}: both have the same rows")
    elif tuned.metric in result.model:
        gain, error = difference(result.model, result.beside["default"], tuned.metric)
        output().print(
            f"{tuned.metric} is {gain:+.4f} ± {error:.4f} beside the default settings (paired over users)"
        )


def _tuned_json(tuned: tuning.Tuned) -> dict[str, object]:
    return {
        "settings": repr(tuned.settings),
        **{name: getattr(tuned, name) for name in (
            "metric", "value", "default", "default_model", "improved", "split", "users", "interrupted"
        )},
        "error": json_number(tuned.error),
        "trials": [{**row, "settings": json.loads(row["settings"])} for row in tuned.trials.to_dicts()],
    }  # fmt: skip
