"""A step of the clean stage is a function of a batch; here it becomes a Beam transform."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa

from transforms.batch import BatchKey

BatchFunction = Callable[[pa.RecordBatch], pa.RecordBatch]


class _EachBatch(beam.DoFn):
    def __init__(self, function: BatchFunction) -> None:
        self._function = function

    def process(self, element: tuple[BatchKey, pa.RecordBatch]) -> Iterator[tuple[BatchKey, pa.RecordBatch]]:
        key, batch = element
        yield key, self._function(batch)


@dataclass(kw_only=True, eq=False)
class EachBatch(beam.PTransform):
    """Keyed batches to keyed batches by a function that keeps rows and their order; it is pickled to the workers."""

    function: BatchFunction

    def default_label(self) -> str:
        """Return the function's class: several of them stand in one graph."""
        return type(self.function).__name__

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        return batches | beam.ParDo(_EachBatch(self.function)).with_output_types(tuple[BatchKey, pa.RecordBatch])
