"""Variables of the environment that set what the configuration file sets, and go before it."""

from __future__ import annotations

from collections.abc import Mapping

from glm_gguf.configuration.configuration_file import FILE_VARIABLE
from glm_gguf.configuration.kinds import Value
from glm_gguf.configuration.settings import PREFIX, VARIABLES, nearest
from glm_gguf.errors import RequestError


def read_variables(environment: Mapping[str, str]) -> dict[str, Value]:
    """Read the settings of the environment, key → value; an empty variable sets nothing.

    Raises RequestError for a variable that begins as ours and names nothing, or whose value cannot be.
    """
    found = {}
    for name in sorted(environment):
        if name.startswith(PREFIX) and name != FILE_VARIABLE:
            setting = VARIABLES.get(name)
            if setting is None:
                raise RequestError("no setting has this name", where=name, fix=_advice(name))
            text = environment[name].strip()
            if text:
                try:
                    found[setting.key] = setting.kind.of_text(text)
                except RequestError as error:
                    raise RequestError(error.what, where=name, fix=error.fix) from None
    return found


def _advice(name: str) -> str:
    known = {other.removeprefix(PREFIX): other for other in (*VARIABLES, FILE_VARIABLE)}
    near = nearest(name.removeprefix(PREFIX), known)
    return f"did you mean {known[near]}?" if near else "unset it; glm-gguf config show lists the settings"
