"""A question that a child process answers, so that no package and no crash ends the doctor."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MOST_CHARACTERS: Final = 500
"""Of the last line that a child wrote."""
ILLEGAL_INSTRUCTION: Final = "SIGILL"
_PACKAGE: Final = Path(__file__).absolute().parent.parent


@dataclass(frozen=True, slots=True)
class Reply:
    """What a child found out; or in `failure`, how it ended instead, with the name of the signal where one ended it."""

    found: Mapping[str, Any]
    failure: str | None = None
    signal: str | None = None


def ask(module: str, seconds: float) -> Reply:
    """Run `main` of glm_gguf.doctor.MODULE in a child, which prints one JSON object as the last line."""
    paths = [str(_PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-P", "-m", f"glm_gguf.doctor.{module}"]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return Reply({}, f"it gave no answer within {seconds:g} s")
    except OSError as error:
        return Reply({}, f"Python cannot be started: {error.strerror}")
    return _reply(done)


def _reply(done: subprocess.CompletedProcess[str]) -> Reply:
    if done.returncode < 0:
        names = {int(number): number.name for number in signal.Signals}
        name = names.get(-done.returncode, str(-done.returncode))
        return Reply({}, f"the process was ended by {name}", name)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        told = re.sub(r"^glm_gguf\.errors\.\w+: ", "", lines[-1]) if lines else f"exit code {done.returncode}"
        return Reply({}, told[:MOST_CHARACTERS])
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return Reply({}, "it printed no answer")
    return Reply(found)


def print_answer(found: Mapping[str, Any]) -> None:
    """Print the answer of a child."""
    sys.stdout.write(f"\n{json.dumps(found)}\n")
