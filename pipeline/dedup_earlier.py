"""Earlier runs that this one is deduplicated against: their signatures are read, their text is not."""

import dataclasses
import os
from typing import Any

from pipeline.errors import UserError
from pipeline.sections import Dedup
from transforms import storage
from transforms.commit import Record, load_records
from transforms.unit import planned_name


@dataclasses.dataclass(frozen=True, kw_only=True)
class EarlierRun:
    """The committed units of a run, in the order in which it numbered its documents."""

    out: str
    records: tuple[Record, ...]
    priorities: tuple[int, ...]  # of each unit's source


def load_earlier(out: str, dedup: Dedup, own: str) -> EarlierRun:
    """Return the run in the directory `out`, for a run that writes into `own`.

    Raises:
        UserError: it is this run or no run, its dedup is not complete, it was made with other settings, or it was
            itself deduplicated against this run or one that this run does not name.
    """
    if _resolved(out) == _resolved(own):
        raise UserError(f"dedup.against {out}: this is the output of the run itself, every document would be a copy")
    run = storage.read_json(storage.join(out, "run.json"))
    if not isinstance(run, dict) or "dedup" not in run.get("stages", {}):
        raise UserError(
            f"dedup.against {out}: no finished dedup there; run `gristmill dedup` on its configuration first"
        )
    _check_settings(out, run["config"]["dedup"], dedup, own)
    clean, done = load_records(out, "clean"), load_records(out, "dedup")
    if clean.keys() != done.keys():
        raise UserError(
            f"dedup.against {out}: {len(clean)} units are clean, {len(done)} deduplicated; run it to its end"
        )
    priority = {source["name"]: source["priority"] for source in run["config"]["sources"]}
    source_of = {unit["name"]: unit["slices"][0][0] for unit in run["plan"]["units"]}
    ranked = by_priority({name: priority[source_of[planned_name(name)]] for name in clean}, clean)
    return EarlierRun(
        out=out,
        records=tuple(record for record, _ in ranked),
        priorities=tuple(priority for _, priority in ranked),
    )


def by_priority(priority: dict[str, int], records: dict[str, Record]) -> list[tuple[Record, int]]:
    """Return the records with their priorities, the highest first, then by number: the order of dense indices."""
    ranked = [(record, priority[name]) for name, record in records.items()]
    return sorted(ranked, key=lambda item: (-item[1], item[0].number))


def _resolved(out: str) -> str:
    """Return one name for all that a directory has: relative, with a slash behind it, through a link."""
    return os.path.realpath(out.removeprefix("file://")) if storage.is_local(out) else out.rstrip("/")


def _check_settings(out: str, theirs: dict[str, Any], ours: Dedup, own_out: str) -> None:
    named = {_resolved(run) for run in ours.against}
    missing = [run for run in theirs.get("against", ()) if _resolved(run) not in named]
    if _resolved(own_out) in {_resolved(run) for run in theirs.get("against", ())}:
        raise UserError(
            f"dedup.against {out}: it was deduplicated against this run, and has none of its documents; leave it out"
        )
    if missing:
        raise UserError(f"dedup.against {out}: it was deduplicated against {missing[0]}; name that run too")
    own = ours.model_dump(mode="json")
    for key in ("exact", "url", "minhash"):
        if theirs.get(key) != own[key]:
            raise UserError(f"dedup.against {out}: its dedup.{key} is {theirs.get(key)}, this run's is {own[key]}")
