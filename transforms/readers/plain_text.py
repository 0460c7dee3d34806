"""Plain text and Markdown: one document a file."""

import re
from collections.abc import Iterator

import pyarrow as pa

from transforms.html import decode_named
from transforms.readers.rows import EXCERPT_BYTES, MAX_RECORD_BYTES, Rows, json_bytes, readable_path
from transforms.readers.source import Source
from transforms.readers.stream import Damage, decompressed
from transforms.unit import Slice

# What no text holds, in whatever encoding it was written: bytes that mean nothing there, and control characters.
_NO_TEXT = re.compile("[\\ufffd\\x00-\\x08\\x0e-\\x1a\\x1c-\\x1f\\x7f-\\x84\\x86-\\x9f]")
_NO_TEXT_SHARE = 200  # one such character in as many is a slip


def read_text(source: Source, part: Slice, *, max_record_bytes: int = MAX_RECORD_BYTES) -> Iterator[pa.RecordBatch]:
    """Yield the document that a file is, as one batch of schema ROWS.

    Text that is not UTF-8 is read in the encoding of its byte order mark, or else in the one that its bytes look like,
    which `metadata` then names.

    Rules of a broken one: `bad_utf8` (value: offset of the first bad byte) where that gives no text, `empty_file`,
    `record_too_large` (value: what was read of it), `truncated_gzip` and its like (value: offset in the file as
    stored).

    Raises:
        OSError: the file is gone or unreadable.
    """
    del source  # has no say in what a text file is
    rows = Rows()
    location = f"{readable_path(part.path)}#0"
    content = whole_bytes(part.path, rows, max_bytes=max_record_bytes)
    if content is not None:
        try:
            rows.add(content.decode("utf-8-sig"), location=location, num_bytes=len(content))
        except UnicodeDecodeError as error:
            text, encoding = decode_named(content, "")
            if _NO_TEXT_SHARE * sum(1 for _ in _NO_TEXT.finditer(text)) > len(text):
                rows.add_broken("bad_utf8", location=location, value=error.start, excerpt=content[:EXCERPT_BYTES])
            else:
                metadata = json_bytes({"encoding": encoding})
                rows.add(text, location=location, metadata=metadata, num_bytes=len(text))
    yield rows.take()


def whole_text(path: str, rows: Rows, *, max_bytes: int) -> str | None:
    """Return the text of a file without its byte order mark, or add a broken row to `rows` and return None."""
    content = whole_bytes(path, rows, max_bytes=max_bytes)
    if content is None:
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        location = f"{readable_path(path)}#0"
        rows.add_broken("bad_utf8", location=location, value=error.start, excerpt=content[:EXCERPT_BYTES])
        return None


def whole_bytes(path: str, rows: Rows, *, max_bytes: int) -> bytes | None:
    """Return what a file holds, decompressed, or add a broken row to `rows` and return None."""
    location = f"{readable_path(path)}#0"
    content = bytearray()
    for chunk in decompressed(path):
        if isinstance(chunk, Damage):
            excerpt = bytes(content[:EXCERPT_BYTES])
            rows.add_broken(chunk.rule, location=location, value=chunk.offset, excerpt=excerpt)
            return None
        content += chunk
        if (size := len(content)) > max_bytes:
            excerpt = bytes(content[:EXCERPT_BYTES])
            rows.add_broken("record_too_large", location=location, value=size, threshold=max_bytes, excerpt=excerpt)
            return None
    if not content:
        rows.add_broken("empty_file", location=location, value=0)
        return None
    return bytes(content)
