"""Running a job on any Beam runner."""

from collections.abc import Sequence
from typing import Self

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.errors import RunFailed
from pipeline.job import Job
from transforms.unit import WorkUnit


def build_graph(pipeline: beam.Pipeline, job: Job, units: Sequence[WorkUnit]) -> None:
    """Add the job to `pipeline`: one Create, then whatever the stage fuses after it."""
    root = pipeline | "Units" >> beam.Create(list(units), reshuffle=len(units) > 1).with_output_types(WorkUnit)
    job.graph(root, job.context)


class BeamEngine:
    """Any Beam runner by name; options are Beam's own."""

    def __init__(self, runner: str, options: Sequence[str]) -> None:
        self._runner, self._options = runner, list(options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing outlives a pipeline."""

    def execute(self, job: Job, units: Sequence[WorkUnit]) -> None:
        try:
            with beam.Pipeline(self._runner, options=PipelineOptions(self._options)) as pipeline:
                build_graph(pipeline, job, units)
        except Exception as error:
            if "KeyboardInterrupt" in str(error):  # an interrupt inside a bundle comes back as a RuntimeError
                raise KeyboardInterrupt from error
            raise RunFailed(f"{job.stage}: {cause_line(error)}") from error


def cause_line(error: BaseException) -> str:
    """Return the line that names the cause; Beam wraps it in tracebacks and in `[while running ...]`."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if "[while running" in line] or lines[-1:] or [type(error).__name__]
    return causes[-1].split(" [while running")[0]
