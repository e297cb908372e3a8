"""The page: its files, as answers that a browser may keep and that let it load nothing from elsewhere."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from fastapi import APIRouter, HTTPException, Request, Response

TYPES = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8",
         "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}  # fmt: skip
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",  # kept, and asked for with its tag each time
}


class File(NamedTuple):
    """A file of the page: its bytes, their type, and a tag that changes with them."""

    body: bytes
    type: str
    tag: str


@cache
def page_files() -> dict[str, File]:
    """Return the files of the page by their names."""
    found = {}
    for one in files("segue.serve").joinpath("page").iterdir():
        kind = TYPES.get(one.name.rpartition(".")[2])
        if kind is not None:
            body = one.read_bytes()
            found[one.name] = File(body, kind, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
    return found


def page_router() -> APIRouter:
    """Return the routes of the page, which are not part of the API."""
    made = APIRouter(include_in_schema=False)

    @made.api_route("/", methods=["GET", "HEAD"])
    async def index(request: Request) -> Response:
        return _answer(request, "index.html")

    @made.api_route("/page/{name}", methods=["GET", "HEAD"])
    async def file(request: Request, name: str) -> Response:
        return _answer(request, name)

    return made


def _answer(request: Request, name: str) -> Response:
    found = page_files().get(name)
    if found is None:
        raise HTTPException(404, "the page has no such file")
    headers = {**HEADERS, "etag": found.tag}
    tags = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    if found.tag in tags:
        return Response(status_code=304, headers=headers)
    return Response(found.body, headers={**headers, "content-type": found.type})
