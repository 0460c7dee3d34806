"""The files of a source: found by path, size and ETag, and how each is cut into ranges."""

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from transforms.readers.codec import suffix_codec
from transforms.readers.ranges import MEMBERED, has_member
from transforms.readers.remote import WEB, answer, filesystem_of, is_url
from transforms.readers.source import Source
from transforms.readers.warc_records import VERSION
from transforms.schema import MAX_PARTS
from transforms.unit import Slice

_ETAG_KEYS = ("ETag", "etag", "md5Hash", "blob_id", "generation", "version_id", "LastModified", "mtime", "created")
_STREAMS = ("jsonl", "csv", "tsv", "warc", "wet", "mediawiki")
# Compressions whose members can be read on their own, and what such a member begins with.
_MEMBERS = {
    "jsonl": (MEMBERED, b""),
    "mediawiki": (MEMBERED, b""),
    "warc": (("gzip", "zstd"), VERSION),
    "wet": (("gzip", "zstd"), VERSION),
}
_RATIO = 4  # of text and pages, roughly, so that a range of a compressed file makes a unit like others
# How far a member is looked for; without one a file is a stream. 100 long articles, a page of a crawl that cuts none, a
# frame of `pzstd -19`; but a 32nd of a short file, which a server may have to send.
_LEAST_LOOK, _MOST_LOOK, _LOOK_SHARE = 1 << 20, 8 << 20, 32


class FileEntry(NamedTuple):
    """What the plan knows of a file, or of a shard of a dataset. `size` is 0 where nobody tells."""

    path: str
    size: int
    etag: str

    @property
    def may_be_long(self) -> bool:
        """Whether its size is unknown: 90,000 pages of a crawl, or all shards of a dataset, are no small files."""
        return self.size == 0 and not Path(self.path).is_file()


def list_files(source: Source) -> list[FileEntry]:
    """Return the files of a source, each once, sorted by path.

    Raises:
        ValueError: nothing matches, or the protocol needs a package that is not installed.
        OSError: the server or the disk does not answer.
    """
    if source.format == "datasets":
        from transforms.readers.hf_datasets import list_shards  # noqa: PLC0415  # imports `datasets`: 1 s

        return list_shards(source)
    if source.format == "python":
        from transforms.readers.python_prose import list_prose  # noqa: PLC0415

        return [local_entry(path) for path in list_prose(source)]
    entries: dict[str, FileEntry] = {}
    for entry in (entry for pattern in _patterns(source.path) for entry in _matches(pattern)):
        # A list may name a file as `a.jsonl`, `./a.jsonl` and from the root.
        entries.setdefault(entry.path if is_url(entry.path) else os.path.abspath(entry.path), entry)  # noqa: PTH100
    return sorted(entries.values(), key=lambda entry: entry.path)


def is_splittable(source: Source, path: str) -> bool:
    """True if byte ranges of the file can be read on their own, by its name: of compressed ones if it has members.

    A web server need not serve ranges, and without them each range would read the file from its beginning.
    """
    if _has_codec_with_members(source, path):
        return True
    if source.format in ("jsonl", "mediawiki"):
        return suffix_codec(path) is None and not path.startswith(WEB)
    return source.format in ("parquet", "arrow")


def _has_codec_with_members(source: Source, path: str) -> bool:
    codecs, _ = _MEMBERS.get(source.format, ((), b""))
    return suffix_codec(path) in codecs


def fits(source: Source, part: Slice) -> bool:
    """True if the format of the source can read the slice; it may have been cut for another one."""
    is_range = part.start > 0 or part.stop >= 0
    return (not is_range or is_splittable(source, part.path)) and (not part.stream_bytes or source.format in _STREAMS)


