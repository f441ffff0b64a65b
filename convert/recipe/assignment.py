"""Assign each tensor its GGML type: the recipe, then the user's choices, then what the shape allows.

llama_tensor_get_type in llama-quant.cpp has the same order, and does not count an overridden tensor in its
category either: the mixes are the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gguf import GGMLQuantizationType as Type

from glm_gguf.convert.options import TypeChoices
from glm_gguf.convert.recipe.file_types import FILE_TYPES, UNQUANTISED, FileType, divides
from glm_gguf.convert.recipe.mixes import Category, Position, category, fit, recipe_type
from glm_gguf.errors import RequestError

Shapes = Mapping[str, tuple[int, ...]]
"""GGUF name → row-major shape, in llama.cpp's order."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """The user's choices, names resolved to types and patterns compiled."""

    patterns: tuple[tuple[re.Pattern[str], Type], ...] = ()
    output_tensor: Type | None = None
    token_embedding: Type | None = None
    pure: bool = False

    @classmethod
    def parse(cls, choices: TypeChoices) -> Overrides:
        """Resolve names and patterns; raises RequestError naming the field."""
        output, embedding = choices.output_tensor, choices.token_embedding
        return cls(
            patterns=tuple(_pattern(text, type_) for text, type_ in choices.tensor_types),
            output_tensor=None if output is None else tensor_type(output, "output_tensor"),
            token_embedding=None if embedding is None else tensor_type(embedding, "token_embedding"),
            pure=choices.pure,
        )

    def require_matches(self, matrices: Iterable[str]) -> None:
        """Refuse a pattern that no matrix's name has: it is a mistake, which llama.cpp ignores."""
        names = tuple(matrices)
        for pattern, _ in self.patterns:
            if not any(pattern.search(name) for name in names):
                raise RequestError(
                    f"no matrix has a name with {pattern.pattern!r}",
                    field="tensor_types",
                    fix="glm-gguf convert --dry-run lists the names",
                )

    def match(self, name: str) -> Type | None:
        """The type of the first pattern found in `name`."""
        return next((type_ for pattern, type_ in self.patterns if pattern.search(name)), None)


def tensor_type(name: str, field: str) -> Type:
    """Look a tensor type up, case-blind; raises RequestError naming the `field`."""
    types = {file.base.name: file.base for file in FILE_TYPES.values()}
    found = types.get(name.upper())
    if found is None:
        raise RequestError(f"unknown tensor type {name!r}", field=field, fix=f"known are {', '.join(types)}")
    return found


def _pattern(text: str, type_name: str) -> tuple[re.Pattern[str], Type]:
    try:
        pattern = re.compile(text)
    except (re.error, OverflowError, RecursionError, ValueError) as problem:
        raise RequestError(f"{text[:80]!r} is no regular expression: {problem}", field="tensor_types") from None
    return pattern, tensor_type(type_name, "tensor_types")


@dataclass(frozen=True, slots=True)
class Assigner:
    """A recipe with all that it depends on but the tensors."""

    file: FileType
    overrides: Overrides
    n_gqa: int
    """Query heads that share a kv head."""
    imatrix: bool

    def assign(self, shapes: Shapes) -> dict[str, Type]:
        """The type of every tensor, F32 for vectors; raises RequestError for a choice that does not fit."""
        self._check_patterns(shapes)
        n_layers = sum(category(name) is Category.ATTN_V for name in shapes)
        tied = "output.weight" not in shapes
        seen: Counter[Category] = Counter()
        types: dict[str, Type] = {}
        for name, shape in shapes.items():
            types[name] = self._matrix_type(name, shape[-1], n_layers, tied, seen) if len(shape) > 1 else Type.F32
        return types

    def _check_patterns(self, shapes: Shapes) -> None:
        """Refuse a pattern without effect: it is a mistake, which llama.cpp ignores."""
        if self.overrides.patterns and self.file.base in UNQUANTISED:
            raise RequestError(
                f"{self.file.name} files have no mix that a pattern could change",
                field="tensor_types",
                fix="name a quantised type and give the rest by pattern",
            )
        self.overrides.require_matches(name for name, shape in shapes.items() if len(shape) > 1)

    def _matrix_type(self, name: str, n_columns: int, n_layers: int, tied: bool, seen: Counter[Category]) -> Type:
        kind = category(name)
        forced = self._forced(kind)
        if forced is not None:
            if not divides(forced, n_columns):
                raise RequestError(f"rows of {n_columns} weights do not divide into {forced.name}", where=name)
            return forced
        if self.file.base in UNQUANTISED:
            return self.file.base
        matched = self.overrides.match(name)
        if matched is not None or self.overrides.pure:
            return fit(self.file.base if matched is None else matched, n_columns)
        if kind is Category.TOKEN_EMBD and tied:
            kind = Category.OUTPUT
        if kind is Category.OUTPUT:
            return fit(self._output_type(n_columns), n_columns)
        position = Position(seen[kind], n_layers, self.n_gqa >= 4, self.imatrix)
        seen[kind] += 1
        return fit(recipe_type(self.file, kind, position), n_columns)

    def _forced(self, kind: Category) -> Type | None:
        if kind is Category.TOKEN_EMBD:
            return self.overrides.token_embedding
        return self.overrides.output_tensor if kind is Category.OUTPUT else None

    def _output_type(self, n_columns: int) -> Type:
        """The type of the output head, or of the embedding in its place; Q8_0 if the base type's blocks do not fit."""
        if self.overrides.output_tensor is not None:
            return self.overrides.output_tensor
        if not divides(self.file.base, n_columns):
            return Type.Q8_0
        return recipe_type(self.file, Category.OUTPUT, Position(0, 1, False, self.imatrix))
