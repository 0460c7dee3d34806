"""Arrow IPC: files, cut at record batches, and streams."""

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa

from transforms.readers.columns import pieces, rows_of_columns
from transforms.readers.parquet import raise_if_io
from transforms.readers.rows import broken_row, readable_path
from transforms.readers.source import Source
from transforms.readers.stream import open_path
from transforms.unit import Slice

_FILE_START = b"ARROW1\0\0"  # what follows it in a file is a stream, and then the footer with the places of batches
# A flipped bit can make a length of petabytes, or a name that is not UTF-8.
_DAMAGE = (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError)


def read_arrow(source: Source, part: Slice) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the record batches that the slice owns, as batches of schema ROWS.

    Batch i of n stands at (i + 1/2) / n of the file, because a plan that opens no file knows no better place. A stream
    belongs to the slice that begins it, and so does a file without footer, which is read as the stream it holds.
    Locations are `path#batch.row`.

    Rules of broken records, beside those of `rows_of_columns`: `corrupt_arrow` for a batch of a file (value: its
    number; the other batches are read) or for the batch at which a stream cannot be read on, `empty_file`.

    Raises:
        OSError: the file is gone or unreadable.
    """
    with open_path(part.path) as file:
        reader = _footer(file)
        if reader is not None:
            yield from _file(reader, source, part)
        elif part.start == 0:
            yield from _stream(file, source, part)


def _footer(file: BinaryIO) -> Any:
    try:
        return pa.ipc.open_file(file)
    except _DAMAGE as error:
        raise_if_io(error)
        return None


def _file(reader: Any, source: Source, part: Slice) -> Iterator[pa.RecordBatch]:
    count = reader.num_record_batches
    if count == 0 and part.start == 0:
        yield broken_row("empty_file", location=f"{readable_path(part.path)}#0", value=0)
    for number in range(count):
        at = (2 * number + 1) * part.size // (2 * count)
        if part.start <= at and (at < part.stop or part.stop < 0):
            try:
                batch = reader.get_batch(number)
                _validate(batch)
            except _DAMAGE as error:
                raise_if_io(error)
                yield broken_row("corrupt_arrow", location=f"{readable_path(part.path)}#{number}", value=number)
                continue
            yield from _rows(batch, number, source, part)


def _stream(file: BinaryIO, source: Source, part: Slice) -> Iterator[pa.RecordBatch]:
    file.seek(0)
    if file.read(len(_FILE_START)) != _FILE_START:
        file.seek(0)
    number = 0
    try:
        for batch in pa.ipc.open_stream(file):
            _validate(batch)
            yield from _rows(batch, number, source, part)
            number += 1
    except _DAMAGE as error:
        raise_if_io(error)
        rule = "corrupt_arrow" if part.size else "empty_file"
        yield broken_row(rule, location=f"{readable_path(part.path)}#{number}", value=number)
        return
    if number == 0:
        yield broken_row("empty_file", location=f"{readable_path(part.path)}#0", value=0)


def _validate(batch: pa.RecordBatch) -> None:
    """Raise ArrowInvalid for offsets that point out of their buffer, UnicodeDecodeError for names that are not UTF-8.

    A flipped bit must not end the process. Cells that are not UTF-8 are left to `rows_of_columns`, which rejects them.
    """
    for _, column in zip(batch.schema.names, batch.columns, strict=True):
        raw = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}.get(column.type)
        (column if raw is None else column.view(raw)).validate(full=True)


def _rows(batch: pa.RecordBatch, number: int, source: Source, part: Slice) -> Iterator[pa.RecordBatch]:
    path = readable_path(part.path)
    for start, piece in pieces(batch, source):
        locations = [f"{path}#{number}.{row}" for row in range(start, start + piece.num_rows)]
        yield rows_of_columns(piece, source, locations)
