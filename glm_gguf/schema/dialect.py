"""Which draft of JSON Schema a schema is written in."""

from __future__ import annotations

import re
from typing import Any, Final

from glm_gguf.schema.walk import subschemas

_DRAFT: Final = re.compile(r"json-schema\.org/(draft-0[3467]|draft/20(?:19-09|20-12))/(?:hyper-)?schema\b")
LATEST: Final = "https://json-schema.org/draft/2020-12/schema"
LAST_WITH_LISTS: Final = "https://json-schema.org/draft/2019-09/schema"


def draft_uri(schema: Any) -> str:
    """Return the address of a schema's draft as it is registered, however it is spelled.

    Where it is unknown, the latest; but the latest that has lists of `items`, where there are some.
    """
    found = _DRAFT.search(str(schema.get("$schema"))) if isinstance(schema, dict) else None
    if found is None:
        nodes = [node for _, node in subschemas(schema)]
        lists = any(isinstance(node.get("items"), list) for node in nodes)
        return LAST_WITH_LISTS if lists and not any("prefixItems" in node for node in nodes) else LATEST
    name = found.group(1)
    return f"https://json-schema.org/{name}/schema" if "/" in name else f"http://json-schema.org/{name}/schema#"


def is_old(uri: str) -> bool:
    """Tell whether a draft is from before 2019-09: nothing beside a reference counts, and `items` may be a list."""
    return "/draft-0" in uri


def is_oldest(uri: str) -> bool:
    """Tell whether it is draft 3, which has keywords of its own."""
    return "/draft-03/" in uri
