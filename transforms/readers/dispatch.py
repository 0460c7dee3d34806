"""From a slice of a source to batches in flight: the one place that knows all readers."""

import importlib
import itertools
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.readers.listing import fits, local_etag, remote_etag
from transforms.readers.remote import is_url
from transforms.readers.rows import within_limits
from transforms.readers.source import Source
from transforms.schema import IN_FLIGHT, MAX_ORDINALS, MAX_PARTS, doc_ids
from transforms.unit import Slice

# Named, not imported: `datasets` takes a second to import and a JSONL run never needs it.
_READERS = {
    "jsonl": ("transforms.readers.jsonl", "read_jsonl"),
    "text": ("transforms.readers.plain_text", "read_text"),
    "csv": ("transforms.readers.delimited", "read_delimited"),
    "tsv": ("transforms.readers.delimited", "read_delimited"),
    "parquet": ("transforms.readers.parquet", "read_parquet"),
    "arrow": ("transforms.readers.arrow_ipc", "read_arrow"),
    "warc": ("transforms.readers.warc", "read_warc"),
    "wet": ("transforms.readers.warc", "read_warc"),
    "mediawiki": ("transforms.readers.mediawiki", "read_mediawiki"),
    "gutenberg": ("transforms.readers.gutenberg", "read_gutenberg"),
    "datasets": ("transforms.readers.hf_datasets", "read_datasets"),
    "python": ("transforms.readers.python_prose", "read_python"),
}


def read_slice(source: Source, part: Slice) -> Iterator[pa.RecordBatch]:
    """Yield every record of a slice in order, as batches of schema IN_FLIGHT within the batch limits.

    A record that cannot be read is a row whose rule is set; damage never raises.

    Raises:
        OSError: the file is gone, unreadable, or not the one that was planned.
        ValueError: the source cannot be read as the config says, or a part holds more records than a doc_id can count.
    """
    ordinal = 0
    for rows in _rows(source, part):
        yield from _in_flight(rows, source, part, ordinal)
        ordinal += rows.num_rows


def read_parts(source: Source, stream: Slice, *, done: Collection[int]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield every record of a stream in order, as batches like those of `read_slice`, each with its part's number.

    Records of the parts that are `done` are read over: decompressed and framed, not parsed or extracted.

    Raises:
        OSError: as `read_slice`.
        ValueError: as `read_slice`.
    """

    def part_of(offset: int) -> int:
        return min(offset // stream.stream_bytes, MAX_PARTS - 2)  # the unit itself has the number behind the last part

    number, ordinal = -1, 0
    wanted = (lambda offset: part_of(offset) not in done) if done else None  # asked for each record
    for rows in _rows(source, stream, wanted=wanted):
        offsets = (int(location.rpartition("#")[2]) for location in rows.column("location").to_pylist())
        parts_N = np.fromiter(map(part_of, offsets), np.int64, rows.num_rows)
        cuts = [0, *(np.flatnonzero(np.diff(parts_N)) + 1).tolist(), rows.num_rows]
        for start, stop in itertools.pairwise(cuts):
            if (found := int(parts_N[start])) != number:
                assert found > number, f"{stream.path}: part {found} after {number}"
                number, ordinal = found, 0
            if number not in done:
                for batch in _in_flight(rows.slice(start, stop - start), source, stream._replace(part=number), ordinal):
                    yield number, batch
                ordinal += stop - start


def _rows(source: Source, part: Slice, **options: Any) -> Iterator[pa.RecordBatch]:
    """Yield what the reader of the format yields, unless the file is another one than planned; skip empty batches."""
    if not fits(source, part):
        raise ValueError(f"{part.path} was cut into parts, which format {source.format} cannot read")
    _check_unchanged(part)
    module, function = _READERS[source.format]
    found = getattr(importlib.import_module(module), function)(source, part, **options)
    return (rows for rows in _naming(part.path, found) if rows.num_rows)


def _naming(path: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Put the file's name to an error of the system's: reading says only what is wrong, not where."""
    try:
        yield from batches
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, path) from error


def _check_unchanged(part: Slice) -> None:
    """A byte range of another file would cut records in two, and doc_ids would name other documents."""
    if not part.etag or not (is_url(part.path) or Path(part.path).is_file()):
        return  # a shard of a hub dataset has no path, and is pinned by its commit
    etag = remote_etag(part.path) if is_url(part.path) else local_etag(part.path)
    if etag != part.etag:
        raise OSError(f"{part.path} has changed since the plan was made (was {part.etag}, is {etag})")


def _in_flight(rows: pa.RecordBatch, source: Source, part: Slice, ordinal: int) -> Iterator[pa.RecordBatch]:
    """Yield rows in batches within the limits, with ids from `ordinal` on."""
    if ordinal + rows.num_rows > MAX_ORDINALS:
        raise ValueError(f"more than {MAX_ORDINALS} records in one part of {part.path}; cut it into files")
    for batch in within_limits(rows):
        yield _with_ids(batch, source, part, ordinal)
        ordinal += batch.num_rows


def _with_ids(rows: pa.RecordBatch, source: Source, part: Slice, ordinal: int) -> pa.RecordBatch:
    num_rows = rows.num_rows
    columns = {
        "doc_id": pa.array(doc_ids(part.file, part.part, ordinal, num_rows)),
        "source": pa.repeat(pa.scalar(source.name, pa.string()), num_rows),
        "language": pa.nulls(num_rows, pa.string()),
        "language_score": pa.nulls(num_rows, pa.float32()),
    }
    arrays = [columns[name] if name in columns else rows.column(name) for name in IN_FLIGHT.names]
    return pa.RecordBatch.from_arrays(arrays, schema=IN_FLIGHT)
