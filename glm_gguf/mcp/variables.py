"""Variables of the environment in a configuration file: ${NAME}, ${env:NAME} and ${NAME:-default}."""

from __future__ import annotations

import re
from collections.abc import Mapping

from glm_gguf.errors import RequestError

REFERENCE = re.compile(r"\$\{([^}]*)\}")
NAME = re.compile(r"(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


def with_variables(text: str, variables: Mapping[str, str], place: Mapping[str, str]) -> str:
    """Put the values of variables in the place of their names; RequestError, at `place`, for one that is not set."""

    def value(found: re.Match[str]) -> str:
        named = NAME.fullmatch(found[1])
        if named is None:
            raise RequestError(f"{found[0]} is no variable of the environment", **place, fix="write ${NAME}")
        name, default = named.groups()
        if name not in variables and default is None:
            raise RequestError(f"the variable {name} is not set", **place, fix=f"set it, or write ${{{name}:-default}}")
        return variables.get(name, default or "")

    return REFERENCE.sub(value, text)