def slices(source: Source, entry: FileEntry, *, file: int, unit_bytes: int) -> list[Slice]:
    """Cut a file into ranges of about `unit_bytes`, or one slice of the whole where it cannot be cut.

    A longer one that cannot be cut, or one of unknown size, is a stream, where its format has many records: parts of
    `unit_bytes` decompressed bytes are then found while it is read. The one thing that is read of a file here is where
    the first cut of a compressed one above `unit_bytes` would be: only one with a member there is cut. Shorter ones are
    left whole: a crawl has 90,000 of 89 MB, enough for all workers, and a look at each would take a quarter of an hour.

    Args:
        source: the source that lists the file.
        entry: the file.
        file: its number in the plan, for the doc_ids.
        unit_bytes: wanted size of a range; larger where the file would need more parts than a doc_id can count.

    Raises:
        OSError: the file cannot be looked at.
    """
    count = 1
    if is_splittable(source, entry.path):
        has_members = _has_codec_with_members(source, entry.path)
        if entry.size > unit_bytes:
            count = min(-(-entry.size * (_RATIO if has_members else 1) // unit_bytes), MAX_PARTS)
        if has_members and count > 1:
            cut = entry.size // count
            behind = cut + min(max(entry.size // _LOOK_SHARE, _LEAST_LOOK), _MOST_LOOK)
            _, begins = _MEMBERS[source.format]
            count = count if has_member(entry.path, cut, behind, begins=begins) else 1
    if count == 1:
        is_long = entry.size > unit_bytes or entry.may_be_long
        stream_bytes = unit_bytes if source.format in _STREAMS and is_long else 0
        return [Slice(source.name, entry.path, file, 0, 0, -1, entry.size, entry.etag, stream_bytes)]
    cuts = [entry.size * index // count for index in range(count + 1)]
    return [
        Slice(source.name, entry.path, file, part, cuts[part], cuts[part + 1], entry.size, entry.etag)
        for part in range(count)
    ]


def local_etag(path: str) -> str:
    """Return what tells one version of a local file from another: its size and time of change, in hex."""
    status = Path(path).stat()
    return f"{status.st_size:x}-{status.st_mtime_ns:x}"


def _patterns(path: str) -> Iterator[str]:
    if not path.startswith("@"):
        yield path
        return
    name = path[1:]
    try:
        patterns = [line.strip() for line in Path(name).read_text(encoding="utf-8").splitlines()]
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the list of paths {name}: {error}") from error
    patterns = [pattern for pattern in patterns if pattern and not pattern.startswith("#")]
    if not patterns:
        raise ValueError(f"the list of paths {name} names no file")
    yield from patterns


def _matches(pattern: str) -> list[FileEntry]:
    entries = _remote(pattern) if is_url(pattern) else _local(pattern)
    if not entries:
        raise ValueError(f"no file matches {pattern}")
    return entries


def _local(pattern: str) -> list[FileEntry]:
    if pattern.startswith("~"):
        pattern = str(Path(pattern).expanduser())
    if Path(pattern).is_dir():
        raise ValueError(f"{pattern} is a directory; name its files, as in {pattern.rstrip('/')}/**/*")
    # A name that exists is meant as it is, also where it holds * or [. Path.glob would rewrite the user's path.
    if Path(pattern).exists():
        return [local_entry(pattern)] if Path(pattern).is_file() else []
    _check_readable(pattern)
    paths = glob.glob(pattern, recursive=True)  # noqa: PTH207
    return [local_entry(path) for path in paths if Path(path).is_file() or not Path(path).exists()]


def _check_readable(pattern: str) -> None:
    """Raise PermissionError for a directory that `glob` would pass over in silence, and its files with it."""
    path = PurePath(pattern)
    for parent, name in zip(path.parents, reversed(path.parts), strict=False):
        if glob.has_magic(name):
            for directory in glob.glob(f"{parent}/", recursive=True):  # noqa: PTH207  # the slash: directories only
                if not os.access(directory, os.R_OK | os.X_OK):
                    raise PermissionError(f"cannot list the directory {directory}")


def local_entry(path: str) -> FileEntry:
    return FileEntry(path, Path(path).stat().st_size, local_etag(path))


def _remote(pattern: str) -> list[FileEntry]:
    pattern = _pinned(pattern) if pattern.startswith("hf://") else pattern
    filesystem, name = filesystem_of(pattern)
    try:
        found: dict[str, dict[str, Any]]
        if glob.has_magic(name) and not pattern.startswith(WEB):
            found = answer(pattern, lambda: filesystem.glob(name, detail=True))
        else:
            found = {name: answer(pattern, lambda: filesystem.info(name))}
    except FileNotFoundError:
        return []
    return [
        FileEntry(filesystem.unstrip_protocol(name), int(info.get("size") or 0), _etag(info))
        for name, info in found.items()
        if info.get("type") != "directory"
    ]


def remote_etag(path: str) -> str:
    """Return what tells one version of a file behind a URL from another, asking its server again.

    Raises:
        OSError: the file is gone, or the server does not answer.
    """
    filesystem, name = filesystem_of(path)
    filesystem.invalidate_cache()
    return _etag(answer(path, lambda: filesystem.info(name)))


def _pinned(pattern: str) -> str:
    """Write the commit that a Hugging Face repository has now into the path: a resumed run reads the same files."""
    found = re.match(r"hf://(datasets|models|spaces)/([^/@]+/[^/@]+)(?:@([^/]+))?/(.+)", pattern)
    if not found:
        return pattern
    from huggingface_hub import HfApi  # noqa: PLC0415  # 0.3 s that a local run does not need

    kind, repository, revision, rest = found.groups()
    commit = answer(pattern, lambda: HfApi().repo_info(repository, repo_type=kind[:-1], revision=revision)).sha
    return f"hf://{kind}/{repository}@{commit}/{rest}"


def _etag(info: dict[str, Any]) -> str:
    return next((str(info[key]).strip('"') for key in _ETAG_KEYS if info.get(key)), str(info.get("size")))
