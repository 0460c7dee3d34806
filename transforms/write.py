"""The sink of every per-document stage: one DoFn writes a unit's tables and commits it when its last batch arrives.

The commit happens inside process(), not in finish_bundle: a bundle covers a worker's whole stage, so work left to the
end of a bundle is all or nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import apache_beam as beam
import pyarrow as pa

from transforms import progress
from transforms.batch import BatchKey
from transforms.commit import UnitWriter
from transforms.counts import add_counts, sorted_counts
from transforms.unit import WorkUnit


class Split(Protocol):
    """What a stage writes: the schema of each table, and the rows and counts of one batch."""

    @property
    def schemas(self) -> Mapping[str, pa.Schema]:
        """Schema of each table; all of them exist after a commit, with or without rows."""

    def __call__(self, batch: pa.RecordBatch) -> tuple[dict[str, pa.RecordBatch], dict[str, Any]]:
        """Return the rows for each table, and counts (int, or dict of int) that are added up over the unit."""


@dataclass
class _OpenUnit:
    """A unit between its first and its last batch."""

    writer: UnitWriter
    rows: int = 0
    counts: dict[str, Any] = field(default_factory=dict)


class _WriteUnit(beam.DoFn):
    def __init__(self, out: str, stage: str, split: Split) -> None:
        self._out, self._stage, self._split = out, stage, split
        self._open: dict[str, _OpenUnit] = {}

    def start_bundle(self) -> None:
        self._open = {}

    def process(self, element: tuple[BatchKey, pa.RecordBatch]) -> Iterator[str]:
        key, batch = element
        if key.unit not in self._open:
            self._open[key.unit] = self._start(key)
        unit = self._open[key.unit]
        if key.start != unit.rows or key.stop - key.start != batch.num_rows:
            raise RuntimeError(
                f"{key.unit}: rows {key.start}-{key.stop} came after {unit.rows}, as {batch.num_rows} rows"
            )
        tables, counts = self._split(batch)
        for table, rows in tables.items():
            unit.writer.write(table, rows)
        add_counts(unit.counts, counts)
        unit.rows = key.stop
        progress.advance(documents=batch.num_rows, text_bytes=counts.get("text_bytes", 0))
        if key.last:
            unit.writer.commit(sorted_counts(unit.counts))
            del self._open[key.unit]
            yield key.unit

    def finish_bundle(self) -> None:
        if self._open:
            for unit in self._open.values():
                unit.writer.abandon()
            raise RuntimeError(f"the bundle ended before the last batch of {', '.join(self._open)}")

    def _start(self, key: BatchKey) -> _OpenUnit:
        writer = UnitWriter(self._out, self._stage, WorkUnit(key.unit, key.number, key.key))
        for table, schema in self._split.schemas.items():
            writer.open(table, schema)
        return _OpenUnit(writer)


@dataclass(kw_only=True, eq=False)
class WriteUnits(beam.PTransform):
    """Keyed batches to committed tables, one record a unit; yields the names of the committed units."""

    out: str
    stage: str
    split: Split

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        write = beam.ParDo(_WriteUnit(self.out, self.stage, self.split))
        return batches | "Write" >> write.with_output_types(str)
