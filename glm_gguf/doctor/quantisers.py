"""Which quantisers conversions use here: our kernels, compiled for this processor, or ggml's.

As a program: the child that tries them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any, Final

from glm_gguf.doctor.child import Reply, print_answer
from glm_gguf.doctor.section import Section
from glm_gguf.gguf_file.finding import Finding, advice, problem
from glm_gguf.llama.required_version import INSTALL

OURS: Final = "ours"


def quantisers(reply: Reply) -> Section:
    """Judge the answer of the child."""
    if reply.failure is not None:
        finding = problem(f"conversions cannot quantise: {reply.failure}", "convert does not start", INSTALL)
        return Section("quantisers", {"usable": False, "failure": reply.failure}, (finding,))
    return Section("quantisers", {"usable": True, **reply.found}, tuple(_findings(reply.found)))


def _findings(found: Any) -> list[Finding]:
    findings = []
    if found["differ"]:
        what = f"our quantisers of {', '.join(found['differ'])} do not compile here, or make other bytes than recorded"
        why = "ggml quantises these types, which takes several times as long"
        findings.append(advice(what, why, "report it with this output"))
    if found["ggml_differs"] and found["in_use"] != OURS:
        what = f"this machine's ggml makes other bytes of {', '.join(found['ggml_differs'])} than recorded"
        findings.append(advice(what, "files of these types are this machine's own", "pip install 'glm-gguf[fast]'"))
    return findings


def facts() -> dict[str, Any]:
    """Find out which kernels are compiled, and compare those and ggml with the recorded digests; compiles none."""
    from glm_gguf.convert.kernels.quantiser import PLAIN, ggml_agrees

    types = sorted(PLAIN, key=lambda type_: type_.name)
    ggml_differs = [type_.name for type_ in types if not ggml_agrees(type_, weighted=False)]
    try:
        import llvmlite.binding
        import numba  # noqa: F401
    except ImportError:
        return {"in_use": "ggml's", "ggml_differs": ggml_differs, "differ": []}
    processor = llvmlite.binding.get_host_cpu_name()
    found = {"in_use": OURS, "ggml_differs": ggml_differs, "processor_of_kernels": processor}
    return {**found, **_kernels(types, processor)}


def _kernels(types: Iterable[Any], processor: str) -> dict[str, list[str]]:
    """Divide the types by their kernels: compiled and right, not compiled yet, or of other bytes."""
    from glm_gguf.convert.kernels.compiled import stored_processors
    from glm_gguf.convert.kernels.quantiser import kernel

    found: dict[str, list[str]] = {"compiled": [], "compiled_when_needed": [], "differ": []}
    for type_ in types:
        module = importlib.import_module(f"glm_gguf.convert.kernels.{type_.name.lower()}")
        if processor not in stored_processors(module.quantise):
            found["compiled_when_needed"].append(type_.name)
        else:
            found["differ" if kernel(type_, weighted=False) is None else "compiled"].append(type_.name)
    return found


if __name__ == "__main__":
    print_answer(facts())
