"""The memory of weights is advised for huge pages, by the kernel's own account."""

import mmap
import re
from pathlib import Path

import pytest
from loading import opened

from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.llama.cpu_kernels import LARGE, advise_huge_pages, own_memory
from glm_gguf.llama.engine_options import EngineOptions
from tests.checkpoints import Shape, write_checkpoint

SMAPS = Path("/proc/self/smaps")
SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
pytestmark = pytest.mark.skipif(not SETTING.exists(), reason="this kernel has no transparent huge pages")


def advised() -> int:
    """Bytes of this process that were advised to be in huge pages: "hg" among the flags of proc_pid_smaps(5)."""
    mappings = re.findall(r"^Size: +(\d+) kB$.*?^VmFlags:([^\n]*)$", SMAPS.read_text(), re.MULTILINE | re.DOTALL)
    return sum(int(size) * 1024 for size, flags in mappings if " hg" in flags)


def test_memory_mapped_since_is_advised() -> None:
    known, before = own_memory(), advised()
    with mmap.mmap(-1, 2 * LARGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS):
        found = advise_huge_pages(known)
        assert found >= 2 * LARGE
        assert before + 2 * LARGE <= advised() <= before + found


def test_weights_that_are_not_mapped_lie_in_huge_pages(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", Shape(hidden=512, ffn=4096, layers=4))
    path = tmp_path / "large.gguf"
    convert(checkpoint, path, ConvertOptions(types=TypeChoices(type="F16")))
    before = advised()
    with opened(path, EngineOptions(threads=1, n_gpu_layers=0, mmap=False)):
        assert advised() - before >= LARGE
