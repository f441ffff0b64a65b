"""The default number of threads follows performance cores, affinity and control groups, on recorded machines."""

import math
import os
import shutil
import subprocess
import sys
from itertools import starmap
from pathlib import Path

import pytest
from topologies import LINUX, MAC, WINDOWS, linux_tree_cores, windows_record

from glm_gguf.core_kinds import linux_cores, mac_cores, physical_cores, windows_cores
from glm_gguf.cpus import Cores, quota, usable_cores, usable_cpus

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


@pytest.mark.parametrize("name", LINUX)
def test_performance_cores_of_linux_are_counted(name: str, tmp_path: Path) -> None:
    topology = LINUX[name]
    cores = linux_tree_cores(name, tmp_path)
    found = Cores.of(cores, range(topology.n_cpus), None)
    assert (found.n_compute_threads, found.n_convert_threads) == (topology.n_fast, topology.n_cpus)
    assert found.n_slow == topology.n_cores - topology.n_fast


@pytest.mark.parametrize("name", LINUX)
@pytest.mark.parametrize("limit", [0.5, 1.5, 3.0, 1000.0])
def test_a_containers_quota_limits_the_threads_on_every_machine(name: str, limit: float, tmp_path: Path) -> None:
    topology = LINUX[name]
    cores = linux_tree_cores(name, tmp_path)
    found = Cores.of(cores, range(topology.n_cpus), limit)
    most = math.ceil(limit)
    assert found.n_compute_threads == min(most, topology.n_fast)
    assert found.n_convert_threads == min(most, topology.n_cpus)


@pytest.mark.parametrize("name", LINUX)
def test_a_container_on_some_cpus_counts_those(name: str, tmp_path: Path) -> None:
    """The last two CPUs are slow ones where there are any; then nothing faster is allowed, and both compute."""
    topology = LINUX[name]
    root, last = topology.write(tmp_path), topology.n_cpus - 1
    for allowed in ([0], [last - 1, last], [0, last]):
        assert Cores.of(linux_cores(allowed, root), allowed, None).n_convert_threads == len(allowed)
    both = Cores.of(linux_cores([last - 1, last], root), [last - 1, last], None)
    assert (both.n_compute_threads, both.n_slow) == (1 if topology.threads[-1] == 2 else 2, 0)
    ends = Cores.of(linux_cores([0, last], root), [0, last], None)
    assert ends.n_slow == (topology.n_fast < topology.n_cores)


@pytest.mark.parametrize(
    ("name", "fast", "slow", "cpus"), [("M1", 4, 4, 8), ("M3 Pro", 5, 6, 11), ("Intel Core i9", 8, 0, 16)]
)
def test_performance_cores_of_macos_are_counted(name: str, fast: int, slow: int, cpus: int) -> None:
    found = Cores.of(mac_cores(MAC[name].get), range(cpus), None)
    assert found == Cores(cpus, fast, slow, None)


@pytest.mark.parametrize(
    ("name", "fast", "slow", "cpus"),
    [
        ("i9-12900K", 8, 8, 24),
        ("Core Ultra 7 155H", 6, 10, 22),
        ("Snapdragon X Elite", 12, 0, 12),
        ("two groups", 64, 0, 128),
    ],
)
def test_performance_cores_of_windows_are_counted(name: str, fast: int, slow: int, cpus: int) -> None:
    cores = windows_cores(b"".join(starmap(windows_record, WINDOWS[name])))
    assert Cores.of(cores, range(cpus), None) == Cores(cpus, fast, slow, None)
    assert sorted(cpu for core in cores for cpu in core.cpus) == list(range(cpus))


def test_records_of_another_kind_or_cut_off_are_no_cores() -> None:
    record = windows_record(0, 1)
    assert windows_cores(b"\x01" + record[1:] + record) == windows_cores(record)
    assert windows_cores(record[:31]) == windows_cores(b"") == ()


@pytest.mark.parametrize("told", [{}, {"cpu_core": "much"}], ids=["nothing", "nonsense"])
def test_where_nothing_tells_every_cpu_computes(told: dict[str, str], tmp_path: Path) -> None:
    for name, text in told.items():
        (tmp_path / f"sys/devices/{name}").mkdir(parents=True)
        (tmp_path / f"sys/devices/{name}/cpus").write_text(text)
    assert Cores.of(linux_cores([0, 1, 5], tmp_path), [0, 1, 5], None) == Cores(3, 3, 0, None)
    assert Cores.of(mac_cores({}.get), range(6), None) == Cores(6, 6, 0, None)


def test_what_was_found_is_written_in_a_line() -> None:
    assert str(Cores(24, 8, 8, None)) == "8 performance cores of 16, 24 CPUs"
    assert str(Cores(8, 4, 4, None)) == "4 performance cores of 8"
    assert str(Cores(4, 4, 0, None)) == "4"
    assert str(Cores(128, 64, 0, 1.5)) == "64, 128 CPUs, of which the container may use 1.5 CPUs"


@pytest.mark.skipif(sys.platform != "linux", reason="lscpu is Linux's")
def test_lscpu_counts_the_same_cores() -> None:
    """util-linux reads the same files by itself."""
    if not (lscpu := shutil.which("lscpu")):
        pytest.skip("lscpu is not installed")
    listed = subprocess.run([lscpu, "-p=CPU,CORE"], capture_output=True, text=True, check=True).stdout
    pairs = dict(line.split(",") for line in listed.splitlines() if not line.startswith("#"))
    allowed = os.sched_getaffinity(0)
    cores = physical_cores(allowed)
    assert len(cores) == len({pairs[str(cpu)] for cpu in allowed})
