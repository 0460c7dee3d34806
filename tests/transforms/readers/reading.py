"""What the reader tests share: read a file as the pipeline would, and compressors."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lz4.frame
import zstandard

from transforms.readers.dispatch import read_slice
from transforms.readers.listing import list_files, slices
from transforms.readers.source import Source
from transforms.unit import Slice

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lz4": lambda data: lz4.frame.compress(data, content_checksum=True),
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
}
SUFFIX = {"gzip": ".gz", "bzip2": ".bz2", "xz": ".xz", "lz4": ".lz4", "zstd": ".zst"}


def source_of(path: str | Path, form: str = "jsonl", **fields: Any) -> Source:
    return Source(name="test", format=form, path=str(path), **fields)  # type: ignore[arg-type]


def whole(path: str | Path, *, file: int = 3) -> Slice:
    return Slice("test", str(path), file, 0, 0, -1, Path(path).stat().st_size, "")


def read(path: str | Path, form: str = "jsonl", *, unit_bytes: int = 1 << 30, **fields: Any) -> list[dict[str, Any]]:
    """Return all rows of a source as dicts, listed and cut as the plan does it."""
    source = source_of(path, form, **fields)
    return [
        row
        for file, entry in enumerate(list_files(source))
        for part in slices(source, entry, file=file, unit_bytes=unit_bytes)
        for batch in read_slice(source, part)
        for row in batch.to_pylist()
    ]


def texts_and_rules(rows: list[dict[str, Any]]) -> list[str]:
    """Return the text of every good row, and the rule of every broken one."""
    return [f"<{row['rule']}>" if row["rule"] else row["text"] for row in rows]
