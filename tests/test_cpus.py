"""The default number of threads follows affinity and control groups, read from Linux's files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from glm_gguf.cpus import quota, usable_cores, usable_cpus

CASES = {
    "v2": ("0::/app\n", {"app/cpu.max": "150000 100000\n"}, 1.5),
    "v2, no limit": ("0::/app\n", {"app/cpu.max": "max 100000\n"}, None),
    "v2, the group above limits": ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"}, 2.0),
    "v2, mounted as the container's own": ("0::/docker/abc\n", {"cpu.max": "50000 100000\n"}, 0.5),
    "v1": (
        "4:memory:/app\n1:cpu,cpuacct:/app\n",
        {"cpu,cpuacct/app/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/app/cpu.cfs_period_us": "100000\n"},
        3.0,
    ),
    "v1, no limit": ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
    "nonsense": ("0::/\n", {"cpu.max": "much\n"}, None),
}


@pytest.mark.parametrize(("lines", "files", "limit"), CASES.values(), ids=CASES)
def test_a_container_limits_the_cpus(tmp_path: Path, lines: str, files: dict[str, str], limit: float | None) -> None:
    for name, content in {"proc/self/cgroup": lines, **{f"sys/fs/cgroup/{k}": v for k, v in files.items()}}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert quota(tmp_path) == limit


def test_no_linux_no_limit(tmp_path: Path) -> None:
    assert quota(tmp_path) is None


def test_cores_are_no_more_than_cpus() -> None:
    assert 1 <= usable_cores() <= usable_cpus() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is Linux's")
def test_affinity_limits_the_cpus() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
    code += "from glm_gguf.cpus import usable_cpus; print(usable_cpus())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"
