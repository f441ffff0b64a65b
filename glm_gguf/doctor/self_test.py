"""The demo's first question: the bundled model is converted, loaded, and calls two functions.

As a program: the child that asks it.
"""

from __future__ import annotations

import json
import tempfile
import time
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from glm_gguf.doctor.child import ILLEGAL_INSTRUCTION, Reply, print_answer
from glm_gguf.doctor.llama_build import build_command
from glm_gguf.doctor.section import Section
from glm_gguf.gguf_file.finding import Finding, problem

QUESTION: Final = "北京和上海的空气质量怎么样？"


def self_test(reply: Reply) -> Section:
    """Judge the answer of the child."""
    if reply.failure is None and reply.found["passed"]:
        return Section("self-test", reply.found)
    failure = reply.failure or f"the model answered {reply.found['answer']!r}"
    facts = {"passed": False, **reply.found, "failure": failure}
    return Section("self-test", facts, (_finding(reply, failure),))


def _finding(reply: Reply, failure: str) -> Finding:
    why = "conversions or answers do not work here"
    if reply.signal == ILLEGAL_INSTRUCTION:
        return problem("the self-test used an instruction that this processor lacks", why, build_command())
    return problem(f"the self-test failed: {failure}", why, "mend what is named above; else report it with this output")


def _ask() -> dict[str, Any]:
    """Convert, load, and ask; the answer passes if it names what both functions returned."""
    from glm_gguf.chat.tools import Toolbox
    from glm_gguf.convert import convert
    from glm_gguf.demo.tools import DECLARATIONS, FUNCTIONS
    from glm_gguf.model import GLM

    with (
        tempfile.TemporaryDirectory(prefix="glm-gguf-doctor-") as directory,
        resources.as_file(resources.files("glm_gguf.demo") / "checkpoint") as checkpoint,
    ):
        times = [time.perf_counter()]
        (path,) = convert(checkpoint, Path(directory, "tiny.gguf"))
        times.append(time.perf_counter())
        with GLM(path, threads=1) as glm:
            times.append(time.perf_counter())
            result = glm.run(QUESTION, Toolbox(FUNCTIONS, DECLARATIONS), temperature=0, max_tokens=200)
            times.append(time.perf_counter())
    calls = [call for message in result.messages for call in message.get("tool_calls") or ()]
    names = [call["function"]["name"] for call in calls]
    levels = [json.loads(message["content"]) for message in result.messages if message["role"] == "tool"]
    told = all(str(level["aqi"]) in result.content for level in levels)
    seconds = [round(after - before, 2) for before, after in pairwise(times)]
    return {
        "passed": names == ["realtime_aqi"] * 2 and len(levels) == 2 and told,
        "question": QUESTION,
        "calls": names,
        "answer": result.content,
        **dict(zip(("seconds_to_convert", "seconds_to_load", "seconds_to_answer"), seconds, strict=True)),
    }


if __name__ == "__main__":
    print_answer(_ask())
