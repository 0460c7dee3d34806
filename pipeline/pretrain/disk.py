"""Files that are whole or absent, also after a power failure, and an output that one process holds."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

# A trainer that was killed a moment ago holds its output until the system has taken it apart.
_TRIES, _WAIT_S = 50, 0.1


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write `tensors` as a safetensors file, which the caller brings to disk and names.

    Raises:
        OSError: it could not be written; of a full disk `safetensors` has an exception of its own.
    """
    try:
        save_file(tensors, path, metadata=metadata)
    except SafetensorError as error:
        raise OSError(f"{path} could not be written ({error})") from None


def replace_text(path: Path, text: str) -> None:
    """Put a file with `text` in the place of `path`."""
    draft = path.with_suffix(".tmp")
    draft.write_text(text, encoding="utf-8")
    sync(draft)
    draft.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Return when the file, or the names in the directory, `path` are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold `directory` for this process, if it exists and its file system has locks; that of a dead process is free.

    Raises:
        ValueError: another process holds it.
    """
    if not directory.is_dir():
        yield
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        for left in reversed(range(_TRIES)):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not left:
                    raise ValueError(f"another trainer is at work on {directory}; wait for it, or stop it") from None
                time.sleep(_WAIT_S)
            except OSError:  # a network file system that has none
                break
            else:
                break
        yield
    finally:
        os.close(descriptor)
