"""Rows from Arrow columns: what Parquet, Arrow and `datasets` have in common."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from transforms.readers.rows import MAX_RECORD_BYTES, ROWS, json_bytes, row_ranges
from transforms.readers.source import Source

_MOST_BYTES = 2**31 - 1  # of a column of ours
_HAS_LENGTHS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)


def pieces(batch: pa.RecordBatch, source: Source) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Cut a batch of N records with any columns to the size of ours; yield the first row of each slice and the slice.

    By text, not by rows alone: 8192 books are more than a column of ours holds.
    """
    offsets_N1 = np.zeros(batch.num_rows + 1, np.int64)
    index = batch.schema.get_field_index(source.text)  # -1 also where there are two
    if index >= 0 and _is_text((text := _without_dictionary(batch.column(index))).type):
        if not any(test(text.type) for test in _HAS_LENGTHS):  # a view
            text = text.cast(pa.large_binary())
        np.cumsum(pc.fill_null(pc.binary_length(text), 0).to_numpy(), out=offsets_N1[1:])
    for start, stop in row_ranges(offsets_N1):
        yield start, batch.slice(start, stop - start)


def rows_of_columns(batch: pa.RecordBatch, source: Source, locations: list[str]) -> pa.RecordBatch:
    """Return N rows (schema ROWS) from a batch of N records with any columns.

    Columns other than text and url become the JSON in `metadata`; binary ones are left out. Rules of broken records:
    `missing_text` (no such column, or null), `text_not_string`, `bad_utf8` (Parquet does not check it; value: its
    bytes), `record_too_large` (value: its bytes).
    """
    num_rows = batch.num_rows
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    text, rule, value = _text(columns.pop(source.text, pa.nulls(num_rows)))
    url = columns.get(source.url)
    if url is not None and (_is_text(url.type) or pa.types.is_null(url.type)):
        del columns[source.url]
        url = pa.array(_python_values(url), pa.string())
    else:
        url = pa.nulls(num_rows, pa.string())
    threshold = pc.if_else(pc.equal(rule, "record_too_large"), float(MAX_RECORD_BYTES), pa.scalar(None, pa.float64()))
    arrays = [text, url, _metadata(columns, num_rows), pa.array(locations, pa.string()), rule, value, threshold]
    return pa.RecordBatch.from_arrays(arrays, schema=ROWS)


def _text(column: pa.Array) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Return text (null as empty), rule and value of N records."""
    num_rows = len(column)
    column = _without_dictionary(column)
    no_rule, no_value = pa.scalar(None, pa.string()), pa.scalar(None, pa.float64())
    rule = pc.if_else(pc.is_null(column), "missing_text", no_rule)
    value = pa.nulls(num_rows, pa.float64())
    if not _is_text(column.type):
        rule = pc.if_else(pc.is_null(column), "missing_text", "text_not_string")
        return pa.array([""] * num_rows, pa.string()), rule, value
    column = column.cast(pa.large_binary())
    length = pc.fill_null(pc.binary_length(column), 0)
    too_large = pc.greater(length, MAX_RECORD_BYTES)
    if pc.any(too_large).as_py():
        rule = pc.if_else(too_large, "record_too_large", rule)
        value = pc.if_else(too_large, length.cast(pa.float64()), no_value)
        column = pc.if_else(too_large, pa.scalar(None, column.type), column)
    text, bad = _valid_text(column)
    if bad.any():
        rule = pc.if_else(pa.array(bad), "bad_utf8", rule)
        value = pc.if_else(pa.array(bad), length.cast(pa.float64()), value)
    return pc.fill_null(text, ""), rule, value


def _without_dictionary(column: pa.Array) -> pa.Array:
    if not pa.types.is_dictionary(column.type):
        return column
    values = column.dictionary
    if _is_text(values.type) and not any(test(values.type) for test in _HAS_LENGTHS):
        values = values.cast(pa.large_binary())  # Arrow cannot repeat views
    return pa.DictionaryArray.from_arrays(column.indices, values).dictionary_decode()


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(test(kind) for test in (*_HAS_LENGTHS, pa.types.is_string_view, pa.types.is_binary_view))


def _valid_text(column: pa.Array) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Return the column as `string` and where it is not UTF-8 (null there)."""
    bad_N = np.zeros(len(column), np.bool_)
    if column.buffers()[2] is not None and column.buffers()[2].size > _MOST_BYTES:  # a cast keeps what lies before it
        column = column.take(pa.array(np.arange(len(column))))
    raw = column.cast(pa.binary())
    try:
        return raw.cast(pa.string()), bad_N  # checks every byte
    except pa.ArrowInvalid:
        texts: list[str | None] = []
        for row, cell in enumerate(raw):
            try:
                texts.append(None if cell.as_py() is None else cell.as_py().decode())
            except UnicodeDecodeError:
                texts.append(None)
                bad_N[row] = True
        return pa.array(texts, pa.string()), bad_N


def _metadata(columns: dict[str, pa.Array], num_rows: int) -> pa.Array:
    kept = {name: _python_values(column) for name, column in columns.items() if not _is_binary(column.type)}
    if not kept:
        return pa.nulls(num_rows, pa.string())
    rows = (dict(zip(kept, cells, strict=True)) for cells in zip(*kept.values(), strict=True))
    return pa.array([json_bytes(row) for row in rows], pa.string())


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def _python_values(column: pa.Array) -> list[Any]:
    """Return N Python values; one that is not UTF-8 is None."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return [_python_value(cell) for cell in column]


def _python_value(cell: Any) -> Any:
    try:
        return cell.as_py()
    except UnicodeDecodeError:
        return None
