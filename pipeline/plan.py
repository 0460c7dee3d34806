"""The plan: which files there are, their numbers, and how they are cut into work units.

No file is opened, but for a look into long compressed ones of the formats that can be cut at their members. File
numbers and units are appended, never renumbered, when a pattern matches more: document ids stay what they were.
"""

import contextlib
import dataclasses
import errno
import importlib.metadata
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.errors import RunFailed, UserError
from pipeline.job import content_key
from transforms.readers.listing import FileEntry, fits, list_files, slices
from transforms.readers.remote import is_url
from transforms.readers.source import Source
from transforms.schema import MAX_FILES, MAX_PARTS
from transforms.unit import Slice, WorkUnit

_SHARE, _LEAST, _MOST = 256, 16 << 20, 256 << 20  # of the corpus, and bytes: a unit where its size is not given
_LOOKS = 16  # at files at once: 90,000 of a crawl behind a server that takes 50 ms
# What a run writes to its output, beside rows of further lengths in shards-8192/.
_WRITTEN = (
    *("documents", "signatures", "statistics", "rejected", "deletions", "clusters", "cuts", "superseded"),
    *("contaminated", "evaluation", "tokenizer", "tokens", "shards", "checkpoints", "model", "pretrain", "report"),
    *("units", "work", "run.json", "progress.json", "README.md", "check.json", "check.md", "check.xml"),
)
READ_VERSION = 4  # raised when a reader's output changes for the same bytes

