"""The types among which a recipe is chosen: what they need, and how fast a processor computes them."""

from __future__ import annotations

from collections.abc import Mapping

from gguf import GGMLQuantizationType as Type

from glm_gguf.convert.recipe.file_types import ABORTS_WITHOUT_IMATRIX, NEEDS_IMATRIX, divides

K_QUANTS = (Type.Q2_K, Type.Q3_K, Type.Q4_K, Type.Q5_K, Type.Q6_K, Type.Q8_0)
BLOCKS_OF_32 = (Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.IQ4_NL)
I_QUANTS = (Type.IQ4_XS, Type.IQ3_S, Type.IQ3_XXS, Type.IQ2_S, Type.IQ2_XS, Type.IQ2_XXS)
OF_TARGET: Mapping[str, tuple[Type, ...]] = {
    "any": (*K_QUANTS, *BLOCKS_OF_32, *I_QUANTS),
    "cpu": (*K_QUANTS, *BLOCKS_OF_32),
    "gpu": (*K_QUANTS, *BLOCKS_OF_32, Type.IQ4_XS),
}
"""IQ1 is left out: the sum of errors foretells nothing where they are that large."""


def candidates(target: str, stored: str, *, weighted: bool) -> tuple[Type, ...]:
    """The types that a matrix may get, and the 16-bit type that it is `stored` in.

    Types that need an importance matrix are among them if the matrix is `weighted` by one.
    """
    whole = (Type[stored],) if stored in ("BF16", "F16") else (Type.BF16,)
    needy = frozenset() if weighted else NEEDS_IMATRIX | ABORTS_WITHOUT_IMATRIX
    return tuple(type_ for type_ in (*OF_TARGET[target], *whole) if type_ not in needy)


def fitting(types: tuple[Type, ...], n_columns: int) -> tuple[Type, ...]:
    """Those whose blocks divide rows of so many weights."""
    return tuple(type_ for type_ in types if divides(type_, n_columns))
