"""Where configuration and models lie, and whether both can be read. As a program: the child that looks there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Final

from glm_gguf.doctor.child import Reply, print_answer
from glm_gguf.doctor.section import Section
from glm_gguf.errors import GlmGgufError
from glm_gguf.gguf_file.finding import Finding, problem

PARTS: Final = ("configuration", "store")


def places(reply: Reply) -> Section:
    """Judge the answer of the child."""
    if reply.failure is not None:
        what, why = f"the user's directories cannot be found: {reply.failure}", "no configuration and no store is read"
        return Section("places", {"failure": reply.failure}, (problem(what, why, "pip install platformdirs"),))
    return Section("places", reply.found, tuple(_findings(reply.found)))


def _findings(found: Any) -> list[Finding]:
    why = {"configuration": "commands that read it end with this error", "store": "models have no names"}
    mends = {"configuration": "correct the file, or unset the variable", "store": "make it readable, or name another"}
    return [
        problem(found[f"{part}_error"], why[part], mends[part]) for part in PARTS if found[f"{part}_error"] is not None
    ]


def _configuration() -> dict[str, Any]:
    from glm_gguf.configuration.configuration import Configuration
    from glm_gguf.configuration.configuration_file import configuration_path

    found: dict[str, Any] = {"configuration": None, "configuration_exists": False, "settings": []}
    try:
        path = configuration_path(os.environ)
        found["configuration"] = None if path is None else str(path)
        found["configuration_exists"] = path is not None and path.exists()
        configuration = Configuration.load()
    except GlmGgufError as error:
        return {**found, "configuration_error": str(error), "store_in_file": None}
    settings = sorted({*configuration.in_file, *configuration.in_environment})
    return {**found, "settings": settings, "configuration_error": None, "store_in_file": configuration.value("store")}


def _store(configured: object) -> dict[str, Any]:
    from glm_gguf.store.store import Store

    try:
        directory = Store(configured if isinstance(configured, Path) else None).directory
    except GlmGgufError as error:
        nothing = {"store": None, "store_exists": False, "models": None, "store_free_bytes": None}
        return {**nothing, "store_error": str(error)}
    found: dict[str, Any] = {"store": str(directory), "store_exists": directory.is_dir(), "models": None}
    found["store_free_bytes"] = shutil.disk_usage(_existing(directory)).free
    try:
        return {**found, "models": len(Store(directory).models()), "store_error": None}
    except GlmGgufError as error:
        return {**found, "store_error": str(error)}


def _existing(path: Path) -> Path:
    """Return the directory, or the nearest above it that exists."""
    return next(parent for parent in (path, *path.parents) if os.path.isdir(parent))


def main() -> None:
    """Print paths and errors of both."""
    found = _configuration()
    configured = found.pop("store_in_file")
    print_answer({**found, **_store(configured)})


if __name__ == "__main__":
    main()
