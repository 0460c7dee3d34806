"""A stage whose unit is one call of a plain function that reads, computes and commits by itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from transforms.unit import WorkUnit


class _CallUnit(beam.DoFn):
    def __init__(self, function: Callable[[WorkUnit, Any], None], context: Any) -> None:
        self._function, self._context = function, context

    def process(self, unit: WorkUnit) -> Iterator[str]:
        self._function(unit, self._context)
        yield unit.name


@dataclass(kw_only=True, eq=False)
class EachUnit(beam.PTransform):
    """Work units to the names of the committed ones; `function(unit, context)` is module-level: it pickles by name."""

    function: Callable[[WorkUnit, Any], None]
    context: Any

    def expand(self, units: beam.PCollection) -> beam.PCollection:
        return units | "Call" >> beam.ParDo(_CallUnit(self.function, self.context)).with_output_types(str)
