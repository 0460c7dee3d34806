"""What each job of the dedup stage does with one unit: read committed tables, call `transforms.dedup`, commit."""

import functools
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.dedup_context import DedupContext, Group
from pipeline.job import Units, each_unit
from transforms.commit import Record, UnitWriter, load_record, load_records
from transforms.committed import map_table, read_batches, read_table
from transforms.dedup import (
    EDGES,
    cluster_counts,
    cluster_size,
    components,
    edge_table,
    link_exact,
    link_minhash,
    origins,
    spanning_forest,
    split_clusters,
)
from transforms.evidence import SHINGLES, Evidence, ShingleRows, SignatureRows, shingle_rows
from transforms.page_url import newest
from transforms.runs import prefix_slice
from transforms.unit import WorkUnit

SURVIVOR_TABLE = "work/survivors"
STAGE = "dedup"
DEDUP_VERSION = 4  # of every job: raised when deletions, ledger or tables of work/ change for the same configuration

_ORIGINS = pa.schema(
    [pa.field("origin", pa.uint32(), nullable=False), pa.field("replaced", pa.bool_(), nullable=False)]
)
_CANDIDATES = pa.schema([pa.field("dense", pa.uint32(), nullable=False)])  # ascending: a group finds its own
_SURVIVORS = pa.schema(
    [pa.field("survivor", pa.uint32(), nullable=False), pa.field("size", pa.uint32(), nullable=False)]
)


def _write_identity(unit: WorkUnit, context: DedupContext) -> None:
    pages = partition(context, unit.number, "work/url") if context.url else []
    texts = partition(context, unit.number, "work/exact") if context.exact else []
    commit_identity(unit, context, pages, texts)


def commit_identity(
    unit: WorkUnit, context: DedupContext, pages: list[NDArray[Any]], texts: list[NDArray[Any]]
) -> None:
    """Link one partition of the URL runs (key, check, time, dense) and of the exact runs (key, check, dense)."""
    older, equal = EDGES.empty_table(), EDGES.empty_table()
    if pages:
        key_E, check_E, time_E, dense_E = pages
        older = edge_table(*newest(key_E, check_E, time_E, dense_E, _levels(context, dense_E)))
    if texts:
        equal = link_exact(*texts)
    writer = UnitWriter(context.out, "dedup-identity", unit)
    for name, table in (("work/older", older), ("work/equal", equal)):
        writer.open(name, EDGES)
        writer.write(name, table)
    writer.commit({"url_edges": older.num_rows, "exact_edges": equal.num_rows})


def _levels(context: DedupContext, dense_E: NDArray[np.uint32]) -> NDArray[np.int64]:
    first = np.array([signed.first_dense for signed in context.units], np.int64)
    level = np.array([signed.level for signed in context.units], np.int64)
    return level[np.searchsorted(first, dense_E, side="right") - 1] if len(level) else np.empty(0, np.int64)


def partition(context: DedupContext, part: int, table: str, job: str = "dedup-runs") -> list[NDArray[Any]]:
    """Return the columns of partition `part` of all runs, one after the other; the last one as dense indices."""
    return next(partition_pieces(context, part, table, job, sys.maxsize))[1]


def partition_pieces(
    context: DedupContext, part: int, table: str, job: str, most: int
) -> Iterator[tuple[range, list[NDArray[Any]]]]:
    """Yield the columns of partition `part` of some runs after the other, and the dense indices of their documents.

    A piece ends with the run that brings it to `most` entries. There is always one.
    """
    columns: list[list[NDArray[Any]]] = []
    start = stop = num_entries = 0
    stands = stands_for(context, table)
    for group, run in _mapped_runs(context, job, table):
        columns = columns or [[np.empty(0, field.type.to_pandas_dtype())] for field in run.schema]
        stop = group.first_dense + group.num_documents
        if run.num_rows:
            for values, column in zip(columns, partition_of(context, group, run, part, stands), strict=True):
                values.append(column)
            num_entries += len(columns[-1][-1])
        if num_entries >= most:
            yield range(start, stop), [np.concatenate(values) for values in columns]
            columns, start, num_entries = [], stop, 0
    if columns or not start:
        yield range(start, stop), [np.concatenate(values) for values in columns]


@functools.lru_cache(maxsize=2)
def _mapped_runs(context: DedupContext, job: str, table: str) -> list[tuple[Group, pa.Table]]:
    """Return the runs of all groups: a process opens them once, not once a partition."""
    return _map_groups(context, job, table)


