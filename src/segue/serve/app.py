"""The application: the service, its routes, errors as problem details, and the middleware."""

from __future__ import annotations

import asyncio
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
from segue.serve.asgi import App, HttpResponse
from segue.serve.keys import Keys
from segue.serve.middleware import Middleware
from segue.serve.pages import page_router
from segue.serve.problems import field_errors, problem, problem_of
from segue.serve.routes import api_router
from segue.serve.service.service import Service
from segue.serve.settings import Settings

KEYS_INTERVAL = 1.0  # seconds between checks of the key file


def application(settings: Settings) -> App:
    """Return the ASGI application of a service; its lifespan starts and stops the service."""
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
        description="Recommendations for known and new users, similar items, search, and user events.",
        lifespan=lifespan,
        redoc_url=None,
    )
    app.include_router(api_router(service))
    app.include_router(page_router())
    _handle_errors(app)
    wrapped: App = Middleware(app, service, keys)
    if settings.cors:
        wrapped = CORSMiddleware(
            wrapped,
            allow_origins=settings.cors,
            allow_methods=["*"],
            allow_headers=["authorization", "content-type"],
        )
    return wrapped


def worker() -> App:
    """Return the application that the environment describes; worker processes call this."""
    return application(Settings.from_environment())


def _handle_errors(app: FastAPI) -> None:
    """Answer every error with problem details."""

    @app.exception_handler(SegueError)
    async def on_segue_error(_: Request, error: SegueError) -> Response:
        return _response(problem_of(error))

    @app.exception_handler(RequestValidationError)
    async def on_validation_error(_: Request, error: RequestValidationError) -> Response:
        errors = field_errors(error.errors())
        if any(field["message"].startswith("JSON decode error") for field in errors):
            return _response(problem(400, "the body is not valid JSON", errors=errors))
        return _response(problem(422, "validation failed; see errors, and /docs", errors=errors))

    @app.exception_handler(HTTPException)
    async def on_http_error(_: Request, error: HTTPException) -> Response:
        is_default = error.detail == HTTPStatus(error.status_code).phrase
        detail = "see /docs for the routes" if is_default else error.detail
        return _response(problem(error.status_code, detail, error.headers))

    @app.exception_handler(Exception)
    async def on_other_error(_: Request, error: Exception) -> Response:
        return _response(problem(500, "internal server error; see the log"))


def _response(response: HttpResponse) -> Response:
    result = Response(response.body, response.status)
    result.raw_headers = response.headers
    return result


async def _watch(keys: Keys | None) -> None:
    while keys is not None:
        await asyncio.sleep(KEYS_INTERVAL)
        keys.refresh()
