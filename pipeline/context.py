"""What a stage is given: the configuration, the run's state, the engine, and how to speak."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.job import Engine, Job, Say, committed_units, content_key, run_job
from pipeline.run_state import RunState, summarise
from transforms.commit import Record
from transforms.unit import WorkUnit


@dataclass(kw_only=True, slots=True)
class RunContext:
    """Handed to the stage functions; `may_run` is false for stages before --from, which must be complete already."""

    config: Config
    state: RunState
    engine: Engine
    say: Say
    may_run: bool = True
    num_units_run: int = 0

    @property
    def out(self) -> str:
        """The output directory."""
        return self.config.output

    def run_job(self, stage: str, job: Job, units: Sequence[WorkUnit]) -> dict[str, Record]:
        """Bring `units` to their committed state; `stage` is the command that the user knows.

        Raises:
            UserError: units are missing, but the stage lies before --from.
        """
        pending = len(units) - len(committed_units(self.out, job.stage, units))
        if pending and not self.may_run:
            raise UserError(
                f"{stage} is not complete for this configuration ({job.stage}: {pending} of {len(units)}"
                f" units missing or stale); run `gristmill {stage}` first"
            )
        self.num_units_run += pending
        return run_job(self.engine, self.out, job, units, self.say)

    def record_stage(self, stage: str, records: dict[str, Record]) -> None:
        """Store the sum of the records in run.json."""
        self.state.set_stage(stage, summarise(records.values()))


def upstream_key(records: dict[str, Record], table: str) -> str:
    """Return a key of the contents of `table` over all units: what a later stage depends on."""
    return content_key([(name, record.tables[table].hash) for name, record in sorted(records.items())])
