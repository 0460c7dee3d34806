"""The jobs of the dedup stage that a Beam runner spreads over machines: GroupByKey on hash prefixes and on vertices.

    dedup-identity  slices of the exact and URL runs meet by hash prefix -> work/equal, work/older
    dedup-links     slices of the band runs meet by hash prefix -> work/edges
    dedup-stars-N   the edges of a vertex meet: ROUNDS of large-star and small-star -> work/stars-N, until stable
    dedup-twins     the edges of a component meet -> work/twins: the survivor of every near-duplicate

They replace the jobs of the same names, and the work of `dedup-clusters`, and call the same functions, so the answer is
the same. An element is (partition, RecordBatch of hashes or edges), one for some runs and a partition: a hot key is a
batch, not a million elements. Text and signatures are never shuffled.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.dedup_context import DedupContext
from pipeline.dedup_units import commit_identity, commit_links, evidence, partition_of, stands_for
from transforms.commit import UnitWriter, load_record, load_records
from transforms.committed import map_table, read_table
from transforms.dedup import edge_table, spanning_forest, split_clusters
from transforms.evidence import Compared, Evidence
from transforms.kernels.components import span_edges
from transforms.kernels.stars import both_directions, checksum, large_star, place, small_star
from transforms.unit import WorkUnit

MOST_TOGETHER, LEAST_GROUPS = 16, 256  # units that one worker reads at a time, while that leaves work for 256
ROUNDS = 2  # of large-star and small-star in one pipeline; a component of diameter d needs about log2(d)

_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_KEYED = tuple[int, pa.RecordBatch]

Commit = Callable[[WorkUnit, DedupContext, list[pa.RecordBatch]], None]


def graph_identity(units: beam.PCollection, context: DedupContext) -> None:
    """Slices of the URL and exact runs, by hash prefix."""
    tables = [name for name, wanted in (("work/url", context.url), ("work/exact", context.exact)) if wanted]
    commit(slices_of_runs(units, context, tables), units, context, _identity)


def _identity(unit: WorkUnit, context: DedupContext, batches: list[pa.RecordBatch]) -> None:
    pages = columns_of([b for b in batches if "time" in b.schema.names], ("key", "check", "time", "dense"))
    texts = columns_of([b for b in batches if "time" not in b.schema.names], ("key", "check", "dense"))
    commit_identity(unit, context, pages, texts)


def graph_links(units: beam.PCollection, context: DedupContext) -> None:
    """Slices of the band runs, by hash prefix."""
    tables = [] if context.parameters is None else ["work/bands"]
    commit(slices_of_runs(units, context, tables), units, context, _links)


def _links(unit: WorkUnit, context: DedupContext, batches: list[pa.RecordBatch]) -> None:
    commit_links(unit, context, columns_of(batches, ("key", "dense")))


def slices_of_runs(
    units: beam.PCollection, context: DedupContext, tables: list[str], job: str = "dedup-runs"
) -> beam.PCollection:
    """Read the runs that a job made as (partition, columns of some groups)."""
    runs = units.pipeline | "Start" >> beam.Create([b""], reshuffle=False)
    runs |= "Runs" >> beam.FlatMap(_groups, context).with_output_types(tuple[str, ...])
    runs |= "Spread" >> beam.Reshuffle()
    return runs | "Slices" >> beam.FlatMap(_slices, context, tables, job).with_output_types(_KEYED)


def _groups(_: bytes, context: DedupContext) -> Iterator[tuple[str, ...]]:
    """Yield the labels of groups that are read together: an element costs 380 bytes beside its hashes.

    At ten billion documents a unit has 13 entries of 12 bytes in a partition, a group of 82 units 1,070.
    """
    groups = context.groups()
    labels = [group.label for group in groups]
    most = MOST_TOGETHER // max(1, len(context.units) // max(1, len(labels)))
    size = max(1, min(most, len(labels) // LEAST_GROUPS))
    for start in range(0, len(labels), size):
        yield tuple(labels[start : start + size])


def _slices(
    labels: tuple[str, ...], context: DedupContext, tables: list[str], job: str
) -> Iterator[tuple[int, pa.RecordBatch]]:
    for table in tables:
        runs = [(context.group(label), map_table(context.out, load_record(context.out, job, label), table))
                for label in labels]  # fmt: skip
        runs = [(group, run) for group, run in runs if run.num_rows]
        stands = stands_for(context, table)
        for part in range(context.num_partitions if runs else 0):
            parts = [partition_of(context, group, run, part, stands) for group, run in runs]
            columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
            if len(columns[-1]):
                yield part, pa.record_batch(columns, names=[*runs[0][1].schema.names[:-1], "dense"])


def columns_of(batches: Sequence[pa.RecordBatch], names: Sequence[str]) -> list[NDArray[Any]]:
    """Return the columns of all batches, one after the other; nothing where there is no batch."""
    return [np.concatenate([batch.column(name).to_numpy() for batch in batches]) for name in names] if batches else []


def graph_stars(units: beam.PCollection, given: tuple[DedupContext, str, str, str, str]) -> None:
    """Edges of a job (its name and table) to more star-like ones (name and table), ROUNDS times."""
    context, job, table, own_job, own_table = given
    seen = units.pipeline | "Start" >> beam.Create([b""], reshuffle=False)
    seen |= "Parts" >> beam.FlatMap(_parts, context, job).with_output_types(str)
    seen |= "Spread" >> beam.Reshuffle()
    seen |= "Edges" >> beam.FlatMap(_edges, context, job, table).with_output_types(_KEYED)
    for number in range(ROUNDS):
        seen |= f"Vertices {number}" >> beam.GroupByKey()
        seen |= f"Large star {number}" >> beam.FlatMap(_large, context.num_partitions).with_output_types(_KEYED)
        seen |= f"Larger ends {number}" >> beam.GroupByKey()
        last = number == ROUNDS - 1
        seen |= f"Small star {number}" >> beam.FlatMap(_small, context.num_partitions, last).with_output_types(_KEYED)
    commit(seen, units, (context, own_job, own_table), _stars)


def _parts(_: bytes, context: DedupContext, job: str) -> Iterator[str]:
    yield from load_records(context.out, job)


def _edges(part: str, context: DedupContext, job: str, table: str) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the edges of one part, those left out that its other edges imply."""
    pair_E = _pairs(read_table(context.out, load_record(context.out, job, part), table))
    ids, local_E2 = np.unique(np.concatenate((pair_E >> _HALF, pair_E & _LOW)), return_inverse=True)
    local_E = np.sort(local_E2[: len(pair_E)].astype(np.uint64) << _HALF | local_E2[len(pair_E) :].astype(np.uint64))
    local_E = local_E[: span_edges(local_E, np.empty(len(ids), np.uint32))]
    pair_E = ids[(local_E >> _HALF).astype(np.int64)] << _HALF | ids[(local_E & _LOW).astype(np.int64)]
    yield from _by_vertex(both_directions(pair_E), context.num_partitions)


