"""The rows of JSON Lines: Arrow buffers that a kernel writes, and single rows that join them.

Shapes: N rows, M bytes.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from transforms.kernels.json_lines import (
    FLAGS,
    FULL,
    HAS_METADATA,
    HAS_URL,
    MAX_KEYS,
    METADATA,
    OFFSET,
    REWRITE,
    ROW_COLUMNS,
    SLACK,
    TEXT,
    URL,
    Buffers,
    read_lines,
)
from transforms.kernels.strings import string_array
from transforms.readers.lines import TooLong, bounded
from transforms.readers.ranges import ByteRange
from transforms.readers.rows import (
    EXCERPT_BYTES,
    MAX_BATCH_BYTES,
    MAX_BATCH_ROWS,
    ROWS,
    Broken,
    json_bytes,
    readable_path,
    rule_columns,
)

_MAX_LEFT = 64  # lines that the kernel leaves before it comes back
_NAMES = ("text_M", "url_M", "metadata_M")  # of the buffers, in the order of TEXT, URL and METADATA


class JsonRows:
    """Collects records until a batch is full, as `Rows` does; the lines of whole blocks at once, or one by one.

    Args:
        stored: what is read, for locations.
        text: name of the field that is the document.
        url: name of the field that is its address.
        max_line_bytes: a longer line is never read by the kernel.
    """

    def __init__(self, stored: ByteRange, *, text: str, url: str, max_line_bytes: int) -> None:
        self._stored = stored
        self._names_M = np.frombuffer((text + url).encode(), np.uint8)
        self._url_name = len(text.encode())
        self._max_line_bytes = max_line_bytes
        nothing = np.zeros(0, np.uint8)
        self._buffers = Buffers(nothing, nothing, nothing)
        self._rows_N5 = np.zeros((MAX_BATCH_ROWS + 1, ROW_COLUMNS), np.int64)
        self._keys_K, self._left_L2 = np.zeros(MAX_KEYS, np.uint64), np.zeros((_MAX_LEFT, 2), np.int64)
        # The same memory again: single cells of numpy arrays are slow.
        self._views = [nothing.data] * len(_NAMES)
        self._cells = self._rows_N5.data.cast("B").cast("q")
        self._added: tuple[list[bytes], ...] = (
            [],
            [],
            [],
        )  # values of rows whose ends are known, not yet in the buffers
        self._num_rows = self._num_bytes = self._capacity = 0
        self._broken: dict[int, Broken] = {}
        self._places: dict[int, str] = {}

    def __len__(self) -> int:
        return self._num_rows

    def fits(self, num_bytes: int) -> bool:
        """True if a record of that weight may join the batch."""
        return len(self) < MAX_BATCH_ROWS and (self._num_bytes + num_bytes <= MAX_BATCH_BYTES or not len(self))

    def read(self, block: memoryview, offset: int) -> Iterator[tuple[int, bytes | TooLong] | None]:
        """Add the lines of a block that begins at an offset; yield each that has to be read and added by the caller.

        None is yielded when the batch is full and has to be taken.
        """
        block_M = np.frombuffer(block, np.uint8)
        at = 0
        while at < len(block_M):
            self._write_added(len(block_M) - at)
            why, at, self._num_rows, self._num_bytes, num_left = read_lines(
                block_M,
                at,
                offset,
                self._names_M,
                self._url_name,
                self._buffers,
                self._rows_N5,
                self._keys_K,
                self._left_L2,
                self._num_rows,
                self._num_bytes,
                MAX_BATCH_BYTES,
                self._max_line_bytes,
            )
            left = self._left_L2[:num_left].tolist()
            lines = bytes(block[left[0][0] : left[-1][1]]) if left else b""
            for start, stop in left:
                line = lines[start - left[0][0] : stop - left[0][0]]
                yield offset + start, bounded(line, self._max_line_bytes)
            if why == FULL or self._num_bytes > MAX_BATCH_BYTES:  # no row of the next block can join a long one
                yield None

    def add(
        self, text: str, *, offset: int, num_bytes: int, url: str | None = None, metadata: bytes | None = None
    ) -> None:
        """Append a readable record; `metadata` is JSON in UTF-8."""
        cells, cell = self._cells, self._num_rows * ROW_COLUMNS
        for values, value in zip(
            self._added, (text.encode(), url.encode() if url else b"", metadata or b""), strict=True
        ):
            values.append(value)
            cells[cell + ROW_COLUMNS] = cells[cell] + len(value)  # TEXT, URL, METADATA
            cell += 1
        cells[cell + ROW_COLUMNS] = offset
        cells[cell + ROW_COLUMNS + 1] = (url is not None) * HAS_URL | (metadata is not None) * HAS_METADATA
        self._num_rows += 1
        self._num_bytes += num_bytes

    def add_broken(
        self,
        rule: str,
        *,
        offset: int,
        value: float | None = None,
        threshold: float | None = None,
        excerpt: bytes = b"",
    ) -> None:
        """Append a record that cannot be read, with the beginning of its bytes for the ledger."""
        self._broken[len(self)] = (rule, value, threshold)
        if not excerpt:  # nothing was read there: a member that begins there later is another place
            self._places[len(self)] = self._stored.place(offset)
        text = excerpt[:EXCERPT_BYTES].decode("utf-8", "replace")
        self.add(text, offset=offset, num_bytes=len(text))

    def take(self) -> pa.RecordBatch:
        """Return the collected rows (schema ROWS) and start again."""
        self._write_added(0)
        num_rows = self._num_rows
        rows_N5 = self._rows_N5[: num_rows + 1]
        places = self._stored.places(rows_N5[1:, OFFSET])
        if self._places:
            places = pa.array(
                [self._places.get(row, place) for row, place in enumerate(places.to_pylist())], pa.string()
            )
        locations = pc.binary_join_element_wise(pa.scalar(f"{readable_path(self._stored.path)}#"), places, "")
        columns = [
            string_array(rows_N5[:, TEXT].astype(np.int32), self._given(TEXT, rows_N5[:, TEXT])),
            _nullable(rows_N5[1:, FLAGS] & HAS_URL != 0, rows_N5[:, URL], self._given(URL, rows_N5[:, URL])),
            self._metadata(rows_N5),
            locations,
            *rule_columns(self._broken, num_rows),
        ]
        batch = pa.RecordBatch.from_arrays(columns, schema=ROWS)
        self._num_rows = self._num_bytes = 0
        self._broken, self._places = {}, {}
        if self._capacity > 2 * MAX_BATCH_BYTES:  # there was a long line
            self._resize(0, [0, 0, 0])
        return batch

    def _metadata(self, rows_N5: NDArray[np.int64]) -> pa.Array:
        ends_N1, flags_N = rows_N5[:, METADATA], rows_N5[1:, FLAGS]
        values_M = self._given(METADATA, ends_N1)
        if (flags_N & REWRITE).any():
            written = values_M.tobytes()
            pieces = [written[start:stop] for start, stop in itertools.pairwise(ends_N1.tolist())]
            for row in np.flatnonzero(flags_N & REWRITE).tolist():
                pieces[row] = json_bytes(orjson.loads(pieces[row]))
            ends_N1 = np.cumsum([0, *map(len, pieces)])
            values_M = np.frombuffer(b"".join(pieces), np.uint8)
        return _nullable(flags_N & HAS_METADATA != 0, ends_N1, values_M)

    def _given(self, column: int, ends_N1: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Give away what a column holds: its buffer, or a copy if more than half of it is empty."""
        used_M = self._buffers[column][: ends_N1[-1]]
        if 2 * len(used_M) < self._capacity:
            return used_M.copy()
        self._replace(column, np.empty(self._capacity, np.uint8))
        return used_M

    def _write_added(self, room: int) -> None:
        """Write the values of rows that were added one by one, and have room for so many more bytes in each column."""
        cell = self._num_rows * ROW_COLUMNS
        ends = self._cells[cell : cell + 3].tolist()  # TEXT, URL, METADATA
        added = [b"".join(values) for values in self._added]
        starts = [end - len(values) for end, values in zip(ends, added, strict=True)]
        needed = max(ends) + room + SLACK
        if needed > self._capacity:
            self._resize(max(needed, min(2 * self._capacity, MAX_BATCH_BYTES + room + SLACK)), starts)
        for column, values in enumerate(added):
            self._views[column][starts[column] : ends[column]] = values
            self._added[column].clear()

    def _resize(self, capacity: int, ends: list[int]) -> None:
        """Replace all buffers, keeping what each holds."""
        self._capacity = capacity
        for column, end in enumerate(ends):
            new_M = np.empty(capacity, np.uint8)
            new_M[:end] = self._buffers[column][:end]
            self._replace(column, new_M)

    def _replace(self, column: int, new_M: NDArray[np.uint8]) -> None:
        self._buffers = self._buffers._replace(**{_NAMES[column]: new_M})
        self._views[column] = new_M.data


def _nullable(is_there_N: NDArray[np.bool_], ends_N1: NDArray[np.int64], values_M: NDArray[np.uint8]) -> pa.Array:
    """Return an array of strings in which what is not there is null."""
    validity = None if is_there_N.all() else pa.py_buffer(np.packbits(is_there_N, bitorder="little"))
    buffers = [validity, pa.py_buffer(ends_N1.astype(np.int32)), pa.py_buffer(values_M)]
    return pa.Array.from_buffers(pa.string(), len(is_there_N), buffers)
