"""Codes of grid points in lanes: the levels of a point packed into 16 bits, the first lowest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from glm_gguf.convert.kernels.lanes import WIDTH, Floats, Lanes, LanesType, add_arithmetic, splat

Codes = npt.NDArray[np.uint16]

FEW = 8  # points compared at once: most lists are no longer
POINTS = LanesType(FEW)
add_arithmetic(POINTS)

WORD, LONG = ir.IntType(32), ir.IntType(64)


def _load_codes(_typing: Any, array: Any, _offset: Any) -> Any:
    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        pointer = ir.VectorType(ir.IntType(16), FEW).as_pointer()
        loaded = builder.load(builder.bitcast(builder.gep(data, [args[1]]), pointer))
        loaded.align = 2
        return builder.uitofp(builder.zext(loaded, ir.VectorType(WORD, FEW)), ir.VectorType(ir.FloatType(), FEW))

    return POINTS(array, types.intp), emit


def _odd_value(_typing: Any, codes: Any, _shift: Any, _mask: Any) -> Any:
    def emit(_context: Any, builder: Any, sig: Any, args: Any) -> Any:
        width = sig.args[0].width
        ints = ir.VectorType(WORD, width)
        shift, mask = (splat(builder, builder.trunc(value, WORD), width) for value in args[1:])
        one = ir.Constant(ints, [1] * width)
        doubled = builder.shl(builder.fptosi(args[0], ints), one)
        field = builder.and_(builder.lshr(doubled, shift), builder.shl(mask, one))
        return builder.sitofp(builder.or_(field, one), ir.VectorType(ir.FloatType(), width))

    return codes(codes, types.intp, types.intp), emit


def _first_least(_typing: Any, values: Any) -> Any:
    def emit(_context: Any, builder: Any, sig: Any, args: Any) -> Any:
        width = sig.args[0].width
        least, distance = args[0], 1
        while distance < width:
            turned = ir.Constant(ir.VectorType(WORD, width), [lane ^ distance for lane in range(width)])
            other = builder.shuffle_vector(least, least, turned)
            least = builder.select(builder.fcmp_ordered("<", other, least), other, least)
            distance *= 2
        equal = builder.bitcast(builder.fcmp_ordered("==", args[0], least), ir.IntType(width))
        kind = ir.FunctionType(LONG, [LONG, ir.IntType(1)])
        count = cgutils.get_or_insert_function(builder.module, kind, "llvm.cttz.i64")
        some = builder.or_(builder.zext(equal, LONG), LONG(1 << (width - 1)))
        return builder.call(count, [some, ir.IntType(1)(1)])

    return types.intp(values), emit


def _entry(_typing: Any, array: Any, _row: Any, _lane: Any) -> Any:
    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        return builder.load(builder.gep(data, [builder.add(builder.mul(args[1], LONG(WIDTH)), args[2])]))

    return array.dtype(array, types.intp, types.intp), emit


def _lane_of(_typing: Any, values: Any, _lane: Any) -> Any:
    return types.float32(values, types.intp), lambda _c, builder, _s, args: builder.extract_element(args[0], args[1])


load_codes: Callable[[Codes, int], Lanes] = intrinsic(_load_codes)
"""FEW neighbours of a flat array of codes from `offset` on."""
odd_value: Callable[[Lanes, int, int], Lanes] = intrinsic(_odd_value)
"""2 · level + 1 of the level that stands in each code from bit `shift` on; `mask` has its bits set."""
first_least: Callable[[Lanes], int] = intrinsic(_first_least)
"""The first lane with the smallest value; the last lane if one is NaN and no other equals the least."""
lane_of: Callable[[Lanes, int], np.float32] = intrinsic(_lane_of)
"""The value in a lane."""
entry: Callable[[Floats, int, int], np.float32] = intrinsic(_entry)
"""array[row, lane] of an array (rows, WIDTH), unchecked: numba would ask whether an index is negative."""