def _map_groups(context: DedupContext, job: str, table: str) -> list[tuple[Group, pa.Table]]:
    records = load_records(context.out, job)
    return [(group, map_table(context.out, records[group.label], table)) for group in context.groups()]


def partition_of(
    context: DedupContext, group: Group, run: pa.Table, part: int, stands: Mapping[str, NDArray[np.uint32]]
) -> list[NDArray[Any]]:
    """Return the columns of partition `part` of one run that has rows, without the documents for which others stand."""
    values: list[list[NDArray[Any]]] = [[] for _ in run.schema]
    for batch in run.to_batches():  # each of them is ordered by prefix
        try:
            place = prefix_slice(batch.column("key").to_numpy(), context.num_partitions, part)
        except ValueError as error:
            raise RuntimeError(f"run of {group.label}: {error}; delete {context.out}/work, then repeat") from None
        for column, own in zip(values, batch.columns, strict=True):
            column.append(own.to_numpy()[place])
    *values_e, row_e = (column[0] if len(column) == 1 else np.concatenate(column) for column in values)
    values_e.append(row_e + np.uint32(group.first_dense))
    if stands:
        alone_e = stands[group.label][row_e] == values_e[-1]
        values_e = [column[alone_e] for column in values_e]
    return values_e


def stands_for(context: DedupContext, table: str) -> Mapping[str, NDArray[np.uint32]]:
    """Return by label which documents stand for those of a group, for runs of `table`: nothing but for bands."""
    return _origins(context) if table == "work/bands" else {}


def graph_identity(units: Units, context: DedupContext) -> None:
    each_unit(units, function=_write_identity, context=context)


def _write_origins(unit: WorkUnit, context: DedupContext) -> None:
    origin_N, replaced_N = origins(
        tables_of(context, "dedup-identity", "work/older"),
        tables_of(context, "dedup-identity", "work/equal"),
        context.num_documents,
    )
    writer = UnitWriter(context.out, "dedup-origins", unit)
    _write_arrays(writer, context, "work/origins", _ORIGINS, origin_N, replaced_N)
    writer.commit({})


def tables_of(context: DedupContext, job: str, table: str) -> Iterator[pa.Table]:
    return (read_table(context.out, record, table) for record in load_records(context.out, job).values())


def _write_arrays(
    writer: UnitWriter, context: DedupContext, table: str, schema: pa.Schema, *arrays_N: NDArray[Any]
) -> None:
    """Write one record batch a group, so that a group's rows are read back without copying."""
    writer.open(table, schema)
    for group in context.groups():
        place = slice(group.first_dense, group.first_dense + group.num_documents)
        parts = [pa.array(array_N[place]) for array_N in arrays_N]
        writer.write(table, pa.RecordBatch.from_arrays(parts, schema=schema))


def graph_origins(units: Units, context: DedupContext) -> None:
    each_unit(units, function=_write_origins, context=context)


@functools.lru_cache(maxsize=1)
def _origins(context: DedupContext) -> dict[str, NDArray[np.uint32]]:
    """Return the group's slice of `origin_N` by label, mapped."""
    record = load_record(context.out, "dedup-origins", "all")
    chunks = map_table(context.out, record, "work/origins").column("origin").chunks
    written = [group.label for group in context.groups() if group.num_documents]
    return {label: chunk.to_numpy() for label, chunk in zip(written, chunks, strict=True)}


def _write_candidates(unit: WorkUnit, context: DedupContext) -> None:
    edges = link_minhash(*partition(context, unit.number, "work/bands"), threshold=0.0, evidence=None)
    dense_D = np.unique(np.concatenate([edges.column(name).to_numpy() for name in ("a", "b")]))
    writer = UnitWriter(context.out, "dedup-candidates", unit)
    writer.open("work/candidates", _CANDIDATES)
    writer.write("work/candidates", pa.table([dense_D], schema=_CANDIDATES))
    writer.commit({})


def graph_candidates(units: Units, context: DedupContext) -> None:
    each_unit(units, function=_write_candidates, context=context)


def _write_shingles(unit: WorkUnit, context: DedupContext) -> None:
    assert context.parameters is not None
    group = context.group(unit.name)
    wanted_n = np.zeros(group.num_documents, np.bool_)
    for record in load_records(context.out, "dedup-candidates").values():
        wanted_n[_candidates(context, record, group)] = True
    writer = UnitWriter(context.out, "dedup-shingles", unit)
    writer.open("work/shingles", SHINGLES)
    row = 0
    for signed in group.units:
        for batch in read_batches(signed.out, signed.record(), "documents", columns=("text",)):
            row_d = np.flatnonzero(wanted_n[row : row + batch.num_rows])
            texts, own_d = batch.column("text").take(pa.array(row_d)), (row_d + row).astype(np.uint32)
            writer.write("work/shingles", shingle_rows(texts, own_d, context.parameters.ngram))
            row += batch.num_rows
    writer.commit({})


