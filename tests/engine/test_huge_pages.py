"""Memory for weights is advised to be in huge pages; the kernel's own account of the mappings tells."""

import mmap
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from glm_gguf.engine.huge_pages import HUGE_PAGE, advise_huge_pages, own_memory
from glm_gguf.engine.model_handle import ModelHandle
from glm_gguf.engine.options import EngineOptions

SMAPS = Path("/proc/self/smaps")
SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
pytestmark = pytest.mark.skipif(not SETTING.exists(), reason="this kernel has no transparent huge pages")


def advised() -> int:
    """Bytes of this process that were advised to be in huge pages: "hg" among the flags of proc_pid_smaps(5)."""
    mappings = re.findall(r"^Size: +(\d+) kB$.*?^VmFlags:([^\n]*)$", SMAPS.read_text(), re.MULTILINE | re.DOTALL)
    return sum(int(size) * 1024 for size, flags in mappings if " hg" in flags)


def test_what_was_allocated_since_is_advised_and_nothing_else() -> None:
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    with mmap.mmap(-1, 8 * HUGE_PAGE, private):
        known, before = own_memory(), advised()
        assert advise_huge_pages(known) == 0
        with mmap.mmap(-1, 16 * HUGE_PAGE, private):
            found = advise_huge_pages(known)
            assert found >= 16 * HUGE_PAGE
            assert before + 16 * HUGE_PAGE <= advised() <= before + found


def test_weights_that_are_not_mapped_lie_in_huge_pages(tiny_gguf: Callable[[str], Path]) -> None:
    path = tiny_gguf("F32")
    before = advised()
    with ModelHandle(path, EngineOptions(threads=1, n_gpu_layers=0, mmap=False)) as model:
        assert advised() - before >= sum(tensor.n_bytes for tensor in model.contents.tensors) // 2
