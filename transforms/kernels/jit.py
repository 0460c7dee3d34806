"""The one way to compile a kernel.

Every kernel is a module-level function over C-contiguous numpy arrays that its caller allocated. `nogil` lets threads
overlap kernels; `cache` keeps the machine code on disk, so a second process starts in milliseconds (`gristmill warm`
fills it). No fastmath: results must not depend on the instruction set. What only kernels call is a `part`.

A kernel holds the code of parts from other files, but numba compares only a kernel's own file with its cache: after an
update of the one the other would run old code, and did (it wrote past an array). So the cache is a directory for each
state of all kernel files together, 20 MB. What no process has begun with for a month is deleted when a new state comes;
sooner would take it from a process that runs.
"""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

import numba

from transforms.kernels.parts import Kernel, Part

_P = ParamSpec("_P")
_R = TypeVar("_R")

_PREFIX = "kernels-"
_UNUSED_S = 30 * 86_400


def _cache_directory() -> str:
    """Return where the machine code of the kernels as they are now is kept: beside them, or in the user's cache."""
    here = Path(__file__).parent
    digest = blake2b(digest_size=8)
    for path in sorted(here.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    chosen = str(numba.config.CACHE_DIR)
    if not chosen:
        own = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        chosen = str(here / "__pycache__" if os.access(here, os.W_OK) else Path(own) / "gristmill")
    return str(Path(chosen) / f"{_PREFIX}{digest.hexdigest()}")


def open_cache(directory: Path, now_s: float) -> None:
    """Note that `directory` is in use, or make it and delete the ones beside it that nobody has used for a month."""
    with suppress(OSError):  # another process does the same, or it is kept by somebody else: baked into an image
        if directory.is_dir():
            os.utime(directory, (now_s, now_s))
            return
        directory.mkdir(parents=True)
        for other in directory.parent.glob(f"{_PREFIX}*"):
            if other.stat().st_mtime < now_s - _UNUSED_S:
                shutil.rmtree(other, ignore_errors=True)


CACHE_DIRECTORY = _cache_directory()
open_cache(Path(CACHE_DIRECTORY), time.time())
numba.config.CACHE_DIR = CACHE_DIRECTORY


def kernel(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile `function` with numba, keeping its type for mypy."""
    return _compiled(function, Kernel, cache=True, _nrt=True)


def borrowing(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile a kernel that allocates no array and returns none.

    The arrays are its caller's, so it counts no references: a fifth of the quality rules on new text.
    """
    return _compiled(function, Kernel, cache=True, _nrt=False)


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
    compiled = numba.njit(nogil=True, no_cfunc_wrapper=True, pipeline_class=pipeline, **options)(function)
    return cast("Callable[_P, _R]", compiled)


@borrowing
def ready() -> int:
    """Return 0: the first call of any kernel makes numba fill its own tables."""
    return 0


@part
def wide(number: int) -> int:
    """Return an int32 or a literal as int64: a kernel that is called with several types is compiled for each."""
    return number + 0
