"""Running a job on any Beam runner."""

import argparse
import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Self

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import create_runner

from pipeline.dealing import dealt
from pipeline.errors import RunFailed, UserError
from pipeline.job import Job
from pipeline.progress import Progress
from transforms import progress as live
from transforms.unit import WorkUnit


class _Dealt(beam.DoFn):
    """The root where units come one by one: what is fused behind it is done with one before the next is asked for."""

    def process(self, element: bytes) -> Iterator[WorkUnit]:  # noqa: ARG002 - the only one
        yield from dealt()


def build_graph(pipeline: beam.Pipeline, job: Job, units: Sequence[WorkUnit] | None) -> None:
    """Add the job to `pipeline`: one Create, then whatever the stage fuses after it.

    `units` is None in a worker of the local engine, which is dealt them while the pipeline runs.
    """
    if units is None:
        root = pipeline | "Worker" >> beam.Create([b""], reshuffle=False)
        root |= "Units" >> beam.ParDo(_Dealt()).with_output_types(WorkUnit)
    else:
        root = pipeline | "Units" >> beam.Create(list(units), reshuffle=len(units) > 1).with_output_types(WorkUnit)
    job.graph(root, job.context)


def checked_runner(name: str) -> str:
    """Return `name` if Beam has such a runner and its packages are installed.

    Raises:
        UserError: it has not.
    """
    try:
        create_runner(name)
    except (ValueError, ImportError, AttributeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(
            f"runner.engine {name}: {reason}; there are local, dataflow, flink, spark, FnApiRunner"
        ) from None
    return name


def check_options(options: Sequence[str]) -> None:
    """Refuse what Beam would print pages about, or ignore in silence.

    Raises:
        UserError: an option that no Beam runner knows, or a value that it cannot have.
    """
    parser = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, conflict_handler="resolve", exit_on_error=False
    )
    for kind in PipelineOptions.__subclasses__():
        if hasattr(kind, "_add_argparse_args"):
            kind._add_argparse_args(parser)  # noqa: SLF001 - Beam offers no other way to ask what it knows
    for action in parser._actions:  # noqa: SLF001
        action.required = False
    complaints = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaints):
            _, unknown = parser.parse_known_args(list(options))
    except (SystemExit, argparse.ArgumentError) as error:
        reason = complaints.getvalue().strip().splitlines() or [str(error)]
        raise UserError(f"Beam option: {reason[-1]}") from None
    if unknown:
        raise UserError(f"Beam knows no option {unknown[0]}")


class BeamEngine:
    """Any Beam runner by name; options are Beam's own."""

    def __init__(self, runner: str, options: Sequence[str], progress: Progress | None = None) -> None:
        self._runner, self._options, self._progress = runner, list(options), progress

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing outlives a pipeline."""

    def execute(self, job: Job, units: Sequence[WorkUnit]) -> None:
        if self._progress is None:
            self._run(job, units)
            return
        live.connect(self._progress.advance)  # heard where Beam runs in this process
        try:
            with self._progress.job(job.stage, len(units)):
                self._run(job, units)
        finally:
            live.disconnect()

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function, here: no worker outlives a pipeline."""
        function(*arguments)

    def execute_dealt(self, job: Job) -> None:
        """Run `job` over the units that this process is dealt; whoever deals them counts."""
        self._run(job, None)

    def _run(self, job: Job, units: Sequence[WorkUnit] | None) -> None:
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
