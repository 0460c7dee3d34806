"""Committed tables, read: each is compared with its record before anything of it is trusted."""

import functools
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import xxhash

from transforms import storage
from transforms.commit import FILE_FORMAT, Record, record_path

_KEPT_COPIES = 40  # of remote files, on disk: a little more than the units that a shard is made of


def read_batches(
    out: str, record: Record, table: str, *, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a committed table after comparing bytes, hash and, at the end, rows with the record.

    Only the given columns are decompressed.

    Raises:
        RuntimeError: the file is missing, is not what was committed or lacks a column; the message names the file.
    """
    with _open_committed(out, record, table) as source:
        rows = 0
        for batch in _batches(source, record.tables[table].path, table, columns):
            rows += batch.num_rows
            yield batch
        _check_rows(out, record, table, rows)


def read_table(out: str, record: Record, table: str) -> pa.Table:
    """Return a whole committed table, checked as by `read_batches`; for tables that are small by design."""
    with _open_committed(out, record, table) as source:
        reader = pa.ipc.open_file(source) if table in FILE_FORMAT else pa.ipc.open_stream(source)
        rows = reader.read_all()
    _check_rows(out, record, table, rows.num_rows)
    return rows


def map_table(out: str, record: Record, table: str) -> pa.Table:
    """Return a committed table for random access: a memory map of a local file, checked by size and rows alone.

    The hash is left to those who read it whole: a partition needs a thousandth of each run and must not read all. A
    remote file is copied once to the disk of this machine, compared with its hash, and mapped there.
    """
    expected = record.tables[table]
    path = storage.join(out, expected.path)
    if storage.is_local(path):
        if storage.size(path) != expected.bytes:
            raise RuntimeError(f"{path} does not have its committed {expected.bytes} bytes; {_hint(out, record)}")
        source = pa.memory_map(str(storage.local_path(path)))
    else:
        try:
            source = pa.BufferReader(_copied(path, expected.bytes, expected.hash))
        except (FileNotFoundError, ValueError):
            raise RuntimeError(f"{path} is not what was committed; {_hint(out, record)}") from None
    reader = pa.ipc.open_file(source) if table in FILE_FORMAT else pa.ipc.open_stream(source)
    rows = reader.read_all()
    _check_rows(out, record, table, rows.num_rows)
    return rows


@functools.lru_cache(maxsize=_KEPT_COPIES)
def _copied(path: str, size: int, digest: str) -> pa.Buffer:
    """Return the content of a remote file, mapped from a local file without a name: the disk is freed with the buffer.

    Shards of a group read the same 32 units one after the other, and would fetch each of them up to 64 times.

    Raises:
        ValueError: it has another size or hash.
    """
    found = xxhash.xxh3_128()
    with tempfile.NamedTemporaryFile() as local, storage.open_binary(path) as remote:
        for piece in storage.chunks(remote):
            local.write(piece)
            found.update(piece)
        if (local.tell(), found.hexdigest()) != (size, digest):
            raise ValueError(path)
        local.flush()
        return pa.memory_map(local.name).read_buffer()


def read_file(out: str, record: Record, path: str) -> bytes:
    """Return the content of a committed file that is no table, compared with the record.

    Raises:
        RuntimeError: it is missing or changed.
    """
    expected = record.tables[path]
    final = storage.join(out, path)
    if storage.size(final) < 0 or storage.file_hash(final) != (expected.bytes, expected.hash):
        raise RuntimeError(f"{final} is not what was committed; {_hint(out, record)}")
    with storage.open_binary(final) as handle:
        return handle.read()


def check_table(out: str, record: Record, table: str) -> None:
    """Compare the bytes and the hash of a committed table with its record.

    Raises:
        RuntimeError: the file is missing or is not what was committed; the message names the file.
    """
    expected = record.tables[table]
    path = storage.join(out, expected.path)
    try:
        found = storage.file_hash(path)
    except FileNotFoundError:
        raise RuntimeError(f"{path} is missing although it was committed; {_hint(out, record)}") from None
    if found != (expected.bytes, expected.hash):
        raise RuntimeError(f"{path} is not what was committed (bytes, hash: {found}); {_hint(out, record)}")


def _open_committed(out: str, record: Record, table: str) -> Any:
    check_table(out, record, table)
    path = storage.join(out, record.tables[table].path)
    # OSFile, not mmap: 151 against 664 MB resident per million signatures.
    if storage.is_local(path):
        return pa.OSFile(str(storage.local_path(path)), "rb")
    return pa.PythonFile(storage.open_binary(path), "r")


def _batches(source: Any, path: str, table: str, columns: Sequence[str] | None) -> Iterable[pa.RecordBatch]:
    is_file = table in FILE_FORMAT
    reader = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
    if columns is not None:
        for name in columns:
            if name not in reader.schema.names:
                raise RuntimeError(f"{path} has no column {name}: an earlier version made it; repeat the run")
        options = pa.ipc.IpcReadOptions(included_fields=[reader.schema.get_field_index(name) for name in columns])
        source.seek(0)
        reader = pa.ipc.open_file(source, options=options) if is_file else pa.ipc.open_stream(source, options=options)
    return (reader.get_batch(index) for index in range(reader.num_record_batches)) if is_file else reader


def _check_rows(out: str, record: Record, table: str, rows: int) -> None:
    expected = record.tables[table].rows
    if rows != expected:  # a stream cut at a message border reads as complete
        raise RuntimeError(
            f"{record.tables[table].path} has {rows} rows, committed were {expected}; {_hint(out, record)}"
        )


def _hint(out: str, record: Record) -> str:
    return f"delete {record_path(out, record.stage, record.unit)} and repeat the run"
