"""CSV and TSV: a line of column names, then one record a line, or on several where a quoted cell holds newlines.

The standard library parses 131 MB/s here (English documents of 8 KB). pyarrow.csv gives 706, but a stray quote or a
short row costs it the rest of its block, it knows no offsets, and 131 is five times the chain of filters behind it.
"""

import csv
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa

from transforms.readers.lines import Cut, TooLong, line_range, lines
from transforms.readers.rows import MAX_RECORD_BYTES, Rows, Wanted, broken_row, json_bytes, readable_path
from transforms.readers.source import Source
from transforms.unit import Slice

_DELIMITER = {"csv": ",", "tsv": "\t"}


class _Record(NamedTuple):
    """The bytes of one record and its cells; None where quotes are broken."""

    stored: bytes
    cells: list[str] | None
    is_utf8: bool


def read_delimited(
    source: Source, part: Slice, *, max_record_bytes: int = MAX_RECORD_BYTES, wanted: Wanted | None = None
) -> Iterator[pa.RecordBatch]:
    r"""Yield the records of a file as batches of schema ROWS; the first line names the columns.

    Cells other than text and url become the JSON in `metadata`. Locations are `path#offset` of the record's first line
    in the decompressed file. Quotes follow RFC 4180; in TSV a line that breaks them, but has a cell for each column,
    is taken as it stands, because many writers of TSV know no quotes.

    Rules of broken records: `bad_csv` (quotes that do not close, or close within a cell; value: bytes of the line; the
    next record is looked for in the next line), `wrong_columns` (value: cells, threshold: columns), `missing_text` (no
    such column), `bad_utf8`, `record_too_large`, `truncated_gzip` and its like as in JSON Lines, `empty_file`.

    Raises:
        OSError: the file is gone or unreadable.
    """
    csv.field_size_limit(2**31 - 1)  # of the whole process; ours is max_record_bytes
    path = readable_path(part.path)
    delimiter = _DELIMITER[source.format]
    found = lines(line_range(part.path, 0, -1), max_bytes=max_record_bytes)
    rows = Rows()
    columns: list[str] | None = None
    is_empty = True
    for offset, record in _Parser(found, delimiter, max_record_bytes):
        location = f"{path}#{offset}"
        if columns is not None and wanted is not None and not wanted(offset):
            is_empty = False
            continue
        if not isinstance(record, _Record):
            rule, value, threshold, excerpt = _unread(record, max_record_bytes)
            rows.add_broken(rule, location=location, value=value, threshold=threshold, excerpt=excerpt)
        elif columns is None and record.is_utf8 and record.cells is not None:
            columns = [record.cells[0].removeprefix("\ufeff"), *record.cells[1:]]
            continue
        else:
            if not rows.fits(len(record.stored)):
                yield rows.take()
            _add(rows, record, columns or [], location=location, source=source)
        columns = columns or []  # a broken line of names names none; the next line is still a record
    if rows:
        yield rows.take()
    elif is_empty:
        yield broken_row("empty_file", location=f"{path}#0", value=0)


def _unquoted(line: bytes, num_columns: int) -> list[str] | None:
    """Return the cells of a line of TSV whose quotes are mere characters, or None where it has too few or many."""
    cells = line.decode().removesuffix("\r").split("\t")
    return cells if len(cells) == num_columns else None


def _unread(line: TooLong | Cut, max_bytes: int) -> tuple[str, float, float | None, bytes]:
    if isinstance(line, TooLong):
        return "record_too_large", line.num_bytes, max_bytes, line.excerpt
    return line.damage.rule, line.damage.offset, None, line.rest


def _add(rows: Rows, record: _Record, columns: list[str], *, location: str, source: Source) -> None:
    num_bytes = len(record.stored)
    if not record.is_utf8:
        rows.add_broken("bad_utf8", location=location, value=num_bytes, excerpt=record.stored)
        return
    cells = record.cells
    if cells is None and source.format == "tsv":
        cells = _unquoted(record.stored, len(columns))
    if cells is None:
        rows.add_broken("bad_csv", location=location, value=num_bytes, excerpt=record.stored)
        return
    if (count := len(cells)) != len(columns):
        rows.add_broken("wrong_columns", location=location, value=count, threshold=len(columns), excerpt=record.stored)
        return
    fields = dict(zip(columns, cells, strict=True))
    text = fields.pop(source.text, None)
    if text is None:
        rows.add_broken("missing_text", location=location, value=num_bytes, excerpt=record.stored)
        return
    url = fields.pop(source.url, None) or None
    metadata = json_bytes(fields) if fields else None
    rows.add(text, url=url, metadata=metadata, location=location, num_bytes=num_bytes)


class _Parser:
    """Iterates over records, and after a broken one goes on with the line behind its first.

    Linear in the input: if a record that starts in line i is still open at the end of every line up to j, then one
    that starts between them and does not end with its line is in the same state there and breaks at j too. So the
    lines between are parsed alone, and only j begins anew.
    """

    def __init__(self, found: Iterator[tuple[int, bytes | TooLong | Cut]], delimiter: str, max_bytes: int) -> None:
        self._found = found
        self._delimiter = delimiter
        self._max_bytes = max_bytes
        self._held: list[tuple[int, bytes]] = []  # the lines of the record
        self._num_bytes = 0
        self._is_utf8 = True
        self._again: tuple[int, bytes | TooLong | Cut] | None = None  # read, and to be read once more
        self._ended = False

    def __iter__(self) -> Iterator[tuple[int, _Record | TooLong | Cut]]:
        reader = csv.reader(self._texts(), delimiter=self._delimiter, strict=True)
        while True:
            self._held, self._num_bytes, self._is_utf8 = [], 0, True
            try:
                cells = next(reader)
            except StopIteration:
                if self._again is None:
                    return
                offset, line = self._again
                assert not isinstance(line, bytes), "only what is no line ends the texts between two records"
                self._again = None
                yield offset, line
            except csv.Error:
                yield from self._broken()
            else:
                if cells:  # a blank line has none
                    stored = b"\n".join([line for _, line in self._held])
                    yield self._held[0][0], _Record(stored, cells, self._is_utf8)
                continue
            reader = csv.reader(self._texts(), delimiter=self._delimiter, strict=True)

    def _texts(self) -> Iterator[str]:
        """Yield lines as text, up to one that cannot belong to the record begun: that one is kept for the next."""
        self._ended = False
        while (found := self._again or next(self._found, None)) is not None:
            self._again = None
            offset, line = found
            if not isinstance(line, bytes) or (self._held and self._num_bytes + len(line) > self._max_bytes):
                self._again = found
                break
            self._held.append((offset, line))
            self._num_bytes += len(line) + 1
            text, is_utf8 = _text(line)
            self._is_utf8 = self._is_utf8 and is_utf8
            yield text
        self._ended = True

    def _broken(self) -> Iterator[tuple[int, _Record]]:
        first, *others = self._held
        if others and not self._ended:
            self._again = others.pop()  # quotes broke in it
        yield first[0], _Record(first[1], None, _text(first[1])[1])
        for offset, line in others:
            text, is_utf8 = _text(line)
            try:
                cells = next(csv.reader([text], delimiter=self._delimiter, strict=True))
            except csv.Error:
                yield offset, _Record(line, None, is_utf8)
            else:
                if cells:
                    yield offset, _Record(line, cells, is_utf8)


def _text(line: bytes) -> tuple[str, bool]:
    """Return a line for the csv reader, and whether it is UTF-8."""
    try:
        return line.decode() + "\n", True
    except UnicodeDecodeError:
        return line.decode("utf-8", "surrogateescape") + "\n", False
