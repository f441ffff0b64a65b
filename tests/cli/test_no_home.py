"""A service whose user has no home directory runs files; what needs a home says so in a line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command as a user whom no list of users knows; skips where the system does not allow it."""
    alone = ["unshare", "--user", "--map-user=12345"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a process may not become another user here")
    homes = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "GLM_GGUF_STORE")
    environment = {name: value for name, value in os.environ.items() if name not in (*homes, "GLM_GGUF_CONFIG")}

    def run(*words: object, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [*alone, sys.executable, "-m", "glm_gguf", *map(str, words)]
        return subprocess.run(
            command,
            env={**environment, "PYTHONPATH": os.pathsep.join(sys.path), **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    return run


Run = Callable[..., subprocess.CompletedProcess[str]]


def test_a_file_answers(run: Run, tiny_gguf: Callable[[str], Path]) -> None:
    ran = run("run", tiny_gguf("Q8_0"), "Hello", "--temperature", 0, "--max-tokens", 6, "--threads", 1)
    assert (ran.returncode, bool(ran.stdout.strip())) == (0, True), ran.stderr


def test_a_store_that_a_variable_names_is_listed(run: Run, tmp_path: Path) -> None:
    ran = run("list", "--all", GLM_GGUF_STORE=str(tmp_path))
    assert (ran.returncode, f"no models yet in {tmp_path}" in ran.stderr) == (0, True), ran.stderr


TOLD = {
    "the store": (
        ["list"],
        "Error: there is no home directory, and so no store of models; name one by GLM_GGUF_STORE\n",
    ),
    "a name": (["run", "glm-4-9b", "Hello"], "and so no store of models; name one by GLM_GGUF_STORE\n"),
    "the file": (
        ["config", "set", "n-ctx", "512"],
        "Error: there is no home directory; name a file by GLM_GGUF_CONFIG\n",
    ),
}


@pytest.mark.parametrize("case", TOLD)
def test_what_needs_a_home_says_so_in_one_line(case: str, run: Run) -> None:
    words, expected = TOLD[case]
    ran = run(*words)
    assert (ran.returncode, ran.stdout, ran.stderr.endswith(expected)) == (1, "", True), ran.stderr
    assert ran.stderr.count("\n") == 1


def test_the_doctor_says_it_too(run: Run) -> None:
    ran = run("doctor", "--offline", "--json")
    found = json.loads(ran.stdout)
    assert found["places"]["store"] is None
    told = [finding for finding in found["findings"] if "there is no home directory" in finding["what"]]
    assert [finding["mend"] for finding in told] == ["make it readable, or name another"]
