"""Which quantisers conversions use here: our kernels, compiled for this processor, or ggml's.

As a program: the child that tries them.
"""

from __future__ import annotations

import importlib
from typing import Any

from glm_gguf.doctor.child import Reply, print_answer
from glm_gguf.doctor.section import Section
from glm_gguf.gguf_file.finding import Finding, advice, problem
from glm_gguf.llama.required_version import INSTALL


def quantisers(reply: Reply) -> Section:
    """Judge the answer of the child."""
    if reply.failure is not None:
        finding = problem(f"conversions cannot quantise: {reply.failure}", "convert does not start", INSTALL)
        return Section("quantisers", {"usable": False, "failure": reply.failure}, (finding,))
    return Section("quantisers", {"usable": True, **reply.found}, tuple(_findings(reply.found)))


def _findings(found: Any) -> list[Finding]:
    if not found["differ"]:
        return []
    what = f"our quantisers of {', '.join(found['differ'])} do not compile here, or differ from this ggml"
    return [advice(what, "ggml quantises these types, which takes several times as long", "report it with this output")]


def facts() -> dict[str, Any]:
    """Find out which kernels are compiled, and compare those with ggml; compiles none."""
    from glm_gguf.convert.kernels import ggml
    from glm_gguf.convert.kernels.quantiser import PLAIN, kernel

    ggml.library()
    try:
        import llvmlite.binding
        import numba  # noqa: F401
    except ImportError:
        return {"in_use": "ggml's", "differ": []}
    from glm_gguf.convert.kernels.compiled import stored_processors

    processor = llvmlite.binding.get_host_cpu_name()
    compiled, later, differ = [], [], []
    for type_ in sorted(PLAIN, key=lambda one: one.name):
        module = importlib.import_module(f"glm_gguf.convert.kernels.{type_.name.lower()}")
        if processor not in stored_processors(module.quantise):
            later.append(type_.name)
        elif kernel(type_, weighted=False) is None:
            differ.append(type_.name)
        else:
            compiled.append(type_.name)
    return {
        "in_use": "ours",
        "processor_of_kernels": processor,
        "compiled": compiled,
        "compiled_when_needed": later,
        "differ": differ,
    }


if __name__ == "__main__":
    print_answer(facts())
