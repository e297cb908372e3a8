"""The application: the service, its routes, its errors as problem+json, and the gate before them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from segue.errors import SegueError
from segue.serve.keys import Keys
from segue.serve.middleware import Answer, App, Gate
from segue.serve.pages import page_router
from segue.serve.problems import listed, problem, problem_of
from segue.serve.routes import router
from segue.serve.service.service import Service
from segue.serve.settings import Settings

KEYS = 1.0  # seconds between looks at the file of keys
log = logging.getLogger("segue")


def application(settings: Settings) -> App:
    """Return the ASGI application of a service; it starts and ends with its lifespan."""
    service = Service(settings)
    keys = None if settings.keys is None else Keys(settings.keys)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        watching = asyncio.create_task(_watch(keys))
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            await service.close()

    app = FastAPI(
        title="segue",
        version=version("segue"),
        description="Recommendations for people, known or new; what is similar; events that move profiles.",
        lifespan=lifespan,
        redoc_url=None,
    )
    app.include_router(router(service))
    app.include_router(page_router())
    _explain(app)
    made: App = Gate(app, service, keys)
    if settings.cors:
        made = CORSMiddleware(
            made,
            allow_origins=settings.cors,
            allow_methods=["*"],
            allow_headers=["authorization", "content-type"],
        )
    return made


def worker() -> App:
    """Return the application that the environment describes: what a worker process calls."""
    return application(Settings.from_environment())


def _explain(app: FastAPI) -> None:
    """Answer every error with problem+json."""

    @app.exception_handler(SegueError)
    async def told(_: Request, error: SegueError) -> Response:
        return _response(problem_of(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        found = listed(error.errors())
        if any(one["what"].startswith("JSON decode error") for one in found):
            return _response(problem(400, "the body is no JSON", errors=found))
        return _response(problem(422, "the request does not fit; see errors, and /docs", errors=found))

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        detail = (
            error.detail
            if error.detail != HTTPStatus(error.status_code).phrase
            else "see /docs for the routes"
        )
        return _response(problem(error.status_code, detail, error.headers))

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        return _response(problem(500, "the service failed; its log says why"))


def _response(answer: Answer) -> Response:
    status, headers, body = answer
    made = Response(body, status)
    made.raw_headers = headers
    return made


async def _watch(keys: Keys | None) -> None:
    while keys is not None:
        await asyncio.sleep(KEYS)
        keys.refresh()
