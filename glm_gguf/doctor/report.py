"""The doctor's whole report: every section, looked at side by side, without personal data."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from glm_gguf.doctor.child import ask
from glm_gguf.doctor.hubs import hubs
from glm_gguf.doctor.llama_build import llama_build
from glm_gguf.doctor.machine import compiler, gpu_drivers, instruction_sets, machine
from glm_gguf.doctor.places import places
from glm_gguf.doctor.private_data import Anonymiser
from glm_gguf.doctor.quantisers import quantisers
from glm_gguf.doctor.section import Section
from glm_gguf.doctor.self_test import self_test
from glm_gguf.doctor.software import software
from glm_gguf.gguf_file.finding import Finding, Severity
from glm_gguf.gguf_file.report import finding_json

SECONDS: Final = 120.0
"""For a child; the self-test takes some 2 s on one core."""


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """What there is, and what is missing; its texts are without personal data."""

    sections: tuple[Section, ...]

    @classmethod
    def make(cls, *, offline: bool) -> Self:
        """Look at everything; `offline` asks no hub."""
        modules = ("llama_build", "quantisers", "places", "self_test", *(() if offline else ("hubs",)))
        with ThreadPoolExecutor(len(modules)) as pool:
            replies = dict(zip(modules, pool.map(lambda module: ask(module, SECONDS), modules), strict=True))
        llama = llama_build(replies["llama_build"], instruction_sets(), gpu_drivers(), compiler=compiler() is not None)
        kernels, tested = quantisers(replies["quantisers"]), self_test(replies["self_test"])
        if not llama.facts["loads"]:  # which is their reason too
            kernels, tested = replace(kernels, findings=()), replace(tested, findings=())
        beside = places(replies["places"]), hubs(replies.get("hubs"))
        sections = (software(), machine(), llama, kernels, *beside, tested)
        anonymiser = Anonymiser()
        return cls(tuple(_anonymous(section, anonymiser) for section in sections))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, the problems first."""
        found = [finding for section in self.sections for finding in section.findings]
        return tuple(sorted(found, key=lambda finding: finding.severity is not Severity.PROBLEM))

    @property
    def has_problem(self) -> bool:
        """Something does not work here."""
        return any(finding.severity is Severity.PROBLEM for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Return the report for JSON."""
        sections = {section.title: dict(section.facts) for section in self.sections}
        return {**sections, "findings": [finding_json(finding) for finding in self.findings]}


def _anonymous(section: Section, anonymiser: Anonymiser) -> Section:
    text = anonymiser.text
    findings = tuple(
        replace(each, what=text(each.what), why=text(each.why), mend=text(each.mend)) for each in section.findings
    )
    return Section(section.title, anonymiser.value(dict(section.facts)), findings)


def lines(report: DoctorReport) -> Iterator[str]:
    """Write the report for people: a fact a line, then what is missing."""
    for section in report.sections:
        yield section.title
        for name, value in section.facts.items():
            yield f"  {_label(name):30}  {_shown(name, value)}"
        yield ""
    if not report.findings:
        yield "nothing is missing on this machine"
    for finding in report.findings:
        yield f"{finding.severity}: {finding.what}"
        yield f"  why   {finding.why}"
        yield f"  mend  {finding.mend}"


def _label(name: str) -> str:
    return name if name.isupper() else name.removesuffix("_bytes").replace("_", " ")


def _shown(name: str, value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{value / 1e9:.1f} GB" if value >= 1e9 else f"{value / 1e6:.1f} MB"
    return str(value)
