"""Machine code on disk: where it is kept, for how long, and the lock under which one process makes it for all.

A kernel holds the code of parts from other files, but numba compares only a kernel's own file with its cache: after an
update of the one the other would run old code, and did (it wrote past an array). So the cache is a directory for each
state of all kernel files together, 20 MB. What no process has begun with for a month is deleted when a new state comes;
sooner would take it from a process that runs.

numba writes its files whole, but two processes that save code for different types of one kernel may give both the same
file, and one would run the other's. The lock also saves the workers of a pool from compiling the same kernel each.
"""

import fcntl
import os
import shutil
import time
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO

_PREFIX = "kernels-"
_UNUSED_S = 30 * 86_400


def _cache_directory() -> str:
    """Return where the machine code of the kernels as they are now is kept: beside them, or in the user's cache."""
    here = Path(__file__).parent
    digest = blake2b(digest_size=8)
    for path in sorted(here.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    chosen = os.environ.get("NUMBA_CACHE_DIR", "")
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


def locked(path: Path) -> IO[bytes] | None:
    """Wait for the lock of this name and return it, to be closed; None where there can be none.

    It is the system's: that of a process that is killed is free.
    """
    try:
        file = path.open("wb")
    except OSError:  # a cache that only its owner may write: nothing will be saved either
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:  # a file system without locks
        file.close()
        return None
    return file


CACHE_DIRECTORY = _cache_directory()
open_cache(Path(CACHE_DIRECTORY), time.time())
_FILLED = Path(CACHE_DIRECTORY) / "filled"


def is_cold() -> bool:
    """Whether nobody has filled the cache yet, and this process may.

    What one configuration did not need is compiled when another does.
    """
    return not _FILLED.exists() and os.access(_FILLED.parent, os.W_OK)


def note_filled() -> None:
    """Write down that the kernels of some run, or all, have been compiled."""
    with suppress(OSError):
        _FILLED.touch()