def _candidates(context: DedupContext, record: Record, group: Group) -> NDArray[np.int64]:
    """Return the rows of a group that are in one partition: only their part of the file is read."""
    found = [np.empty(0, np.int64)]
    # For numbers of another type numpy would search a copy of the column: 0.3 ms a million, for each group.
    bounds = np.array([group.first_dense, group.first_dense + group.num_documents], np.uint32)
    for batch in map_table(context.out, record, "work/candidates").to_batches():
        dense_D = batch.column("dense").to_numpy()
        start, stop = np.searchsorted(dense_D, bounds)
        found.append(dense_D[start:stop].astype(np.int64) - group.first_dense)
    return np.concatenate(found)


def graph_shingles(units: Units, context: DedupContext) -> None:
    each_unit(units, function=_write_shingles, context=context)


@functools.lru_cache(maxsize=1)
def signatures_of(context: DedupContext) -> SignatureRows:
    """Return the signatures of all documents, mapped."""
    if context.is_packed:
        groups = _map_groups(context, "dedup-runs", "work/signatures")
        return SignatureRows([table for _, table in groups], [group.first_dense for group, _ in groups])
    tables = [map_table(signed.out, signed.record(), "signatures") for signed in context.units]
    return SignatureRows(tables, [signed.first_dense for signed in context.units])


@functools.lru_cache(maxsize=1)
def evidence(context: DedupContext) -> Evidence:
    """Return what pairs are verified by; signatures also tell similarities where nothing is verified."""
    if context.verify != "jaccard":
        return signatures_of(context)
    groups = _map_groups(context, "dedup-shingles", "work/shingles")
    return ShingleRows([table for _, table in groups], [group.first_dense for group, _ in groups])


def _write_links(unit: WorkUnit, context: DedupContext) -> None:
    entries = [] if context.parameters is None else partition(context, unit.number, "work/bands")
    commit_links(unit, context, entries)


def commit_links(unit: WorkUnit, context: DedupContext, entries: list[NDArray[Any]]) -> None:
    """Link one partition of the band runs (key, dense)."""
    edges = EDGES.empty_table()
    if entries:
        compared_by = None if context.verify == "none" else evidence(context)
        edges = link_minhash(*entries, threshold=context.threshold, evidence=compared_by)
    writer = UnitWriter(context.out, "dedup-links", unit)
    writer.open("work/edges", EDGES)
    writer.write("work/edges", edges)
    writer.commit({"minhash_edges": edges.num_rows})


def graph_links(units: Units, context: DedupContext) -> None:
    each_unit(units, function=_write_links, context=context)


def _write_clusters(unit: WorkUnit, context: DedupContext) -> None:
    if context.shuffle:
        survivor_N = np.arange(context.num_documents, dtype=np.uint32)
        for twins in tables_of(context, "dedup-twins", "work/twins"):
            survivor_N[twins.column("a").to_numpy()] = twins.column("b").to_numpy()
    elif context.verify == "none":
        survivor_N = components(tables_of(context, "dedup-links", "work/edges"), context.num_documents)
    else:
        edges = tables_of(context, "dedup-links", "work/edges")
        survivor_N, pair_F = spanning_forest(edges, context.num_documents)
        split_clusters(survivor_N, pair_F, evidence(context), threshold=context.threshold)
        del pair_F
    origin = _origins(context)
    for group in context.groups():  # a copy's survivor is that of its origin
        if group.num_documents:
            part = slice(group.first_dense, group.first_dense + group.num_documents)
            survivor_N[part] = survivor_N[origin[group.label]]
    size_N = cluster_size(survivor_N)
    writer = UnitWriter(context.out, "dedup-clusters", unit)
    _write_arrays(writer, context, SURVIVOR_TABLE, _SURVIVORS, survivor_N, size_N)
    clusters = {size: count for size, count in cluster_counts(size_N).items() if size > 1}
    histogram = {str(size): count for size, count in clusters.items()}
    writer.commit({"clusters": sum(clusters.values()), "largest": max(clusters, default=1), "cluster_sizes": histogram})


def graph_clusters(units: Units, context: DedupContext) -> None:
    each_unit(units, function=_write_clusters, context=context)
