"""Committing a work unit: tables under private names first, the unit record last. The record is the commit.

An older record of the unit is removed before the first table is published, so no record ever names files of another
key. A crash before the new record leaves private files (deleted by the next run) or files that no record names
(overwritten). Retries are harmless: the same unit writes the same values under the same names.
"""

import dataclasses
import functools
import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import xxhash

from transforms import storage
from transforms.column_hash import ColumnHash
from transforms.schema import MAX_PARTS
from transforms.unit import WorkUnit, part_name

RECORD_VERSION = 1
_KEPT_COPIES = 40  # of remote files, on disk: a little more than the units that a shard is made of

# Contract (design section 2): the file format's footer refuses a torn file; `datasets` maps only streams.
_FILE_ZSTD = frozenset({"documents", "rejected", "statistics"})
_FILE_PLAIN = frozenset({"signatures", "deletions"})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TableFile:
    """One committed table: where it lies under OUT and what a reader must find there."""

    path: str
    rows: int
    bytes: int
    hash: str  # xxh3-128 of the file
    columns: dict[str, str]  # logical hashes


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """The commit record of one work unit, stored as `units/<stage>/<unit>.json`."""

    stage: str
    unit: str
    number: int
    key: str
    counts: dict[str, Any]
    tables: dict[str, TableFile]
    seconds: float
    peak_rss_bytes: int

    def rows(self, table: str) -> int:
        """Rows of `table`, 0 if the unit wrote none."""
        return self.tables[table].rows if table in self.tables else 0


def table_path(table: str, unit: str, stage: str) -> str:
    """Return where `table` of `unit` lies under OUT. Several stages reject, so their names carry the stage."""
    return f"rejected/{unit}.{stage}.arrow" if table == "rejected" else f"{table}/{unit}.arrow"


def check_accounting(counts: Mapping[str, Any], where: str) -> None:
    """Raise RuntimeError unless input = kept + rejected, where those are counted."""
    if "input" in counts and counts["input"] != counts["kept"] + sum(counts["rejected"].values()):
        raise RuntimeError(f"{where}: input {counts['input']} is not kept {counts['kept']} + {counts['rejected']}")


class UnitWriter:
    """Writes the tables of one unit and commits them.

    Memory is one batch: every batch goes straight to the file.
    """

    def __init__(self, out: str, stage: str, unit: WorkUnit) -> None:
        self._out, self._stage, self._unit = out, stage, unit
        self._files: dict[str, _OpenTable] = {}
        self._plain: dict[str, Path] = {}
        self._started = time.monotonic()

    def open(self, table: str, schema: pa.Schema) -> None:
        """Make sure that `table` exists, even if no row is ever written to it."""
        if table not in self._files:
            path = table_path(table, self._unit.name, self._stage)
            self._files[table] = _OpenTable(storage.join(self._out, path), path, table, schema)

    def write(self, table: str, batch: pa.RecordBatch | pa.Table) -> None:
        """Append the rows of `batch`."""
        self.open(table, batch.schema)
        batches = batch.to_batches() if isinstance(batch, pa.Table) else [batch]
        for part in batches:
            if part.num_rows:
                self._files[table].append(part)

    def write_file(self, path: str, content: bytes) -> None:
        """Write a file that is no table, at `path` under OUT; it is published and recorded like a table."""
        private = storage.private_path(storage.join(self._out, path))
        private.write_bytes(content)
        self._plain[path] = private

    def commit(self, counts: Mapping[str, Any]) -> Record:
        """Publish all tables, then the record; return it.

        Raises:
            RuntimeError: `counts` has input, kept and rejected, and they do not add up.
        """
        check_accounting(counts, f"{self._stage} {self._unit.name}")
        before = _existing_record(self._out, self._stage, self._unit.name)
        storage.remove(record_path(self._out, self._stage, self._unit.name))  # it must never name files of another key
        tables = {name: file.publish() for name, file in sorted(self._files.items())}
        for path, private in sorted(self._plain.items()):
            size, digest = storage.file_hash(str(private))
            storage.publish(private, storage.join(self._out, path))
            tables[path] = TableFile(path=path, rows=0, bytes=size, hash=digest, columns={})
        record = Record(
            stage=self._stage,
            unit=self._unit.name,
            number=self._unit.number,
            key=self._unit.key,
            counts=dict(counts),
            tables=tables,
            seconds=round(time.monotonic() - self._started, 3),
            peak_rss_bytes=peak_rss_bytes(),
        )
        payload = {"version": RECORD_VERSION, **dataclasses.asdict(record)}
        storage.write_json(record_path(self._out, self._stage, self._unit.name), payload)
        for name, table in before.tables.items() if before else ():
            if name not in tables:
                storage.remove(storage.join(self._out, table.path))
        return record

    def abandon(self) -> None:
        """Close and delete the private files."""
        for file in self._files.values():
            file.abandon()
        for private in self._plain.values():
            private.unlink(missing_ok=True)
        self._files.clear()
        self._plain.clear()


