"""Environments of Python in which something is missing or broken, made of links to the packages of this one."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sysconfig
import tomllib
import venv
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
INSTALLED = Path(sysconfig.get_path("purelib"))
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2  # linux/prctl.h, linux/capability.h
NOWHERE = "http://127.0.0.1:9"  # the port of discard, where nothing listens


def metadata() -> str:
    """What pip would write when it installs this checkout."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    lines = [f"Requires-Dist: {line}" for line in project["dependencies"]]
    for extra, wanted in project["optional-dependencies"].items():
        lines += [f"Provides-Extra: {extra}", *(f"Requires-Dist: {_of_extra(line, extra)}" for line in wanted)]
    return "\n".join(["Metadata-Version: 2.4", "Name: glm-gguf", "Version: 0.1.0", *lines, ""])


def obey_permissions() -> None:
    """Take from root what passes over permissions, in the process that is started."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def _of_extra(line: str, extra: str) -> str:
    name, _, marker = line.partition(";")
    return f'{name}; ({marker.strip()}) and extra == "{extra}"' if marker else f'{name}; extra == "{extra}"'


@dataclass(frozen=True)
class SetUp:
    """An environment: its interpreter, its packages, and a home directory."""

    python: Path
    packages: Path
    home: Path

    @classmethod
    def make(cls, directory: Path, without: Collection[str] = ()) -> SetUp:
        """Make one without some packages, each named as its folder is."""
        venv.create(directory / "venv", symlinks=True)
        (packages,) = (directory / "venv").glob("lib/python*/site-packages")
        home = directory / "home" / "alice"
        home.mkdir(parents=True)
        for entry in INSTALLED.iterdir():
            package = entry.name.partition("-")[0].removesuffix(".py")
            if package not in {"glm_gguf", *without} and entry.suffix != ".pth":
                (packages / entry.name).symlink_to(entry)
        (packages / "glm_gguf").symlink_to(REPOSITORY / "glm_gguf")
        if "glm_gguf" not in without:
            (packages / "glm_gguf-0.1.0.dist-info").mkdir()
            (packages / "glm_gguf-0.1.0.dist-info" / "METADATA").write_text(metadata())
        return cls(directory / "venv" / "bin" / "python", packages, home)

    def run(self, *words: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `glm-gguf` there, without a network, a compiler, or this process's configuration."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("GLM_GGUF_", "XDG_"))}
        environment |= {"HOME": str(self.home), "USER": "alice", "LOGNAME": "alice", "PATH": ""}
        environment |= {"PYTHONPATH": "", "HTTPS_PROXY": NOWHERE, "HTTP_PROXY": NOWHERE}
        return subprocess.run(
            [self.python, "-m", "glm_gguf", *map(str, words)],
            cwd=self.home,
            env=environment | variables,
            capture_output=True,
            encoding="utf-8",
            timeout=240,
            check=False,
            preexec_fn=obey_permissions,
        )

    def replace(self, name: str, change: Callable[[str], str]) -> None:
        """Put a changed copy of one file of a package in the place of its link; the others stay links."""
        package, _, inside = name.partition("/")
        folder = self.packages / package
        if folder.is_symlink():
            real = folder.resolve()
            folder.unlink()
            folder.mkdir()
            for entry in real.iterdir():
                (folder / entry.name).symlink_to(entry)
        text = (folder / inside).read_text("utf-8")
        (folder / inside).unlink()
        (folder / inside).write_text(change(text), "utf-8")
