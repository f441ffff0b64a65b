#!/usr/bin/env python3
"""Look for wheels of all requirements, for platforms that are not at hand; installs nothing.

    scripts/check_wheels.py [--python-version 3.12] [--platform NAME]...

pip resolves them with the versions of constraints.txt. llama-cpp-python is left out: it is built from source.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement
from requirements import requirements

CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints.txt"
PLATFORMS = {
    "macosx_12_0_arm64": {"sys_platform": "darwin", "platform_machine": "arm64"},
    "macosx_12_0_x86_64": {"sys_platform": "darwin", "platform_machine": "x86_64"},
    "win_amd64": {"sys_platform": "win32", "platform_machine": "AMD64"},
    "win_arm64": {"sys_platform": "win32", "platform_machine": "ARM64"},
}
"""pip's name of a platform → how markers see it; pip itself asks them about the machine that it runs on."""
BUILT = "llama-cpp-python"


def wanted(platform: str) -> list[str]:
    """Return the requirements that hold on a platform, without their markers."""
    found = []
    for line in requirements(["fast", "server"]):
        one = Requirement(line)
        if one.name != BUILT and (one.marker is None or one.marker.evaluate(dict(PLATFORMS[platform]))):
            one.marker = None
            found.append(str(one))
    return found


def has_wheels(platform: str, version: str) -> bool:
    """Let pip resolve; what is missing stands on stderr."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--only-binary=:all:", "--platform", platform, "--python-version", version]
        command += ["--target", directory, "--constraint", str(CONSTRAINTS), *wanted(platform)]
        return subprocess.run(command, check=False).returncode == 0


def main() -> None:
    """Tell of each platform; the exit status is that of all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--platform", action="append", choices=list(PLATFORMS), help="may be repeated; default: all")
    parser.add_argument("--python-version", default="3.12")
    arguments = parser.parse_args()
    complete = []
    for platform in arguments.platform or PLATFORMS:
        complete.append(has_wheels(platform, arguments.python_version))
        print(f"{platform:20} {'wheels for' if complete[-1] else 'not all of'} {len(wanted(platform))} requirements")
    sys.exit(0 if all(complete) else 1)


if __name__ == "__main__":
    main()
