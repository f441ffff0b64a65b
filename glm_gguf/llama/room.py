"""Whether memory holds another model beside those that are loaded, and with which options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from glm_gguf.llama.engine_options import DEFAULT_CONTEXT, EngineOptions
from glm_gguf.llama.footprint import Footprint
from glm_gguf.llama.lent_devices import NO_WORKERS, borrowed
from glm_gguf.llama.load_plan import LoadPlan, Machine
from glm_gguf.llama.model_file import ModelFile


@dataclass(frozen=True, slots=True)
class Room:
    """A machine as it was before any of the models was loaded, and the options that hold for each."""

    options: EngineOptions
    machine: Machine

    @classmethod
    def here(cls, options: EngineOptions) -> Self:
        """Look at this machine; raises what `Machine.here` raises."""
        return cls(options, _machine(options))

    def fits(self, path: Path, beside: Sequence[Footprint]) -> bool:
        """Tell whether a file fits beside loaded models; GlmGgufError for an unusable one.

        It must get as many layers on GPUs as alone, and as much context up to DEFAULT_CONTEXT. Where nothing tells the
        free memory, there is room for one.
        """
        alone, plan = self._plan(path, self.machine), self._plan(path, self._left(beside))
        if beside and self.machine.memory is None and alone.offload.cpu_share:
            return False
        enough = plan.size.n_cells >= min(alone.size.n_cells, DEFAULT_CONTEXT)
        return plan.fits is not False and enough and plan.offload.n_on_gpus >= alone.offload.n_on_gpus

    def options_for(self, path: Path, beside: Sequence[Footprint]) -> EngineOptions:
        """Return the options to load a file with; where others are loaded, with what their memory leaves open."""
        return self._plan(path, self._left(beside)).options if beside else self.options

    def _left(self, beside: Sequence[Footprint]) -> Machine:
        """Return the machine as it is now, without the main memory that loaded models will use.

        It is counted as well as measured: the system calls mapped weights free.
        """
        now = _machine(self.options)
        if now.memory is None or self.machine.memory is None:
            return now
        left = min(now.memory, self.machine.memory - sum(model.main_memory for model in beside))
        return replace(now, memory=left, for_others=self.machine.for_others)

    def _plan(self, path: Path, machine: Machine) -> LoadPlan:
        return LoadPlan.estimate(ModelFile.open(path, self.options.lora).contents, self.options, machine)


def _machine(options: EngineOptions) -> Machine:
    """Look at this machine and its workers, whose links are closed again."""
    with borrowed(options.workers) as workers:
        return replace(Machine.here(options, workers), workers=NO_WORKERS)
