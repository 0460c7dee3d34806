"""Tables that take longer to build than to read: kept on disk beside the machine code, mapped into every process.

Building those of the clean stage took a second a process (0.5 s the language profiles, 0.25 s the character classes)
and 50 MB of its own in each; mapped, they take 2 ms, and all processes share their pages.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.machine_code import CACHE_DIRECTORY

Arrays = tuple[NDArray[Any], ...]


def kept(name: str, make: Callable[[], Arrays], *, directory: str = CACHE_DIRECTORY) -> Arrays:
    """Return the arrays that `make` returns, read-only: mapped from disk if an earlier process has kept them.

    Args:
        name: a file name that says what the arrays depend on beside the kernels' source (version of a package, of the
            Unicode database); another state of the source has another directory.
        make: builds the arrays.
        directory: where to keep them.
    """
    place = Path(directory) / f"tables-{name}"
    with contextlib.suppress(OSError, ValueError, EOFError):  # absent, or not what numpy wrote
        count = sum(1 for _ in place.iterdir())
        if count:
            return _read_only(tuple(np.load(place / f"{i}.npy", mmap_mode="r") for i in range(count)))
    arrays = make()
    with contextlib.suppress(OSError):  # a full or read-only disk costs time and nothing else
        place.parent.mkdir(parents=True, exist_ok=True)
        private = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
        try:
            for i, array in enumerate(arrays):
                with (private / f"{i}.npy").open("wb") as file:
                    np.save(file, array)
                    os.fsync(file.fileno())
            shutil.rmtree(place, ignore_errors=True)
            private.rename(place)  # fails where another process was faster, whose arrays are the same
        finally:
            shutil.rmtree(private, ignore_errors=True)
    return _read_only(arrays)


def _read_only(arrays: Arrays) -> Arrays:
    """One flag for mapped and built arrays, or numba compiles every kernel for both."""
    plain = tuple(np.asarray(array) for array in arrays)
    for array in plain:
        array.setflags(write=False)
    return plain
