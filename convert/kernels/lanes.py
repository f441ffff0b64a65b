"""Vectors of WIDTH float32 for numba: ggml's scalar searches, WIDTH blocks side by side, one block a lane.

A kernel reads like ggml's scalar code; every operator is one IEEE operation a lane, in the order
written: no reassociation and no fused multiply-add, so a lane computes bit for bit what ggml does.
numba has scalars and arrays only; its extension interface adds the type, and LLVM splits a vector
into the processor's own (AVX-512, AVX2, SSE2, NEON).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

WIDTH = 16  # one AVX-512 register

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Emit = Callable[..., Any]

FLOATS = ir.VectorType(ir.FloatType(), WIDTH)
BITS = ir.VectorType(ir.IntType(1), WIDTH)
INTS = ir.VectorType(ir.IntType(32), WIDTH)
OCTETS = ir.VectorType(ir.IntType(8), WIDTH)


class Mask(Protocol):
    """WIDTH truth values, as mypy and a reader see them."""

    def __and__(self, other: Mask) -> Mask: ...
    def __or__(self, other: Mask) -> Mask: ...


class Lanes(Protocol):
    """WIDTH float32 values, as mypy and a reader see them."""

    def __add__(self, other: Lanes | np.float32) -> Lanes: ...
    def __sub__(self, other: Lanes | np.float32) -> Lanes: ...
    def __rsub__(self, other: np.float32) -> Lanes: ...
    def __mul__(self, other: Lanes | np.float32) -> Lanes: ...
    def __rmul__(self, other: np.float32) -> Lanes: ...
    def __truediv__(self, other: Lanes | np.float32) -> Lanes: ...
    def __rtruediv__(self, other: np.float32) -> Lanes: ...
    def __lt__(self, other: Lanes | np.float32) -> Mask: ...
    def __gt__(self, other: Lanes | np.float32) -> Mask: ...
    def __le__(self, other: Lanes | np.float32) -> Mask: ...
    def __eq__(self, other: Lanes | np.float32) -> Mask: ...  # type: ignore[override]


class LanesType(types.Type):  # type: ignore[misc]
    """`width` float32 values, as numba's type inference sees them."""

    def __init__(self, width: int) -> None:
        super().__init__(name=f"lanes{width}")
        self.width = width


class MaskType(types.Type):  # type: ignore[misc]
    """WIDTH truth values, as numba's type inference sees them."""

    def __init__(self) -> None:
        super().__init__(name=f"mask{WIDTH}")


LANES, MASK = LanesType(WIDTH), MaskType()


@register_model(LanesType)
class LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    """Lanes are one LLVM vector."""

    def __init__(self, manager: Any, type_: Any) -> None:
        super().__init__(manager, type_, ir.VectorType(ir.FloatType(), type_.width))


@register_model(MaskType)
class MaskModel(models.PrimitiveModel):  # type: ignore[misc]
    """A mask is one LLVM vector of bits."""

    def __init__(self, manager: Any, type_: Any) -> None:
        super().__init__(manager, type_, BITS)


def splat(builder: Any, value: Any, width: int = WIDTH) -> Any:
    """The vector with `value` in every lane; a vector stays as it is."""
    if isinstance(value.type, ir.VectorType):
        return value
    undefined = ir.Constant(ir.VectorType(value.type, width), ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width))


def _binary(symbol: Any, emit: Emit, result: Any, lanes: LanesType) -> None:
    """Give numba an operator over lanes, and over lanes and a float32."""
    pairs = ((lanes, lanes), (lanes, types.float32), (types.float32, lanes))

    class Template(ConcreteTemplate):  # type: ignore[misc]
        cases = tuple(signature(result, *pair) for pair in pairs)

    def lower(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return emit(builder, *(splat(builder, value, lanes.width) for value in args))

    infer_global(symbol)(Template)
    for pair in pairs:
        lower_builtin(symbol, *pair)(lower)


def _ordered(comparison: str) -> Emit:
    """A comparison that is false for NaN, as C's are."""
    return lambda builder, x, y: builder.fcmp_ordered(comparison, x, y)


def add_arithmetic(lanes: LanesType) -> None:
    """Give numba +, -, · and / over lanes of a type."""
    _binary(operator.add, lambda builder, x, y: builder.fadd(x, y), lanes, lanes)
    _binary(operator.sub, lambda builder, x, y: builder.fsub(x, y), lanes, lanes)
    _binary(operator.mul, lambda builder, x, y: builder.fmul(x, y), lanes, lanes)
    _binary(operator.truediv, lambda builder, x, y: builder.fdiv(x, y), lanes, lanes)


add_arithmetic(LANES)
for _symbol, _comparison in ((operator.lt, "<"), (operator.gt, ">"), (operator.le, "<="), (operator.eq, "==")):
    _binary(_symbol, _ordered(_comparison), MASK, LANES)


class _BothMasks(ConcreteTemplate):  # type: ignore[misc]
    cases = (signature(MASK, MASK, MASK),)


for _symbol, _name in ((operator.and_, "and_"), (operator.or_, "or_")):
    infer_global(_symbol)(_BothMasks)
    lower_builtin(_symbol, MASK, MASK)(lambda _c, builder, _s, args, name=_name: getattr(builder, name)(*args))


def _address(context: Any, builder: Any, array: Any, value: Any, offset: Any, vector: Any) -> Any:
    """Pointer to the vector that begins `offset` elements into a contiguous array."""
    data = context.make_array(array)(context, builder, value).data
    return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())


