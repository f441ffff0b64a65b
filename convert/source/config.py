"""Read config.json of a checkpoint: the class that it names decides the family, and that the fields to read.

The defaults of transformers' classes differ from the checkpoints (eps, context length) and are not used here: the
file must state every value that matters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from glm_gguf.convert.source.chatglm_config import read_chatglm
from glm_gguf.convert.source.config_fields import ConfigFields
from glm_gguf.convert.source.json_file import short_repr
from glm_gguf.convert.source.model_config import ModelConfig, check_sizes
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.source.transformers_config import read_glm, read_glm4
from glm_gguf.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Family:
    """Checkpoints whose config.json has the same fields."""

    classes: tuple[str, ...]
    """Either of these is the only entry of `architectures`."""
    model_type: str
    models: str
    """Official models, for an error."""
    read: Callable[[ConfigFields], ModelConfig]


FAMILIES = (
    Family(("Glm4ForCausalLM",), "glm4", "GLM-4-0414, GLM-Z1-0414", read_glm4),
    Family(("GlmForCausalLM",), "glm", "GLM-4-9B-Chat-HF", read_glm),
    Family(("ChatGLMModel", "ChatGLMForConditionalGeneration"), "chatglm", "GLM-4-9B-Chat", read_chatglm),
)


def read_config(source: Source, *, text_only: bool = False) -> ModelConfig:
    """Read and check a checkpoint's config.json; raises ConfigError naming the field.

    A model with an image tower is refused, or with `text_only` read as the text model in it.
    """
    file = source.file("config.json")
    if not file.exists():
        raise ConfigError("config.json is missing", path=source.where, fix="name a checkpoint directory")
    raw = file.read_object(ConfigError)
    nested = raw.get("text_config")
    if isinstance(nested, dict):
        raw = {**raw, **nested, "architectures": raw.get("architectures", nested.get("architectures"))}
    fields = ConfigFields(raw, file.where)
    config = _family(fields).read(fields)
    if raw.get("vision_config") is not None and not text_only:
        raise ConfigError(
            "this model reads images (vision_config), and llama.cpp has no graph for its image tower",
            path=file.where,
            field="text_only",
            fix="convert with text_only=True, which leaves the tower out",
        )
    check_sizes(config, file.where)
    _check_ends(raw, config.vocab_size, file.where)
    generation = source.file("generation_config.json")
    if generation.exists():
        _check_ends(generation.read_object(ConfigError), config.vocab_size, generation.where)
    return config


def _check_ends(raw: Mapping[str, Any], vocab_size: int, where: str) -> None:
    """Raise ConfigError for an end of generation that is no token: the files belong to two models, or are damaged."""
    stated = raw.get("eos_token_id")
    for id_ in stated if isinstance(stated, list) else [stated]:
        if id_ is not None and (type(id_) is not int or not 0 <= id_ < vocab_size):
            what = f"eos_token_id names {short_repr(id_)}, and the tokens are 0 to {vocab_size - 1}"
            raise ConfigError(what, path=where, fix="take the file of the model that the tokenizer belongs to")


def _family(fields: ConfigFields) -> Family:
    """The family that architectures names, or model_type if that is missing; raises ConfigError for another one."""
    names, model_type = fields.raw.get("architectures"), fields.raw.get("model_type")
    for family in FAMILIES:
        if names in [[name] for name in family.classes] or (names is None and model_type == family.model_type):
            return family
    known = "; ".join(f"{family.classes[0]} ({family.models})" for family in FAMILIES)
    raise ConfigError(
        f"architectures is {short_repr(names)}, model_type {short_repr(model_type)}",
        path=fields.where,
        fix=f"only {known} can be converted",
    )
