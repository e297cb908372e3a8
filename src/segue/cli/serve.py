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
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 listens on all interfaces.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    workers: Annotated[
        int, typer.Option(help="Number of worker processes; they share the model and the events.")
    ] = 1,
    events: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Event store: sqlite:///FILE or postgresql://…; by default a file beside the model.",
        ),
    ] = "",
    keys: Annotated[
        str | None, typer.Option(metavar="FILE", help="File of API keys, one line each: name read,write key.")
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Allowed CORS origin of browser requests; repeatable."),
    ] = None,
    profile: Annotated[
        str,
        typer.Option(metavar="NAME", help=f"Kind of user profile: {', '.join((AUTO, *PROFILES))}."),
    ] = AUTO,
    max_k: Annotated[int, typer.Option(help="Maximum number of items in a list.")] = LIMITS.k,
    max_body: Annotated[int, typer.Option(help="Maximum size of a request body, in bytes.")] = LIMITS.body,
    concurrency: Annotated[
        int, typer.Option(help="Maximum number of concurrent requests per worker; further ones get 429.")
    ] = LIMITS.concurrency,
    deadline: Annotated[
        float, typer.Option(help="Seconds after which a request is abandoned.")
    ] = LIMITS.deadline,
    log: Annotated[str, typer.Option(metavar="text|json", help="Format of the log.")] = "text",
    access_log: Annotated[bool, typer.Option("--access-log", help="Log one line per request.")] = False,
) -> None:
    """Serve a model over HTTP: lists, search, events that update user profiles, metrics.

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
