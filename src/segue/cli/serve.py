"""segue serve: a model behind HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from segue.cli.options import ModelArgument
from segue.online.profile import AUTO, PROFILES
from segue.serve.process import run
from segue.serve.settings import Limits, Settings

LIMITS = Limits()


def serve(
    model: ModelArgument,
    host: Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0 is all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port.")] = 8000,
    workers: Annotated[int, typer.Option(help="Processes that answer, which share model and events.")] = 1,
    events: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Where events are kept: sqlite:///FILE or postgresql://…; else in a file beside the model.",
        ),
    ] = "",
    keys: Annotated[
        str | None, typer.Option(metavar="FILE", help="API keys, lines of: name read,write key.")
    ] = None,
    cors: Annotated[
        list[str] | None, typer.Option(metavar="ORIGIN", help="Whose pages may call; repeatable.")
    ] = None,
    profile: Annotated[
        str, typer.Option(metavar="NAME", help=f"How events move a profile: {', '.join((AUTO, *PROFILES))}.")
    ] = AUTO,
    max_k: Annotated[int, typer.Option(help="The longest list.")] = LIMITS.k,
    max_body: Annotated[int, typer.Option(help="The longest body, in bytes.")] = LIMITS.body,
    concurrency: Annotated[
        int, typer.Option(help="Requests at once in a worker; more get 429.")
    ] = LIMITS.concurrency,
    deadline: Annotated[float, typer.Option(help="Seconds until a request is given up.")] = LIMITS.deadline,
    log: Annotated[str, typer.Option(metavar="text|json", help="How lines of the log look.")] = "text",
    access_log: Annotated[bool, typer.Option("--access-log", help="A line for every request.")] = False,
) -> None:
    """Serve a model over HTTP: lists, search, events that move profiles, metrics.

    [dim]Example: segue serve model --port 8000 --workers 2[/dim]
    """
    settings = Settings(
        model=str(model),
        events=events,
        keys=keys,
        cors=tuple(cors or ()),
        profile=profile,
        limits=Limits(body=max_body, k=max_k, concurrency=concurrency, deadline=deadline),
    )
    run(settings, host=host, port=port, workers=workers, log=log, access_log=access_log)
