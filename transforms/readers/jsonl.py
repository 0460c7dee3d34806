"""JSON Lines: one object a line, in any encoding that JSON allows once it is UTF-8.

A kernel (kernels/json_lines.py) reads the lines that it is certain of, nearly all, from whole blocks into Arrow
buffers; what it leaves, this file reads with orjson, line by line, and `json` has a second look at what orjson refuses.
Either way a row is what orjson makes of its line.

Processor time a MB: 0.5 ms on English (8 to 30 KB a line), 0.6 on lines of 600 bytes, 1.1 on 100, 1.3 on Cyrillic;
with orjson for all lines 1.4, 3.1, 10.4 and 3.7. Parsing 101 MB of English documents: simdjson 1842 MB/s, msgspec
1379, orjson 1223, pyarrow.json 921, `json` 646. pyarrow loses a whole block to one bad line and cannot keep the fields
it was not told of, simdjson's objects die with the next line and it writes no JSON for the metadata.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from transforms.readers.json_rows import JsonRows
from transforms.readers.lines import Cut, TooLong, blocks, line_range
from transforms.readers.rows import MAX_RECORD_BYTES, Wanted, broken_row, json_bytes, readable_path
from transforms.readers.source import Source
from transforms.unit import Slice


def read_jsonl(
    source: Source, part: Slice, *, max_record_bytes: int = MAX_RECORD_BYTES, wanted: Wanted | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the records whose line starts in the slice, as batches of schema ROWS.

    Blank lines are no records. Fields other than text and url become the JSON in `metadata`. Locations are
    `path#place` of the line, as `ByteRange` tells places.

    Rules of broken records: `bad_json` (no JSON, no object, or nested deeper than MAX_NESTING), `bad_utf8` (also for a
    text with half a surrogate pair, which no UTF-8 can hold), `missing_text` (no such field, or null),
    `text_not_string`, `record_too_large` (value: its bytes), `truncated_gzip`, `corrupt_zstd` and their like (value:
    offset in the file as stored), `empty_file`.

    Raises:
        OSError: the file is gone or unreadable.
    """
    stored = line_range(part.path, part.start, part.stop)
    rows = JsonRows(stored, text=source.text, url=source.url, max_line_bytes=max_record_bytes)
    empty = part.start == 0 and not 0 <= part.stop < part.size
    for offset, block, is_wanted in _runs(blocks(stored, max_bytes=max_record_bytes), wanted):
        if not is_wanted:
            empty = False
            continue
        for left in rows.read(block, offset) if isinstance(block, memoryview) else [(offset, block)]:
            if left is None or not rows.fits(len(left[1]) if isinstance(left[1], bytes) else 0):
                empty = False
                yield rows.take()
            if left is not None:
                _add_left(rows, *left, source=source, max_record_bytes=max_record_bytes)
    if rows:
        yield rows.take()
    elif empty:
        yield broken_row("empty_file", location=f"{readable_path(part.path)}#0", value=0)


def _runs(
    found: Iterator[tuple[int, memoryview | TooLong | Cut]], wanted: Wanted | None
) -> Iterator[tuple[int, memoryview | TooLong | Cut, bool]]:
    """Yield what is found in pieces that are wanted, or are not, and say which."""
    for offset, block in found:
        if wanted is None or not isinstance(block, memoryview):
            yield offset, block, wanted is None or wanted(offset)
            continue
        stops = (np.flatnonzero(np.frombuffer(block, np.uint8) == 0x0A) + 1).tolist()
        are_wanted = [wanted(offset + start) for start in (0, *stops[:-1])]
        start = 0
        for line, stop in enumerate(stops):
            if stop == len(block) or are_wanted[line] != are_wanted[line + 1]:
                yield offset + start, block[start:stop], are_wanted[line]
                start = stop


def _add_left(
    rows: JsonRows, offset: int, line: bytes | TooLong | Cut, *, source: Source, max_record_bytes: int
) -> None:
    """Add what the kernel did not read."""
    if isinstance(line, bytes):
        _add(rows, line, offset=offset, source=source)
    elif isinstance(line, TooLong):
        rows.add_broken(
            "record_too_large", offset=offset, value=line.num_bytes, threshold=max_record_bytes, excerpt=line.excerpt
        )
    else:
        if _is_object(line.rest):  # the last record of a file whose checksum is wrong
            _add(rows, line.rest, offset=offset, source=source)
        rows.add_broken(line.damage.rule, offset=offset, value=line.damage.offset, excerpt=line.rest)


def _add(rows: JsonRows, line: bytes, *, offset: int, source: Source) -> None:
    try:
        fields = orjson.loads(line)
    except ValueError:
        if not line.strip():
            return
        try:
            fields = _second_opinion(line, source)
        except UnicodeError:
            rows.add_broken("bad_utf8", offset=offset, value=len(line), excerpt=line)
            return
        except (ValueError, RecursionError):
            fields = None
    if type(fields) is not dict:
        rows.add_broken("bad_json", offset=offset, value=len(line), excerpt=line)
        return
    text = fields.pop(source.text, None)
    if type(text) is not str:
        rule = "missing_text" if text is None else "text_not_string"
        rows.add_broken(rule, offset=offset, value=len(line), excerpt=line)
        return
    url = fields.pop(source.url, None)
    if url is not None and type(url) is not str:
        fields[source.url] = url
        url = None
    try:
        metadata = json_bytes(fields) if fields else None
    except ValueError:
        rows.add_broken("bad_json", offset=offset, value=len(line), excerpt=line)
        return
    rows.add(text, url=url, metadata=metadata, offset=offset, num_bytes=len(line))


def _second_opinion(line: bytes, source: Source) -> Any:
    """Parse what orjson refuses and others write: a byte order mark, NaN (read as null), half a surrogate pair.

    Raises:
        UnicodeError: the line is not UTF-8, or the text cannot be.
        ValueError: not JSON.
        RecursionError: nested too deeply.
    """
    fields = json.loads(line.decode("utf-8-sig"), parse_constant=lambda _: None)
    if isinstance(fields, dict):
        if isinstance(text := fields.get(source.text), str):
            text.encode()
        if isinstance(url := fields.get(source.url), str):
            fields[source.url] = url.encode("utf-8", "replace").decode()
    return fields


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except ValueError:
        return False
