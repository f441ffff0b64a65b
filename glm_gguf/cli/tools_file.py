"""A Python file of the user's, whose public functions the model may call."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path

from glm_gguf.chat.tools import Toolbox
from glm_gguf.errors import RequestError


def load_tools(path: Path | None) -> Toolbox:
    """Run the file and gather the public functions defined in it; RequestError for what is none, or declares none."""
    if path is None:
        return Toolbox.of([])
    spec = importlib.util.spec_from_file_location("glm_gguf_tools", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise RequestError("no Python file", where=path, fix="give --tools a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the file is the user's, and may raise anything
        raise RequestError(f"{type(error).__name__}: {error}", where=path, fix="mend the file") from error
    functions = [
        value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ]
    if not functions:
        raise RequestError("the file defines no public function", where=path)
    return Toolbox.of(functions)
