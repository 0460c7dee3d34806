"""transforms.kernels.parts: kernels are compiled with their parts, once, and parts alone never."""

import ast
from pathlib import Path

import numba
import numpy as np
import pytest
from llvmlite.binding import Linkage
from numba import types

from transforms.kernels.jit import part
from transforms.kernels.parts import Kernel, general

ROOT = Path(__file__).resolve().parents[3]
COMPILED = {"kernel", "borrowing", "part", "allocating_part", "inlined"}


@part
def steps_down(number):
    """Return how often `number` has to be halved, or lessened by one, until it is one."""
    steps = 0
    while number > 1:
        number = number // 2 if number & 1 == 0 else number - 1
        steps += 1
    return steps


@part
def both(first, second):
    """Return the steps of two numbers."""
    return steps_down(first) + steps_down(second)


def compiled():
    """Return a kernel over these parts, compiled in this process and kept nowhere."""

    @numba.njit(no_cfunc_wrapper=True, pipeline_class=Kernel)
    def all_steps(first, second):
        return both(first, second) + 100 * both(second, first)

    return all_steps


def test_a_kernel_calls_parts_and_has_all_their_code():
    """The result is that of Python, and the only functions that others see are the kernel and its wrapper."""
    kernel = compiled()
    assert kernel(8, 7) == (3 + 4) * 101
    library = kernel.overloads[kernel.signatures[0]].library
    visible = [f.name for f in library.get_defined_functions() if f.linkage != Linkage.internal]
    assert len(visible) == 2
    assert all("all_steps" in name for name in visible)


def test_a_part_is_not_translated_alone():
    """It has no wrapper for Python and no address: nothing was spent on it but types and LLVM's own language."""
    compiled()(8, 7)
    library = steps_down.overloads[steps_down.signatures[0]].library
    assert not any(f.name.startswith(("_ZN7cpython", "cfunc")) for f in library.get_defined_functions())
    assert library.get_pointer_to_function("steps_down") == 0


def test_python_cannot_call_a_part():
    """One line that names it, whatever it is called with, before and after a kernel has compiled it."""
    for _ in range(2):
        for arguments in ((8,), ("eight",), ()):
            with pytest.raises(TypeError, match="^steps_down is a part of kernels, which Python cannot call") as error:
                steps_down(*arguments)
            assert "\n" not in str(error.value)
        assert compiled()(8, 7) == (3 + 4) * 101
    assert steps_down.py_func(8) == 3


def test_a_part_is_compiled_once_for_all_integers():
    """A literal, an int32 of an array and an int64 do not make three of it; unsigned numbers stay what they are."""

    @part
    def one_more(number):
        return number + 1

    @numba.njit(no_cfunc_wrapper=True, pipeline_class=Kernel)
    def sums(array_N, number):
        return one_more(array_N[0]) + one_more(number) + one_more(7), one_more(array_N[0] > 5)

    assert sums(np.array([-3], np.int32), 1 << 40) == (-2 + (1 << 40) + 1 + 8, 1)
    assert one_more.signatures == [(types.int64,), (types.bool_,)]
    assert general(types.uint8) == types.uint8


def _how(node):
    """Return the one of COMPILED that a function is declared as."""
    names = {ast.unparse(decorator) for decorator in getattr(node, "decorator_list", ())} & COMPILED
    return next(iter(names), None)


def _names_called(node):
    return {found.id for found in ast.walk(node) if isinstance(found, ast.Name) and isinstance(found.ctx, ast.Load)}


def test_what_kernels_alone_call_is_a_part():
    """A kernel that Python never calls costs wrappers, and is optimised and translated again in every caller."""
    kernels, called = {}, set()
    for path in [path for top in ("transforms", "pipeline") for path in (ROOT / top).rglob("*.py")]:
        for node in ast.parse(path.read_text()).body:
            if _how(node) in ("kernel", "borrowing"):
                kernels[node.name] = path.name
            elif _how(node) is None:
                called |= _names_called(node)
    assert len(kernels) > 40
    assert {name: file for name, file in kernels.items() if name not in called} == {}
