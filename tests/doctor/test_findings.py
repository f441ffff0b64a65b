"""What the doctor concludes from the facts of a machine, and what it takes out of them."""

from __future__ import annotations

import resource
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from damage import says

from glm_gguf.doctor.child import Reply
from glm_gguf.doctor.hubs import hubs
from glm_gguf.doctor.llama_build import FLAG_OF_FEATURE, llama_build
from glm_gguf.doctor.machine import INSTRUCTIONS, gpu_drivers, instruction_sets, machine
from glm_gguf.doctor.private_data import Anonymiser
from glm_gguf.doctor.quantisers import quantisers
from glm_gguf.doctor.self_test import self_test
from glm_gguf.gguf_file.finding import Severity
from glm_gguf.llama.required_version import INSTALL, VERSION

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD: dict[str, Any] = {"features": ["AVX", "FMA"], "backends": ["CPU"], "amx_fault": None}


def test_the_required_version_is_that_of_pyproject() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert f"llama-cpp-python=={VERSION}" in project["dependencies"]
    assert INSTALL.endswith(f"llama-cpp-python=={VERSION}")


def test_every_feature_of_llama_cpp_is_compared_with_a_flag_that_is_read() -> None:
    assert set(FLAG_OF_FEATURE.values()) <= set(INSTRUCTIONS)


@pytest.mark.parametrize(
    ("flags", "makers", "expected"),
    [
        (["avx", "fma"], [], None),
        (None, [], None),
        (["avx", "avx2", "fma"], [], "built without AVX2, which this processor has"),
        (["avx", "fma"], ["NVIDIA"], "built without CUDA"),
        (["avx", "fma"], ["AMD"], "built without ROCm"),
    ],
    ids=["all used", "unknown", "AVX2", "NVIDIA", "AMD"],
)
def test_what_a_build_leaves_unused_is_advice(
    flags: Sequence[str] | None, makers: Sequence[str], expected: str | None
) -> None:
    section = llama_build(Reply(BUILD), flags, makers, compiler=True)
    assert [finding.severity for finding in section.findings] == [Severity.ADVICE] * (expected is not None)
    for finding in section.findings:
        says(finding.what, str(expected))
        says(finding.mend, "CMAKE_ARGS=-DGGML_", f"llama-cpp-python=={VERSION}")


def test_a_gpu_that_some_backend_serves_is_no_finding() -> None:
    for backend in ("CUDA", "Vulkan"):
        reply = Reply({**BUILD, "backends": [backend]})
        assert llama_build(reply, ["avx", "fma"], ["NVIDIA"], compiler=True).findings == ()


def test_an_old_compiler_of_amx_kernels_is_told() -> None:
    (finding,) = llama_build(Reply({**BUILD, "amx_fault": "GCC 12.2"}), ["avx"], [], compiler=True).findings
    says(finding.what, "GCC 12.2 built llama.cpp, whose AMX kernels crash")


def test_a_limited_address_space_is_advice(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**46, before[1]))
    try:
        section = machine(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert [finding.mend for finding in section.findings if "address space" in finding.what] == ["ulimit -v unlimited"]


def test_a_self_test_without_the_right_calls_failed() -> None:
    section = self_test(Reply({"passed": False, "answer": "!!!"}))
    assert section.facts["passed"] is False
    says(section.findings[0].what, "the self-test failed: the model answered '!!!'")
    (finding,) = self_test(Reply({}, "the process was ended by SIGILL", "SIGILL")).findings
    says(finding.mend, "CMAKE_ARGS=-DGGML_NATIVE=on")


def test_quantisers_of_other_bytes_are_advice() -> None:
    right = {"in_use": "ours", "ggml_differs": ["Q4_K"], "differ": []}
    assert quantisers(Reply(right)).findings == ()
    (finding,) = quantisers(Reply({**right, "in_use": "ggml's"})).findings
    says(finding.what, "ggml makes other bytes of Q4_K")
    (finding,) = quantisers(Reply({**right, "differ": ["Q6_K"]})).findings
    says(finding.what, "our quantisers of Q6_K")


def test_only_hubs_that_do_not_answer_are_advice() -> None:
    assert hubs(None).findings == hubs(Reply({"Hugging Face": "reachable"})).findings == ()
    (finding,) = hubs(Reply({"Hugging Face": "reachable", "ModelScope": "no answer within 4 s"})).findings
    assert finding.what == "not reachable: ModelScope (no answer within 4 s)"


def test_a_machine_is_read_from_its_files(tmp_path: Path) -> None:
    for name, text in {
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: Chip\nflags\t\t: fpu avx2 fma\n",
        "sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]\n",
        "proc/driver/nvidia/version": "1",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    section = machine(tmp_path)
    assert section.facts["processor"] == "Chip"
    assert instruction_sets(tmp_path) == section.facts["instruction_sets"] == ["fma", "avx2"]
    assert section.facts["transparent_huge_pages"] == "never"
    assert gpu_drivers(tmp_path)[:1] == ["NVIDIA"]
    says(section.findings[0].what, "transparent huge pages are off")
    assert instruction_sets(tmp_path / "none") is None


def test_texts_lose_what_is_personal_and_names_of_fields_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("HOME", "/home/anna"), ("USER", "anna"), ("LOGNAME", "anna"), ("HF_TOKEN", "hf_geheim")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("socket.gethostname", lambda: "castle.example")
    found = Anonymiser().value(
        {
            "anna": ["/home/anna/models", "/data/anna_2/x", "annabel", "anna@castle: no", "castle.example"],
            "url": "http://bob:pw@proxy:80/",
            "token": "hf_geheim?",
            "n": 3,
        }
    )
    assert found == {
        "anna": ["~/models", "/data/USER_2/x", "annabel", "USER@HOST: no", "HOST"],
        "url": "http://proxy:80/",
        "token": "…?",
        "n": 3,
    }


def test_the_form_for_faults_asks_for_the_report() -> None:
    form = yaml.safe_load((REPOSITORY / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text("utf-8"))
    (doctor,) = [field for field in form["body"] if field.get("id") == "doctor"]
    assert doctor["validations"]["required"] is True
    says(doctor["attributes"]["description"], "`glm-gguf doctor`", "no key")
