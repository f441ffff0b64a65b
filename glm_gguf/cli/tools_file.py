"""A user's Python file whose public functions the model may call."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NewType
from zlib import crc32

import click

from glm_gguf.chat.function import function_name
from glm_gguf.chat.tools import Toolbox
from glm_gguf.errors import RequestError

MAIN_ONLY = "move what the file does as a program under if __name__ == '__main__':"


def load_tools(path: Path | None) -> Toolbox:
    """Run the file and collect the public functions that it defines; RequestError where that fails or finds none."""
    if path is None:
        return Toolbox.of([])
    module = _run(path)
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    functions = [value for value in public.values() if _is_tool(value, module)]
    for name in (name for name, value in public.items() if isinstance(value, partial)):
        _warn(f"{name} is a functools.partial, which has no name of its own: no tool; write it as a def, or as _{name}")
    if not functions:
        raise RequestError("the file defines no public function", path=path)
    for function in functions:
        _warn_of(function)
    return Toolbox.of(functions)


def _is_tool(value: object, module: ModuleType) -> bool:
    """Whether a file defines a value that runs a call: a function, a decorated one, an object with __call__."""
    if isinstance(value, type | NewType) or not callable(value):
        return False
    return getattr(value, "__module__", None) == module.__name__


def _run(path: Path) -> ModuleType:
    """Import the file; RequestError where that fails."""
    fix = "give --tools a file that ends in .py"
    if not path.exists():
        raise RequestError("there is no such file", path=path, fix=fix)
    if path.is_dir():
        raise RequestError("this is a directory", path=path, fix=fix)
    name = f"glm_gguf_tools_{crc32(os.fsencode(path.resolve())):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise RequestError("this is not a Python file", path=path, fix=fix)
    module = importlib.util.module_from_spec(spec)
    if (beside := str(path.resolve().parent)) not in sys.path:
        sys.path.append(beside)  # the file may import its neighbours, as a program may
    sys.modules[name] = module  # there dataclasses and type hints look names up
    try:
        spec.loader.exec_module(module)
    except SystemExit as error:
        raise RequestError("the file calls sys.exit", path=path, fix=MAIN_ONLY) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the file is the user's, and may raise anything
        raise RequestError(f"{type(error).__name__}: {error}", path=path, fix="correct the file") from error
    return module


def _warn_of(function: Callable[..., Any]) -> None:
    """Warn of type hints and docstrings that the model lacks."""
    parameters = inspect.signature(function).parameters.values()
    bare = [parameter.name for parameter in parameters if parameter.annotation is parameter.empty]
    missing = [f"no type hint for {', '.join(bare)}"] if bare else []
    told = function if hasattr(function, "__name__") else type(function).__call__
    if not inspect.getdoc(told):
        missing.append("no docstring")
    if missing:
        _warn(f"{function_name(function)} has {' and '.join(missing)}: the model can only guess")


def _warn(text: str) -> None:
    click.secho(f"warning: {text}", err=True, fg="yellow")
