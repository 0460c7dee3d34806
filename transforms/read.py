"""Reading a work unit: one DoFn that dispatches on the format, so that nothing stands between reader and writer.

No Flatten, GroupByKey or Reshuffle may follow: in FnApiRunner each of them holds all the text (283 MB became 1391 MB
with one Flatten).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa

from transforms.batch import BatchKey
from transforms.readers.dispatch import read_slice
from transforms.readers.rows import MAX_BATCH_BYTES, MAX_BATCH_ROWS
from transforms.readers.source import Source
from transforms.schema import IN_FLIGHT
from transforms.unit import WorkUnit


def keyed_batches(
    unit: WorkUnit, batches: Iterable[pa.RecordBatch], *, schema: pa.Schema
) -> Iterator[tuple[BatchKey, pa.RecordBatch]]:
    """Number the rows of a unit's batches and mark the last one; a unit without rows yields one empty batch."""
    start = 0
    held: pa.RecordBatch | None = None
    for batch in batches:
        if held is not None:
            yield BatchKey(unit.name, unit.number, unit.key, start, start + held.num_rows, last=False), held
            start += held.num_rows
        held = batch
    if held is None:
        held = pa.RecordBatch.from_pylist([], schema=schema)
    yield BatchKey(unit.name, unit.number, unit.key, start, start + held.num_rows, last=True), held


def merge_small(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Join neighbouring batches up to the batch limits: a unit of a thousand small files is not a thousand elements."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        if held and (rows + batch.num_rows > MAX_BATCH_ROWS or size + batch.nbytes > MAX_BATCH_BYTES):
            yield _joined(held)
            held, rows, size = [], 0, 0
        held.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
    if held:
        yield _joined(held)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def read_unit(unit: WorkUnit, sources: dict[str, Source]) -> Iterator[tuple[BatchKey, pa.RecordBatch]]:
    """Yield every record of the unit's slices in order, as keyed batches of schema IN_FLIGHT."""
    slices = (batch for part in unit.slices for batch in read_slice(sources[part.source], part))
    return keyed_batches(unit, merge_small(slices), schema=IN_FLIGHT)


class _ReadUnit(beam.DoFn):
    def __init__(self, sources: dict[str, Source]) -> None:
        self._sources = sources

    def process(self, unit: WorkUnit) -> Iterator[tuple[BatchKey, pa.RecordBatch]]:
        yield from read_unit(unit, self._sources)


@dataclass(kw_only=True, eq=False)
class ReadUnits(beam.PTransform):
    """Work units to keyed batches; `sources` by name say how their files are read."""

    sources: dict[str, Source]

    def expand(self, units: beam.PCollection) -> beam.PCollection:
        read = beam.ParDo(_ReadUnit(self.sources))
        return units | "Read" >> read.with_output_types(tuple[BatchKey, pa.RecordBatch])
