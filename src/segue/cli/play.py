"""segue play: an interactive session in a terminal, or a script on stdin."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.columns import Columns
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from segue.cli.list_options import Allow, Exclude, Where, filter_arguments
from segue.cli.options import ModelArgument
from segue.cli.session import MORE_PANELS, PANELS, SEARCH, K, Line, Session
from segue.cli.terminal import output
from segue.errors import DataError, SegueError
from segue.online.profile import AUTO, PROFILES, Profile
from segue.recommender.fitting import load
from segue.recommender.options import ListOptions

HELP = f"""text      search items                      5         like number 5
-5        dislike number 5                  u         undo the last pick
/text     search for a number or a letter   p         list the picks
t NAME    show or hide a panel: {", ".join((*PANELS, *MORE_PANELS))}
s FILE    save the session                  q         quit"""
HEADINGS = {SEARCH: "Search", "recommended": "For you", "gaussian": "Gaussian noise", "buckets": "Buckets"}
WIDEST, TWO_COLUMNS = 160, 100  # columns of the terminal: the most that is used, the least for two panels


def play(
    model: ModelArgument,
    profile: Annotated[
        str, typer.Option(metavar="NAME", help=f"Kind of user profile: {', '.join((AUTO, *PROFILES))}.")
    ] = AUTO,
    k: Annotated[int, typer.Option("-k", help="Number of items in a panel.")] = K,
    exclude: Exclude = "",
    allow: Allow = None,
    where: Where = None,
    seed: Annotated[int, typer.Option(help="Random seed of the exploring panels.")] = 0,
    resume: Annotated[Path | None, typer.Option(metavar="FILE", help="Saved session to continue.")] = None,
) -> None:
    """Search, pick and watch: an interactive session with a model.

    A profile follows your picks. Four panels show search results, the recommendations of the profile, and two
    kinds of exploration. Type a text to search, a number to like an item, -number to dislike it, ? for help.
    Without a terminal the same lines are read from a pipe.

    [dim]Example: segue play model[/dim]
    """
    options = ListOptions(k, seed=seed, **filter_arguments(exclude, allow, where))
    trained = load(model)
    session = Session(trained, Profile(profile, trained.space), options=options)
    if resume is not None:
        session = session.resume(resume)
    console = output()
    draw(session, console)
    interactive = sys.stdin.isatty()
    while True:
        if interactive:
            console.print("search, number, ? or q: ", end="")
        line = sys.stdin.readline()
        if not line or line.strip() in ("q", "quit"):
            return
        if not interactive:
            console.print(f"> {line.strip()}")
        try:
            after = step(session, line.strip(), console)
            if after is not session:
                draw(after, console)
        except SegueError as error:
            console.print(Text(str(error), style="yellow"))
        else:
            session = after


def step(session: Session, line: str, console: Console) -> Session:
    """Return the session after a line of input."""
    command, _, argument = line.partition(" ")
    argument = argument.strip()
    if line.lstrip("-").isdigit():
        return session.pick(abs(int(line)), -1.0 if line.startswith("-") else 1.0, time.time())
    if command == "u" and not argument:
        return session.undo()
    if command == "t" and argument:
        return session.toggle(argument)
    if command == "s":
        if not argument:
            raise DataError("name the file to save to: s FILE")
        session.save(Path(argument))
        console.print(f"Saved to {argument}; continue with segue play --resume {argument}")
        return session
    if command == "p" and not argument:
        print_picks(session, console)
        return session
    if line == "?" or not line:
        console.print(HELP)
        return session
    return session.search(line.removeprefix("/").strip())


def print_picks(session: Session, console: Console) -> None:
    """Print the picks so far: + for likes, - for dislikes."""
    for pick in session.picks:
        row = int(session.trained.items.rows([pick.item])[0])
        console.print(f"{'+' if pick.weight > 0 else '-'} {session.title(row)}")
    if not session.picks:
        console.print("There are no picks.")


def draw(session: Session, console: Console) -> None:
    """Draw the panels, two side by side if the terminal is wide enough."""
    panels = []
    for name, lines in session.show().items():
        heading = HEADINGS.get(name, name)
        if name == SEARCH and session.query:
            heading = f"Search: {session.query}"
        panels.append(Panel(_table(session, lines, name), title=heading, title_align="left"))
    width = min(console.width, WIDEST)
    if width < TWO_COLUMNS:
        for panel in panels:
            console.print(panel, width=width)
    else:
        console.print(Columns(panels, width=width // 2 - 1, expand=False), width=width)


def _table(session: Session, lines: list[Line], name: str) -> Table | Text:
    if not lines:
        hint = "no results" if session.query else "type a text to search"
        return Text(hint if name == SEARCH else "pick an item first", style="dim")
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style="bold")
    table.add_column(ratio=3, no_wrap=True, overflow="ellipsis")
    table.add_column(ratio=2, no_wrap=True, overflow="ellipsis", style="dim")
    table.expand = True
    for line in lines:
        table.add_row(str(line.number), Text(session.title(line.row)), Text(line.reason))
    return table
