"""Logical hash of a table's columns: equal for equal values, however they were cut into batches or laid out.

File bytes are no proof of equality: IPC framing changes with pyarrow versions and batch slicing.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash


class ColumnHash:
    """Streaming xxh3-128 of one column: validity, lengths and values are hashed apart, so batch borders vanish."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._validity = xxhash.xxh3_128()
        self._lengths = xxhash.xxh3_128()
        self._values = xxhash.xxh3_128()

    def update(self, array: pa.Array) -> None:
        """Add the rows of `array`."""
        self._validity.update(pc.is_valid(array).to_numpy(zero_copy_only=False).astype(np.uint8))
        self._add_values(array)

    def _add_values(self, array: pa.Array) -> None:
        kind = array.type
        if array.null_count:
            array = array.drop_null()
        if pa.types.is_string(kind) or pa.types.is_binary(kind):
            self._lengths.update(pc.binary_length(array).to_numpy())
            _, offsets, values = array.buffers()
            if len(array) and values is not None:
                bounds = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
                self._values.update(values[int(bounds[0]) : int(bounds[-1])])
        elif pa.types.is_fixed_size_list(kind):
            self._add_values(array.flatten())
        elif pa.types.is_list(kind):
            self._lengths.update(pc.list_value_length(array).to_numpy())
            self._add_values(array.flatten())
        elif pa.types.is_fixed_size_binary(kind):
            self._values.update(array.buffers()[1][array.offset * kind.byte_width :][: len(array) * kind.byte_width])
        else:
            contiguous: Any = np.ascontiguousarray(array.to_numpy(zero_copy_only=False))
            self._values.update(contiguous)

    def hexdigest(self) -> str:
        """Return the hash of everything added so far."""
        parts = (self._validity, self._lengths, self._values)
        return xxhash.xxh3_128_hexdigest(b"".join(part.digest() for part in parts))


def column_hashes(table: pa.Table) -> dict[str, str]:
    """Return the logical hash of each column of `table`."""
    hashes = {}
    for field in table.schema:
        column = ColumnHash(field.name)
        for chunk in table.column(field.name).chunks:
            column.update(chunk)
        hashes[field.name] = column.hexdigest()
    return hashes
