"""Reading a work unit: one DoFn that dispatches on the format, so that nothing stands between reader and writer.

No Flatten, GroupByKey or Reshuffle may follow: in FnApiRunner each of them holds all the text (283 MB became 1391 MB
with one Flatten).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import apache_beam as beam
import pyarrow as pa

from transforms.batch import BatchKey
from transforms.commit import committed_parts
from transforms.documents import surviving_batches
from transforms.readers.dispatch import read_parts, read_slice
from transforms.readers.rows import MAX_BATCH_BYTES, MAX_BATCH_ROWS
from transforms.readers.source import Source
from transforms.schema import DOCUMENT, IN_FLIGHT
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


def read_stream(
    unit: WorkUnit, sources: dict[str, Source], *, done: frozenset[int]
) -> Iterator[tuple[BatchKey, pa.RecordBatch]]:
    """Yield the records of a stream as keyed batches of its parts, and an empty batch of the unit itself behind them.

    Parts that are `done` are read over. A part in which no record starts is an empty batch, so that each has a commit.
    """
    (stream,) = unit.slices
    next_part = 0
    batches = read_parts(sources[stream.source], stream, done=done)
    for number, found in groupby(batches, key=itemgetter(0)):
        yield from _empty_parts(unit, next_part, number, done)
        yield from keyed_batches(unit.part(number), (batch for _, batch in found), schema=IN_FLIGHT)
        next_part = number + 1
    num_parts = max([next_part, *(number + 1 for number in done)])
    yield from _empty_parts(unit, next_part, num_parts, done)
    yield from keyed_batches(unit._replace(number=unit.number + num_parts), [], schema=IN_FLIGHT)


def _empty_parts(
    unit: WorkUnit, start: int, stop: int, done: frozenset[int]
) -> Iterator[tuple[BatchKey, pa.RecordBatch]]:
    for number in range(start, stop):
        if number not in done:
            yield from keyed_batches(unit.part(number), [], schema=IN_FLIGHT)


class _ReadUnit(beam.DoFn):
    def __init__(self, sources: dict[str, Source], out: str, stage: str) -> None:
        self._sources, self._out, self._stage = sources, out, stage

    def process(self, unit: WorkUnit) -> Iterator[tuple[BatchKey, pa.RecordBatch]]:
        if unit.is_stream:  # here and not in the driver: a worker that takes over a dead one's unit goes on in the file
            done = committed_parts(self._out, self._stage, unit)
            yield from read_stream(unit, self._sources, done=done)
        else:
            yield from read_unit(unit, self._sources)


@dataclass(kw_only=True, eq=False)
class ReadUnits(beam.PTransform):
    """Work units to keyed batches; `sources` by name say how their files are read.

    `out` and `stage` are where the parts of a stream are committed.
    """

    sources: dict[str, Source]
    out: str
    stage: str

    def expand(self, units: beam.PCollection) -> beam.PCollection:
        read = beam.ParDo(_ReadUnit(self.sources, self.out, self.stage))
        return units | "Read" >> read.with_output_types(tuple[BatchKey, pa.RecordBatch])


class _ReadSurvivors(beam.DoFn):
    def __init__(self, out: str) -> None:
        self._out = out

    def process(self, unit: WorkUnit) -> Iterator[tuple[BatchKey, pa.RecordBatch]]:
        yield from keyed_batches(unit, surviving_batches(self._out, unit.name), schema=DOCUMENT)


@dataclass(kw_only=True, eq=False)
class ReadSurvivors(beam.PTransform):
    """Work units (named as in the clean stage) to keyed batches of schema DOCUMENT."""

    out: str

    def expand(self, units: beam.PCollection) -> beam.PCollection:
        read = beam.ParDo(_ReadSurvivors(self.out))
        return units | "Read" >> read.with_output_types(tuple[BatchKey, pa.RecordBatch])
