"""The one writer: a checkpoint directory in, one quantised GGUF out."""

from glm_gguf.convert.conversion import Conversion, Output, convert
from glm_gguf.convert.options import ConvertOptions, TypeChoices
from glm_gguf.convert.plan import Plan, TensorPlan, make_plan, make_plans

__all__ = [
    "Conversion",
    "ConvertOptions",
    "Output",
    "Plan",
    "TensorPlan",
    "TypeChoices",
    "convert",
    "make_plan",
    "make_plans",
]
