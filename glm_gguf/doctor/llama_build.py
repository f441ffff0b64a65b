"""How llama.cpp was built here, and what of this machine it leaves unused. As a program: the child that asks it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, Final

from glm_gguf.doctor.child import ILLEGAL_INSTRUCTION, Reply, print_answer
from glm_gguf.doctor.section import Fact, Section
from glm_gguf.gguf_file.finding import Finding, advice, problem
from glm_gguf.llama.required_version import INSTALL

# ggml-cpu's features (ggml_backend_cpu_get_features), each with the flag of /proc/cpuinfo that it needs
FLAG_OF_FEATURE: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{"SSSE3": "ssse3", "AVX": "avx", "AVX2": "avx2", "F16C": "f16c", "FMA": "fma", "BMI2": "bmi2"},
        **{"AVX_VNNI": "avx_vnni", "AVX512": "avx512f", "AVX512_VBMI": "avx512vbmi", "AVX512_VNNI": "avx512_vnni"},
        **{"AVX512_BF16": "avx512_bf16", "AMX_INT8": "amx_int8"},
        **{"NEON": "asimd", "DOTPROD": "asimddp", "MATMUL_INT8": "i8mm", "SVE": "sve", "SME": "sme"},
    }
)
BUILD: Final = f"{INSTALL} --force-reinstall --no-deps --no-cache-dir --no-binary llama-cpp-python"
"""Compiles for 5 to 10 minutes."""
GPU_BACKENDS: Final = MappingProxyType({"NVIDIA": ("CUDA", "GGML_CUDA"), "AMD": ("ROCm", "GGML_HIP")})
"""Maker → the backend for it, and the CMake option that builds it."""

NO_COMPILER: Final = problem(
    "there is no C++ compiler on the path",
    "pip compiles llama.cpp, unless its maintainer has a wheel for this platform",
    "install one (Debian: apt-get install build-essential); docs/platforms.md tells of wheels",
)


def build_command(option: str = "GGML_NATIVE") -> str:
    """Write the command that builds llama.cpp anew with a CMake option."""
    return f"CMAKE_ARGS=-D{option}=on {BUILD}"


def llama_build(reply: Reply, flags: Sequence[str] | None, makers: Sequence[str], *, compiler: bool) -> Section:
    """Judge the answer of the child by the processor's `flags`, the GPUs' `makers`, and whether a compiler is there."""
    if reply.failure is not None:
        failed: dict[str, Fact] = {"loads": False, "failure": reply.failure}
        return Section("llama.cpp", failed, (_failure(reply), *(() if compiler else (NO_COMPILER,))))
    facts = {"loads": True, **reply.found}
    return Section("llama.cpp", facts, (*_unused(reply.found, flags), *_without_gpu(facts, makers)))


def _failure(reply: Reply) -> Finding:
    why = "neither answers nor conversions work without it"
    if reply.signal == ILLEGAL_INSTRUCTION:
        return problem("llama.cpp was built for another processor", why, build_command())
    return problem(f"llama.cpp does not load: {reply.failure}", why, INSTALL)


def _unused(found: Mapping[str, Any], flags: Sequence[str] | None) -> Iterator[Finding]:
    missing = [
        feature
        for feature, flag in FLAG_OF_FEATURE.items()
        if flags is not None and flag in flags and feature not in found["features"]
    ]
    if missing and found["amx_fault"] is None:
        what = f"llama.cpp was built without {', '.join(missing)}, which this processor has"
        yield advice(what, "its kernels compute slower than they could", build_command())
    if found["amx_fault"] is not None:
        what = f"{found['amx_fault']} built llama.cpp, whose AMX kernels crash"
        why = "glm-gguf leaves AMX out, with which prefill would be 1.3 times as fast"
        yield advice(what, why, f"install GCC 14 or a later one, then: {build_command()}")


def _without_gpu(found: Mapping[str, Any], makers: Sequence[str]) -> Iterator[Finding]:
    for maker in makers:
        backend, option = GPU_BACKENDS.get(maker, ("", ""))
        if backend and not any(name.startswith((backend, "Vulkan")) for name in found["backends"]):
            what = f"a driver for GPUs of {maker} is here, and llama.cpp was built without {backend}"
            yield advice(what, "the CPU computes everything", build_command(option))


def main() -> None:
    """Print the facts of the build."""
    from glm_gguf.llama.build_facts import BuildFacts

    print_answer(asdict(BuildFacts.here()))


if __name__ == "__main__":
    main()
