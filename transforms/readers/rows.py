"""The rows a reader yields, and the builder that closes a batch in time.

A record that cannot be read is a row too: its rule is set and its text is an excerpt for the ledger, or empty.
"""

import json
from collections.abc import Callable, Iterator

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

MAX_BATCH_ROWS = 8192
MAX_NESTING = 512  # of lists and objects within each other; orjson reads 1024, Python's own writer about 900
# Six copies of a batch are alive at once (lines, records, columns, and text before and after a kernel): 16 MiB took
# 80 MB more a worker and saved nothing measurable, 1 MiB is 2% slower.
MAX_BATCH_BYTES = 4 << 20
MAX_RECORD_BYTES = 128 << 20  # of one line, file or cell; longer ones are rejected without being held in memory
EXCERPT_BYTES = 256

# Why a row is no record: rule, value, threshold.
Broken = tuple[str, float | None, float | None]

# Whether the record at an offset is to be read: those of committed parts of a stream are not.
Wanted = Callable[[int], bool]

ROWS = pa.schema(
    [
        pa.field("text", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("metadata", pa.string()),
        pa.field("location", pa.string(), nullable=False),
        pa.field("rule", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("threshold", pa.float64()),
    ]
)


class Rows:
    """Collects records until a batch is full.

    `num_bytes` sums what the caller says a record weighs; a batch holds at most MAX_BATCH_BYTES of it unless one record
    alone is longer.
    """

    __slots__ = ("_broken", "_columns", "num_bytes")

    def __init__(self) -> None:
        self._start_again()

    def _start_again(self) -> None:
        self._columns: tuple[list[str | bytes], list[str | None], list[bytes | None], list[str]] = ([], [], [], [])
        self._broken: dict[int, Broken] = {}
        self.num_bytes = 0

    def __len__(self) -> int:
        return len(self._columns[0])

    def fits(self, num_bytes: int) -> bool:
        """True if a record of that weight may join the batch."""
        return len(self) < MAX_BATCH_ROWS and (self.num_bytes + num_bytes <= MAX_BATCH_BYTES or not len(self))

    def add(
        self, text: str | bytes, *, location: str, num_bytes: int, url: str | None = None, metadata: bytes | None = None
    ) -> None:
        """Append a readable record; `metadata` is JSON in UTF-8, and a text may be UTF-8 already."""
        texts, urls, metadatas, locations = self._columns
        texts.append(text)
        urls.append(url)
        metadatas.append(metadata)
        locations.append(location)
        self.num_bytes += num_bytes

    def add_broken(
        self,
        rule: str,
        *,
        location: str,
        url: str | None = None,
        value: float | None = None,
        threshold: float | None = None,
        excerpt: bytes = b"",
    ) -> None:
        """Append a record that cannot be read, with the beginning of its bytes for the ledger."""
        self._broken[len(self)] = (rule, value, threshold)
        text = excerpt[:EXCERPT_BYTES].decode("utf-8", "replace")
        self.add(text, location=location, url=url, num_bytes=len(text))

    def take(self) -> pa.RecordBatch:
        """Return the collected rows (schema ROWS) and start again."""
        texts, urls, metadatas, locations = self._columns
        others = [pa.array(column, pa.string()) for column in (urls, metadatas, locations)]
        columns = [_string_array(texts), *others, *rule_columns(self._broken, len(texts))]
        self._start_again()
        return pa.RecordBatch.from_arrays(columns, schema=ROWS)


def rule_columns(broken: dict[int, Broken], num_rows: int) -> list[pa.Array]:
    """Return the columns rule, value and threshold of so many rows, of which some are broken."""
    fields = [ROWS.field(name) for name in ("rule", "value", "threshold")]
    if not broken:
        return [pa.nulls(num_rows, field.type) for field in fields]
    whys = [broken.get(row, (None, None, None)) for row in range(num_rows)]
    return [pa.array(column, field.type) for column, field in zip(zip(*whys, strict=True), fields, strict=True)]


def _string_array(texts: list[str | bytes]) -> pa.Array:
    """Return texts as one array. `pa.array` looks at each byte again and grows its buffer: twice the time."""
    encoded = [text.encode() if isinstance(text, str) else text for text in texts]
    offsets_N1 = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum([len(text) for text in encoded], dtype=np.int32, out=offsets_N1[1:])
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(offsets_N1), pa.py_buffer(b"".join(encoded)))


def broken_row(
    rule: str, *, location: str, value: float | None = None, threshold: float | None = None
) -> pa.RecordBatch:
    """Return a batch of one row: something that should have been a record, and why it is none."""
    rows = Rows()
    rows.add_broken(rule, location=location, value=value, threshold=threshold)
    return rows.take()


def within_limits(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut a batch with a column `text` into slices of at most MAX_BATCH_ROWS rows and MAX_BATCH_BYTES of text.

    A row that is longer than the limit makes a slice of its own. Empty batches vanish.
    """
    offsets = np.frombuffer(batch.column("text").buffers()[1], np.int32) if batch.num_rows else np.zeros(1, np.int32)
    offsets_N1 = offsets[batch.column("text").offset :][: batch.num_rows + 1].astype(np.int64)
    for start, stop in row_ranges(offsets_N1):
        yield batch.slice(start, stop - start)


def row_ranges(offsets_N1: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield start and stop of each batch that N rows make, by where their texts (bytes) begin and end."""
    num_rows = len(offsets_N1) - 1
    start = 0
    while start < num_rows:
        stop = int(np.searchsorted(offsets_N1, offsets_N1[start] + MAX_BATCH_BYTES, "right")) - 1
        stop = min(max(stop, start + 1), start + MAX_BATCH_ROWS, num_rows)
        yield start, stop
        start = stop


def json_bytes(value: object) -> bytes:
    """Return `value` as JSON in UTF-8; what JSON has no word for (dates, decimals) becomes its string.

    Half a surrogate pair becomes a question mark.

    Raises:
        ValueError: nested deeper than MAX_NESTING.
    """
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # nested deeper than 254, an integer above 64 bits, half a surrogate pair
        _check_nesting(value)
        # Half a pair as \ud83d would be JSON too, but orjson and others refuse to read it back.
        return json.dumps(value, default=str, ensure_ascii=False).encode("utf-8", "replace")


def _check_nesting(value: object) -> None:
    """Raise ValueError for what `json` can write or not, depending on how deep in calls it is called: at most 1000."""
    level, depth = [value], 0
    while level:
        if depth > MAX_NESTING:
            raise ValueError(f"nested deeper than {MAX_NESTING}")
        inner = (item.values() if isinstance(item, dict) else item for item in level if isinstance(item, (dict, list)))
        level, depth = [child for items in inner for child in items], depth + 1


def readable_path(path: str) -> str:
    r"""Return `path` as UTF-8 can hold it: a byte that is not UTF-8 (Linux allows it in names) reads as `\xff`."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
