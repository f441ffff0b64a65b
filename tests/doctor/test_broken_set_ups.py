"""doctor says what is missing and how to mend it, and plan and config end well, whatever is broken."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from damage import says
from doctor.set_ups import SetUp

from glm_gguf.llama.required_version import INSTALL, VERSION


@pytest.fixture(scope="module")
def without_llama(tmp_path_factory: pytest.TempPathFactory) -> SetUp:
    return SetUp.make(tmp_path_factory.mktemp("bare"), {"llama_cpp", "llama_cpp_python"})


def examined(set_up: SetUp, *words: str, code: int, **variables: str) -> dict[str, Any]:
    """What doctor finds, as JSON."""
    done = set_up.run("doctor", "--json", *words, **variables)
    assert done.returncode == code, done.stdout[-2000:] + done.stderr
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def findings(found: Mapping[str, Any], severity: str) -> str:
    return "\n".join(f"{one['what']} -> {one['mend']}" for one in found["findings"] if one["severity"] == severity)


def one_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """The command ended with one clear error."""
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    says(done.stderr, "Error: ", *parts)


def test_without_numba_a_compiler_and_a_network_all_else_works_and_nothing_personal_is_told(tmp_path: Path) -> None:
    set_up = SetUp.make(tmp_path, {"numba", "llvmlite"})
    host = os.uname().nodename
    found = examined(
        set_up, code=0, HF_TOKEN="hf_geheim", GLM_GGUF_API_KEY="geheim", HF_ENDPOINT="http://bob:pw@intern"
    )
    assert found["self-test"]["passed"] is True
    assert (found["quantisers"]["usable"], found["quantisers"]["in_use"]) == (True, "ggml's")
    assert found["machine"]["compiler"] == "none"
    assert found["software"]["extra fast"] is False
    assert found["hubs"]["ModelScope"] == "the connection fails, ConnectError"
    says(findings(found, "advice"), "of the extra fast: numba, llvmlite missing", "-> pip install 'glm-gguf[fast]'")
    says(findings(found, "advice"), "not reachable: Hugging Face", "ModelScope", "-> check network and proxy")
    assert found["places"]["store"].startswith("~/")
    text = json.dumps(found, ensure_ascii=False)
    for private in ("alice", "geheim", str(set_up.home), "bob", "intern"):
        assert private not in text
    assert not re.search(rf"(?<![A-Za-z0-9]){re.escape(host)}(?![A-Za-z0-9])", text) or host == "localhost"


def test_without_llama_cpp_the_command_that_installs_it_is_told(without_llama: SetUp) -> None:
    found = examined(without_llama, "--offline", code=3)
    problems = findings(found, "problem")
    says(problems, "llama-cpp-python is not installed", "llama.cpp does not load", f"-> {INSTALL}")
    assert len(problems.splitlines()) == 3, "one cause is not told four times"
    says(problems, "there is no C++ compiler on the path -> install one")
    says(found["self-test"]["failure"], "llama-cpp-python cannot be loaded")
    says(found["quantisers"]["failure"], "reinstall llama-cpp-python")
    assert found["hubs"]["asked"] is False
    one_line(without_llama.run("plan", "x.gguf"), "No module named 'llama_cpp'", INSTALL, "glm-gguf doctor")
    one_line(without_llama.run("run", "x.gguf", "Hello"), "x.gguf")
    one_line(without_llama.run("pull", "hf://a/b"), "hf://a/b: the hub cannot be reached")
    assert without_llama.run("list").returncode == 0
    assert without_llama.run("config", "set", "n-ctx", "512").returncode == 0
    says(without_llama.run("config", "show").stdout, "512")


def test_another_version_of_llama_cpp_is_refused_before_it_can_crash(tmp_path: Path) -> None:
    set_up = SetUp.make(tmp_path)
    set_up.replace("llama_cpp/__init__.py", lambda text: text.replace(VERSION, "0.3.2"))
    set_up.replace(f"llama_cpp_python-{VERSION}.dist-info/METADATA", lambda text: text.replace(VERSION, "0.3.2"))
    found = examined(set_up, "--offline", code=3)
    says(findings(found, "problem"), "llama-cpp-python 0.3.2 is installed", f"runs with {VERSION} alone", INSTALL)
    one_line(set_up.run("plan", "x.gguf"), "llama-cpp-python 0.3.2 is installed", INSTALL)
    assert set_up.run("config", "show").returncode == set_up.run("list").returncode == 0


BROKEN = {
    "without its libraries": (
        "llama_cpp/_ctypes_extensions.py",
        "raise FileNotFoundError('libllama')",
        "libllama",
    ),
    "of another build": (
        "llama_cpp/__init__.py",
        "raise AttributeError('undefined symbol')",
        "undefined symbol",
    ),
    "for another processor": (
        "llama_cpp/__init__.py",
        "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
        "llama.cpp was built for another processor -> CMAKE_ARGS=-DGGML_NATIVE=on pip install",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_llama_cpp_that_does_not_load_is_told(case: str, tmp_path: Path) -> None:
    file, statement, expected = BROKEN[case]
    set_up = SetUp.make(tmp_path)
    set_up.replace(file, lambda text: statement + "\n")
    found = examined(set_up, "--offline", code=3)
    assert found["llama.cpp"]["loads"] is False
    says(findings(found, "problem"), expected)
    if case != "for another processor":
        one_line(set_up.run("plan", "x.gguf"), expected, INSTALL)


def test_a_broken_configuration_and_store_are_problems_with_their_places(without_llama: SetUp) -> None:
    broken, store = without_llama.home / "c.toml", without_llama.home / "store"
    broken.write_text('[server]\napi-key = "geheim"\n[engine\n')
    store.write_text("no directory")
    variables = {"GLM_GGUF_CONFIG": str(broken), "GLM_GGUF_STORE": str(store)}
    found = examined(without_llama, "--offline", code=3, **variables)
    says(findings(found, "problem"), "~/c.toml: this is no TOML", "line 3, column 8", "~/store")
    assert "geheim" not in json.dumps(found)
    for words in (["config", "show"], ["run", "x.gguf", "Hi"], ["pull", "glm-4-9b"], ["list"]):
        one_line(without_llama.run(*words, **variables), "c.toml: this is no TOML", "line 3, column 8")
    for words in (["pull", "hf://a/b"], ["list"], ["run", "glm-4-9b", "Hi"]):
        one_line(without_llama.run(*words, GLM_GGUF_STORE=str(store)), str(store))
    assert without_llama.run("config", "path", **variables).stdout == f"{broken}\n"


def test_a_store_and_a_configuration_that_may_not_be_read_are_problems(without_llama: SetUp) -> None:
    store, closed = without_llama.home / "closed", without_llama.home / "closed.toml"
    store.mkdir(mode=0o000)
    closed.touch(mode=0o000)
    variables = {"GLM_GGUF_CONFIG": str(closed), "GLM_GGUF_STORE": str(store)}
    found = examined(without_llama, "--offline", code=3, **variables)
    says(findings(found, "problem"), "~/closed", "~/closed.toml: cannot be read: Permission denied")
    one_line(without_llama.run("config", "show", **variables), "closed.toml: cannot be read: Permission denied")
    for words in (["pull", "hf://a/b"], ["list"], ["chat", "glm-4-9b"]):
        one_line(without_llama.run(*words, GLM_GGUF_STORE=str(store)), str(store), "Permission denied")


MISSING = ("numpy", "platformdirs", "packaging", "httpx2", "psutil")


def test_missing_packages_are_named(tmp_path: Path) -> None:
    set_up = SetUp.make(tmp_path, {*MISSING, "llama_cpp", "llama_cpp_python"})
    found = examined(set_up, code=3)
    problems = findings(found, "problem")
    says(problems, "numpy is not installed -> pip install 'numpy'", "-> pip install platformdirs")
    says(findings(found, "advice"), "the hubs cannot be asked", "httpx2")
    for words in (["config", "path"], ["plan", set_up.home], ["convert", "hf://a/b"], ["pull", "glm-4-9b"]):
        one_line(set_up.run(*words), "cannot be imported", "glm-gguf doctor")


def test_a_checkout_that_is_not_installed_is_told(tmp_path: Path) -> None:
    set_up = SetUp.make(tmp_path, {"glm_gguf", "llama_cpp"})
    done = set_up.run("doctor", "--offline")
    assert (done.returncode, done.stderr) == (3, "")
    says(done.stdout, "software\n", "machine\n", "llama.cpp\n", "self-test\n", f"  mend  {INSTALL}\n")
    says(done.stdout, "problem: glm-gguf is not installed")
    assert len(re.findall(r"(?m)^  free memory +[\d.]+ [GM]B$", done.stdout)) == 1
    says(set_up.run("--version").stdout, "a checkout that is not installed")
