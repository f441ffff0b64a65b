"""adapter_config.json of a PEFT adapter: how its factors are scaled, and which base it names.

What LoRA's product alone does not compute is refused by the name of its field. Fields of PEFT 0.21's LoraConfig.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

from glm_gguf.convert.adapter.module_patterns import ModulePatterns, SearchTime
from glm_gguf.convert.source.json_file import short_repr
from glm_gguf.convert.source.source import SourceFile
from glm_gguf.errors import ConfigError
from glm_gguf.source_name import MERGE_WITH_PEFT

CONFIG = "adapter_config.json"
LORA = "LORA"

TRAINING = frozenset(
    (
        *("base_model_name_or_path", "peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern"),
        *("auto_mapping", "task_type", "inference_mode", "revision", "peft_version", "target_modules"),
        *("exclude_modules", "layers_to_transform", "layers_pattern", "lora_dropout", "fan_in_fan_out"),
        *("init_lora_weights", "eva_config", "corda_config", "loftq_config", "lora_ga_config", "velora_config"),
        *("megatron_config", "megatron_core", "runtime_config", "qalora_group_size", "ensure_weight_tying"),
    )
)
"""Fields that are read here, or that decide nothing but the training."""

CHANGING_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Starts of `init_lora_weights` with which PEFT also changes the base's weights."""

SAVE_CONVERTED = "save it with save_pretrained(…, path_initial_model_for_weight_conversion=…) of peft"


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """How the factors of a LoRA adapter are scaled, and the base that it was trained on."""

    rank: int
    alpha: float
    rslora: bool
    """Divide alpha by the rank's square root, and not by the rank."""
    ranks: Mapping[str, int]
    """Regular expression over names of modules → rank, in the place of `rank`."""
    alphas: Mapping[str, float]
    """Regular expression over names of modules → alpha, in the place of `alpha`."""
    base: str | None
    """The name or path of the base."""
    where: str
    rank_patterns: ModulePatterns
    alpha_patterns: ModulePatterns

    @classmethod
    def read(cls, file: SourceFile) -> AdapterConfig:
        """Read and check the file; raises ConfigError naming the field."""
        raw, where = file.read_object(ConfigError), file.where
        _refuse_other_methods(raw, where)
        base, time = raw.get("base_model_name_or_path"), SearchTime()
        if not isinstance(base, str | None):
            raise _refusal(raw, "base_model_name_or_path", where, "a text is needed")
        return cls(
            rank=_positive(raw.get("r"), "r", where, whole=True),
            alpha=_positive(raw.get("lora_alpha"), "lora_alpha", where),
            rslora=_boolean(raw, "use_rslora", where),
            ranks=_patterns(raw, "rank_pattern", where, whole=True),
            alphas=_patterns(raw, "alpha_pattern", where),
            base=base or None,
            where=where,
            rank_patterns=ModulePatterns("rank_pattern", where, time),
            alpha_patterns=ModulePatterns("alpha_pattern", where, time),
        )

    def rank_of(self, module: str) -> int:
        """The rank of a module of the base, such as model.layers.0.self_attn.q_proj."""
        key = self.rank_patterns.first(self.ranks, module)
        return self.rank if key is None else self.ranks[key]

    def scale_of(self, module: str) -> float:
        """The number that multiplies B·A of a module."""
        key = self.alpha_patterns.first(self.alphas, module)
        alpha, rank = self.alpha if key is None else self.alphas[key], self.rank_of(module)
        return alpha / sqrt(rank) if self.rslora else alpha / rank


def _refuse_other_methods(raw: dict[str, Any], where: str) -> None:
    """Raise ConfigError for a method other than LoRA, and for what changes more than its product."""
    method = raw.get("peft_type")
    if method != LORA:
        raise _refusal(raw, "peft_type", where, f"only {LORA} can be converted: {MERGE_WITH_PEFT}")
    for field, name in (("use_dora", "DoRA"), ("use_qalora", "QA-LoRA")):
        if raw.get(field):
            what = f"this is {name} ({field}), which llama.cpp does not compute"
            raise ConfigError(what, path=where, fix=MERGE_WITH_PEFT)
    if raw.get("modules_to_save"):
        raise _refusal(raw, "modules_to_save", where, f"whole layers were trained beside LoRA: {MERGE_WITH_PEFT}")
    if raw.get("bias") not in (None, "none"):
        raise _refusal(raw, "bias", where, f"biases were trained beside LoRA: {MERGE_WITH_PEFT}")
    start = raw.get("init_lora_weights")
    if isinstance(start, str) and start.startswith(CHANGING_BASE):
        raise _refusal(raw, "init_lora_weights", where, f"that changes the base's weights too: {SAVE_CONVERTED}")
    for field, value in raw.items():
        if value and field not in TRAINING and field != "bias":
            raise _refusal(raw, field, where, f"glm-gguf cannot tell what that changes: {MERGE_WITH_PEFT}")


def _refusal(raw: dict[str, Any], field: str, where: str, fix: str) -> ConfigError:
    return ConfigError(f"{short_repr(field)[1:-1]} is {short_repr(raw.get(field))}", path=where, fix=fix)


def _positive(value: object, field: str, where: str, *, whole: bool = False) -> Any:
    kinds, kind = ((int,), "whole number") if whole else ((int, float), "number")
    if type(value) not in kinds or not 0 < value < 2**31:  # type: ignore[operator]
        raise ConfigError(f"{field} is {short_repr(value)}, a positive {kind} is needed", path=where)
    return value


def _boolean(raw: dict[str, Any], field: str, where: str) -> bool:
    value = raw.get(field) or False
    if not isinstance(value, bool):
        raise _refusal(raw, field, where, "true or false is needed")
    return value


def _patterns(raw: dict[str, Any], field: str, where: str, *, whole: bool = False) -> Mapping[str, Any]:
    value = raw.get(field) or {}
    if not isinstance(value, dict):
        raise _refusal(raw, field, where, "a JSON object is needed")
    return {
        key: _positive(number, f"{field} of {short_repr(key)}", where, whole=whole) for key, number in value.items()
    }
