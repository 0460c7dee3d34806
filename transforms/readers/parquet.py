"""Parquet files, cut at row groups."""

import re
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.readers.columns import rows_of_columns
from transforms.readers.rows import MAX_BATCH_BYTES, MAX_BATCH_ROWS, broken_row, readable_path
from transforms.readers.source import Source
from transforms.readers.stream import BOMB_BYTES, BOMB_RATIO, open_path
from transforms.unit import Slice

# What a batch may become where values are stored once and repeated: a file of 42 KB would else fill 7 GB.
_REPEATED_BYTES = 512 << 20
# The beginning of a page in Thrift's compact protocol: its kind, and its bytes without compression.
_PAGE = re.compile(rb"\x15.\x15([\x80-\xff]{0,4}[\x00-\x7f])", re.DOTALL)
_DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)  # the last of column names
_BUFFER_BYTES = 1 << 20  # a column chunk is streamed in pieces of this size, not held


def read_parquet(source: Source, part: Slice) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the row groups whose midpoint lies in the slice, as batches of schema ROWS.

    Locations are `path#row`, counted in the file. Rules of broken records, beside those of `rows_of_columns`:
    `corrupt_parquet` for a footer (no value) or for what is unreadable of a row group (value: rows lost; the other row
    groups are read), `decompression_bomb` for a row group that would become 1 GiB and 1000 times its size (value: rows
    lost), `empty_file`.

    Raises:
        OSError: the file is gone or unreadable.
    """
    path = readable_path(part.path)
    with open_path(part.path) as file:
        try:
            parquet = pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        except _DAMAGE as error:
            raise_if_io(error)
            if part.start == 0:
                rule, value = ("corrupt_parquet", None) if part.size else ("empty_file", 0)
                yield broken_row(rule, location=f"{path}#0", value=value)
            return
        first_row = 0
        for index in range(parquet.num_row_groups):
            num_rows = parquet.metadata.row_group(index).num_rows
            if _owns(part, parquet.metadata.row_group(index)):
                yield from _row_group(parquet, file, index, first_row, source, path)
            first_row += num_rows


def _owns(part: Slice, group: pq.RowGroupMetaData) -> bool:
    if part.stop < 0:
        return True
    column = group.column(0)
    start = column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset
    compressed_bytes = sum(group.column(index).total_compressed_size for index in range(group.num_columns))
    return part.start <= start + compressed_bytes // 2 < part.stop


def _row_group(
    parquet: pq.ParquetFile, file: BinaryIO, index: int, row: int, source: Source, path: str
) -> Iterator[pa.RecordBatch]:
    group = parquet.metadata.row_group(index)
    if _is_bomb(group):
        yield broken_row("decompression_bomb", location=f"{path}#{row}", value=group.num_rows)
        return
    row_bytes = max(1, group.total_byte_size // max(1, group.num_rows))
    end = row + group.num_rows
    try:
        most_rows = min(MAX_BATCH_BYTES // row_bytes, _REPEATED_BYTES // _repeated_bytes(file, group), MAX_BATCH_ROWS)
        batch_rows = max(1, most_rows)
        for batch in parquet.iter_batches(batch_rows, row_groups=[index], use_threads=False):
            yield rows_of_columns(batch, source, [f"{path}#{number}" for number in range(row, row + batch.num_rows)])
            row += batch.num_rows
    except _DAMAGE as error:
        raise_if_io(error)
        yield broken_row("corrupt_parquet", location=f"{path}#{row}", value=end - row)


def _is_bomb(group: pq.RowGroupMetaData) -> bool:
    """Whether a column says that it is one: Arrow decodes a page whole, a cell of 1.5 GB taking 4.5 GB of memory."""
    columns = [group.column(number) for number in range(group.num_columns)]
    return any(
        column.total_uncompressed_size > max(BOMB_BYTES, BOMB_RATIO * column.total_compressed_size)
        for column in columns
    )


def _repeated_bytes(file: BinaryIO, group: pq.RowGroupMetaData) -> int:
    """Return how long a row can be because of values that are stored once: no longer than what they are stored in."""
    longest = 1
    for number in range(group.num_columns):
        column = group.column(number)
        if column.physical_type != "BYTE_ARRAY":
            continue
        num_bytes = 1
        if "DELTA_BYTE_ARRAY" in column.encodings:
            num_bytes = column.total_uncompressed_size
        elif column.has_dictionary_page:
            file.seek(column.dictionary_page_offset)
            found = _PAGE.match(file.read(16))
            zigzag = sum((byte & 127) << 7 * place for place, byte in enumerate(found[1])) if found else 0
            num_bytes = zigzag >> 1 or column.total_uncompressed_size
        longest = max(longest, num_bytes * max(1, column.num_values // max(1, group.num_rows)))
    return longest


def raise_if_io(error: Exception) -> None:
    """Arrow calls damage an OSError too, but only the system's own has a number."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error
