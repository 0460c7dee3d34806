"""`gristmill export`: the surviving documents with their metadata, as Parquet or JSON Lines, one file a work unit."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.context import survivor_keys
from pipeline.errors import UserError
from pipeline.job import Engine, Job, Say, Units, content_key, each_unit
from pipeline.run_state import lock, summarise
from transforms import progress, storage
from transforms.commit import load_records
from transforms.documents import surviving_batches
from transforms.schema import DOCUMENT
from transforms.unit import WorkUnit

FORMATS = ("parquet", "jsonl")
EXPORT_VERSION = 1  # raised when the files change for the same documents
_RECORDS = ".export"  # hidden, so that who loads the directory sees documents alone


class Exported(NamedTuple):
    """What lies in the directory after an export."""

    files: int
    documents: int
    written: int  # units that were not there yet


@dataclass(frozen=True, kw_only=True)
class _ExportContext:
    out: str
    to: str
    file_format: str


def export(out: str, to: str, *, file_format: str, engine: Engine, say: Say) -> Exported:
    """Write the documents that clean and dedup left in the run `out` to the directory `to`.

    A unit's file appears at once and whole; files that are there already are left alone, those of documents that are
    gone are removed, and nothing else in `to` is touched. Memory is that of a batch of documents.

    Raises:
        UserError: `out` is no run, or one that has not come to the end of dedup.
    """
    _check_complete(out)
    if storage.is_local(to) and storage.is_local(out) and Path(to).resolve().is_relative_to(Path(out).resolve()):
        raise UserError(f"--to {to} is the run itself or inside it; name another directory")
    held = lock(to)
    try:
        storage.remove_private(to)
        numbers = {name: record.number for name, record in load_records(out, "clean").items()}
        units = [
            WorkUnit(name, numbers[name], content_key(EXPORT_VERSION, file_format, key))
            for name, key in survivor_keys(out).items()
        ]
        _remove_others(to, {unit.name for unit in units})
        pending = [unit for unit in units if not _is_written(to, unit)]
        if pending:
            context = _ExportContext(out=out, to=to, file_format=file_format)
            engine.execute(Job("export", _graph, context), pending)
        records = [storage.read_json(_record_path(to, unit.name)) for unit in units]
    finally:
        if held is not None:
            held.close()
    done = Exported(
        files=sum(record["file"] is not None for record in records),
        documents=sum(record["rows"] for record in records),
        written=len(pending),
    )
    if not done.documents:
        say(f"export: no document survived in {out}; its rejected/ says why")
    return done


def _check_complete(out: str) -> None:
    """Refuse a run whose documents and deletions are not those that its run.json tells of."""
    try:
        run = storage.read_json(storage.join(out, "run.json"))
    except NotADirectoryError:
        run = None
    if not isinstance(run, dict) or "stages" not in run:
        raise UserError(f"{out} holds no run.json; give the output directory of a run")
    for stage in ("clean", "dedup"):
        told = run["stages"].get(stage, {}).get("column_hashes")
        if told is None or told != summarise(load_records(out, stage).values())["column_hashes"]:
            raise UserError(f"{stage} is not complete in {out}; run `gristmill {stage}` first")


def _record_path(to: str, unit: str) -> str:
    return storage.join(to, _RECORDS, f"{unit}.json")


def _is_written(to: str, unit: WorkUnit) -> bool:
    """Whether the file of `unit` is there as it was committed under this key."""
    record = storage.read_json(_record_path(to, unit.name))
    if record is None or record["key"] != unit.key:
        return False
    return record["file"] is None or storage.size(storage.join(to, record["file"])) == record["bytes"]


def _remove_others(to: str, planned: set[str]) -> None:
    for name in storage.list_names(storage.join(to, _RECORDS)):
        if name.removesuffix(".json") not in planned:
            _forget(to, name.removesuffix(".json"))


def _forget(to: str, unit: str) -> None:
    """Remove the record of a unit, and then its file in either format: no record ever names a file of another key."""
    storage.remove(_record_path(to, unit))
    for file_format in FORMATS:
        storage.remove(storage.join(to, f"{unit}.{file_format}"))


def _graph(units: Units, context: _ExportContext) -> None:
    each_unit(units, function=_export_unit, context=context)


def _export_unit(unit: WorkUnit, context: _ExportContext) -> None:
    file = f"{unit.name}.{context.file_format}"
    final = storage.join(context.to, file)
    private = storage.private_path(final)
    write = _write_parquet if context.file_format == "parquet" else _write_jsonl
    try:
        rows = write(private, _counted(surviving_batches(context.out, unit.name)))
        _forget(context.to, unit.name)
        size = private.stat().st_size
        if rows:  # others than us trip over a file without documents
            storage.publish(private, final)
    finally:
        private.unlink(missing_ok=True)
    record = {"key": unit.key, "file": file if rows else None, "rows": rows, "bytes": size}
    storage.write_json(_record_path(context.to, unit.name), record)


def _counted(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch
        progress.advance(
            documents=batch.num_rows, text_bytes=pc.sum(pc.binary_length(batch.column("text"))).as_py() or 0
        )


def _write_parquet(path: Path, batches: Iterator[pa.RecordBatch]) -> int:
    """Write a row group a batch; return the number of rows."""
    rows = 0
    with pq.ParquetWriter(path, DOCUMENT, compression="zstd", use_dictionary=["source", "language"]) as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _write_jsonl(path: Path, batches: Iterator[pa.RecordBatch]) -> int:
    """Write an object a line, `metadata` as the object that it is; return the number of rows."""
    rows = 0
    with path.open("wb") as handle:
        for batch in batches:
            for row in batch.to_pylist():
                if row["metadata"] is not None:
                    # White space between the tokens of JSON may hold line ends, its strings cannot.
                    row["metadata"] = orjson.Fragment(row["metadata"].replace("\n", " ").replace("\r", " "))
                handle.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
            rows += batch.num_rows
    return rows