def _pairs(edges: pa.Table) -> NDArray[np.uint64]:
    return edges.column("a").to_numpy().astype(np.uint64) << _HALF | edges.column("b").to_numpy()


def _by_vertex(pair_E: NDArray[np.uint64], num_places: int, name: str = "edge") -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the edges by the place of the vertex in the upper half."""
    yield from _by_place(place(pair_E >> _HALF, num_places), {name: pair_E})


def _by_place(at_E: NDArray[np.int64], columns: dict[str, NDArray[np.uint64]]) -> Iterator[tuple[int, pa.RecordBatch]]:
    order_E = np.argsort(at_E, kind="stable")
    places, starts = np.unique(at_E[order_E], return_index=True)
    bounds = [*starts.tolist(), len(at_E)]
    for number, at in enumerate(places.tolist()):
        part = order_E[bounds[number] : bounds[number + 1]]
        yield at, pa.record_batch([values[part] for values in columns.values()], names=list(columns))


def _large(group: tuple[int, Iterable[pa.RecordBatch]], num_places: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    (seen_E,) = columns_of(list(group[1]), ("edge",))
    yield from _by_vertex(large_star(seen_E), num_places)


def _small(
    group: tuple[int, Iterable[pa.RecordBatch]], num_places: int, last: bool
) -> Iterator[tuple[int, pa.RecordBatch]]:
    (pair_E,) = columns_of(list(group[1]), ("edge",))
    star_E = small_star(pair_E)
    yield from _by_vertex(star_E if last else both_directions(star_E), num_places)


def _stars(unit: WorkUnit, given: tuple[DedupContext, str, str], batches: list[pa.RecordBatch]) -> None:
    context, job, table = given
    pair_E = np.unique(np.concatenate([np.empty(0, np.uint64), *columns_of(batches, ("edge",))]))
    edges = edge_table((pair_E >> _HALF).astype(np.uint32), (pair_E & _LOW).astype(np.uint32))
    writer = UnitWriter(context.out, job, unit)
    writer.open(table, edges.schema)
    writer.write(table, edges)
    writer.commit({"edges": len(pair_E), "checksum": checksum(pair_E)})


def graph_twins(units: beam.PCollection, given: tuple[DedupContext, str, str]) -> None:
    """Edges and stable stars (their job and table) to the survivors of one whole component after the other."""
    context, job, table = given
    start = units.pipeline | "Start" >> beam.Create([b""], reshuffle=False)
    found = []
    for name, source, of in (("edge", "dedup-links", "work/edges"), ("star", job, table)):
        parts = start | f"Parts {name}" >> beam.FlatMap(_parts, context, source).with_output_types(str)
        parts |= f"Spread {name}" >> beam.Reshuffle()
        read = beam.FlatMap(_read_edges, context, source, of, name).with_output_types(_KEYED)
        found.append(parts | f"Read {name}" >> read)
    joined = found | "Both" >> beam.Flatten() | "Vertices" >> beam.GroupByKey()
    joined |= "Roots" >> beam.FlatMap(_roots, context.num_partitions).with_output_types(_KEYED)
    commit(joined, units, context, _twins)


def _read_edges(
    part: str, context: DedupContext, job: str, table: str, name: str
) -> Iterator[tuple[int, pa.RecordBatch]]:
    pair_E = _pairs(read_table(context.out, load_record(context.out, job, part), table))
    yield from _by_vertex(pair_E, context.num_partitions, name)


def _roots(group: tuple[int, Iterable[pa.RecordBatch]], num_places: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield every edge with the root of its component, by that root."""
    batches = list(group[1])
    edges = columns_of([batch for batch in batches if batch.schema.names == ["edge"]], ("edge",))
    if edges:
        star_E = np.sort(columns_of([batch for batch in batches if batch.schema.names == ["star"]], ("star",))[0])
        pair_E = np.unique(edges[0])
        root_E = star_E[np.searchsorted(star_E >> _HALF, pair_E >> _HALF)] & _LOW  # a larger end is no root
        yield from _by_place(place(root_E, num_places), {"root": root_E, "edge": pair_E})


