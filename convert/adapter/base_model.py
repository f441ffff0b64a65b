"""The base of an adapter: its architecture, the shapes of its tensors, and the names by which it is known.

A GGUF, a directory or a repository on a hub; of the last two config.json is enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from glm_gguf.architectures import CHATGLM, GLM4
from glm_gguf.convert.source.checkpoint import Checkpoint
from glm_gguf.convert.source.family_names import CHATGLM_NAMES, GLM4_NAMES, GLM_NAMES, FamilyNames
from glm_gguf.convert.source.gguf_source import GgufSource
from glm_gguf.convert.source.hub.address import Hub, parse_address
from glm_gguf.convert.source.model_config import ModelConfig
from glm_gguf.convert.source.open_source import open_source
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.source.tensor_names import gguf_shapes
from glm_gguf.errors import ConfigError, GgufError
from glm_gguf.gguf_file.contents import PADDED_FROM, architecture
from glm_gguf.gguf_file.values import text

Shape = tuple[int, ...]
Parts = tuple[tuple[str, Shape], ...]
"""(GGUF name, row-major shape) of the tensors that a module's weight holds, one behind the other by rows."""

PAGES = {Hub.HUGGING_FACE: "https://huggingface.co", Hub.MODEL_SCOPE: "https://modelscope.cn/models"}
EMBEDDING, HEAD = "token_embd.weight", "output.weight"
FAMILIES: Mapping[str, tuple[FamilyNames, ...]] = {GLM4: (GLM4_NAMES,), CHATGLM: (GLM_NAMES, CHATGLM_NAMES)}
"""Architecture → what its checkpoints may call their tensors: an adapter of one form fits a GGUF of another."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """What an adapter is checked against."""

    architecture: str
    shapes: Mapping[str, Shape]
    """GGUF name → row-major shape of every tensor."""
    names: tuple[str, ...]
    """Names and paths by which it is known."""
    where: str
    url: str | None = None
    """Its page on a hub."""
    padded: bool = False
    """Whether it is a GGUF whose feed-forward zeros pad, wider than that of any adapter."""

    @property
    def tied(self) -> bool:
        """Whether the output head is the embedding."""
        return HEAD not in self.shapes

    @property
    def fused(self) -> bool:
        """Whether query, key and value are one tensor, as other converters write the models of 2024."""
        return any(name.endswith(".attn_qkv.weight") for name in self.shapes)

    @property
    def ends(self) -> frozenset[str]:
        """Modules of embedding and output head, by the names of all families."""
        weights = (name for names in FAMILIES[self.architecture] for name in (names.embedding, names.head))
        return frozenset(name.removesuffix(".weight") for name in weights)

    @property
    def title(self) -> str:
        """Its name, for keys and files."""
        return next((Path(name).name for name in self.names if Path(name).name), "model")

    def modules(self) -> Mapping[str, Parts]:
        """Name of every module that has a matrix → the tensors that it holds."""
        return {module: parts for module, parts in _modules(self.architecture, self.shapes) if len(parts[0][1]) == 2}

    @classmethod
    def of_config(cls, source: Source, config: ModelConfig) -> BaseModel:
        """The base in an open checkpoint."""
        raw = source.file("config.json").read_object(ConfigError)
        names = (str(source.directory.resolve()), source.where, *_stated_name(raw))
        return cls(config.architecture, gguf_shapes(config), names, source.where)

    @classmethod
    def of_gguf(cls, source: GgufSource) -> BaseModel:
        """The base in a GGUF; raises GgufError for an adapter and the like."""
        contents, path = source.parts, source.where
        found, kind = architecture(contents.metadata), text(contents.metadata, "general.type") or "model"
        if found is None or found not in FAMILIES or kind != "model":
            what = f"its architecture is {found!r} and its type {kind!r}"
            raise GgufError(what, path=path, fix="name a model of GLM-4: a GGUF, a directory or hf://OWNER/NAME")
        stated = text(contents.metadata, "general.name")
        shapes = {tensor.name: tensor.shape[::-1] for tensor in contents.tensors}
        names = (*([stated] if stated else []), path)
        return cls(found, shapes, names, path, padded=PADDED_FROM in contents.metadata)


def open_base(name: str) -> BaseModel:
    """Read what a GGUF, a directory or hf://OWNER/NAME says of itself; raises GlmGgufError."""
    with open_source(name) as source:
        if isinstance(source, GgufSource):
            return BaseModel.of_gguf(source)
        base = BaseModel.of_config(source, Checkpoint.open(source, weights=False, text_only=True).config)
    address = parse_address(name)
    return base if address is None else replace(base, url=f"{PAGES[address.hub]}/{address.repository}")


def _stated_name(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """The name that transformers wrote into config.json."""
    name = raw.get("_name_or_path")
    return (name,) if isinstance(name, str) and name else ()


def _modules(architecture: str, shapes: Mapping[str, Shape]) -> Iterator[tuple[str, Parts]]:
    """Name of a weight's module → tensors, in the names of each family of the architecture."""
    layers = sorted({int(found[1]) for name in shapes if (found := re.match(r"blk\.(\d{1,9})\.", name))})
    for names in FAMILIES[architecture]:
        named: list[tuple[str, tuple[str, ...]]] = [(names.embedding, (EMBEDDING,)), (names.head, (HEAD,))]
        for layer in layers:
            for name, parts in names.in_layer.items():
                named.append((names.of_layer(layer, name), tuple(f"blk.{layer}.{part}" for part in parts)))
        for name, held in named:
            if all(part in shapes for part in held):
                yield name.removesuffix(".weight"), tuple((part, shapes[part]) for part in held)
