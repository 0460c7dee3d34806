"""Gate: every committed file is there, is what its record says, and the shards can be read as training reads them."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.context import ENTRIES
from pipeline.escape import printable
from pipeline.gates.verdict import Example, Verdict, examples
from pipeline.output import Output
from transforms import storage
from transforms.commit import Record
from transforms.committed import read_table
from transforms.shards import SPLITS, shard_metadata

GATE = "files"
_JOBS = ("dedup-contaminated", "dedup-evaluation", "dedup-superseded")  # of dedup, whose tables are part of the output


def files(output: Output) -> Iterator[Verdict]:
    """Yield the number of files that are missing, changed or unreadable; not one is allowed."""
    checked, bad = 0, []
    stages = [stage for stage in ENTRIES if output.has(stage) and stage not in ("pretrain", "shards")]
    jobs = _JOBS if output.has("dedup") else ()
    for stage in (*stages, *jobs, *output.shards):
        try:
            records = output.committed(stage)
        except RuntimeError as error:
            bad.append((f"units/{stage}", printable(str(error)), ""))
            continue
        expected = _num_records(output, stage)
        if len(records) != expected:
            why = f"holds {len(records):,} commit records where run.json counts {expected:,}"
            bad.append((f"units/{stage}", why, ""))
        for record in records.values():
            for name, table in record.tables.items():
                checked += 1
                path = storage.join(output.out, table.path)
                found = storage.file_hash(path) if storage.size(path) >= 0 else None
                if found != (table.bytes, table.hash):
                    bad.append(
                        (table.path, "is missing" if found is None else "is not what was committed", record.unit)
                    )
                elif stage in output.shards and (why := _unreadable(output, record, name)):
                    bad.append((table.path, why, record.unit))
        if stage in output.shards:
            for path, why in _undescribed(output, stage, list(records.values())):
                bad.append((path, why, ""))
    if not checked and not bad:
        yield Verdict.not_measured(GATE, "nothing is committed")
        return
    what = f"{len(bad):,} faults in {checked:,} committed files"
    if bad:
        what += f", first {bad[0][0]}: {bad[0][1]}; delete its record in units/, if there is one, and repeat the run"
    yield Verdict.at_most(GATE, len(bad), 0, what, examples=_documents_of(output, bad[0][2]) if bad else ())


def _num_records(output: Output, stage: str) -> int:
    """Return how many commit records a stage must have; a job of dedup has none where nobody asked for it."""
    if stage not in _JOBS:
        return output.num_units(stage)
    if stage == "dedup-superseded":
        return int(output.stages["dedup"].get("earlier_units", len(output.committed(stage))))
    asked = output.config["dedup"].get("decontaminate") is not None
    return asked * (output.num_units("dedup") if stage == "dedup-contaminated" else 1)


def _undescribed(output: Output, directory: str, records: list[Record]) -> Iterator[tuple[str, str]]:
    """Yield the JSON files by which `datasets` opens the shards that are gone or name other shards, and why."""
    for split in ("", *SPLITS):
        tables = [record.tables[f"{directory}/{split}"] for record in records] if split else []
        files = [{"filename": table.path.rsplit("/", 1)[-1]} for table in tables]
        lengths = {"name": split, "shard_lengths": [table.rows for table in tables]}
        expected = {"state.json": ("_data_files", files), "dataset_info.json": ("splits", {split: lengths})}
        for name, (key, value) in expected.items() if split else [("dataset_dict.json", ("splits", list(SPLITS)))]:
            path = storage.join(directory, split, name) if split else storage.join(directory, name)
            try:
                found = storage.read_json(storage.join(output.out, path))
            except RuntimeError:
                yield path, "cannot be read"
                continue
            if found is None:
                yield path, "is missing"
            elif not isinstance(found, dict) or not _holds(found.get(key), value):
                yield path, "does not tell of the shards that are there"


def _holds(found: Any, expected: Any) -> bool:
    """Whether `found` has what is expected; dictionaries may hold more."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(_holds(found.get(name), value) for name, value in expected.items())
    return bool(found == expected)


def _unreadable(output: Output, record: Record, name: str) -> str:
    """Return why a shard with the right bytes cannot be trained on, or nothing."""
    try:
        rows = read_table(output.out, record, name)
        own = shard_metadata(rows.schema)
    except (pa.ArrowInvalid, RuntimeError, ValueError) as error:
        return f"cannot be read ({error})"
    ids = pc.list_flatten(rows.column("input_ids"))
    if len(ids) and pc.max(ids).as_py() >= own.vocab_size:
        return f"holds an id that is not below the vocabulary's {own.vocab_size}"
    tokens_R = pc.list_value_length(rows.column("input_ids")).to_numpy()
    if len(tokens_R) and tokens_R.max() > own.seq_length:
        return f"has a row of {tokens_R.max()} tokens, more than {own.seq_length}"
    lengths = rows.column("document_lengths")
    if pc.sum(pc.list_flatten(lengths)).as_py() not in (len(ids), None if not len(ids) else -1):
        return "has document lengths that do not add up to its tokens"
    return ""


def _documents_of(output: Output, unit: str) -> tuple[Example, ...]:
    """Return documents of the unit whose file is damaged; a shard's are those of the run's first unit."""
    try:
        names = [unit] if unit in output.records("clean") else list(output.records("clean"))
        batch = next(output.documents(names[0], ("doc_id", "url")))
    except (RuntimeError, StopIteration, IndexError):
        return ()
    return examples(batch.slice(0, 3).to_pylist())