class _OpenTable:
    """One table being written under a private name."""

    def __init__(self, final: str, path: str, table: str, schema: pa.Schema) -> None:
        self._final, self._path = final, path
        self._private: Path = storage.private_path(final)
        self._sink = pa.OSFile(str(self._private), "wb")
        codec: Literal["zstd"] | None = "zstd" if table in _FILE_ZSTD else None
        options = pa.ipc.IpcWriteOptions(compression=codec, use_threads=False)
        make = pa.ipc.new_file if table in _FILE_ZSTD | _FILE_PLAIN else pa.ipc.new_stream
        self._writer = make(self._sink, schema, options=options)
        self._schema = schema
        self._hashes = [ColumnHash(name) for name in schema.names]
        self._rows = 0

    def append(self, batch: pa.RecordBatch) -> None:
        if not batch.schema.equals(self._schema):
            raise TypeError(f"{self._path}: schema changed from {self._schema} to {batch.schema}")
        self._writer.write_batch(batch)
        self._rows += batch.num_rows
        for column, array in zip(self._hashes, batch.columns, strict=True):
            column.update(array)

    def publish(self) -> TableFile:
        self._writer.close()
        self._sink.close()
        size, digest = storage.file_hash(str(self._private))
        storage.publish(self._private, self._final)
        columns = {column.name: column.hexdigest() for column in self._hashes}
        return TableFile(path=self._path, rows=self._rows, bytes=size, hash=digest, columns=columns)

    def abandon(self) -> None:
        self._sink.close()
        self._private.unlink(missing_ok=True)


def peak_rss_bytes() -> int:
    """Peak resident memory of this process so far (ru_maxrss counts KiB on Linux, bytes on macOS)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def record_path(out: str, stage: str, unit: str) -> str:
    """Return the path of the commit record."""
    return storage.join(out, "units", stage, f"{unit}.json")


def load_records(out: str, stage: str) -> dict[str, Record]:
    """Return the committed records of `stage` by unit name, in order of unit number."""
    names = [name for name in storage.list_names(storage.join(out, "units", stage)) if name.endswith(".json")]
    records = [load_record(out, stage, name.removesuffix(".json")) for name in names]
    return {record.unit: record for record in sorted(records, key=lambda record: record.number)}


def _existing_record(out: str, stage: str, unit: str) -> Record | None:
    return load_record(out, stage, unit) if storage.size(record_path(out, stage, unit)) >= 0 else None


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


def load_record(out: str, stage: str, unit: str) -> Record:
    """Return the record of one committed unit.

    Raises:
        RuntimeError: the unit is not committed, or by another version.
    """
    path = record_path(out, stage, unit)
    payload = storage.read_json(path)
    if payload is None:
        raise RuntimeError(f"{stage} {unit} is not committed in {out}")
    if payload.pop("version") != RECORD_VERSION:
        raise RuntimeError(f"{path} was written by another version of gristmill; use a new output directory")
    tables = {name: TableFile(**table) for name, table in payload.pop("tables").items()}
    return Record(**payload, tables=tables)


def remove_unit(out: str, record: Record) -> None:
    """Forget a committed unit: the record first, so that no reader trusts what is left."""
    storage.remove(record_path(out, record.stage, record.unit))
    for table in record.tables.values():
        storage.remove(storage.join(out, table.path))


def committed_parts(out: str, stage: str, unit: WorkUnit) -> frozenset[int]:
    """Return the numbers of the parts of a stream that are committed, of those before the first without a record."""
    done = set()
    for number in range(MAX_PARTS):
        record = _existing_record(out, stage, part_name(unit.name, number))
        if record is None:
            break
        if record.key == unit.key and is_intact(out, record):
            done.add(number)
    return frozenset(done)


def is_intact(out: str, record: Record) -> bool:
    """Whether every committed file is still there with its committed size: a cheap look before a unit is left out."""
    return all(storage.size(storage.join(out, table.path)) == table.bytes for table in record.tables.values())


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
        reader = pa.ipc.open_file(source) if table in _FILE_ZSTD | _FILE_PLAIN else pa.ipc.open_stream(source)
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
    reader = pa.ipc.open_file(source) if table in _FILE_ZSTD | _FILE_PLAIN else pa.ipc.open_stream(source)
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
    is_file = table in _FILE_ZSTD | _FILE_PLAIN
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
