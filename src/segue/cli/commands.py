"""The application: its commands, and what becomes of errors."""

from __future__ import annotations

import inspect
import io
import logging
import re
import sys
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer
from rich.text import Text

import segue
from segue.cli.batch import batch
from segue.cli.bench import bench
from segue.cli.demo import demo
from segue.cli.evaluate import evaluate_model
from segue.cli.fit import fit
from segue.cli.play import play
from segue.cli.recommend import recommend
from segue.cli.search import search
from segue.cli.serve import serve
from segue.cli.similar import similar
from segue.cli.terminal import errors, output
from segue.cli.tune import tune
from segue.cli.update import update
from segue.cli.verify import verify
from segue.errors import SegueError

INTERRUPTED = 130  # the exit code of what SIGINT ended
# An argument in a message, such as "name it with user=", but neither IALS(dim=0) nor a part of a path.
ARGUMENT = re.compile(
    r"(?<!\w\()(?<![\w/\\.'\"-])"
    r"(?P<name>user|item|weight|time|min_weight|duplicates|query|items|test|by|history|on_unknown|k|trials|metric|"
    r"bend|text|explore|seed|workers|port|deadline|log)="
    r"(?=(?P<value>[^\s,;.)])?)"
)

COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "fit": fit,
    "evaluate": evaluate_model,
    "tune": tune,
    "update": update,
    "recommend": recommend,
    "similar": similar,
    "search": search,
    "play": play,
    "batch": batch,
    "bench": bench,
    "serve": serve,
    "verify": verify,
}

app = typer.Typer(
    name="segue",
    help="From interactions to recommendations. Start with: segue demo",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


def _flowing(command: Callable[..., None]) -> str:
    """The docstring with a line for each paragraph, so that any terminal breaks it where it ends."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


for name, command in COMMANDS.items():
    app.command(name, help=_flowing(command))(command)


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
