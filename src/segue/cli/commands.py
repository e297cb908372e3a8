"""The application: its table of commands and the handling of errors."""

from __future__ import annotations

import io
import logging
import re
import sys
from typing import Annotated, NoReturn

import typer

import segue
from segue.cli.registry import LazyGroup, loaded_options
from segue.errors import SegueError

INTERRUPTED = 130  # the exit code after SIGINT
RENAMED = {"columns": "text"}  # arguments that have an option of another name
FAILED = 2  # the exit code after an error that segue raises on purpose


def _show_version(value: bool) -> None:
    if value:
        sys.stdout.write(f"{segue.__version__}\n")
        raise typer.Exit


app = typer.Typer(
    name="segue",
    cls=LazyGroup,
    help="From interactions to recommendations. Start with: segue demo",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log progress to stderr.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version and exit."),
    ] = False,
) -> None:
    """Apply the options that all commands share."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s")


def main() -> NoReturn:
    """Run the command line. A `SegueError` becomes one line on stderr and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a character that the terminal cannot show is no error
    try:
        app()
    except SegueError as error:
        _fail(spell_as_options(error), FAILED)
    except KeyboardInterrupt:
        _fail("interrupted", INTERRUPTED)
    except SystemExit as exit_:  # typer exits without a message after an interrupt
        if exit_.code == INTERRUPTED:
            _fail("interrupted", INTERRUPTED)
        raise
    sys.exit(0)


def spell_as_options(error: SegueError) -> str:
    """Return the message of an error with its Python arguments spelled as options.

    `min_weight=4` becomes `--min-weight 4`, `min_weight=` becomes `--min-weight`, `k=3` becomes `-k 3`. Only
    the names in `error.arguments` that the command has an option for are replaced, and not where they are
    part of a path, a quoted text or a call such as `IALS(dim=0)`.
    """
    message, options = str(error), loaded_options()
    arguments = [name for name in error.arguments if option_of(name) in options]
    if not arguments:
        return message
    names = "|".join(map(re.escape, arguments))
    pattern = rf"(?<!\w\()(?<![\w/\\.'\"-])(?P<name>{names})=(?=(?P<value>[^\s,;.)])?)"

    def spell(match: re.Match[str]) -> str:
        return option_of(match["name"]) + (" " if match["value"] else "")

    return re.sub(pattern, spell, message)


def option_of(argument: str) -> str:
    """Return the option of a Python argument: `--min-weight` for `min_weight`, `-k` for `k`."""
    argument = RENAMED.get(argument, argument)
    return f"-{argument}" if len(argument) == 1 else f"--{argument.replace('_', '-')}"


def _fail(message: str, code: int) -> NoReturn:
    from rich.text import Text  # slow to import

    from segue.cli.terminal import errors

    errors().print(Text.assemble(("segue:", "bold red"), " ", message))
    sys.exit(code)
