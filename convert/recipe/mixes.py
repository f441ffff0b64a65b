"""llama.cpp's mixes: which GGML type each tensor gets in a file of a given type.

Source: llama_tensor_get_type_impl and tensor_type_fallback in llama-quant.cpp, reduced to the rules that
architectures glm4 and chatglm can reach: no experts, fused gate/up, at most 8 kv heads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from gguf import GGMLQuantizationType as Type

from glm_gguf.convert.recipe.file_types import NEEDS_IMATRIX, FileType, divides


class Category(Enum):
    """The kinds of tensors that the rules distinguish (tensor_category in llama-quant.cpp)."""

    TOKEN_EMBD = auto()
    OUTPUT = auto()
    ATTN_V = auto()
    ATTN_K = auto()
    ATTN_Q = auto()
    ATTN_OUTPUT = auto()
    FFN_UP = auto()
    FFN_DOWN = auto()
    OTHER = auto()


CATEGORIES: Mapping[str, Category] = {
    "token_embd.weight": Category.TOKEN_EMBD,
    "output.weight": Category.OUTPUT,
    "attn_v.weight": Category.ATTN_V,
    "attn_qkv.weight": Category.ATTN_V,  # category_is_attn_v
    "attn_k.weight": Category.ATTN_K,
    "attn_q.weight": Category.ATTN_Q,
    "attn_output.weight": Category.ATTN_OUTPUT,
    "ffn_up.weight": Category.FFN_UP,
    "ffn_down.weight": Category.FFN_DOWN,
}


def category(gguf_name: str) -> Category:
    """The category of a tensor by its GGUF name: blk.N.attn_v.weight is ATTN_V."""
    name = gguf_name.split(".", 2)[2] if gguf_name.startswith("blk.") else gguf_name
    return CATEGORIES.get(name, Category.OTHER)


@dataclass(frozen=True, slots=True)
class Position:
    """What a rule depends on: the tensor is number `i` of `n` in its category."""

    i: int
    n: int
    grouped: bool
    """At least four query heads share a kv head (n_gqa ≥ 4)."""
    imatrix: bool
    """An importance matrix was given."""


When = Callable[[Position], bool]


def _always(_: Position) -> bool:
    return True


def _grouped(at: Position) -> bool:
    return at.grouped


def _no_imatrix(at: Position) -> bool:
    return not at.imatrix


def _first_eighth(at: Position) -> bool:
    return at.i < at.n // 8


def _first_eighth_no_imatrix(at: Position) -> bool:
    return _first_eighth(at) and not at.imatrix


def _first_eighth_imatrix(at: Position) -> bool:
    return _first_eighth(at) and at.imatrix


def _middle(at: Position) -> bool:
    return at.n // 8 <= at.i < 7 * at.n // 8


def _more_bits(at: Position) -> bool:
    """use_more_bits: the first and the last eighth of the layers, and every third layer between."""
    return not _middle(at) or (at.i - at.n // 8) % 3 == 2


@dataclass(frozen=True, slots=True)
class Rule:
    """In files of one of `files`, a tensor gets `type` if `when` is true."""

    files: str
    type: Type
    when: When = _always


LOW_BIT = "IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ2_M"

RULES: Mapping[Category, tuple[Rule, ...]] = {
    Category.OUTPUT: (
        Rule("Q8_0", Type.Q8_0),
        Rule(f"{LOW_BIT} IQ3_XXS", Type.Q5_K),
        Rule("*", Type.Q6_K),
    ),
    Category.TOKEN_EMBD: (
        Rule("IQ2_XXS IQ2_XS IQ1_S IQ1_M", Type.Q2_K),
        Rule("IQ2_S IQ2_M IQ3_XXS", Type.IQ3_S),
        Rule("TQ1_0 TQ2_0", Type.Q4_K),
    ),
    Category.ATTN_V: (
        Rule(LOW_BIT, Type.Q4_K, _grouped),
        Rule("IQ2_S IQ2_M", Type.IQ3_S),
        Rule("IQ1_S IQ1_M IQ2_XXS IQ2_XS", Type.Q2_K),
        Rule("Q2_K Q2_K_S IQ3_XXS IQ3_XS IQ3_S", Type.Q4_K, _grouped),
        Rule("Q2_K", Type.Q3_K),
        Rule("IQ3_XXS", Type.IQ3_S, _no_imatrix),
        Rule("IQ3_M", Type.Q4_K),
        Rule("Q3_K_M", Type.Q5_K, lambda at: at.i < 2),
        Rule("Q3_K_M", Type.Q4_K),
        Rule("Q3_K_L", Type.Q5_K),
        Rule("IQ4_NL IQ4_XS", Type.Q5_K, _grouped),
        Rule("Q4_K_M Q5_K_M", Type.Q6_K, _more_bits),
        Rule("Q4_K_S", Type.Q5_K, lambda at: at.i < 4),
    ),
    Category.ATTN_K: (Rule("IQ3_XS", Type.IQ3_XXS), Rule("IQ3_XXS", Type.IQ2_S)),
    Category.ATTN_Q: (Rule("IQ3_XS", Type.IQ3_XXS), Rule("IQ3_XXS", Type.IQ2_S)),
    Category.ATTN_OUTPUT: (
        Rule("IQ1_S IQ1_M", Type.IQ2_XXS),
        Rule("IQ2_S IQ2_M IQ3_XXS", Type.IQ3_S),
        Rule("Q2_K", Type.Q3_K),
        Rule("Q3_K_M IQ3_M", Type.Q4_K),
        Rule("Q3_K_L", Type.Q5_K),
    ),
    Category.FFN_DOWN: (
        Rule("IQ2_S IQ2_M", Type.IQ3_S, _first_eighth),
        Rule("IQ1_S IQ1_M IQ2_XXS IQ2_XS", Type.Q2_K, _first_eighth),
        Rule("Q2_K", Type.Q3_K),
        Rule("Q2_K_S", Type.Q4_K, _first_eighth),
        Rule("IQ3_XXS", Type.Q4_K, _first_eighth_no_imatrix),
        Rule("IQ3_XXS", Type.Q3_K, _no_imatrix),
        Rule("Q3_K_M", Type.Q5_K, lambda at: at.i < at.n // 16),
        Rule("Q3_K_M", Type.Q4_K),
        Rule("IQ3_M", Type.Q4_K, _first_eighth),
        Rule("Q3_K_L", Type.Q5_K),
        Rule("Q4_K_M Q5_K_M", Type.Q6_K, _more_bits),
        Rule("IQ4_NL IQ4_XS", Type.Q5_K, _first_eighth_no_imatrix),
        Rule("Q4_K_S", Type.Q5_K, _first_eighth),
        Rule("Q4_0", Type.Q4_1, _first_eighth_imatrix),
        Rule("Q5_0", Type.Q5_1, _first_eighth_imatrix),
    ),
    Category.FFN_UP: (Rule("IQ3_XS", Type.IQ3_XXS, _middle),),
}
"""The first matching rule of a category decides; without one, a tensor gets the file's base type."""

FALLBACK: Mapping[Type, Type] = {
    **dict.fromkeys((*NEEDS_IMATRIX, Type.IQ3_S, Type.IQ4_XS), Type.IQ4_NL),
    **dict.fromkeys((Type.Q2_K, Type.Q3_K, Type.TQ1_0, Type.TQ2_0), Type.Q4_0),
    Type.Q4_K: Type.Q5_0,
    Type.Q5_K: Type.Q5_1,
    Type.Q6_K: Type.Q8_0,
}
"""Types of 256-weight blocks → the type of rows that do not divide by 256 (tensor_type_fallback)."""


def recipe_type(file: FileType, kind: Category, at: Position) -> Type:
    """The type that the rules give a matrix of any shape."""
    for rule in RULES.get(kind, ()):
        if (rule.files == "*" or file.name in rule.files.split()) and rule.when(at):
            return rule.type
    return file.base


def fit(type_: Type, n_columns: int) -> Type:
    """`type_`, or its fallback if rows of `n_columns` weights do not divide into its blocks."""
    if divides(type_, n_columns):
        return type_
    smaller = FALLBACK.get(type_, type_)
    return smaller if divides(smaller, n_columns) else Type.F16
