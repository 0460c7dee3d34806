"""Committing a work unit: tables under private names first, the unit record last. The record is the commit.

An older record of the unit is removed before the first table is published, so no record ever names files of another
key. A crash before the new record leaves private files (deleted by the next run) or files that no record names
(overwritten). Retries are harmless: the same unit writes the same values under the same names.
"""

import dataclasses
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from transforms import storage
from transforms.column_hash import ColumnHash
from transforms.schema import MAX_PARTS
from transforms.unit import WorkUnit, part_name

RECORD_VERSION = 1

# Contract (design section 2): the file format's footer refuses a torn file; `datasets` maps only streams.
_FILE_ZSTD = frozenset({"documents", "rejected", "statistics"})
FILE_FORMAT = _FILE_ZSTD | {"signatures", "deletions"}


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
        make = pa.ipc.new_file if table in FILE_FORMAT else pa.ipc.new_stream
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
