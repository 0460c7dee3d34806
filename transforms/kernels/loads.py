"""Stores and loads that numba has no word for: eight bytes of an array at once, and a cache line ahead of its use."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def put_eight_bytes(context: Any, bytes_M: Any, position: Any, number: Any) -> Any:  # noqa: ARG001
    """Write a uint64 to a uint8 array from `position` (uint64) on, its lowest byte first."""

    def store(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = target.make_array(signature.args[0])(target, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        builder.store(arguments[2], builder.bitcast(place, target.get_value_type(types.uint64).as_pointer()), align=1)
        return target.get_dummy_value()

    return types.void(bytes_M, types.uint64, types.uint64), store


@intrinsic
def prefetch(context: Any, array: Any, index: Any) -> Any:  # noqa: ARG001
    """Ask for the cache line of element `index` (uint64, in a flat count) of an array; any number is harmless."""

    def ask(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        items = target.make_array(signature.args[0])(target, builder, arguments[0])
        place = builder.bitcast(builder.gep(items.data, [arguments[1]]), cgutils.voidptr_t)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [cgutils.voidptr_t], kind)
        builder.call(function, [place, number(0), number(3), number(1)])  # to read, into all levels, data
        return target.get_dummy_value()

    return types.void(array, types.uint64), ask
