"""Whether memory holds another model beside those that are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.fit import Fit
from glm_gguf.llama.load_plan import Machine
from glm_gguf.llama.model_file import ModelFile


@dataclass(frozen=True, slots=True)
class Room:
    """A machine as it was before any of the models was loaded, and the options that hold for each."""

    options: EngineOptions
    machine: Machine

    @classmethod
    def here(cls, options: EngineOptions) -> Self:
        """Look at this machine; raises what `Machine.here` raises."""
        return cls(options, Machine.here(options))

    def fits(self, path: Path, beside: Sequence[Path]) -> bool:
        """Tell whether a file fits beside others, which are loaded; GlmGgufError for an unusable one.

        It must get as many layers on GPUs as alone. Main memory is counted as well as measured: the system calls
        mapped weights free. Where nothing tells the free memory, there is room for one.
        """
        now, alone = self._fit(path, Machine.here(self.options)), self._fit(path, self.machine)
        if now.n_on_gpus < alone.n_on_gpus:
            return False
        if not now.main_memory:
            return True
        if self.machine.memory is None or not now.fits:
            return False
        taken = sum(self._fit(other, self.machine).main_memory for other in beside)
        return taken + now.main_memory <= self.machine.memory

    def _fit(self, path: Path, machine: Machine) -> Fit:
        return Fit.of(ModelFile.open(path, self.options.lora).contents, self.options, machine)
