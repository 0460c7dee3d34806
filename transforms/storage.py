"""The output directory: a local path or any fsspec URL, written so that a reader never sees half a file.

Local files are written under a private name beside the final one, fsynced and renamed. Object stores have no rename but
their uploads are atomic, so there a private local file is uploaded. Beam's WriteToFiles is not used: in 2.77 it hides a
failed rename (state DONE, no file).
"""

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import fsspec
import xxhash

from transforms.readers.remote import buffered, told_as_os_errors

_CHUNK_BYTES = 1 << 20
PRIVATE_SUFFIX = ".private"


def is_local(out: str) -> bool:
    """Whether `out` is a path of this machine: those get fsync and rename."""
    return "://" not in out or out.startswith("file://")


def local_path(path: str) -> Path:
    """Return the path that a local `out`, or a file in it, is: `file:///x` is /x."""
    return Path(path.removeprefix("file://"))


@contextmanager
def _filesystem(url: str) -> Iterator[tuple[Any, str]]:
    """Give the file system of a URL and the path in it; what goes wrong there is told as an OSError.

    No listing is cached, since other processes write there.
    """
    filesystem, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    filesystem.invalidate_cache()
    with told_as_os_errors(url):
        yield filesystem, path


def join(out: str, *names: str) -> str:
    """Return the path of `names` under `out`."""
    return "/".join([out.rstrip("/"), *names])


def private_path(final: str) -> Path:
    """Return a new local path to write before `publish(path, final)`: same directory, so that rename is atomic."""
    name = f".{final.rsplit('/', 1)[-1]}.{uuid.uuid4().hex}{PRIVATE_SUFFIX}"
    if is_local(final):
        directory = local_path(final).parent
        directory.mkdir(parents=True, exist_ok=True)
    else:
        directory = Path(tempfile.gettempdir())
    return directory / name


def publish(private: Path, final: str) -> None:
    """Make the private file visible as `final`, durably and at once."""
    if not is_local(final):
        with _filesystem(final) as (filesystem, path):
            filesystem.put_file(str(private), path)
        private.unlink()
        return
    with private.open("rb") as handle:
        os.fsync(handle.fileno())
    private.replace(local_path(final))
    directory = os.open(local_path(final).parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_text(path: str, text: str) -> None:
    """Write a small file atomically."""
    private = private_path(path)
    private.write_text(text, encoding="utf-8")
    publish(private, path)


def write_json(path: str, value: Any) -> None:
    """Write `value` as JSON atomically, keys in the order given."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def open_binary(path: str) -> IO[bytes]:
    """Open for reading; FileNotFoundError if absent."""
    if is_local(path):
        return local_path(path).open("rb")
    with _filesystem(path) as (filesystem, inner):
        return buffered(path, filesystem.open(inner, "rb"))


def read_json(path: str) -> Any:
    """Return the JSON value in `path`, or None if there is no such file.

    Raises:
        RuntimeError: it is not JSON.
    """
    try:
        with open_binary(path) as handle:
            return json.load(handle)
    except FileNotFoundError:
        return None
    except ValueError:
        raise RuntimeError(f"{path} is damaged; delete it and repeat the command") from None


def size(path: str) -> int:
    """Return the bytes of a file, -1 if it does not exist."""
    try:
        if is_local(path):
            return local_path(path).stat().st_size
        with _filesystem(path) as (filesystem, inner):
            return int(filesystem.size(inner))
    except FileNotFoundError:
        return -1


def list_names(directory: str) -> list[str]:
    """Return the sorted names of the visible files in `directory`; empty if it does not exist."""
    if is_local(directory):
        path = local_path(directory)
        names = [entry.name for entry in os.scandir(path) if entry.is_file()] if path.is_dir() else []
    else:
        try:
            with _filesystem(directory) as (filesystem, inner):
                names = [name.rsplit("/", 1)[-1] for name in filesystem.ls(inner, detail=False)]
        except FileNotFoundError:
            names = []
    return sorted(name for name in names if not name.startswith("."))


def remove(path: str) -> None:
    """Delete a file if it exists."""
    if is_local(path):
        local_path(path).unlink(missing_ok=True)
        return
    with _filesystem(path) as (filesystem, inner):
        if filesystem.exists(inner):
            filesystem.rm_file(inner)


def list_directories(directory: str) -> list[str]:
    """Return the sorted names of the directories in `directory`; empty if it does not exist."""
    if is_local(directory):
        path = local_path(directory)
        return sorted(entry.name for entry in os.scandir(path) if entry.is_dir()) if path.is_dir() else []
    try:
        with _filesystem(directory) as (filesystem, inner):
            entries = filesystem.ls(inner, detail=True)
    except FileNotFoundError:
        return []
    return sorted(entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in entries if entry["type"] == "directory")


def remove_directory(directory: str) -> None:
    """Delete a directory with all that is in it, if it exists."""
    if is_local(directory):
        shutil.rmtree(local_path(directory), ignore_errors=True)
        return
    with _filesystem(directory) as (filesystem, inner):
        if filesystem.exists(inner):
            filesystem.rm(inner, recursive=True)


def remove_private(out: str) -> int:
    """Delete what crashed writers left under a local `out`; the caller holds the lock. Returns how many files."""
    orphans = [*local_path(out).rglob(f".*{PRIVATE_SUFFIX}")] if is_local(out) else []
    for orphan in orphans:
        orphan.unlink(missing_ok=True)
    return len(orphans)


def chunks(handle: IO[bytes]) -> Iterator[bytes]:
    """Yield the rest of `handle` in pieces of at most 1 MiB."""
    while piece := handle.read(_CHUNK_BYTES):
        yield piece


def file_hash(path: str) -> tuple[int, str]:
    """Return `(bytes, xxh3-128 as hex)` of a file."""
    digest = xxhash.xxh3_128()
    size = 0
    with open_binary(path) as handle:
        for piece in chunks(handle):
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()
