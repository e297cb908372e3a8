"""segue play: search, pick and watch, in a terminal or from a script on the standard input."""

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

from segue.cli.options import ModelArgument
from segue.cli.session import OTHERS, PANELS, Line, Session, finder
from segue.cli.terminal import output
from segue.errors import DataError, SegueError
from segue.online.profile import AUTO, PROFILES, Profile
from segue.recommender.fitting import load

HELP = f"""text      search the titles                 5         like number 5
-5        dislike number 5                  u         undo the last pick
/text     search for a number or a letter   p         the picks so far
t NAME    a panel on or off: {", ".join((*PANELS, *OTHERS))}
s FILE    save the session                  q         end"""
HEADS = {"search": "Search", "recommended": "For you", "gaussian": "Gaussian noise", "buckets": "Buckets"}


def play(
    model: ModelArgument,
    profile: Annotated[
        str, typer.Option(metavar="NAME", help=f"One of: {', '.join((AUTO, *PROFILES))}.")
    ] = AUTO,
    k: Annotated[int, typer.Option("-k", help="Items in a panel.")] = 5,
    resume: Annotated[Path | None, typer.Option(metavar="FILE", help="Go on with a saved session.")] = None,
) -> None:
    """Search, pick and watch: a session with a model, in which a profile follows your picks.

    Four panels show what was found, what the profile leads to, and what noise makes of it. Type a text to
    search, a number to like what has it, -number to dislike it, ? for more. Reads lines of the same kind
    from a pipe.

    [dim]Example: segue play model[/dim]
    """
    trained = load(model)
    session = Session(trained, Profile(profile, trained.space), finder(trained), k=k)
    if resume is not None:
        session = session.resumed(resume)
    console = output()
    draw(session, console)
    asked = sys.stdin.isatty()
    while True:
        if asked:
            console.print("search, number, ? or q: ", end="")
        line = sys.stdin.readline()
        if not line or line.strip() in ("q", "quit"):
            return
        if not asked:
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
    """What a line of input makes of a session."""
    command, _, rest = line.partition(" ")
    if line.lstrip("-").isdigit():
        return session.picked(abs(int(line)), -1.0 if line.startswith("-") else 1.0, time.time())
    if command == "u" and not rest:
        return session.back()
    if command == "t" and rest:
        return session.turned(rest.strip())
    if command == "s":
        if not rest:
            raise DataError("name the file to save to: s FILE")
        session.save(Path(rest.strip()))
        console.print(f"Saved to {rest.strip()}; segue play --resume {rest.strip()} goes on")
        return session
    if command == "p" and not rest:
        for event in session.events:
            row = int(session.trained.items.rows([event.item])[0])
            console.print(f"{'+' if event.weight > 0 else '-'} {session.title(row)}")
        if not session.events:
            console.print("Nothing has been picked.")
        return session
    if line == "?" or not line:
        console.print(HELP)
        return session
    return session.searched(line.removeprefix("/").strip())


def draw(session: Session, console: Console) -> None:
    """Draw the panels, two beside each other where there is room."""
    told = []
    for name, lines in session.shown().items():
        head = HEADS.get(name, name)
        if name == "search" and session.query:
            head = f"Search: {session.query}"
        told.append(Panel(_table(session, lines, name), title=head, title_align="left"))
    width = min(console.width, 160)
    if width < 100:
        for panel in told:
            console.print(panel, width=width)
    else:
        console.print(Columns(told, width=width // 2 - 1, expand=False), width=width)


def _table(session: Session, lines: list[Line], name: str) -> Table | Text:
    if not lines:
        nothing = "nothing found" if session.query else "type a text to search"
        return Text(nothing if name == "search" else "pick something first", style="dim")
    made = Table.grid(padding=(0, 1))
    made.add_column(justify="right", style="bold")
    made.add_column(ratio=3, no_wrap=True, overflow="ellipsis")
    made.add_column(ratio=2, no_wrap=True, overflow="ellipsis", style="dim")
    made.expand = True
    for line in lines:
        made.add_row(str(line.number), Text(session.title(line.row)), Text(line.why))
    return made
