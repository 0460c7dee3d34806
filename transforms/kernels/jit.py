"""The one way to compile a kernel.

Every kernel is a module-level function over C-contiguous numpy arrays that its caller allocated. `nogil` lets threads
overlap kernels; `cache` keeps the machine code beside the source, so a second process starts in milliseconds
(`gristmill warm` fills it). No fastmath: results must not depend on the instruction set.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

_P = ParamSpec("_P")
_R = TypeVar("_R")


def kernel(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile `function` with numba, keeping its type for mypy."""
    return cast("Callable[_P, _R]", numba.njit(nogil=True, cache=True)(function))
