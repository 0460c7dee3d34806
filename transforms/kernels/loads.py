"""What numba has no word for: eight bytes stored at once, a cache line ahead of its use, sums in registers."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic  # a kernel with the array as an argument would count a reference, atomically, for every word: 5 ns
def eight_bytes(context: Any, bytes_M: Any, position: Any) -> Any:  # noqa: ARG001
    """Return eight bytes of a uint8 array from `position` (uint64) on as one number, the first one lowest."""

    def load(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = target.make_array(signature.args[0])(target, builder, arguments[0])
        place = builder.bitcast(
            builder.gep(array.data, [arguments[1]]), target.get_value_type(types.uint64).as_pointer()
        )
        return builder.load(place, align=1)

    return types.uint64(bytes_M, types.uint64), load


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


@intrinsic
def sum_rows(context: Any, rows_RL: Any, which_K: Any, count: Any, sums_L: Any) -> Any:  # noqa: ARG001
    """Write to an int32 array of 64 the sums of the first `count` (int64) rows that `which_K` (int32) names.

    The rows are those of 64 int16. numba has each sum loaded and stored for each row, since for all that it knows the
    arrays may overlap; here a vector of 64 sums stays in registers: 2 in place of 4 ns a row.
    """

    def add(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows, which, sums = (
            target.make_array(kind)(target, builder, argument).data
            for kind, argument in zip(
                signature.args[:2] + signature.args[3:], arguments[:2] + arguments[3:], strict=True
            )
        )
        narrow, broad = ir.VectorType(ir.IntType(16), 64), ir.VectorType(ir.IntType(32), 64)
        total = cgutils.alloca_once_value(builder, ir.Constant(broad, None))
        with cgutils.for_range(builder, arguments[2]) as loop:
            row = builder.sext(builder.load(builder.gep(which, [loop.index])), ir.IntType(64))
            place = builder.bitcast(
                builder.gep(rows, [builder.shl(row, ir.Constant(row.type, 6))]), narrow.as_pointer()
            )
            values = builder.sext(builder.load(place, align=2), broad)
            builder.store(builder.add(builder.load(total), values), total)
        builder.store(builder.load(total), builder.bitcast(sums, broad.as_pointer()), align=4)
        return target.get_dummy_value()

    return types.void(rows_RL, which_K, types.int64, sums_L), add
