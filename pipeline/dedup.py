"""Stage two: from signatures/ to deletions/ in four jobs over committed files. No text is read, none is shuffled.

    dedup-runs      one unit a clean unit    signatures/ -> work/exact, work/bands: hashes ordered by prefix
    dedup-links     one unit a partition     slice p of every run -> work/edges: verified pairs
    dedup-clusters  one unit                 all edges -> work/survivors: the survivor of every document
    dedup           one unit a clean unit    -> deletions/, rejected/

Here a document is its dense index: its rank by source priority (highest first), then doc_id. The survivor of a cluster
is the smallest dense index, whatever the number of workers and partitions.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.clean import minhash_parameters
from pipeline.context import RunContext, upstream_key
from pipeline.job import Job, content_key
from pipeline.run_state import summarise
from transforms.commit import Record, UnitWriter, load_record, load_records, map_table, read_batches, read_table
from transforms.dedup import (
    EDGES,
    PREFIX_BITS,
    SignatureRows,
    band_run,
    cluster_counts,
    components,
    deletions,
    exact_run,
    link_exact,
    link_minhash,
    prefix_bounds,
    split_clusters,
)
from transforms.each_unit import EachUnit
from transforms.fingerprint import MinHashParameters, check_metadata
from transforms.schema import DELETIONS, REJECTED
from transforms.unit import WorkUnit

STAGE = "dedup"
DEDUP_VERSION = 1  # raised when the deletions change for the same signatures and configuration

_PARTITION_ENTRIES = 1 << 22  # 36 bytes an entry while it is linked: 150 MB a worker
_SURVIVORS = pa.schema([pa.field("survivor", pa.uint32(), nullable=False)])
_BATCH_ROWS = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class DedupContext:
    """What the functions of all four jobs need; pickled to the workers."""

    out: str
    exact: bool
    parameters: MinHashParameters | None
    threshold: float
    verify: bool
    first_dense: tuple[tuple[str, int], ...]  # (unit, dense index of its first document)
    num_documents: int
    signatures_key: str  # of the contents of all signatures, so that a process may keep them mapped between units
    num_partitions: int = 1


def run(context: RunContext) -> None:
    """Bring deletions/ to the state that the configuration asks for."""
    signatures = load_records(context.out, "clean")
    dedup = _context(context, signatures)
    settings = content_key(DEDUP_VERSION, context.config.dedup.model_dump())
    contents = {name: record.tables["signatures"].hash for name, record in signatures.items()}

    units = [
        WorkUnit(name, record.number, content_key(settings, contents[name])) for name, record in signatures.items()
    ]
    runs = context.run_job(STAGE, Job("dedup-runs", _graph_runs, dedup), units)

    num_entries = max(sum(record.counts[kind] for record in runs.values()) for kind in ("exact", "bands"))
    bits = min(max(num_entries - 1, 0).bit_length() - (_PARTITION_ENTRIES.bit_length() - 1), PREFIX_BITS)
    dedup = dataclasses.replace(dedup, num_partitions=1 << max(bits, 0))
    order = content_key(dedup.first_dense, dedup.signatures_key)
    units = [
        WorkUnit(f"part-{part:05d}", part, content_key(settings, order, dedup.num_partitions, part))
        for part in range(dedup.num_partitions)
    ]
    links = context.run_job(STAGE, Job("dedup-links", _graph_links, dedup), units)

    key = content_key(settings, order, upstream_key(links, "work/edges"))
    clusters = context.run_job(STAGE, Job("dedup-clusters", _graph_clusters, dedup), [WorkUnit("all", 0, key)])

    survivors, first_dense = clusters["all"].tables["work/survivors"].hash, dict(dedup.first_dense)
    units = [
        WorkUnit(name, record.number, content_key(settings, contents[name], survivors, first_dense[name]))
        for name, record in signatures.items()
    ]
    records = context.run_job(STAGE, Job(STAGE, _graph_deletions, dedup), units)
    entry = summarise(records.values())
    entry["counts"] |= clusters["all"].counts | summarise(links.values())["counts"]
    entry["seconds"] = round(sum(summarise(job.values())["seconds"] for job in (runs, links, clusters, records)), 3)
    context.state.set_stage(STAGE, entry)


def _context(context: RunContext, signatures: dict[str, Record]) -> DedupContext:
    """Number the documents densely, units of higher priority first."""
    config = context.config
    priority = {source.name: source.priority for source in config.sources}
    source_of = {unit.name: unit.slices[0].source for unit in context.state.plan.units}
    ordered = sorted(signatures.values(), key=lambda record: (-priority[source_of[record.unit]], record.number))
    first_dense, position = [], 0
    for record in ordered:
        first_dense.append((record.unit, position))
        position += record.rows("signatures")
    minhash = config.dedup.minhash
    return DedupContext(
        out=context.out,
        exact=config.dedup.exact,
        parameters=minhash_parameters(config),
        threshold=minhash.threshold if minhash else 1.0,
        verify=minhash is not None and minhash.verify == "signature",
        first_dense=tuple(first_dense),
        num_documents=position,
        signatures_key=upstream_key(signatures, "signatures"),
    )


def _write_runs(unit: WorkUnit, context: DedupContext) -> None:
    signatures = read_table(context.out, load_record(context.out, "clean", unit.name), "signatures")
    check_metadata(signatures.schema, context.parameters)
    counts = {"exact": 0, "bands": 0}
    writer = UnitWriter(context.out, "dedup-runs", unit)
    if context.exact:
        run = exact_run(signatures)
        counts["exact"] = run.num_rows
        writer.write("work/exact", run)
    if context.parameters is not None:
        run = band_run(signatures, context.parameters)
        counts["bands"] = run.num_rows
        writer.write("work/bands", run)
    writer.commit(counts)


def _graph_runs(units: beam.PCollection, context: DedupContext) -> None:
    units | EachUnit(function=_write_runs, context=context)


def _write_links(unit: WorkUnit, context: DedupContext) -> None:
    edges, counts = [], {"exact_edges": 0, "minhash_edges": 0}
    if context.exact:
        key_E, check_E, dense_E = _partition(context, unit.number, "work/exact", ("key", "check"))
        edges.append(link_exact(key_E, check_E, dense_E))
        counts["exact_edges"] = edges[-1].num_rows
    if context.parameters is not None:
        key_E, dense_E = _partition(context, unit.number, "work/bands", ("key",))
        signatures = _signatures(context) if context.verify else None
        edges.append(link_minhash(key_E, dense_E, threshold=context.threshold, signatures=signatures))
        counts["minhash_edges"] = edges[-1].num_rows
    writer = UnitWriter(context.out, "dedup-links", unit)
    writer.open("work/edges", EDGES)
    for table in edges:
        writer.write("work/edges", table)
    writer.commit(counts)


def _partition(context: DedupContext, part: int, table: str, names: tuple[str, ...]) -> list[NDArray[Any]]:
    """Return the columns `names` and the dense indices of partition `part` of all runs, one after the other."""
    columns: list[list[NDArray[Any]]] = [[] for _ in (*names, "dense")]
    records = load_records(context.out, "dedup-runs")
    for name, first in context.first_dense:
        run = map_table(context.out, records[name], table)
        if run.num_rows == 0:
            continue
        (batch,) = run.combine_chunks().to_batches()
        bounds = prefix_bounds(batch.column("key").to_numpy(), context.num_partitions)
        start, stop = bounds[part], bounds[part + 1]
        for values, column in zip(columns, names, strict=False):
            values.append(batch.column(column).to_numpy()[start:stop])
        columns[-1].append(batch.column("row").to_numpy()[start:stop] + np.uint32(first))
    kinds = [np.uint64] * len(names) + [np.uint32]
    return [np.concatenate([np.empty(0, kind), *values]) for kind, values in zip(kinds, columns, strict=True)]


@functools.lru_cache(maxsize=1)
def _signatures(context: DedupContext) -> SignatureRows:
    records = load_records(context.out, "clean")
    tables = [map_table(context.out, records[name], "signatures") for name, _ in context.first_dense]
    return SignatureRows(tables, [first for _, first in context.first_dense])


def _graph_links(units: beam.PCollection, context: DedupContext) -> None:
    units | EachUnit(function=_write_links, context=context)


def _write_clusters(unit: WorkUnit, context: DedupContext) -> None:
    records = load_records(context.out, "dedup-links").values()
    edges = (read_table(context.out, record, "work/edges") for record in records)
    survivor_N = components(edges, context.num_documents)
    if context.verify:
        split_clusters(survivor_N, _signatures(context), threshold=context.threshold)
    writer = UnitWriter(context.out, "dedup-clusters", unit)
    writer.open("work/survivors", _SURVIVORS)
    for start in range(0, len(survivor_N), _BATCH_ROWS):
        part = pa.array(survivor_N[start : start + _BATCH_ROWS])
        writer.write("work/survivors", pa.RecordBatch.from_arrays([part], schema=_SURVIVORS))
    sizes = cluster_counts(survivor_N)
    clusters = {size: count for size, count in sizes.items() if size > 1}
    histogram = {str(size): count for size, count in clusters.items()}
    writer.commit({"clusters": sum(clusters.values()), "largest": max(clusters, default=1), "cluster_sizes": histogram})


def _graph_clusters(units: beam.PCollection, context: DedupContext) -> None:
    units | EachUnit(function=_write_clusters, context=context)


def _write_deletions(unit: WorkUnit, context: DedupContext) -> None:
    record = load_record(context.out, "clean", unit.name)
    num_documents = record.rows("signatures")
    first = dict(context.first_dense)[unit.name]
    survivors = map_table(context.out, load_record(context.out, "dedup-clusters", "all"), "work/survivors")
    parent_n = survivors.column("survivor").slice(first, num_documents).to_numpy()
    deleted = deletions(parent_n, first, _signatures(context))
    writer = UnitWriter(context.out, STAGE, unit)
    writer.open("deletions", DELETIONS)
    writer.open("rejected", REJECTED)
    writer.write("deletions", deleted)
    for batch in _rejected(context, record, deleted):
        writer.write("rejected", batch)
    reasons = {entry["values"]: entry["counts"] for entry in pc.value_counts(deleted.column("reason")).to_pylist()}
    kept = num_documents - deleted.num_rows
    writer.commit({"input": num_documents, "kept": kept, "rejected": dict(sorted(reasons.items()))})


def _rejected(context: DedupContext, record: Record, deleted: pa.Table) -> Iterator[pa.RecordBatch]:
    """Yield the ledger rows of the deleted documents; their text stays in documents/."""
    deleted_id_D = deleted.column("doc_id").to_numpy()
    position = 0
    for batch in read_batches(context.out, record, "documents", columns=("doc_id", "url", "location")):
        dead = batch.filter(pa.array(np.isin(batch.column("doc_id").to_numpy(), deleted_id_D, assume_unique=True)))
        rows = deleted.slice(position, dead.num_rows).combine_chunks()
        position += dead.num_rows
        if not dead.num_rows:
            continue
        (row,) = rows.to_batches()
        is_exact = pc.equal(row.column("reason"), "exact")
        values = {
            "doc_id": dead.column("doc_id"),
            "stage": pa.array([STAGE] * dead.num_rows),
            "rule": row.column("reason"),
            "value": row.column("similarity").cast(pa.float64()),
            "threshold": pc.if_else(is_exact, 1.0, context.threshold),
            "twin_id": row.column("twin_id"),
            "twin_run": row.column("twin_run"),
            "url": dead.column("url"),
            "location": dead.column("location"),
            "text": pa.nulls(dead.num_rows, pa.string()),
        }
        yield pa.RecordBatch.from_arrays([values[name] for name in REJECTED.names], schema=REJECTED)


def _graph_deletions(units: beam.PCollection, context: DedupContext) -> None:
    units | EachUnit(function=_write_deletions, context=context)
