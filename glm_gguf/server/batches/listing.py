"""Which part of a list a request's query asks for."""

from __future__ import annotations

from fastapi import Request

from glm_gguf.server.batches.store import PageRequest
from glm_gguf.server.problem import Problem, Refused


def page_request(request: Request, most: int, default: int, names: tuple[str, ...]) -> PageRequest:
    """Read `limit`, `after` and what else a list knows; Refused for any other name."""
    given = request.query_params
    unknown = next((name for name in given if name not in names), None)
    if unknown is not None:
        name = unknown[:100]
        raise Refused(Problem(400, f"{name}: the list has no such filter; leave it out.", param=name))
    limit = given.get("limit", str(default))
    if not limit.isdecimal() or len(limit) > 9 or not 1 <= int(limit) <= most:
        raise Refused(Problem(400, f"limit: give 1 to {most}.", param="limit"))
    order = given.get("order", "desc")
    if order not in ("asc", "desc"):
        raise Refused(Problem(400, "order: give asc or desc.", param="order"))
    return PageRequest(int(limit), given.get("after"), order == "desc", given.get("purpose"))
