"""Convert a checkpoint to quantised GGUFs."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from glm_gguf.convert.adapter.lora_file import AdapterOptions, convert_adapter
from glm_gguf.convert.conversion import Conversion, Output, convert
from glm_gguf.convert.options import ConvertOptions, MergedAdapter, TypeChoices
from glm_gguf.convert.plan import Plan, TensorPlan
from glm_gguf.convert.planning import make_plan, make_plans

__all__ = [
    "AdapterOptions",
    "Conversion",
    "ConvertOptions",
    "MergedAdapter",
    "Output",
    "Plan",
    "TensorPlan",
    "TypeChoices",
    "convert",
    "convert_adapter",
    "make_plan",
    "make_plans",
]


class _CallablePackage(ModuleType):
    """This package, which can be called: `from glm_gguf import convert` names both it and the function."""

    def __call__(self, *given: Any, **named: Any) -> tuple[Path, ...]:
        """Call the function `convert`."""
        return convert(*given, **named)


sys.modules[__name__].__class__ = _CallablePackage
