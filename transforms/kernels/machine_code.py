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

ALL = "all"  # kernels, as `gristmill warm` compiles them
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


def open_cache(directory: Path, now_s: float) -> bool:
    """Note that `directory` is in use, or make it and delete the ones beside it that nobody has used for a month.

    Return whether this process may write there. Where not, numba would not read it either, but find another place, in
    which it compares the kernel's own file alone.
    """
    with suppress(OSError):  # another process does the same, or it is kept by somebody else: baked into an image
        if directory.is_dir():
            os.utime(directory, (now_s, now_s))
        else:
            directory.mkdir(parents=True)
            for other in directory.parent.glob(f"{_PREFIX}*"):
                if other.stat().st_mtime < now_s - _UNUSED_S:
                    shutil.rmtree(other, ignore_errors=True)
    return directory.is_dir() and os.access(directory, os.W_OK)


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
MAY_KEEP = open_cache(Path(CACHE_DIRECTORY), time.time())


def is_cold(chosen: str) -> bool:
    """Whether nobody has compiled what `chosen` stands for, or all there is, and this process may keep it."""
    return MAY_KEEP and not any(_mark(name).exists() for name in (chosen, ALL))


def note_filled(chosen: str) -> None:
    """Write down that the kernels of `chosen` have been compiled."""
    with suppress(OSError):
        _mark(chosen).touch()


def _mark(chosen: str) -> Path:
    return Path(CACHE_DIRECTORY) / f"filled-{chosen}"