def _loading(scale: int) -> Emit:
    """Read lanes from a float32 array at an offset counted in `scale` elements."""

    def typing(_typing: Any, array: Any, _offset: Any) -> Any:
        def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            offset = builder.mul(args[1], ir.Constant(args[1].type, scale))
            loaded = builder.load(_address(context, builder, sig.args[0], args[0], offset, FLOATS))
            loaded.align = 4
            return loaded

        return LANES(array, types.intp), emit

    return typing


def _storing(scale: int) -> Emit:
    """Write lanes to a float32 array at an offset counted in `scale` elements."""

    def typing(_typing: Any, array: Any, _offset: Any, _value: Any) -> Any:
        def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            offset = builder.mul(args[1], ir.Constant(args[1].type, scale))
            stored = builder.store(args[2], _address(context, builder, sig.args[0], args[0], offset, FLOATS))
            stored.align = 4
            return context.get_dummy_value()

        return types.void(array, types.intp, LANES), emit

    return typing


def _store_bytes(_typing: Any, array: Any, _offset: Any, _value: Any) -> Any:
    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        octets = builder.trunc(builder.fptosi(args[2], INTS), OCTETS)
        stored = builder.store(octets, _address(context, builder, sig.args[0], args[0], args[1], OCTETS))
        stored.align = 1
        return context.get_dummy_value()

    return types.void(array, types.intp, LANES), emit


def _fill(_typing: Any, _value: Any) -> Any:
    return LANES(types.float32), lambda _context, builder, _signature, args: splat(builder, args[0])


def _select(_typing: Any, _mask: Any, when_true: Any, when_false: Any) -> Any:
    def emit(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.select(args[0], splat(builder, args[1]), splat(builder, args[2]))

    return LANES(MASK, when_true, when_false), emit


def _any_true(_typing: Any, _mask: Any) -> Any:
    def emit(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], ir.IntType(WIDTH))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(MASK), emit


def _nearest(_typing: Any, _value: Any) -> Any:
    def emit(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        shifted = builder.fadd(args[0], ir.Constant(FLOATS, [12582912.0] * WIDTH))
        mantissa = builder.and_(builder.bitcast(shifted, INTS), ir.Constant(INTS, [0x007FFFFF] * WIDTH))
        return builder.sitofp(builder.sub(mantissa, ir.Constant(INTS, [0x00400000] * WIDTH)), FLOATS)

    return LANES(LANES), emit


def _unary(name: str) -> Callable[[Any, Any], Any]:
    """LLVM's own function of one vector."""

    def typing(_typing: Any, _value: Any) -> Any:
        def emit(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            kind = ir.FunctionType(FLOATS, [FLOATS])
            function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{WIDTH}f32")
            return builder.call(function, args)

        return LANES(LANES), emit

    return typing


load: Callable[[Floats, int], Lanes] = intrinsic(_loading(WIDTH))
"""Row `row` of an array (rows, WIDTH)."""
store: Callable[[Floats, int, Lanes], None] = intrinsic(_storing(WIDTH))
"""Set row `row` of an array (rows, WIDTH)."""
load_at: Callable[[Floats, int], Lanes] = intrinsic(_loading(1))
"""WIDTH neighbours of a flat array from `offset` on: weights of one block, an element a lane."""
store_at: Callable[[Floats, int, Lanes], None] = intrinsic(_storing(1))
"""Set WIDTH neighbours of a flat array."""
store_bytes: Callable[[Bytes, int, Lanes], None] = intrinsic(_store_bytes)
"""Set WIDTH neighbours of a flat byte array to whole numbers 0 to 255."""
fill: Callable[[np.float32], Lanes] = intrinsic(_fill)
"""The same value in every lane."""
select: Callable[[Mask, Lanes | np.float32, Lanes | np.float32], Lanes] = intrinsic(_select)
"""Per lane the second argument where the mask is true, the third elsewhere."""
any_true: Callable[[Mask], bool] = intrinsic(_any_true)
"""Whether the mask is true in some lane."""
nearest: Callable[[Lanes], Lanes] = intrinsic(_nearest)
"""nearest_int, for every bit pattern: beyond ±2^22 the result wraps as ggml's does."""
absolute: Callable[[Lanes], Lanes] = intrinsic(_unary("fabs"))
"""fabsf."""
square_root: Callable[[Lanes], Lanes] = intrinsic(_unary("sqrt"))
"""sqrtf, correctly rounded."""
floor: Callable[[Lanes], Lanes] = intrinsic(_unary("floor"))
"""floorf."""