# What else finds or decodes the text of a format; Arrow's version is part of the stage's key.
_READ_BY = {
    "text": ("resiliparse",),
    "gutenberg": ("resiliparse",),
    "warc": ("resiliparse",),
    "wet": ("resiliparse",),
    "mediawiki": ("mwparserfromhell",),
    "datasets": ("datasets",),
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PlannedUnit:
    """A unit without its key: the key also depends on the configuration of the stage."""

    name: str
    number: int
    slices: tuple[Slice, ...]

    @property
    def bytes(self) -> int:
        """Bytes as stored (compressed where the file is)."""
        return sum(part.bytes for part in self.slices)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Units in order, and the next free numbers."""

    units: tuple[PlannedUnit, ...]
    next_file: int
    next_unit: int
    hub: dict[str, str]  # source -> key of what was asked of a hub, whose answer (the commit in the paths) is kept

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form stored in run.json."""
        units = [{"name": u.name, "number": u.number, "slices": [list(part) for part in u.slices]} for u in self.units]
        return {"next_file": self.next_file, "next_unit": self.next_unit, "hub": self.hub, "units": units}

    @staticmethod
    def from_json(value: dict[str, Any]) -> "Plan":
        """Read the JSON form."""
        units = tuple(
            PlannedUnit(name=unit["name"], number=unit["number"], slices=tuple(Slice(*part) for part in unit["slices"]))
            for unit in value["units"]
        )
        return Plan(units=units, next_file=value["next_file"], next_unit=value["next_unit"], hub=value["hub"])


EMPTY_PLAN = Plan(units=(), next_file=0, next_unit=0, hub={})


def make_plan(sources: Sequence[Source], unit_bytes: int | None, previous: Plan = EMPTY_PLAN) -> Plan:
    """Return the plan for the files that match now.

    Files known to `previous` keep their numbers and units; a vanished file leaves its unit, a changed one changes the
    slice's size and etag and so the unit's key; new files make new units at the end.

    Without `unit_bytes` they are a share of what there is: at the end of a job a worker waits for the others' last
    units, and a unit costs 2 to 4 ms of processor time.

    Raises:
        UserError: a pattern matches nothing, a file may not be read, or there are more than 2^25 files.
        RunFailed: a server or disk does not answer.
    """
    found: dict[tuple[str, str], FileEntry] = {}
    hub = {}
    for source in sources:
        asked = content_key(source.format, source.path, source.config, source.split, source.revision)
        if _is_hub(source):
            hub[source.name] = asked
        if previous.hub.get(source.name) == asked:
            entries = _known_files(previous, source.name)
        else:
            with _told_of(source):
                entries = list_files(source)
        found.update({(source.name, entry.path): entry for entry in entries})
    if unit_bytes is None:
        unit_bytes = min(max(sum(entry.size for entry in found.values()) // _SHARE, _LEAST), _MOST)
    kept = [_refreshed(unit, found, {source.name: source for source in sources}) for unit in previous.units]
    known = {(part.source, part.path) for unit in kept for part in unit.slices}
    units = [unit for unit in kept if unit.slices]
    next_file, next_unit = previous.next_file, previous.next_unit
    for source in sources:
        new = [entry for (name, path), entry in found.items() if name == source.name and (name, path) not in known]
        with _told_of(source):
            cut = _cut(source, new, unit_bytes, next_file)
        for parts in cut:
            units.append(PlannedUnit(name=f"{source.name}-{next_unit:06d}", number=next_unit, slices=tuple(parts)))
            next_unit += 1
        next_file += len(new)
    if next_file > MAX_FILES:
        raise UserError(f"{next_file} files; at most {MAX_FILES} fit into document ids, join small files first")
    return Plan(units=tuple(units), next_file=next_file, next_unit=next_unit, hub=hub)


@contextlib.contextmanager
def _told_of(source: Source) -> Iterator[None]:
    """Raise what a source's files raise in one line that names the source."""
    try:
        yield
    except (ValueError, OSError) as error:
        # A server that is down is no mistake: who repeats the command on exit code 3 gets over it.
        is_down = isinstance(error, OSError) and error.errno == errno.EIO
        raise (RunFailed if is_down else UserError)(f"source {source.name}: {error}") from None


def _is_hub(source: Source) -> bool:
    """Whether the files are those of a commit: asked for once, so that a resumed run reads the same ones.

    It is asked again when the source changes, and once for a plan whose key of it was made of other fields, before the
    format was one: what was read may then be that of a newer commit.
    """
    return source.path.startswith("hf://") or (source.format == "datasets" and not Path(source.path).exists())


def _known_files(plan: Plan, source: str) -> list[FileEntry]:
    parts = {part.path: part for unit in plan.units for part in unit.slices if part.source == source}
    return [FileEntry(part.path, part.size, part.etag) for part in parts.values()]


def _refreshed(unit: PlannedUnit, found: dict[tuple[str, str], FileEntry], sources: dict[str, Source]) -> PlannedUnit:
    """Drop slices of vanished files and take size and etag as they are now.

    A file that was cut into ranges and has another size now is dropped too, and so planned as a new one: its old cuts
    would overlap or leave a rest. So is one that was cut for another format of its source: each of its cuts would be
    read as the whole file.
    """
    parts = []
    for part in unit.slices:
        entry = found.get((part.source, part.path))
        if entry is None or not fits(sources[part.source], part):
            continue
        if part.stop < 0 or part.size == entry.size:
            parts.append(part._replace(size=entry.size, etag=entry.etag))
    return dataclasses.replace(unit, slices=tuple(parts))


def _cut(source: Source, entries: Sequence[FileEntry], unit_bytes: int, first_file: int) -> list[list[Slice]]:
    """Cut new files into units of about `unit_bytes`: ranges of a large splittable file, or groups of small files."""
    units: list[list[Slice]] = []
    group: list[Slice] = []
    group_bytes = 0
    cut = partial(slices, source, unit_bytes=unit_bytes)
    with ThreadPoolExecutor(_LOOKS) as pool:
        found = list(pool.map(lambda item: cut(item[1], file=item[0]), enumerate(entries, first_file)))
    for entry, parts in zip(entries, found, strict=True):
        alone = len(parts) > 1 or parts[0].stream_bytes > 0 or entry.may_be_long
        if group and (alone or group_bytes + entry.size > unit_bytes):  # units stay in the order of document ids
            units.append(group)
            group, group_bytes = [], 0
        if alone:
            units += [[part] for part in parts]
            continue
        group += parts
        group_bytes += entry.size
    if group:
        units.append(group)
    return units


def check_outside(plan: Plan, out: str) -> None:
    """Refuse a plan that reads what the run itself has written: each repetition would read its documents once more.

    Only names that a run writes are refused: an output may lie above its sources, as the current directory does.

    Raises:
        UserError: the first such file, by its source.
    """
    root = os.path.join(_absolute(out), "")  # noqa: PTH118 - Path would make one slash of `s3://`
    for part in (part for unit in plan.units for part in unit.slices):
        path = _absolute(part.path)
        first = path[len(root) :].split("/")[0]
        if path.startswith(root) and (first in _WRITTEN or re.fullmatch(r"shards-\d+", first)):
            raise UserError(
                f"source {part.source}: {part.path} is what a run writes to its output, {out};"
                " choose another output, or a pattern that leaves it out"
            )


def _absolute(path: str) -> str:
    path = path.removeprefix("file://")
    return path.rstrip("/") if is_url(path) else os.path.abspath(path)  # noqa: PTH100 - Path takes ten times as long


def clean_units(plan: Plan, sources: Sequence[Source], stage_key: str) -> list[WorkUnit]:
    """Return the plan's units with their keys: the reader's versions and options, slices, the stage's configuration.

    The pattern is no part of it, since the slices name the files; nor are priority and weight, which act later.
    """
    source_of = {source.name: source for source in sources}
    units = []
    for unit in plan.units:
        names = sorted({part.source for part in unit.slices})
        readers = [
            {k: v for k, v in dataclasses.asdict(source_of[name]).items() if k not in ("path", "priority", "weight")}
            for name in names
        ]
        versions = [_reader_versions(source_of[name]) for name in names]
        key = content_key(READ_VERSION, stage_key, readers, versions, unit.slices)
        units.append(WorkUnit(unit.name, unit.number * MAX_PARTS, key, unit.slices))  # room for the parts of a stream
    return units


def _reader_versions(source: Source) -> dict[str, str]:
    libraries = (*_READ_BY.get(source.format, ()), *((source.extractor,) if source.extractor else ()))
    return {name: importlib.metadata.version(name) for name in libraries}
