"""The one way to compile a kernel.

Every kernel is a module-level function over C-contiguous numpy arrays that its caller allocated. `nogil` lets threads
overlap kernels; `cache` keeps the machine code on disk, so a second process starts in milliseconds (`gristmill warm`
fills it). No fastmath: results must not depend on the instruction set.

numba inlines kernels of one file into those of another, but compares only a kernel's own file with its cache: after an
update of the one the other would run old code, and did (it wrote past an array). So the cache is a directory for each
state of all kernel files together.
"""

import os
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

import numba

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _cache_directory() -> str:
    """Return where the machine code of the kernels as they are now is kept; "" is numba's own choice."""
    here = Path(__file__).parent
    digest = blake2b(digest_size=8)
    for path in sorted(here.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    chosen = str(numba.config.CACHE_DIR)
    if not chosen and not os.access(here, os.W_OK):
        return ""
    return str((Path(chosen) if chosen else here / "__pycache__") / f"kernels-{digest.hexdigest()}")


CACHE_DIRECTORY = _cache_directory()
numba.config.CACHE_DIR = CACHE_DIRECTORY


def kernel(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile `function` with numba, keeping its type for mypy."""
    return cast("Callable[_P, _R]", numba.njit(nogil=True, cache=True, _nrt=True)(function))


def inlined(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile a small function into every kernel that calls it; for the inner steps of loops.

    A call of another kernel is a call through a pointer once that one comes from the cache, and counts a reference of
    each array, atomically: 10 to 20 ns.
    """
    return cast("Callable[_P, _R]", numba.njit(nogil=True, inline="always")(function))


def borrowing(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile a kernel that allocates no array and returns none, for steps too large to be inlined.

    The arrays are its caller's, so it counts no references: a fifth of the quality rules on new text.
    """
    return cast("Callable[_P, _R]", numba.njit(nogil=True, cache=True, _nrt=False)(function))


@borrowing
def wide(number: int) -> int:
    """Return an int32 or a literal as int64: a kernel that is called with several types is compiled for each."""
    return number + 0
