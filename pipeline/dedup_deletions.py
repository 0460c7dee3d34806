"""The last jobs of the dedup stage: deletions/, clusters/, cuts/ and rejected/, and superseded/ of an earlier run."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dedup_context import DedupContext, Signed
from pipeline.dedup_spans import cuts_of_unit
from pipeline.dedup_takedown import taken_down_deletions
from pipeline.dedup_units import STAGE, SURVIVOR_TABLE, evidence, signatures_of
from pipeline.job import Units, each_unit
from transforms.commit import Record, UnitWriter, load_record
from transforms.committed import map_table, read_batches, read_table
from transforms.decontamination import worst
from transforms.dedup import deletions
from transforms.schema import DELETIONS, REJECTED
from transforms.spans import CUTS
from transforms.unit import WorkUnit

CLUSTERS = pa.schema(
    [
        pa.field("doc_id", pa.int64(), nullable=False),  # a survivor
        pa.field("size", pa.uint32(), nullable=False),  # documents of its cluster, itself included: two or more
    ]
)
SUPERSEDED = pa.schema(
    [
        pa.field("run", pa.string(), nullable=False),  # the earlier run as `dedup.against` names it
        pa.field("doc_id", pa.int64(), nullable=False),  # its document, which survived there
        pa.field("reason", pa.string(), nullable=False),
        pa.field("twin_id", pa.int64(), nullable=False),  # of this run
        pa.field("similarity", pa.float32()),
    ]
)


def _write_deletions(unit: WorkUnit, context: DedupContext) -> None:
    signed = context.named(unit.name)
    record = signed.record()
    deleted, survivors = _deleted(context, signed)
    counts: dict[str, Any] = {}
    if context.drop_contaminated:
        deleted = _joined(deleted, _contaminated(context, signed))
    if context.takedown:
        deleted = _joined(deleted, taken_down_deletions(context, signed))
    writer = UnitWriter(context.out, STAGE, unit)
    if context.lines or context.substrings:
        emptied = _write_cuts(writer, context, signed, deleted, counts)
        deleted = _joined(deleted, emptied)
    writer.open("deletions", DELETIONS)
    writer.open("clusters", CLUSTERS)
    writer.open("rejected", REJECTED)
    writer.write("deletions", deleted)
    size_n = survivors.column("size").to_numpy()
    own_D = np.flatnonzero(size_n > 1)
    doc_id_D = signatures_of(context).doc_id((own_D + signed.first_dense).astype(np.uint32))
    alive_D = ~np.isin(doc_id_D, deleted.column("doc_id").to_numpy())  # survivors may be contaminated
    writer.write("clusters", pa.table([doc_id_D[alive_D], size_n[own_D[alive_D]]], schema=CLUSTERS))
    for batch in _rejected(context, record, deleted):
        writer.write("rejected", batch)
    reasons = {entry["values"]: entry["counts"] for entry in pc.value_counts(deleted.column("reason")).to_pylist()}
    kept = signed.num_documents - deleted.num_rows
    counts |= {"input": signed.num_documents, "kept": kept, "rejected": dict(sorted(reasons.items()))}
    writer.commit(counts)


def _joined(deleted: pa.Table, more: pa.Table) -> pa.Table:
    """Return DELETIONS of both, by doc_id; a document that both have keeps its first reason."""
    return pa.concat_tables([deleted, _others(more, deleted)]).sort_by("doc_id").combine_chunks()


def _others(rows: pa.Table, deleted: pa.Table) -> pa.Table:
    """Return the rows of documents that are not deleted."""
    return rows.filter(pc.invert(pc.is_in(rows.column("doc_id"), deleted.column("doc_id"))))


def _write_cuts(
    writer: UnitWriter, context: DedupContext, signed: Signed, deleted: pa.Table, counts: dict[str, Any]
) -> pa.Table:
    """Write cuts/, count what is cut, and return DELETIONS of the documents of which nothing is left."""
    writer.open("cuts", CUTS)
    emptied = [DELETIONS.empty_table()]
    counts |= {"cuts": {"lines": 0, "substrings": 0}, "cut_bytes": 0}
    for cuts, gone, num_bytes in cuts_of_unit(context, signed, deleted.column("doc_id").to_numpy()):
        writer.write("cuts", cuts)
        emptied.append(gone)
        counts["cut_bytes"] += num_bytes
        for entry in pc.value_counts(cuts.column("reason")).to_pylist():
            counts["cuts"][entry["values"]] += entry["counts"]
    return pa.concat_tables(emptied)


def _deleted(context: DedupContext, signed: Signed) -> tuple[pa.Table, pa.Table]:
    """Return the deletions of a unit, and its rows of the survivors."""
    place = (signed.first_dense, signed.num_documents)
    clusters = load_record(context.out, "dedup-clusters", "all")
    survivors = map_table(context.out, clusters, SURVIVOR_TABLE).slice(*place)
    origin = map_table(context.out, load_record(context.out, "dedup-origins", "all"), "work/origins").slice(*place)
    deleted = deletions(
        survivors.column("survivor").to_numpy(),
        origin.column("origin").to_numpy(),
        origin.column("replaced").to_numpy(),
        signed.first_dense,
        signatures=signatures_of(context),
        evidence=evidence(context),
        runs=context.runs(),
    )
    return deleted, survivors


def _contaminated(context: DedupContext, signed: Signed) -> pa.Table:
    """Return DELETIONS of the survivors that overlap with an evaluation set: the example is the twin."""
    examples = read_table(context.out, load_record(context.out, "dedup-ngrams", "all"), "work/examples")
    record = load_record(context.out, "dedup-contaminated", signed.label)
    found = worst(read_table(context.out, record, "contaminated"))
    example = examples.take(found.column("example"))
    reason = pa.array(["contaminated"] * found.num_rows, pa.string())
    run = pc.binary_join_element_wise("evaluation", example.column("set"), ":")
    columns = [found.column("doc_id"), reason, example.column("example"), run, found.column("share")]
    return pa.table(columns, schema=DELETIONS)


def _rejected(context: DedupContext, record: Record, deleted: pa.Table) -> Iterator[pa.RecordBatch]:
    """Yield the ledger rows of the deleted documents; their text stays in documents/."""
    deleted_id_D = deleted.column("doc_id").to_numpy()
    position = 0
    for batch in read_batches(context.out, record, "documents", columns=("doc_id", "url", "language", "location")):
        dead = batch.filter(pa.array(np.isin(batch.column("doc_id").to_numpy(), deleted_id_D, assume_unique=True)))
        rows = deleted.slice(position, dead.num_rows).combine_chunks()
        position += dead.num_rows
        if not dead.num_rows:
            continue
        (row,) = rows.to_batches()
        thresholds = pa.array([None, 1.0, context.threshold], pa.float64())
        which = pc.index_in(row.column("reason"), pa.array(["url", "exact", "minhash"]))
        values = {
            "doc_id": dead.column("doc_id"),
            "stage": pa.array([STAGE] * dead.num_rows),
            "rule": row.column("reason"),
            "value": row.column("similarity").cast(pa.float64()),
            "threshold": thresholds.take(which),
            "twin_id": row.column("twin_id"),
            "twin_run": row.column("twin_run"),
            **{name: dead.column(name) for name in ("url", "language", "location")},
            "text": pa.nulls(dead.num_rows, pa.string()),
        }
        yield pa.RecordBatch.from_arrays([values[name] for name in REJECTED.names], schema=REJECTED)


def graph_deletions(units: Units, context: DedupContext) -> None:
    each_unit(units, function=_write_deletions, context=context)


def deleted_there(signed: Signed) -> str:
    """Return the hash of what the earlier run deleted from its unit: that is not superseded once more."""
    return load_record(signed.out, STAGE, signed.unit).tables["deletions"].hash


def _write_superseded(unit: WorkUnit, context: DedupContext) -> None:
    signed = context.named(unit.name)
    deleted, _ = _deleted(context, signed)
    gone = read_table(signed.out, load_record(signed.out, STAGE, signed.unit), "deletions")
    now_N = pc.is_null(deleted.column("twin_run")).to_numpy(zero_copy_only=False)
    now_N &= ~np.isin(deleted.column("doc_id").to_numpy(), gone.column("doc_id").to_numpy(), assume_unique=True)
    writer = UnitWriter(context.out, "dedup-superseded", unit)
    writer.open("superseded", SUPERSEDED)
    found = deleted.filter(pa.array(now_N)).combine_chunks()
    columns = [pa.array([signed.run] * found.num_rows, pa.string()), *(found.column(i) for i in (0, 1, 2, 4))]
    writer.write("superseded", pa.table(columns, schema=SUPERSEDED))
    writer.commit({"superseded": found.num_rows})


def graph_superseded(units: Units, context: DedupContext) -> None:
    each_unit(units, function=_write_superseded, context=context)
