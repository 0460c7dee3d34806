"""`run.json`: configuration, versions, plan, and per stage the sum of the unit records.

Beam counters are not the accounting: a repeated bundle counts twice, and some runners count the last attempt only.
"""

import contextlib
import errno
import fcntl
import importlib.metadata
import json
import platform
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any, Self

import xxhash

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.job import content_key
from pipeline.plan import EMPTY_PLAN, Plan
from transforms import storage
from transforms.commit import Record, check_accounting
from transforms.counts import add_counts, sorted_counts

VERSION = 1
_LOCK_TRIES, _LOCK_WAIT_S = 10, 0.05  # `gristmill status` holds it for a moment to see whether it is free
_MOST_SHOWN = 60  # characters of a value that has changed
_LIBRARIES = (
    *("apache-beam", "pyarrow", "numpy", "numba", "tokenizers", "sentencepiece", "datasets", "datasketch"),
    *("langdetect", "fasttext-predict", "ftfy", "publicsuffixlist", "resiliparse", "trafilatura"),
    *("mwparserfromhell", "torch"),
)


def library_versions(*names: str) -> dict[str, str]:
    """Return the installed versions of libraries and of this Python's Unicode tables, as part of a stage's key."""
    return {"unicode": unicodedata.unidata_version, **{name: importlib.metadata.version(name) for name in names}}


def versions() -> dict[str, str]:
    """Return all versions worth knowing, for run.json."""
    found = {"python": platform.python_version()}
    for name in ("gristmill", *_LIBRARIES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def summarise(records: Iterable[Record]) -> dict[str, Any]:
    """Return a stage's entry: summed counts, logical column hashes over all units, seconds, bytes, peak RSS."""
    counts: dict[str, Any] = {}
    hashes: dict[str, dict[str, Any]] = {}
    sizes: dict[str, int] = {}
    seconds = 0.0
    peak = units = 0
    for record in records:
        units += 1
        add_counts(counts, record.counts)
        seconds += record.seconds
        peak = max(peak, record.peak_rss_bytes)
        for name, table in sorted(record.tables.items()):
            sizes[name] = sizes.get(name, 0) + table.bytes
            for column, digest in table.columns.items():
                columns = hashes.setdefault(name, {})
                columns.setdefault(column, xxhash.xxh3_128()).update(f"{record.unit} {digest}\n".encode())
    check_accounting(counts, "the sum of all units")
    digests = {table: {name: h.hexdigest() for name, h in found.items()} for table, found in sorted(hashes.items())}
    return {
        "units": units,
        "counts": sorted_counts(counts),
        "column_hashes": digests,
        "bytes": sizes,
        "seconds": round(seconds, 3),
        "peak_rss_bytes": peak,
    }


class RunState:
    """The state of one output directory, rewritten atomically after each step. Holds the lock while it is open."""

    def __init__(self, config: Config) -> None:
        self.out = config.output
        self._config = config
        self._lock = lock(self.out)
        storage.remove_private(self.out)
        try:
            stored = storage.read_json(storage.join(self.out, "run.json")) or {}
        except (ImportError, ValueError) as error:  # a protocol that fsspec does not know, or whose package is missing
            raise UserError(f"output {self.out}: {' '.join(str(error).split())}") from None
        if stored and (not isinstance(stored, dict) or stored.get("version") != VERSION):
            raise UserError(f"{self.out} was made by another version of gristmill; choose another output")
        self._stages: dict[str, Any] = stored.get("stages", {})
        self._stored = stored
        self.changes = changes(stored, config)
        self.plan = Plan.from_json(stored["plan"]) if "plan" in stored else EMPTY_PLAN

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.close()

    @property
    def stages(self) -> Mapping[str, Any]:
        """The entries of the stages that have ended, by name."""
        return self._stages

    def set_config(self) -> bool:
        """Store the configuration if another one is stored, and say whether it was: some keys make nothing again."""
        if self._stored.get("config") == self._config.model_dump(mode="json"):
            return False
        self._save()
        return True

    def set_plan(self, plan: Plan) -> None:
        """Store the plan before the first unit is read."""
        if plan != self.plan or not storage.read_json(storage.join(self.out, "run.json")):
            self.plan = plan
            self._save()

    def set_stage(self, stage: str, entry: Mapping[str, Any]) -> bool:
        """Store a stage's entry and say whether it changed; nothing is written otherwise."""
        changed = self._stages.get(stage) != entry
        if changed:
            self._stages[stage] = dict(entry)
            self._save()
        return changed

    def drop_stages(self, stages: Iterable[str]) -> None:
        """Forget entries that no longer describe what lies in the directory."""
        dropped = [self._stages.pop(stage) for stage in stages if stage in self._stages]
        if dropped:
            self._save()

    def _save(self) -> None:
        config = self._config.model_dump(mode="json")
        self._stored = {
            "version": VERSION,
            "config": config,
            "config_hash": content_key(config),
            "versions": versions(),
            "stages": self._stages,
            "plan": self.plan.to_json(),
        }
        storage.write_json(storage.join(self.out, "run.json"), self._stored)


def changes(stored: Mapping[str, Any], config: Config) -> list[str]:
    """Return the keys of the configuration and the versions that are others than in run.json."""
    return [
        *differences(stored.get("config"), config.model_dump(mode="json")),
        *(f"version of {text}" for text in differences(stored.get("versions"), versions())),
    ]


def differences(before: Any, now: dict[str, Any], where: str = "") -> Iterator[str]:
    """Yield `key (old -> new)` for each value that differs in two objects of JSON; a key that one lacks is passed over.

    What was stored by a version without a key had what is now its default.
    """
    for key, value in now.items() if isinstance(before, dict) else ():
        if key not in before or before[key] == value:
            continue
        name, old = f"{where}{key}", before[key]
        parts = [(f"{name}.", old, value)]
        if isinstance(old, list) and isinstance(value, list) and len(old) == len(value):
            parts = [(f"{name}.{number}.", a, b) for number, (a, b) in enumerate(zip(old, value, strict=True))]
        if all(isinstance(a, dict) and isinstance(b, dict) for _, a, b in parts):
            for place, a, b in parts:
                yield from differences(a, b, place)
        else:
            yield f"{name} ({_short(old)} -> {_short(value)})"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def lock(out: str) -> IO[str] | None:
    """Take a directory that is written to for this process; an object store has no lock to take.

    Raises:
        UserError: another process holds it, or it cannot be written to.
    """
    if not storage.is_local(out):
        return None
    path = storage.local_path(out)
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle = (path / ".lock").open("a")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):  # no mistake of the user's
            raise
        raise UserError(f"cannot write to output {out}: {error.strerror}") from None
    for _ in range(_LOCK_TRIES):
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        time.sleep(_LOCK_WAIT_S)
    handle.close()
    raise UserError(f"another gristmill is working on {out}; wait for it or choose another output")
