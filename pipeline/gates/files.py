"""Gate: every committed file is there, is what its record says, and the shards can be read as training reads them."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.context import ENTRIES
from pipeline.gates.verdict import Example, Verdict, examples
from pipeline.output import Output
from transforms import storage
from transforms.commit import Record, read_table
from transforms.shards import shard_metadata

GATE = "files"


def files(output: Output) -> Iterator[Verdict]:
    """Yield the number of files that are missing, changed or unreadable; not one is allowed."""
    checked, bad = 0, []
    stages = [stage for stage in ENTRIES if output.has(stage) and stage not in ("pretrain", "shards")]
    for stage in (*stages, *output.shards):
        for record in output.records(stage).values():
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
    if not checked:
        yield Verdict.not_measured(GATE, "nothing is committed")
        return
    what = f"{len(bad):,} of {checked:,} committed files are damaged"
    if bad:
        what += f", first {bad[0][0]}: {bad[0][1]}; delete its record in units/ and repeat the run"
    yield Verdict.at_most(GATE, len(bad), 0, what, examples=_documents_of(output, bad[0][2]) if bad else ())


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
    names = [unit] if unit in output.records("clean") else list(output.records("clean"))
    try:
        batch = next(output.documents(names[0], ("doc_id", "url")))
    except (RuntimeError, StopIteration, IndexError):
        return ()
    return examples(batch.slice(0, 3).to_pylist())
