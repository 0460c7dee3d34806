"""Signing a batch: the fingerprint of every living document beside its text."""

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa

from transforms.batch import BatchKey
from transforms.fingerprint import MinHashParameters, fingerprint, metadata
from transforms.schema import alive_mask, signatures_schema


def sign(batch: pa.RecordBatch, parameters: MinHashParameters | None) -> pa.RecordBatch:
    """Return `batch` with the columns `exact` and `minhash` appended; rejected rows are not signed and hold nulls."""
    alive_N = alive_mask(batch)
    signed = fingerprint(batch if alive_N.all() else batch.filter(pa.array(alive_N)), parameters)
    row_N = pa.array(np.cumsum(alive_N) - 1, pa.int64(), mask=~alive_N)
    for name in ("exact", "minhash"):
        column = signed.column(name)
        batch = batch.append_column(name, column if alive_N.all() else column.take(row_N))
    return batch


class _Sign(beam.DoFn):
    def __init__(self, parameters: MinHashParameters | None) -> None:
        self._parameters = parameters

    def process(self, element: tuple[BatchKey, pa.RecordBatch]) -> Iterator[tuple[BatchKey, pa.RecordBatch]]:
        key, batch = element
        yield key, sign(batch, self._parameters)


@dataclass(kw_only=True, eq=False)
class Sign(beam.PTransform):
    """Keyed batches of schema IN_FLIGHT to the same with `exact` and `minhash`; None signs for exact dedup only."""

    parameters: MinHashParameters | None

    @property
    def schema(self) -> pa.Schema:
        """The schema of `signatures/` that the writer stores."""
        num_perm = self.parameters.num_perm if self.parameters else 0
        return signatures_schema(num_perm, metadata(self.parameters))

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        return batches | "Sign" >> beam.ParDo(_Sign(self.parameters)).with_output_types(tuple[BatchKey, pa.RecordBatch])
