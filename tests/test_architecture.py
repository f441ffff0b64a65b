"""The house keeps its layers: imports point down only, heavy imports stay where they belong."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import glm_gguf
from glm_gguf import errors

REPOSITORY = Path(__file__).resolve().parent.parent
LEAVES = (
    *("amounts", "misspelled_names"),
    *("errors", "architectures", "special_tokens", "variant", "cpus", "core_kinds", "control_groups", "source_name"),
    *(
        "file_calls",
        "file_lock",
        "linux_files",
        "darwin_files",
        "whole_file",
        "regular_file",
        "home_directory",
        "loop_thread",
    ),
    "appended_lines",
    *("private_file", "strict_json", "whole_json"),
)
MAY_IMPORT = {
    **dict.fromkeys(LEAVES, ("errors", "architectures", "special_tokens")),
    "cpus": ("core_kinds", "control_groups"),
    "file_calls": ("linux_files", "darwin_files"),
    "whole_file": ("errors", "file_calls", "file_lock", "private_file"),
    "appended_lines": ("errors", "file_calls", "file_lock", "private_file", "regular_file"),
    "demo": (),
    "gguf_file": LEAVES,
    "schema": LEAVES,
    "chat": ("schema", *LEAVES),
    "workers": LEAVES,
    "llama": ("chat", "gguf_file", "workers", *LEAVES),
    "engine": ("llama", "gguf_file", *LEAVES),
    "answers": ("engine", "llama", "chat", "schema", "gguf_file", *LEAVES),
    "configuration": ("llama", *LEAVES),
    "convert": ("chat", "gguf_file", *LEAVES),
    "store": ("convert", "gguf_file", *LEAVES),
    "run_options": ("chat", *LEAVES),
    "mcp": ("chat", *LEAVES),
    "tool_calls": ("run_options", "chat", *LEAVES),
    "agent": ("run_options", "tool_calls", "chat", *LEAVES),
    "chat_model": ("agent", "run_options", "answers", "engine", "llama", "chat", *LEAVES),
    "model": ("chat_model", "agent", "answers", "engine", "llama", "chat", "schema", "gguf_file", *LEAVES),
    "quality": ("model", "answers", "llama", "chat", "gguf_file", *LEAVES),
    "research": ("model", "answers", "llama", "chat", *LEAVES),
    "batches": LEAVES,
    "server": (
        *("batches", "research", "model", "run_options", "tool_calls", "answers", "engine", "llama", "chat"),
        *("gguf_file", "store"),
        *LEAVES,
    ),
    "doctor": ("model", "store", "configuration", "convert", "llama", "chat", "demo", "gguf_file", *LEAVES),
    "ray": ("server", "batches", "model", "answers", "llama", *LEAVES),
    "cli": (
        "doctor",
        "ray",
        "batches",
        "mcp",
        "configuration",
        "server",
        "quality",
        "research",
        "model",
        "run_options",
        "tool_calls",
        "convert",
        "store",
        "workers",
        "answers",
        "engine",
        "llama",
        "chat",
        "gguf_file",
        "demo",
        *LEAVES,
    ),
    "__main__": ("cli",),
    "__init__": (
        *("model", "chat_model", "agent", "run_options", "answers", "engine", "llama", "chat", "convert", "gguf_file"),
        *("research", "mcp"),
        *LEAVES,
    ),
}
"""Room → the rooms it may import. A room is a folder or a module right below glm_gguf/."""

ONLY_IN = {
    "llama_cpp": {"llama"},
    "jinja2": {"chat"},
    "jsonschema": {"schema"},
    "llguidance": {"schema", "answers", "llama"},
    "gguf": {"convert"},
    "mcp": {"mcp"},
    "mcp_types": {"mcp"},
    "anyio": {"mcp"},
    "threadpoolctl": {"convert"},
    "huggingface_hub": {"convert"},
    "click": {"cli"},
    "fastapi": {"server"},
    "starlette": {"server"},
    "uvicorn": {"server"},
    "pydantic": {"server"},
    "prometheus_client": {"server"},
    "platformdirs": {"home_directory"},
    "filelock": {"store"},
    "rich": {"cli"},
    "prompt_toolkit": {"cli"},
    "tomlkit": {"configuration"},
    "matplotlib": {"quality"},
    "trafilatura": {"research"},
    "pypdf": {"research"},
    "protego": {"research"},
    "ray": {"ray"},
    "pyarrow": {"ray"},
    "sqlite3": {"research", "batches", "server"},
    "httpcore2": {"research"},
    "markdown_it": {"research"},
}


def modules() -> Iterator[tuple[str, Path]]:
    """Room and path of every module of the package; convert/ lies beside it and belongs to it."""
    for path in sorted((REPOSITORY / "glm_gguf").rglob("*.py")):
        relative = path.relative_to(REPOSITORY / "glm_gguf")
        if relative.parts[0] != "convert":
            yield relative.parts[0].removesuffix(".py"), path
    for path in sorted((REPOSITORY / "convert").rglob("*.py")):
        yield "convert", path


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "glm_gguf":
                yield from (f"glm_gguf.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""


MODULES = [pytest.param(room, path, id=str(path.relative_to(REPOSITORY))) for room, path in modules()]


@pytest.mark.parametrize(("room", "path"), MODULES)
def test_imports_point_down_only(room: str, path: Path) -> None:
    for name in imported(path):
        package, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if package == "glm_gguf" and target and target != room:
            assert target in MAY_IMPORT[room], f"{room} may not import {name}"
        if package in ONLY_IN:
            assert room in ONLY_IN[package], f"only {ONLY_IN[package]} may import {package}"


def test_one_module_imports_llama_cpp_and_checks_its_version() -> None:
    users = {
        path.name for _, path in modules() if any(name.partition(".")[0] == "llama_cpp" for name in imported(path))
    }
    assert users == {"library.py"}


def test_ctypes_stays_with_the_two_rooms_that_call_c_and_with_what_asks_the_system() -> None:
    users = {path.name for room, path in modules() if "ctypes" in imported(path) and room != "llama"}
    assert users <= {"ggml.py", "core_kinds.py"}


SYSTEM_CALLS = re.compile(r"\bos\.(?:fsync|fdatasync|posix_fallocate|posix_fadvise)\b")


def test_flushes_and_the_page_cache_stand_with_their_system() -> None:
    """What is flushed by os.fsync may be in the drive's cache on macOS."""
    users = {path.name for _, path in modules() if SYSTEM_CALLS.search(path.read_text("utf-8"))}
    assert users == {"linux_files.py", "darwin_files.py"}


