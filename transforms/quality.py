"""Quality presets: rules over a document's words and lines, each with a name, a measured value and a threshold."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics

from transforms.batch import BatchKey
from transforms.schema import alive_mask, reject

PRESETS = ("c4-fineweb", "fineweb", "gopher-quality", "gopher-repetition")


def chosen_presets(names: Sequence[str]) -> tuple[str, ...]:
    """Return the presets of these names, in their order.

    Raises:
        ValueError: a name that is no preset.
    """
    for name in names:
        if name not in PRESETS:
            [nearest] = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.0)
            raise ValueError(f"quality preset {name!r} is unknown; the nearest is {nearest!r}")
    return tuple(names)


def filter_quality(batch: pa.RecordBatch, *, presets: Sequence[str]) -> pa.RecordBatch:
    """Return `batch` with the living rows that fail a preset rejected by the first rule that they fail."""
    chosen_presets(presets)
    if "gopher-quality" in presets:
        alive_N = alive_mask(batch)
        words_N = np.array(
            [len(text.split()) if alive else 0 for text, alive in zip(batch["text"].to_pylist(), alive_N, strict=True)],
            np.float64,
        )
        batch = reject(batch, "gopher_short_doc", where_N=words_N < 50, value=words_N, threshold=50.0)
    return batch


class _FilterQuality(beam.DoFn):
    def __init__(self, presets: tuple[str, ...]) -> None:
        self._presets = presets
        self._rejected = Metrics.counter("quality", "rejected")

    def process(self, element: tuple[BatchKey, pa.RecordBatch]) -> Iterator[tuple[BatchKey, pa.RecordBatch]]:
        key, batch = element
        out = filter_quality(batch, presets=self._presets)
        self._rejected.inc(batch.column("rule").null_count - out.column("rule").null_count)
        yield key, out


@dataclass(kw_only=True, eq=False)
class FilterQuality(beam.PTransform):
    """Keyed batches to keyed batches; see `filter_quality`."""

    presets: tuple[str, ...]

    def __post_init__(self) -> None:
        chosen_presets(self.presets)

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        quality = beam.ParDo(_FilterQuality(tuple(self.presets)))
        return batches | quality.with_output_types(tuple[BatchKey, pa.RecordBatch])
