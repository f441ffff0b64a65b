"""Free memory is the machine's within the limits of its control groups; the kernel's files are in their own words."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from glm_gguf.llama.free_memory import available_memory, free_memory, total_memory

MIB = 2**20
V1 = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_active_file"
V2 = "memory.max", "memory.current", "active_file"


def write_group(directory: Path, names: tuple[str, str, str], limit: str, used: int, cached: int) -> None:
    """A control group as Linux shows it; some of its shared memory is in its page cache."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / names[0]).write_text(f"{limit}\n")
    (directory / names[1]).write_text(f"{used}\n")
    (directory / "memory.stat").write_text(f"cache 7\nanon 5\nfile {cached + MIB}\n{names[2]} {cached}\n")


def write_process(root: Path, line: str) -> None:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"1:cpu:/elsewhere\n{line}\n")


@pytest.mark.parametrize(("line", "mounted", "names"), [("0::/a/b", "", V2), ("4:memory:/a/b", "memory", V1)], ids=str)
def test_the_tightest_group_counts_without_its_page_cache(
    line: str, mounted: str, names: tuple[str, str, str], tmp_path: Path
) -> None:
    write_process(tmp_path, line)
    top = tmp_path / "sys/fs/cgroup" / mounted
    write_group(top / "a/b", names, str(900 * MIB), 100 * MIB, 40 * MIB)
    assert (free_memory(tmp_path).available, total_memory(tmp_path)) == (840 * MIB, 900 * MIB)
    write_group(top / "a", names, str(600 * MIB), 300 * MIB, 0)
    assert (free_memory(tmp_path).available, total_memory(tmp_path)) == (300 * MIB, 600 * MIB)
    assert free_memory(tmp_path).for_others == 2**25
    write_group(top / "a", names, str(600 * MIB), 700 * MIB, 0)
    assert free_memory(tmp_path).available == 0


def test_a_container_has_its_own_group_at_the_top(tmp_path: Path) -> None:
    write_process(tmp_path, "0::/docker/of/the/host")
    write_group(tmp_path / "sys/fs/cgroup", V2, str(500 * MIB), 0, 0)
    assert free_memory(tmp_path).available == 500 * MIB


@pytest.mark.parametrize("limit", ["max", "9223372036854771712"])
def test_a_group_without_a_limit_leaves_the_machines_memory(limit: str, tmp_path: Path) -> None:
    write_process(tmp_path, "4:memory:/")
    write_group(tmp_path / "sys/fs/cgroup/memory", V1, limit, 0, 0)
    free = free_memory(tmp_path)
    assert free.available == pytest.approx(psutil.virtual_memory().available, rel=0.2)
    assert free.for_others == pytest.approx(free.available / 10, rel=0.2)
    assert total_memory(tmp_path) == psutil.virtual_memory().total


def test_this_machine_tells_its_memory() -> None:
    assert 0 < available_memory() <= total_memory()
