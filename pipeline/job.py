"""A job: a Beam graph over work units, and bringing all of its units to their committed state.

Committed units are left out here, by the driver; a DoFn that skipped them would lose their counts.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from pipeline.errors import RunFailed
from transforms.commit import Record, is_intact, load_records, remove_unit
from transforms.unit import WorkUnit, part_name, planned_name

Say = Callable[[str], None]
Units = Any  # a PCollection of WorkUnit: its class would bring Beam, and the parent of a local run does without


class Job(NamedTuple):
    """A Beam graph by reference (a module-level function), and what it needs beside the units.

    Every unit may read the whole of `reads`, tables of jobs before this one, and is valid for their contents alone.
    """

    stage: str
    graph: Callable[[Units, Any], Any]  # given the context; what it takes of Beam it imports itself
    context: Any
    reads: tuple[tuple[str, str], ...] = ()  # (job, table)


class Engine(Protocol):
    """Executes the units of a job; returns when each of them is committed, or raises RunFailed."""

    def execute(self, job: Job, units: Sequence[WorkUnit]) -> None:
        """Run `job` over `units`."""


def each_unit(units: Units, *, function: Callable[[WorkUnit, Any], None], context: Any) -> None:
    """Make `function(unit, context)` the whole graph; it reads, computes and commits by itself."""
    from transforms.each_unit import EachUnit  # noqa: PLC0415 - Beam

    units | EachUnit(function=function, context=context)


def content_key(*parts: Any) -> str:
    """Return a short hash of JSON-serialisable values: the key under which an output is valid."""
    payload = json.dumps(parts, sort_keys=True, default=str).encode()
    return hashlib.blake2b(payload, digest_size=12).hexdigest()


class Survey(NamedTuple):
    """What lies in an output directory of a job, compared with what is planned."""

    committed: dict[str, Record]
    pending: list[WorkUnit]
    num_stale: int  # of the pending ones: committed under another key
    dropped: list[Record]  # committed units that are no longer planned


def survey(out: str, stage: str, units: Sequence[WorkUnit]) -> Survey:
    """Compare what lies in `out` with the planned units; one counts if its record has its key and its files exist."""
    existing = load_records(out, stage)
    committed: dict[str, Record] = {}
    pending = []
    for unit in units:
        records = _complete(unit, existing)
        if records and all(is_intact(out, record) for record in records):
            committed |= {record.unit: record for record in records}
        else:
            pending.append(unit)
    num_stale = sum(unit.name in existing and existing[unit.name].key != unit.key for unit in pending)
    planned = {unit.name for unit in units}
    streams = {unit.name: unit.key for unit in units if unit.is_stream}
    dropped = [
        record
        for record in existing.values()
        if record.unit not in planned and streams.get(planned_name(record.unit)) != record.key
    ]
    return Survey(committed, pending, num_stale, dropped)


def _complete(unit: WorkUnit, records: dict[str, Record]) -> list[Record]:
    """Return the records of a unit, those of a stream's parts first; nothing unless all are there and have its key."""
    own = records.get(unit.name)
    num_parts = own.number - unit.number if own and unit.is_stream else 0
    names = [*(part_name(unit.name, number) for number in range(num_parts)), unit.name]
    found = [records[name] for name in names if name in records and records[name].key == unit.key]
    return found if len(found) == len(names) else []


def run_job(
    engine: Engine, out: str, job: Job, units: Sequence[WorkUnit], say: Say, found: Survey | None = None
) -> dict[str, Record]:
    """Bring every unit of `job` to its committed state and return the records by unit name, a stream's parts included.

    Committed units are left alone; units that are no longer planned are removed with their tables, and so are parts of
    a stream that were made under another key.

    Raises:
        RunFailed: the engine ended without committing all of them.
    """
    found = found or survey(out, job.stage, units)
    if found.dropped:
        say(f"{job.stage}: {len(found.dropped)} units are no longer planned and are removed")
    for record in found.dropped:
        remove_unit(out, record)
    if found.num_stale:
        say(
            f"{job.stage}: {found.num_stale} of {len(units)} units are stale"
            " (configuration, input or versions changed), making them again"
        )
    if not found.pending:
        return found.committed
    engine.execute(job, found.pending)
    records = load_records(out, job.stage)
    complete = {unit.name: _complete(unit, records) for unit in units}
    missing = [name for name, found_records in complete.items() if not found_records]
    if missing:
        raise RunFailed(f"{job.stage}: {len(missing)} units were not committed, first {missing[0]}")
    return {record.unit: record for found_records in complete.values() for record in found_records}
