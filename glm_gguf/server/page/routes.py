"""Routes of the page: `/` and the files below `/page/`, under a strict Content-Security-Policy.

Programs that speak Ollama's API look at `/` for its words. They do not ask for HTML as every browser does.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Request, Response

from glm_gguf.server.page.files import PageFile, page_files
from glm_gguf.server.page.policies import ARTIFACT, EVERY_FILE, PAGE

INDEX = "index.html"
FRAME = "artifact.html"
OLLAMA_RUNS = "Ollama is running"
"""Programs compare the whole text."""
BY_ACCEPT = {"Vary": "Accept"}
EXTRA: Mapping[str, Mapping[str, str]] = {INDEX: {**PAGE, **BY_ACCEPT}, FRAME: ARTIFACT}
"""Headers of the two documents, besides those of every file."""


def page_router() -> APIRouter:
    """Return the routes; they need no API key, and the API's description leaves them out."""
    pages = page_files()
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def index(request: Request) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            return Response(OLLAMA_RUNS, headers={**EVERY_FILE, **BY_ACCEPT}, media_type="text/plain")
        return _answer(request, INDEX, pages[INDEX])

    @router.api_route("/page/{name:path}", methods=["GET", "HEAD"])
    async def file(request: Request, name: str) -> Response:
        found = pages.get(name)
        if found is None or name == INDEX:
            return Response("There is no such file.\n", 404, media_type="text/plain")
        return _answer(request, name, found)

    return router


def _answer(request: Request, name: str, file: PageFile) -> Response:
    """Return the file, or 304 if the browser has it."""
    headers = {**EVERY_FILE, **EXTRA.get(name, {}), "ETag": file.etag}
    known = request.headers.get("if-none-match", "")
    if file.etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(file.body, headers=headers, media_type=file.media_type)