class _Renumbered:
    """Evidence of documents that are numbered anew, in the same order."""

    def __init__(self, inner: Evidence, ids: NDArray[np.uint32]) -> None:
        self.chunk, self.least = inner.chunk, inner.least
        self._inner, self._ids = inner, ids

    def compared(self, dense_M: NDArray[np.uint32]) -> Compared:
        return self._inner.compared(self._ids[dense_M])


def _twins(unit: WorkUnit, context: DedupContext, batches: list[pa.RecordBatch]) -> None:
    root_E, pair_E = columns_of(batches, ("root", "edge")) or [np.empty(0, np.uint64)] * 2
    ids, local_E = np.unique(np.concatenate((pair_E >> _HALF, pair_E & _LOW)), return_inverse=True)
    dense = ids.astype(np.uint32)
    a_E, b_E = local_E[: len(pair_E)].astype(np.uint32), local_E[len(pair_E) :].astype(np.uint32)
    if context.verify == "none":
        survivor_N = dense.copy()
        survivor_N[a_E] = survivor_N[b_E] = root_E.astype(np.uint32)
    else:
        parent_N, pair_F = spanning_forest([edge_table(a_E, b_E)], len(ids))
        split_clusters(parent_N, pair_F, _Renumbered(evidence(context), dense), threshold=context.threshold)
        survivor_N = dense[parent_N]
    twins = edge_table(dense[survivor_N != dense], survivor_N[survivor_N != dense])
    writer = UnitWriter(context.out, "dedup-twins", unit)
    writer.open("work/twins", twins.schema)
    writer.write("work/twins", twins)
    writer.commit({"twins": twins.num_rows})


def commit(found: beam.PCollection, units: beam.PCollection, context: Any, write: Commit | Any) -> None:
    """Bring the elements of each pending unit together and commit it, also where it has none."""
    pending = units | "Pending" >> beam.Map(_pending).with_output_types(_KEYED)
    groups = (found, pending) | "With pending" >> beam.Flatten() | "Meet" >> beam.GroupByKey()
    groups | "Commit" >> beam.FlatMap(_commit_group, context, write).with_output_types(str)


def _pending(unit: WorkUnit) -> tuple[int, pa.RecordBatch]:
    return unit.number, pa.record_batch({"unit": [unit.name], "unit_key": [unit.key]})


def _commit_group(group: tuple[int, Iterable[pa.RecordBatch]], context: Any, write: Any) -> Iterator[str]:
    number, batches = group[0], list(group[1])
    for batch in batches:
        if batch.schema.names[0] == "unit":
            unit = WorkUnit(batch.column("unit")[0].as_py(), number, batch.column("unit_key")[0].as_py())
            write(unit, context, [other for other in batches if other.schema.names[0] != "unit"])
            yield unit.name
