"""Reading back what survives: documents/ of a unit minus its deletion vector, as keyed batches."""

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa

from transforms.batch import BatchKey
from transforms.commit import load_record, read_batches, read_table
from transforms.read import keyed_batches
from transforms.schema import DOCUMENT
from transforms.unit import WorkUnit


def surviving_batches(out: str, unit: str) -> Iterator[pa.RecordBatch]:
    """Yield the batches of `documents/<unit>` without the rows that `deletions/<unit>` names, in doc_id order."""
    deletions = read_table(out, load_record(out, "dedup", unit), "deletions")
    deleted_D = deletions.column("doc_id").to_numpy()
    for batch in read_batches(out, load_record(out, "clean", unit), "documents"):
        doc_id_N = batch.column("doc_id").to_numpy()
        kept_N = ~np.isin(doc_id_N, deleted_D, assume_unique=True)
        yield batch if kept_N.all() else batch.filter(pa.array(kept_N))


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
