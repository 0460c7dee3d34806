"""The one way to compile a kernel.

Every kernel is a module-level function over C-contiguous numpy arrays that its caller allocated. `nogil` lets threads
overlap kernels; `cache` keeps the machine code on disk, so a second process starts in milliseconds (`gristmill warm`
fills it). No fastmath: results must not depend on the instruction set. What only kernels call is a `part`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

from transforms.kernels.machine_code import CACHE_DIRECTORY, MAY_KEEP, locked
from transforms.kernels.parts import Kernel, Part, as_part

_P = ParamSpec("_P")
_R = TypeVar("_R")

numba.config.CACHE_DIR = CACHE_DIRECTORY


class _Cache(FunctionCache):
    """numba's cache of one kernel, filled by one process at a time; the others wait and find what it has compiled.

    A kernel that calls another takes its own lock first, so nobody waits in a circle.
    """

    _lock: IO[bytes] | None = None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = super().load_overload(sig, target_context)
        if found is None and self._lock is None:
            self._lock = locked(Path(self.cache_path) / f"{self._impl.filename_base}.lock")
            found = super().load_overload(sig, target_context)  # compiled by somebody meanwhile
            if found is not None:
                self.unlock()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        finally:
            self.unlock()

    def unlock(self) -> None:
        """Let another process compile the kernel."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def kernel(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile `function` with numba, keeping its type for mypy."""
    return _compiled(function, Kernel, _nrt=True)


def borrowing(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile a kernel that allocates no array and returns none.

    The arrays are its caller's, so it counts no references: a fifth of the quality rules on new text.
    """
    return _compiled(function, Kernel, _nrt=False)


def part(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile a step of kernels, which Python cannot call; it allocates no array and counts no references."""
    return _compiled(function, Part, no_cpython_wrapper=True, _nrt=False)


def allocating_part(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile a step of kernels, which Python cannot call, that makes arrays."""
    return _compiled(function, Part, no_cpython_wrapper=True, _nrt=True)


def inlined(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile a small function into every kernel that calls it; for the inner steps of loops.

    numba does it before it knows types, so each place of a call costs as much to compile as a part.
    """
    return cast("Callable[_P, _R]", numba.njit(nogil=True, inline="always")(function))


def _compiled(function: Callable[_P, _R], pipeline: type, **options: bool) -> Callable[_P, _R]:
    if numba.config.DISABLE_JIT:  # for a debugger, with NUMBA_DISABLE_JIT=1
        return function
    compiled = numba.njit(nogil=True, no_cfunc_wrapper=True, pipeline_class=pipeline, **options)(function)
    if pipeline is Part:
        as_part(compiled)
    elif MAY_KEEP:
        _keep(compiled, _Cache(function))
    return cast("Callable[_P, _R]", compiled)


def _keep(compiled: Any, cache: _Cache) -> None:
    """Give a kernel its cache, as numba does for `cache=True`; one that does not compile saves nothing there."""
    compiled._cache = cache  # noqa: SLF001
    compiler = compiled._compiler  # noqa: SLF001
    compile_for = compiler.compile

    def unlocking(arguments: Any, result: Any) -> Any:
        try:
            return compile_for(arguments, result)
        except BaseException:  # Ctrl-C, too
            cache.unlock()
            raise

    compiler.compile = unlocking


@borrowing
def ready() -> int:
    """Return 0: the first call of any kernel makes numba fill its own tables."""
    return 0


@part
def wide(number: int) -> int:
    """Return an int32 or a literal as int64: a kernel that is called with several types is compiled for each."""
    return number + 0
