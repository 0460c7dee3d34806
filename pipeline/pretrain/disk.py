"""Files that are whole or absent, also after a power failure: written, brought to disk, and only then named."""

import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write `tensors` as a safetensors file.

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
