"""A group of commands that imports the module of a command only when the command runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeAlias

import typer
from typer.core import TyperCommand, TyperGroup

# The commands in the order of `segue --help`, with the first sentence of their docstrings. The module and the
# function of a command have its name.
SUMMARIES = {
    "demo": "Show the whole path on one data set: data, training, evaluation, recommendations.",
    "fit": "Train a model on interactions and save it.",
    "evaluate": "Measure a model on held-out interactions, beside popularity and item-kNN.",
    "tune": "Try settings of one or more models, and save a model with the best settings.",
    "update": "Add new interactions, users and items to a model, without a full training.",
    "recommend": "Recommend items to users, or to a new user with a history.",
    "similar": "Find the items nearest to an item.",
    "search": "Find items by text.",
    "play": "Search, pick and watch: an interactive session with a model.",
    "batch": "Recommend to all users, or to the users in a file, and write Parquet.",
    "bench": "Compare all indexes, and the installed libraries, on the vectors of a model.",
    "serve": "Serve a model over HTTP: lists, search, events that update user profiles, metrics.",
    "verify": "Check every byte of a model against its checksums.",
}

Click: TypeAlias = Any  # contexts and commands of Click, which Typer bundles without types


class LazyGroup(TyperGroup):
    """The commands of `SUMMARIES`; help lists them without importing their modules."""

    def list_commands(self, ctx: Click) -> list[str]:
        """Return the names of the commands in the order of the help."""
        return list(SUMMARIES)

    def get_command(self, ctx: Click, cmd_name: str) -> Click:
        """Return a command for the help: its name and its summary, without options."""
        summary = SUMMARIES.get(cmd_name)
        return None if summary is None else TyperCommand(cmd_name, help=summary)

    def resolve_command(self, ctx: Click, args: list[str]) -> Click:
        """Return the name, the imported command and its arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, None if command is None else load_command(str(name)), rest


_loaded: dict[str, Click] = {}


def load_command(name: str) -> Click:
    """Import the module of a command, once, and return its click command."""
    if name not in _loaded:
        _loaded[name] = _import_command(name)
    return _loaded[name]


def loaded_options() -> set[str]:
    """Return the options of the commands that are loaded: in a process of its own, those of one command."""
    return {option for command in _loaded.values() for param in command.params for option in param.opts}


def _import_command(name: str) -> Click:
    function = getattr(import_module(f"segue.cli.{name}"), name)
    single = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    single.command(name, help=help_text(function))(function)
    return typer.main.get_command(single)


def help_text(function: Callable[..., None]) -> str:
    """Return a docstring with one line per paragraph; the terminal then breaks lines at its own width."""
    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
