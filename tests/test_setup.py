"""scripts/setup asks pip for what is wanted, once, and says how far the build of llama.cpp is."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parent.parent
SETTINGS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
EXTRAS, GROUPS = SETTINGS["project"]["optional-dependencies"], SETTINGS["dependency-groups"]
FILES = ("pyproject.toml", "constraints.txt", "scripts/setup", "scripts/requirements.py", "scripts/llama_cpp.cmake")
PYTHON = """#!/bin/sh
# Stands for the environment's Python: writes down what pip is asked for, and builds what BUILD says.
[ "$1" = -c ] && exit 0
echo "$CMAKE_ARGS | $*" >> "$ASKED"
for argument; do
    case "$argument" in */requirements.txt) cat "$argument" >> "$REQUIRED" ;; esac
done
eval "${BUILD-}"
"""
COMPILING = """
if [ ! -e "$ASKED.built" ]; then
    touch "$ASKED.built"
    printf '"file":\\n%.0s' 1 2 3 4 5 6 7 8 > "$SKBUILD_BUILD_DIR/compile_commands.json"
    for name in 1 2 3 4 5 6; do touch "$SKBUILD_BUILD_DIR/$name.o"; done
    until grep -q "6 of 8" "$SAID"; do sleep 0.05; done
fi
"""


class Checkout:
    """A checkout whose environment writes down what it is asked for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in FILES:
            (directory / name).parent.mkdir(exist_ok=True)
            shutil.copy(REPOSITORY / name, directory / name)
        python = directory / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(PYTHON)
        python.chmod(0o755)

    def setup(self, *arguments: str, fails: bool = False, **variables: str) -> list[str]:
        """Run scripts/setup; returns pip's calls, each behind the CMAKE_ARGS in force."""
        asked, said = self.directory / "asked", self.directory / "said"
        (self.directory / "required").write_text("")
        asked.write_text("")
        inherited = {name: value for name, value in os.environ.items() if name != "CMAKE_ARGS"}
        paths = {"ASKED": asked, "SAID": said, "REQUIRED": self.directory / "required", "PYTHON": sys.executable}
        with said.open("w") as out:
            command = [str(self.directory / "scripts" / "setup"), *arguments]
            environment = inherited | {name: str(path) for name, path in paths.items()} | variables
            done = subprocess.run(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
        assert bool(done.returncode) == fails, self.said
        return asked.read_text().splitlines()

    @property
    def said(self) -> str:
        return (self.directory / "said").read_text()

    @property
    def required(self) -> set[str]:
        return set((self.directory / "required").read_text().splitlines())


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_a_user_gets_the_package_its_kernels_and_its_server(checkout: Checkout) -> None:
    llama, _, package = checkout.setup()
    assert llama.endswith("llama-cpp-python==0.3.36")
    assert "--editable ." in package
    assert checkout.required == {*SETTINGS["project"]["dependencies"], *EXTRAS["fast"], *EXTRAS["server"]}
    assert all(line.startswith("setup: ") for line in checkout.said.splitlines())


def test_tests_are_installed_on_top_once(checkout: Checkout) -> None:
    assert checkout.setup()
    assert checkout.setup() == []
    assert checkout.setup("--tests")
    assert checkout.required >= {*EXTRAS["mcp"], *GROUPS["test"], *GROUPS["clients"], *GROUPS["docs"]}
    assert checkout.setup("--tests") == []
    assert checkout.setup() == []
    with (checkout.directory / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert checkout.setup()


def test_what_llama_cpp_does_not_need_for_us_is_not_built(checkout: Checkout) -> None:
    arguments = checkout.setup()[0].partition("|")[0]
    assert {"-DGGML_RPC=on", "-DLLAVA_BUILD=off"} <= set(arguments.split())
    assert f"'-DCMAKE_PROJECT_llama_cpp_INCLUDE={checkout.directory}/scripts/llama_cpp.cmake'" in arguments


def test_other_arguments_of_cmake_build_llama_cpp_anew(checkout: Checkout) -> None:
    assert "--force-reinstall" not in checkout.setup()[0]
    first = checkout.setup(CMAKE_ARGS="-DGGML_CUDA=on")[0]
    assert "-DGGML_CUDA=on |" in first
    assert "--no-cache-dir --force-reinstall --no-binary llama-cpp-python" in first
    assert checkout.setup() == []
    assert "-DGGML_CUDA=on |" in checkout.setup("--tests")[0]


def test_options_of_pip_name_a_wheel_that_is_at_hand(checkout: Checkout) -> None:
    calls = checkout.setup("--tests", "--find-links", "wheels")
    assert len(calls) == 3
    assert all("--find-links wheels" in call for call in calls)
    assert all("--constraint constraints.txt" in call for call in calls)


def test_without_a_compiler_only_a_wheel_will_do(checkout: Checkout) -> None:
    (call,) = checkout.setup(fails=True, CXX="no-such-compiler", BUILD="exit 1")
    assert "--only-binary llama-cpp-python" in call
    assert "no C++ compiler" in checkout.said
    assert len(checkout.setup(CXX="no-such-compiler")) == 3


def test_the_build_of_llama_cpp_says_how_far_it_is(checkout: Checkout) -> None:
    checkout.setup(BUILD=COMPILING)
    assert re.search(r"compiling llama\.cpp: 6 of 8 files, about \d+ min left", checkout.said)


def test_every_requirement_has_a_version_among_the_constraints() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text("utf-8").splitlines()
    versions = dict(line.split("==") for line in lines if not line.startswith("#"))
    wanted = [
        *SETTINGS["project"]["dependencies"],
        *(line for group in (EXTRAS, GROUPS) for part in group.values() for line in part),
    ]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


ROOMS = {
    "fast": ("convert/kernels", {"numba", "llvmlite"}),
    "research": ("glm_gguf/research", {"trafilatura", "pypdf", "protego"}),
    "server": ("glm_gguf/server", {"fastapi", "starlette", "pydantic", "uvicorn", "httptools", "prometheus_client"}),
}
"""Extra → the room that needs it, and what it brings."""


@pytest.mark.parametrize(("room", "brought"), ROOMS.values(), ids=ROOMS)
def test_what_an_extra_brings_is_imported_in_one_room(room: str, brought: set[str]) -> None:
    files = [path for folder in ("convert", "glm_gguf") for path in (REPOSITORY / folder).rglob("*.py")]
    importing = {path for path in files if brought & _imported(path)}
    assert importing
    doctor = REPOSITORY / "glm_gguf" / "doctor"  # it tells whether the extra can be imported
    assert all(path.is_relative_to(REPOSITORY / room) or path.is_relative_to(doctor) for path in importing)


def _imported(path: Path) -> set[str]:
    """The top-level names that a file imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    whole = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    parts = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in whole | parts}


@pytest.mark.parametrize("name", ["gguf", "jsonschema", "uvicorn", "numba", "llvmlite", "huggingface_hub"])
def test_packages_whose_private_parts_are_used_have_an_upper_bound(name: str) -> None:
    declared = [*SETTINGS["project"]["dependencies"], *EXTRAS["fast"], *EXTRAS["server"]]
    (found,) = (line for line in declared if Requirement(line).name == name)
    assert "<" in str(Requirement(found).specifier)
