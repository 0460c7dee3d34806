"""One run: the stages in order over one output directory, each brought to the state that the configuration asks for."""

import importlib
import importlib.util
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.commands import STAGES
from pipeline.config import Config
from pipeline.context import ENTRIES_OF, RunContext
from pipeline.errors import RunFailed, UserError
from pipeline.inputs import check_inputs
from pipeline.job import Say
from pipeline.local import LocalEngine
from pipeline.progress import PlainDisplay, Progress
from pipeline.run_state import RunState
from transforms.storage import is_local

if TYPE_CHECKING:
    from pipeline.engine import BeamEngine

# Whose `run` brings each stage to the state that is asked for; imported when its turn comes.
_STAGE_MODULES = {stage: f"pipeline.{stage}" for stage in STAGES} | {"pretrain": "pipeline.pretrain_stage"}

# Short names of the design; anything else is a Beam runner's own name.
_RUNNERS = {
    "dataflow": "DataflowRunner",
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
    "FnApiRunner": "apache_beam.runners.portability.fn_api_runner.FnApiRunner",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What the closing summary needs."""

    out: str
    seconds: float
    num_units_run: int


def run(
    config: Config,
    *,
    first: str,
    last: str,
    beam_options: Sequence[str],
    say: Say,
    progress: Progress | None = None,
) -> Outcome:
    """Run the stages from `first` to `last`; the stages before `first` must be complete for this configuration.

    `progress` shows plain lines by `say` if it is not given.

    Raises:
        UserError: exit code 2.
        RunFailed: exit code 3; the same call resumes.
    """
    started = time.monotonic()
    start, stop = STAGES.index(first), STAGES.index(last)
    if start > stop:
        raise UserError(f"--from {first} comes after --to {last}")
    if config.pretrain is None and first == last == "pretrain":
        raise UserError("the configuration has no section pretrain")
    stages = [stage for stage in STAGES[: stop + 1] if stage != "pretrain" or config.pretrain is not None]
    asked = [stage for stage in stages if STAGES.index(stage) >= start]
    if "pretrain" in asked and importlib.util.find_spec("torch") is None:
        raise UserError(
            "pretrain needs PyTorch: pip install 'gristmill[pretrain]', or end before it with --to tokenize"
        )
    check_inputs(config, asked)
    progress = progress or Progress(PlainDisplay(say))
    with (
        RunState(config) as state,
        progress.of(config.output),
        _engine(config, beam_options, say, progress) as engine,
    ):
        context = RunContext(config=config, state=state, engine=engine, say=say, progress=progress)
        for stage in stages:
            context.may_run = STAGES.index(stage) >= start
            importlib.import_module(_STAGE_MODULES[stage]).run(context)
        # Keys that make nothing again, as the limits of `check`, are stored too; not beside entries that may be stale.
        is_whole = set(state.stages) <= {entry for stage in stages for entry in ENTRIES_OF[stage]}
        if (is_whole and state.set_config()) or context.num_units_run:
            _report(config.output, progress.say, engine)
    return Outcome(out=config.output, seconds=time.monotonic() - started, num_units_run=context.num_units_run)


def _report(out: str, say: Say, engine: "LocalEngine | BeamEngine") -> None:
    """Write the report; a fault in it is told and not raised, since everything that was asked for is done."""
    try:
        try:
            engine.call(_write_report, out)
        except RunFailed:  # a worker that was killed, or has its limit of memory; a fault of the page comes again
            _write_report(out)
    except OSError:  # a full disk ends every stage alike
        raise
    except Exception as error:  # noqa: BLE001 - whatever a strange document did to the page, the run is complete
        reason = f"{type(error).__name__}: {error}"
        say(f"the report could not be written ({reason}); gristmill report {out} tries again")


def _write_report(out: str) -> None:
    """Write the report of `out`; imported where it is made, which is a worker where there is one."""
    from pipeline.report import write_report  # noqa: PLC0415

    write_report(out)


def _engine(config: Config, beam_options: Sequence[str], say: Say, progress: Progress) -> "LocalEngine | BeamEngine":
    if config.runner.engine == "local":
        if beam_options:
            from pipeline.engine import check_options  # noqa: PLC0415 - Beam, which only workers need

            check_options(beam_options)
        return LocalEngine(config.runner.workers, beam_options, say, progress, config.runner.worker_bytes)
    if config.runner.engine in ("DirectRunner", "direct"):
        raise UserError("runner.engine DirectRunner tries to download Prism; use local, or FnApiRunner for one process")
    if config.runner.engine in ("dataflow", "DataflowRunner") and is_local(config.output):
        raise UserError(f"runner.engine dataflow: its workers cannot write to {config.output}; give output as gs://...")
    from pipeline.engine import BeamEngine, check_options, checked_runner  # noqa: PLC0415

    runner = checked_runner(_RUNNERS.get(config.runner.engine, config.runner.engine))
    check_options(beam_options)  # after the runner, which may bring options of its own
    return BeamEngine(runner, beam_options, progress)
