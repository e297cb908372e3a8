"""The command line: parse, call one function, print."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

import numpy as np
import polars as pl
import typer
from rich.text import Text

import segue
from segue import store, tuning
from segue.data.features import Features
from segue.data.interactions import Interactions
from segue.data.sources import read_interactions, read_table
from segue.errors import SegueError, SettingError, UnknownIdError
from segue.evaluation import Evaluation, RatingErrors, evaluate, evaluate_ratings
from segue.index import INDEXES
from segue.metrics import difference
from segue.models import MODELS, BiasedMF
from segue.models.spaces import SPACES, check_tunable
from segue.parquet import write_parts
from segue.progress import NOTHING, Progress
from segue.recommender import Recommender, TrainedRecommender, load
from segue.terminal import Bars, errors, evaluation_table, output, rows_table, summary, trials_table, verdict

INTERRUPTED = 130  # the exit code of what SIGINT ended
# An argument in a message, such as "name it with user=", but neither IALS(dim=0) nor a part of a path.
ARGUMENT = re.compile(
    r"(?<!\w\()(?<![\w/\\.'\"-])"
    r"(?P<name>user|item|weight|time|min_weight|duplicates|query|items|test|by|history|on_unknown|k|trials|metric)="
    r"(?=(?P<value>[^\s,;.)])?)"
)
DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")

app = typer.Typer(
    name="segue",
    help="From interactions to recommendations. Start with: segue demo",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A model folder, as segue fit writes it.")
]
Depth = Annotated[int, typer.Option("-k", help="How many for each.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
Exclude = Annotated[str, typer.Option(metavar="IDS", help="Items that nobody gets, separated by commas.")]
Allow = Annotated[
    str | None, typer.Option(metavar="IDS", help="The only items that may be given, separated by commas.")
]
IncludeSeen = Annotated[bool, typer.Option("--include-seen", help="Also what the user had in training.")]
OnUnknown = Annotated[
    str,
    typer.Option(
        metavar="raise|skip|popular", help="What unknown users get: an error, nothing, what is popular."
    ),
]
User = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="The users' column; else found by its name.")
]
Item = Annotated[str | None, typer.Option(metavar="COLUMN", help="The items' column.")]
Weight = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="The column of ratings, counts or other weights.")
]
Time = Annotated[str | None, typer.Option(metavar="COLUMN", help="The column of times.")]
MinWeight = Annotated[float | None, typer.Option(help="Leave out what weighs less, such as ratings below 4.")]
Duplicates = Annotated[str, typer.Option(metavar="sum|last|max", help="What becomes of repeated pairs.")]
Query = Annotated[
    str | None, typer.Option(metavar="SQL", help="The SELECT, where the source is a database URL.")
]


def _show_version(wanted: bool) -> None:
    if wanted:
        output().print(segue.__version__)
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say what is done, on the error stream.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version.")
    ] = False,
) -> None:
    """Set up what all commands share."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s")


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="A folder with MovieLens files to use instead.")] = None,
    simulated: Annotated[bool, typer.Option(help="Use the simulated catalogue; download nothing.")] = False,
    model: Annotated[Path, typer.Option("--output", "-o", help="Where the model is kept.")] = Path(
        "segue-demo"
    ),
    seed: Annotated[int, typer.Option(help="Of the simulation.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Show the whole path on one data set: data, training, evaluation, recommendations.

    Takes MovieLens small, downloaded once, or a simulated catalogue where that fails.

    [dim]Example: segue demo --data ~/ml-latest-small[/dim]
    """
    from segue.demo import demo_data, run_demo  # what only the demo needs

    found, what = demo_data(data, simulated=simulated, seed=seed)
    run_demo(found, what, model, output(), progress=not quiet)


@app.command()
def fit(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="CSV, Parquet, a MovieLens folder, or a database URL with --query."
        ),
    ],
    folder: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL", help="The model folder to write.")
    ],
    user: User = None,
    item: Item = None,
    weight: Weight = None,
    time: Time = None,
    min_weight: MinWeight = None,
    duplicates: Duplicates = "sum",
    core: Annotated[
        int | None, typer.Option(help="Keep users and items with at least so many interactions.")
    ] = None,
    query: Query = None,
    items: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="CSV or Parquet with what is known of the items (title, …)."),
    ] = None,
    model: Annotated[str, typer.Option(help=f"One of: {', '.join(MODELS)}.")] = "ials",
    index: Annotated[str, typer.Option(help=f"One of: {', '.join(INDEXES)}.")] = "auto",
    dim: Annotated[int | None, typer.Option(help="Length of the vectors.")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the data (warp, koswarp, bpr, logistic).")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of the same models.")] = None,
    item_features: Annotated[
        str, typer.Option(metavar="COLUMN,…", help="Columns of --items to learn from, such as genres,year.")
    ] = "",
    users: Annotated[
        str | None, typer.Option(metavar="FILE", help="CSV or Parquet with what is known of the users.")
    ] = None,
    user_features: Annotated[
        str, typer.Option(metavar="COLUMN,…", help="Columns of --users to learn from.")
    ] = "",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting of the model; repeatable."),
    ] = None,
    test: Annotated[
        float | None,
        typer.Option(
            help="Hold out this share (or so many of each user, with --by last) and evaluate on it."
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="random|time|last|users", help="How to hold out; random unless it is named."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the split; the model's is --set seed=1.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Learn a model from interactions and save it.

    Columns are found by their usual names (user_id, movieId, rating, timestamp, …) or named.

    [dim]Example: segue fit ratings.csv -o model --min-weight 4 --items movies.csv --test 0.2 --by last[/dim]
    """
    settings = _model_settings(
        model, {"dim": dim, "epochs": epochs, "learning_rate": learning_rate}, setting or []
    )
    recommender = Recommender(settings, index)
    store.check_target(folder)
    data = read_interactions(
        source, user=user, item=item, weight=weight, time=time, min_weight=min_weight,
        duplicates=duplicates, core=core, query=query, items=items,
    )  # fmt: skip
    features = _features(data, _ids(item_features), users, _ids(user_features))
    train, held, history = _split(data, test, by, seed)
    if not as_json:
        output().print(f"Read {summary(data)}")
    if held is not None and not as_json:
        output().print(f"Learning from {len(train):,} of them; the others are held out")
    result = ratings = None
    with Bars(shown=not quiet) as bars:
        trained = recommender.fit(train, **features, progress=bars)
        if held is not None:
            result = evaluate(trained, held, history=history, progress=bars)
            ratings = _rating_errors(trained, held, history)
            stars = {} if ratings is None else {"rmse": ratings.rmse, "mae": ratings.mae}
            trained = replace(trained, metrics={**result.model, **stars})
        trained = trained.save(folder)
    if as_json:
        told = {"model": str(folder), "version": trained.version, "settings": repr(trained.settings.model)}
        _print_json({**told, **({} if result is None else _evaluation_json(result, ratings))})
        return
    if result is not None:
        _print_evaluation(result, ratings)
    output().print(f"Saved version {trained.version} in {folder}\n{trained.settings.model!r}")


@app.command("evaluate")
def evaluate_command(
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
    depths = _depths(k)
    trained = load(model)
    held = read_interactions(test, query=query, **columns)
    known = None if history is None else read_interactions(history, **columns)
    with Bars(shown=not quiet) as bars:
        result = evaluate(trained, held, depths, exclude_seen=not include_seen, history=known, progress=bars)
    ratings = _rating_errors(trained, held, known)
    if as_json:
        _print_json(_evaluation_json(result, ratings))
    else:
        _print_evaluation(result, ratings)


@app.command()
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
    from segue.study import check_file  # what only tuning needs
    from segue.study_chart import check_chart, draw

    names = model or ["ials"]
    budget = None if time_budget is None else _seconds(time_budget)
    depth = metric if "@" in metric or metric in ("auc", "rmse", "mae") else f"{metric}@{k}"
    fixed = _fixed_settings(names, setting or [])
    store.check_target(folder)
    if plot is not None:
        check_chart(plot)
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
            ratings = _rating_errors(trained, held, None)
        trained = trained.save(folder)
    if as_json:
        told = {"model": str(folder), "version": trained.version, "trials_file": str(file)}
        _print_json(
            {**told, **_tuned_json(found), **({} if result is None else _evaluation_json(result, ratings))}
        )
        return
    output().print(trials_table(found))
    output().print(verdict(found))
    if result is not None:
        _print_evaluation(result, ratings)
        if found.metric in result.model:
            more, error = difference(result.model, result.beside["default"], found.metric)
            output().print(
                f"{found.metric} is {more:+.4f} ± {error:.4f} from that of the default settings, user by user"
            )
    output().print(f"Saved version {trained.version} in {folder}, all trials in {file}\n{found.settings!r}")


@app.command()
def recommend(
    model: ModelArgument,
    user: Annotated[
        list[str] | None, typer.Option("--user", "-u", metavar="ID", help="For whom; repeatable.")
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(
            metavar="IDS",
            help="For someone new: the items they had, separated by commas, and in double quotes where "
            "an id has one itself.",
        ),
    ] = None,
    k: Depth = 10,
    exclude: Exclude = "",
    allow: Allow = None,
    include_seen: IncludeSeen = False,
    on_unknown: OnUnknown = "raise",
    as_json: Json = False,
) -> None:
    """Recommend items to users, or to someone new from a history.

    [dim]Example: segue recommend model --user 42 -k 5[/dim]
    """
    if (user is None) == (history is None):
        raise SettingError("say for whom: --user ID (repeatable), or --history ITEM,ITEM for someone new")
    trained = load(model)
    chosen: dict[str, Any] = {
        "exclude_seen": not include_seen,
        "exclude": _ids(exclude),
        "allow": None if allow is None else _ids(allow),
        "on_unknown": on_unknown,
    }
    if user is not None:
        found = trained.recommend(user, k, **chosen)
    else:
        had = _ids(history or "")
        with _looked_up(trained, had):
            found = trained.recommend_for(had, k, **chosen)
    if as_json:
        _print_json({"model_version": trained.version, "items": found.to_dicts()})
    else:
        _print_rows(found)


@app.command()
def similar(
    model: ModelArgument,
    item: Annotated[
        list[str], typer.Option("--item", "-i", metavar="ID", help="Similar to what; repeatable.")
    ],
    k: Depth = 10,
    exclude: Exclude = "",
    allow: Allow = None,
    as_json: Json = False,
) -> None:
    """Find the items nearest to an item.

    [dim]Example: segue similar model --item 296[/dim]
    """
    trained = load(model)
    asked = list(dict.fromkeys(item))
    with _looked_up(trained, asked):
        found = trained.similar(asked, k, exclude=_ids(exclude), allow=None if allow is None else _ids(allow))
    if as_json:
        _print_json({"model_version": trained.version, "items": found.to_dicts()})
        return
    titles = trained.titles(trained.items.rows(asked))
    for place, one in enumerate(asked):
        called = "" if titles is None or titles[place] is None else f", {titles[place]}"
        output().print(*([""] if place else []), f"Similar to {one}{called}:", sep="\n")
        theirs = found.filter(pl.col("item_id").cast(pl.String) == one)
        _print_rows(theirs.drop("item_id"))


@app.command()
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
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Recommend to all users, or to those in a file, and write Parquet: user_id, item_id, score, rank.

    [dim]Example: segue batch model -o recs.parquet -k 20[/dim]
    """
    trained = load(model)
    asked = None if users is None else read_table(users).to_series(0).unique(maintain_order=True)
    with Bars(shown=not quiet) as bars:
        parts = trained.recommend_in_parts(
            asked, k, exclude_seen=not include_seen, exclude=_ids(exclude),
            allow=None if allow is None else _ids(allow), on_unknown=on_unknown, progress=bars,
        )  # fmt: skip
        rows = write_parts(parts, file)
    told = {"file": str(file), "rows": rows, "model_version": trained.version}
    if as_json:
        _print_json(told)
    else:
        output().print(f"Wrote {rows:,} rows to {file} (model version {trained.version})")


@app.command()
def verify(model: ModelArgument, as_json: Json = False, quiet: Quiet = False) -> None:
    """Check every byte of a model against the checksums it was written with.

    [dim]Example: segue verify model[/dim]
    """
    with Bars(shown=not quiet) as bars:
        store.verify(model, progress=_in_mib(bars))
    version = store.current_version(model)
    if as_json:
        _print_json({"model": str(model), "version": version, "intact": True})
    else:
        output().print(f"Version {version} in {model} is intact")


def main() -> NoReturn:
    """Run the command line; what segue refuses becomes one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a title that the terminal cannot show is no error
    try:
        app()
    except SegueError as error:
        _fail(_as_options(str(error)), 2)
    except KeyboardInterrupt:
        _fail("interrupted", INTERRUPTED)
    except SystemExit as ended:  # typer's own end of an interrupt, without a word
        if ended.code == INTERRUPTED:
            _fail("interrupted", INTERRUPTED)
        raise
    sys.exit(0)


def _fail(message: str, code: int) -> NoReturn:
    errors().print(Text.assemble(("segue:", "bold red"), " ", message))
    sys.exit(code)


def _as_options(message: str) -> str:
    """Name arguments as they are named here: what the library calls min_weight=4 is --min-weight 4."""

    def named(found: re.Match[str]) -> str:
        option = "-k" if found["name"] == "k" else "--" + found["name"].replace("_", "-")
        return option + (" " if found["value"] else "")

    return ARGUMENT.sub(named, message)


def _features(
    data: Interactions, of_items: list[str], users: str | None, of_users: list[str]
) -> dict[str, Any]:
    """The features that were asked for; the users' file has their ids in its first column."""
    made: dict[str, Any] = {}
    if of_items:
        if data.item_metadata is None:
            raise SettingError("--item-features needs to know of the items: name their file with --items")
        made["item_features"] = Features.from_frame(data.item_metadata, of_items, ids=data.items)
    if (users is None) != (not of_users):
        raise SettingError("--users and --user-features go together: the file, and the columns of it")
    if users is not None:
        table = read_table(users)
        made["user_features"] = Features.from_frame(table, of_users, ids=data.users, id=table.columns[0])
    return made


def _model_settings(name: str, options: dict[str, Any], given: list[str]) -> Any:
    """The settings of a model by its name, with those of the command line filled in."""
    settings = Recommender(name).model
    kinds = {field.name: str(field.type) for field in fields(settings)}
    values = {key: value for key, value in options.items() if value is not None}
    for pair in given:
        key, given_value, text = pair.partition("=")
        if not given_value:
            raise SettingError(f"--set {pair} must be NAME=VALUE, such as --set iterations=8")
        values[key] = _value(key, text, kinds)
    for key in values:
        if key not in kinds:
            raise SettingError(f"{name} has no setting {key!r}; it has {', '.join(kinds) or 'none'}")
    return replace(settings, **values)


def _value(key: str, text: str, kinds: dict[str, str]) -> Any:
    kind, _, optional = kinds.get(key, "str").partition(" | ")
    if optional and text.lower() == "none":
        return None
    try:
        return int(text) if kind == "int" else float(text) if kind == "float" else text
    except ValueError as error:
        wanted = "a whole number" if kind == "int" else "a number"
        raise SettingError(f"--set {key}={text} must be {wanted}{' or none' * bool(optional)}") from error


def _fixed_settings(models: list[str], given: list[str]) -> dict[str, Any]:
    """The settings that tuning leaves alone, in the kinds that the models want."""
    for name in models:
        check_tunable(name)
    kinds = {field.name: str(field.type) for name in models for field in fields(MODELS[name])}
    fixed: dict[str, Any] = {}
    for pair in given:
        key, given_value, text = pair.partition("=")
        if not given_value:
            raise SettingError(f"--set {pair} must be NAME=VALUE, such as --set dim=64")
        fixed[key] = _value(key, text, kinds)
    return fixed


def _seconds(text: str) -> float:
    """A time such as 90s, 10m, 1h30m or 600."""
    parts = DURATION.fullmatch(text.replace(" ", ""))
    if parts is None or not any(map(_positive, parts.groups())):
        raise SettingError(f"--time-budget {text} must be a time, such as 90s, 10m or 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return 3600 * hours + 60 * minutes + seconds


def _keep_trials(found: tuning.Tuned, folder: Path) -> Path:
    """Write the trials into a file beside the model folder, before the model that may not come to its end."""
    file = folder.absolute().with_name(f"{folder.absolute().name}.trials.csv")
    file.parent.mkdir(parents=True, exist_ok=True)
    found.trials.write_csv(file)
    return folder.with_name(file.name) if folder.name else file


def _positive(part: str | None) -> bool:
    return part is not None and float(part) > 0


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


def _tuned_json(found: tuning.Tuned) -> dict[str, Any]:
    return {
        "settings": repr(found.settings),
        **{name: getattr(found, name) for name in (
            "metric", "value", "default", "default_model", "improved", "split", "users", "interrupted"
        )},
        "error": _number(found.error),
        "trials": [{**row, "settings": json.loads(row["settings"])} for row in found.trials.to_dicts()],
    }  # fmt: skip


def _depths(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise SettingError(f"-k {text} must be whole numbers separated by commas, such as 5,10,20") from error


def _ids(text: str) -> list[str]:
    parts = next(csv.reader([text], skipinitialspace=True), [])
    return [part.strip() for part in parts if part.strip()]


def _split(
    data: Interactions, test: float | None, by: str | None, seed: int
) -> tuple[Interactions, Interactions | None, Interactions | None]:
    """What to learn from, what to measure, and the histories of people who are not learned from."""
    if test is None and by is None:
        return data, None, None
    train, held = data.split(test=test, by=by or "random", seed=seed)
    if by != "users":
        return train, held, None
    history, held = held.split(test=0.2, by="random", seed=seed)
    return train, held, history


@contextmanager
def _looked_up(trained: TrainedRecommender, asked: Iterable[str]) -> Iterator[None]:
    """Say of items that are not known by their id which ones have such a title."""
    try:
        yield
    except UnknownIdError as error:
        unknown = [text for text in asked if trained.items.find(text) < 0]
        hints = "".join(_titled(trained, text) for text in unknown[:3])
        raise UnknownIdError(f"{error}{hints}") from error


def _titled(trained: TrainedRecommender, text: str) -> str:
    titles = trained.titles(np.arange(len(trained.items)))
    if titles is None:
        return ""
    named = pl.DataFrame({"id": trained.items.series, "title": titles.cast(pl.String)})
    alike = named.filter(pl.col("title").str.to_lowercase().str.contains(text.lower(), literal=True))
    if alike.is_empty():
        return ""
    first = alike.sort(pl.col("title").str.len_chars(), maintain_order=True).head(3)
    told = ", ".join(f"{one} ({title})" for one, title in first.iter_rows())
    return f"; items with {text!r} in their title: {told}"


def _in_mib(progress: Progress) -> Progress:
    def told(what: str, done: int, total: int, values: Mapping[str, float] = NOTHING) -> None:
        size = -(-total >> 20)
        progress(f"{what}, MiB", size if done == total else done >> 20, size)

    return told


def _print_rows(frame: pl.DataFrame) -> None:
    if frame.is_empty():
        errors().print("Nothing is left to give: no item is eligible, or nobody is known.")
    else:
        output().print(rows_table(frame))


def _rating_errors(
    trained: TrainedRecommender, held: Interactions, history: Interactions | None
) -> RatingErrors | None:
    """How far the predicted ratings are off, for a model that predicts them."""
    if not isinstance(trained.settings.model, BiasedMF):
        return None
    return evaluate_ratings(trained, held, history=history)


def _print_evaluation(result: Evaluation, ratings: RatingErrors | None) -> None:
    left_out = f"; {result.left_out:,} without history left out" if result.left_out else ""
    output().print(f"Mean over {result.model.users:,} users ± standard error, all items ranked{left_out}")
    output().print(evaluation_table(result))
    if ratings is not None:
        output().print(f"RMSE {ratings.rmse:.4f}, MAE {ratings.mae:.4f} over {ratings.pairs:,} ratings")


def _evaluation_json(result: Evaluation, ratings: RatingErrors | None) -> dict[str, Any]:
    return {
        **({} if ratings is None else {"ratings": asdict(ratings)}),
        "users": result.model.users,
        "left_out": result.left_out,
        "metrics": {
            name: {
                metric: {"value": _number(row[metric]), "error": _number(row.errors[metric])}
                for metric in row
            }
            for name, row in result.rows.items()
        },
    }


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return float(value) if value == value else None


def _print_json(value: Any) -> None:
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    sys.stdout.write(json.dumps(value, ensure_ascii=not unicode, default=str) + "\n")
    sys.stdout.flush()  # where the reader has gone, it is told here


if __name__ == "__main__":
    main()
