"""The packages that glm-gguf requires: which versions are installed, and which extras are whole."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Final

from glm_gguf.doctor.section import Fact, Section
from glm_gguf.gguf_file.finding import Finding, advice, problem

EXTRAS: Final = {
    "fast": "ggml quantises, which takes several times as long",
    "server": "glm-gguf serve does not start",
    "ray": "batches do not run over a Ray cluster",
    "research": "web pages and PDF files are not read",
    "report": "glm-gguf compare writes no report",
    "mcp": "tools of MCP servers cannot be used",
}
"""Extra of pyproject.toml → what happens without it."""


@dataclass(frozen=True, slots=True)
class Needed:
    """A required package: the extra that wants it, the version that is installed, and whether that will do."""

    name: str
    wanted: str
    extra: str | None
    version: str | None
    fits: bool


def software() -> Section:
    """Tell the versions of Python, system, glm-gguf and what it requires."""
    libc = " ".join(platform.libc_ver()).strip()
    facts: dict[str, Fact] = {
        "glm-gguf": _version("glm-gguf"),
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}" + (f", {libc}" if libc else ""),
        "environment": "a virtual one" if sys.prefix != sys.base_prefix else "the system's, or another manager's",
    }
    lines = _requirements()
    if lines is None:
        what, why = "glm-gguf is not installed", "this is a checkout, whose requirements nothing has installed"
        return Section("software", facts, (problem(what, why, "pip install '.[fast,server]'"),))
    needed = tuple(package for line in lines if (package := _needed(line)) is not None)
    facts |= {package.name.replace("_", "-"): package.version or "not installed" for package in needed}
    for extra in EXTRAS:
        facts[f"extra {extra}"] = all(package.fits for package in needed if package.extra == extra)
    return Section("software", facts, tuple(_findings(needed)))


def _requirements() -> list[str] | None:
    """Return what the installed glm-gguf requires; None where it is not installed."""
    try:
        return metadata.requires("glm-gguf") or []
    except metadata.PackageNotFoundError:
        return None


def _needed(line: str) -> Needed | None:
    """Compare one requirement with what is installed; None where it is not for this system, or for an unknown extra."""
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError:  # names can be compared without it
        return _named(line)
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return _named(line)
    for extra in (None, *EXTRAS):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra or ""}):
            version = _version(requirement.name)
            fits = version is not None and requirement.specifier.contains(version, prereleases=True)
            return Needed(requirement.name, str(requirement.specifier), extra, version, fits)
    return None


def _named(line: str) -> Needed | None:
    """Look whether a requirement is installed in any version."""
    named, extra = re.match(r"[\w.-]+", line), re.search(r"extra == ['\"](\w+)", line)
    if named is None or (extra is not None and extra[1] not in EXTRAS):
        return None
    version = _version(named[0])
    return Needed(named[0], "", None if extra is None else extra[1], version, version is not None)


def _findings(needed: tuple[Needed, ...]) -> Iterator[Finding]:
    for package in needed:
        if package.extra is None and not package.fits:
            command = f"pip install '{package.name}{package.wanted}'"
            if package.version is None:
                yield problem(f"{package.name} is not installed", "glm-gguf needs it", command)
            else:
                what = f"{package.name} {package.version} is installed, not {package.wanted}"
                yield problem(what, "glm-gguf needs that version", command)
    for extra, why in EXTRAS.items():
        missing = [package.name for package in needed if package.extra == extra and not package.fits]
        if missing:
            what = f"of the extra {extra}: {', '.join(missing)} missing, or of another version"
            yield advice(what, why, f"pip install 'glm-gguf[{extra}]'")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
