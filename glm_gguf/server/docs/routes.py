"""GET /docs: the OpenAPI description on a page without scripts, so that nothing comes from elsewhere."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from glm_gguf.server.docs.page import description_page

router = APIRouter(include_in_schema=False)
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Show the API's description; programs read /openapi.json."""
    page = description_page(request.app.openapi())
    return Response(page, media_type="text/html", headers={"Content-Security-Policy": POLICY})