def test_the_package_list_is_the_tree() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    folders = {path.parent.relative_to(REPOSITORY) for path in REPOSITORY.glob("glm_gguf/**/__init__.py")}
    folders = {folder for folder in folders if "convert" not in folder.parts}
    folders |= {
        Path("glm_gguf") / path.parent.relative_to(REPOSITORY) for path in REPOSITORY.glob("convert/**/__init__.py")
    }
    assert {str(folder).replace("/", ".") for folder in folders} == set(project["tool"]["setuptools"]["packages"])


def test_the_symlink_serves_an_uninstalled_checkout() -> None:
    link = REPOSITORY / "glm_gguf" / "convert"
    assert link.is_symlink()
    assert link.readlink() == Path("../convert")


HEAVY = (
    "numpy",
    "llama_cpp",
    "gguf",
    "jinja2",
    "rich",
    "prompt_toolkit",
    "fastapi",
    "uvicorn",
    "pydantic",
    "huggingface_hub",
    "httpx2",
)


CHECKING = ("jsonschema", "jsonschema_specifications", "referencing", "rfc3987_syntax", "llguidance", "regex")
"""What schemas are checked and compiled with: it is imported when the first schema is there."""
ELSEWHERE = ("gguf", "numba", "huggingface_hub", "httpx2", "rich", "yaml")
STARTING = {
    "import glm_gguf": (*HEAVY, *CHECKING, *ELSEWHERE),
    "import glm_gguf.cli.main": (*HEAVY, *CHECKING, *ELSEWHERE),
    "from glm_gguf import parse_reply": (*HEAVY, *CHECKING, *ELSEWHERE),
    "from glm_gguf import GLM": ("fastapi", "uvicorn", "pydantic", *CHECKING, *ELSEWHERE),
    "import glm_gguf.server.app": (*CHECKING, *ELSEWHERE),
}


@pytest.mark.parametrize(("statement", "heavy"), STARTING.items(), ids=STARTING)
def test_starting_up_loads_nothing_heavy(statement: str, heavy: tuple[str, ...]) -> None:
    script = f"{statement}; import sys; print(*(m for m in {heavy} if m in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []


def test_the_help_names_every_command() -> None:
    from glm_gguf.cli.main import COMMANDS

    output = subprocess.run([sys.executable, "-m", "glm_gguf", "--help"], capture_output=True, text=True, check=True)
    for name in COMMANDS:
        command = [sys.executable, "-m", "glm_gguf", name, "--help"]
        assert "Usage" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert name in output.stdout


def test_the_error_tree_in_the_docstring_is_the_tree() -> None:
    drawn = {word for line in (errors.__doc__ or "").splitlines() for word in line.split() if word.endswith("Error")}
    defined = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert drawn == defined
    assert defined <= set(glm_gguf.__all__), "every error is public"
    for name in defined - {"GlmGgufError"}:
        assert issubclass(getattr(errors, name), errors.GlmGgufError)


def test_no_two_test_modules_have_one_name() -> None:
    names = [path.name for path in (REPOSITORY / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names)), "pytest imports one module of each name"
