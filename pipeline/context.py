"""What a stage is given: the configuration, the run's state, the engine, and how to speak."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.job import Engine, Job, Say, content_key, run_job, survey
from pipeline.progress import Progress
from pipeline.run_state import RunState, summarise
from transforms.commit import Record, load_records
from transforms.unit import WorkUnit

# The entries of run.json by stage, in the order in which they come about.
ENTRIES_OF = {
    "clean": ("clean",),
    "dedup": ("dedup",),
    "tokenize": ("tokenizer", "tokenize", "shards"),
    "pretrain": ("pretrain",),
}
ENTRIES = tuple(entry for entries in ENTRIES_OF.values() for entry in entries)


@dataclass(kw_only=True, slots=True)
class RunContext:
    """Handed to the stage functions; `may_run` is false for stages before --from, which must be complete already."""

    config: Config
    state: RunState
    engine: Engine
    say: Say
    progress: Progress
    may_run: bool = True
    num_units_run: int = 0
    committed: dict[str, dict[str, Record]] = field(default_factory=dict)  # by job

    @property
    def out(self) -> str:
        """The output directory."""
        return self.config.output

    def run_job(
        self, stage: str, job: Job, units: Sequence[WorkUnit], *, before: Callable[[], None] = lambda: None
    ) -> dict[str, Record]:
        """Bring `units` to their committed state; `stage` is the command that the user knows.

        A unit's key says what is its own: settings, and what no other unit reads. What the job reads is added here.
        `before` is called first where there is a unit to work on.

        Raises:
            UserError: units are missing, but the stage lies before --from.
        """
        if job.reads:
            read = [upstream_key(self.committed[name], table) for name, table in job.reads]
            units = [unit._replace(key=content_key(unit.key, read)) for unit in units]
        found = survey(self.out, job.stage, units)
        if (found.pending or found.dropped) and not self.may_run:
            raise UserError(
                f"{stage} is not complete for this configuration ({job.stage}: {len(found.pending)} of {len(units)}"
                f" units missing or stale, {len(found.dropped)} to be removed); run `gristmill {stage}` first"
            )
        self.num_units_run += len(found.pending) + len(found.dropped)
        if found.num_stale or found.dropped:
            self.say_changes()
        if found.pending:
            before()
        self.committed[job.stage] = run_job(self.engine, self.out, job, units, self.say, found)
        return self.committed[job.stage]

    def say_changes(self) -> None:
        """Say once what has changed since the last run, before the first thing that is made again for it."""
        if self.state.changes:
            self.say(f"changed since the last run: {', '.join(self.state.changes)}")
            self.state.changes = []

    def record_stage(self, stage: str, records: dict[str, Record]) -> None:
        """Store the sum of the records in run.json."""
        self.set_stage(stage, summarise(records.values()))

    def set_stage(self, stage: str, entry: dict[str, Any]) -> None:
        """Store a stage's entry; entries of later stages no longer describe this run if it changed."""
        if self.state.set_stage(stage, entry):
            self.state.drop_stages(ENTRIES[ENTRIES.index(stage) + 1 :])


def upstream_key(records: dict[str, Record], table: str) -> str:
    """Return a key of the contents of `table` over all units: what a later stage depends on."""
    return content_key([(name, record.tables[table].hash) for name, record in sorted(records.items())])


def survivor_keys(out: str) -> dict[str, str]:
    """Return a key of the surviving documents of each unit: the files of its documents, deletions and cuts."""
    documents, deduplicated = load_records(out, "clean"), load_records(out, "dedup")
    keys = {}
    for name, record in documents.items():
        tables = deduplicated[name].tables
        taken = [tables[table].hash for table in ("deletions", "cuts") if table in tables]
        keys[name] = content_key(record.tables["documents"].hash, *taken)
    return keys
