"""A job: a Beam graph over work units, and bringing all of its units to their committed state.

Committed units are left out here, by the driver; a DoFn that skipped them would lose their counts.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from pipeline.errors import RunFailed
from transforms.commit import Record, is_intact, load_records, remove_unit
from transforms.unit import WorkUnit

Say = Callable[[str], None]


class Job(NamedTuple):
    """A Beam graph by reference (a module-level function), and what it needs beside the units."""

    stage: str
    graph: Callable[[Any, Any], Any]  # (PCollection[WorkUnit], context); no Beam here, so that workers start quietly
    context: Any


class Engine(Protocol):
    """Executes the units of a job; returns when each of them is committed, or raises RunFailed."""

    def execute(self, job: Job, units: Sequence[WorkUnit]) -> None:
        """Run `job` over `units`."""


def content_key(*parts: Any) -> str:
    """Return a short hash of JSON-serialisable values: the key under which an output is valid."""
    payload = json.dumps(parts, sort_keys=True, default=str).encode()
    return hashlib.blake2b(payload, digest_size=12).hexdigest()


def run_job(engine: Engine, out: str, job: Job, units: Sequence[WorkUnit], say: Say) -> dict[str, Record]:
    """Bring every unit of `job` to its committed state and return the records by unit name.

    Units whose record carries their key and whose files are intact are left alone; records of units that are no longer
    planned are removed with their tables.
    """
    planned = {unit.name: unit for unit in units}
    existing = load_records(out, job.stage)
    for record in existing.values():
        if record.unit not in planned:
            remove_unit(out, record)
    stale = sum(name in existing and existing[name].key != unit.key for name, unit in planned.items())
    if stale:
        say(f"{job.stage}: {stale} of {len(units)} units are stale (configuration or input changed), making them again")
    committed = committed_units(out, job.stage, units)
    pending = [unit for unit in units if unit.name not in committed]
    if pending:
        engine.execute(job, pending)
    records = load_records(out, job.stage)
    missing = [name for name, unit in planned.items() if name not in records or records[name].key != unit.key]
    if missing:
        raise RunFailed(f"{job.stage}: {len(missing)} units were not committed, first {missing[0]}")
    return {unit.name: records[unit.name] for unit in units}


def committed_units(out: str, stage: str, units: Sequence[WorkUnit]) -> set[str]:
    """Return the names of the units whose record carries their key and whose files are still there."""
    records = load_records(out, stage)
    return {
        unit.name
        for unit in units
        if (record := records.get(unit.name)) is not None and record.key == unit.key and is_intact(out, record)
    }
