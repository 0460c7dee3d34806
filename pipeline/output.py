"""The output directory of a run as it lies on disk: run.json, commit records and tables, read and never written."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.job import content_key
from pipeline.run_state import VERSION
from transforms import storage
from transforms.commit import Record, load_records, map_table, read_batches, read_table
from transforms.documents import surviving_batches
from transforms.fingerprint import exact_words
from transforms.schema import DOCUMENT, split_doc_id
from transforms.unit import part_name, planned_name

_KEYS = {"version", "stages", "config", "versions", "plan"}
SAMPLED_UNITS = 64  # 16 GB of text at most are read for a sample, however large the run


class Output:
    """One run. A stage counts as there if run.json has its entry: records of a stage made stale may still lie about."""

    def __init__(self, out: str, *, most_units: int = SAMPLED_UNITS) -> None:
        """Open the run in `out`; samples are drawn from at most `most_units` units.

        Raises:
            UserError: there is none, or another version made it.
        """
        self.out, self._most_units = out, most_units
        try:
            self.run: dict[str, Any] = storage.read_json(storage.join(out, "run.json"))
        except (NotADirectoryError, ImportError, ValueError):
            self.run = {}
        if not isinstance(self.run, dict) or not self.run.keys() >= _KEYS:
            raise UserError(f"{out} holds no run.json; give the output directory of a run")
        if self.run["version"] != VERSION:
            raise UserError(f"{out} was made by another version of gristmill; run it again into another output")
        self.stages: dict[str, Any] = self.run["stages"]
        self.config: dict[str, Any] = self.run["config"]
        self._records: dict[str, dict[str, Record]] = {}

    def records(self, stage: str) -> dict[str, Record]:
        """Return the commit records of a stage by unit.

        Raises:
            RuntimeError: one that run.json counts is gone.
        """
        found, expected = self.committed(stage), self.num_units(stage)
        if len(found) < expected:
            first = f", first {names[0]}" if (names := self._missing(stage)) else ""
            raise RuntimeError(
                f"{self.out}: {expected - len(found)} of {expected} commit records of {stage} are missing{first};"
                " repeat the run"
            )
        return found

    def committed(self, stage: str) -> dict[str, Record]:
        """Return the commit records that lie there, whether they are all or not.

        Raises:
            RuntimeError: one cannot be read.
        """
        if stage not in self._records:
            try:
                self._records[stage] = load_records(self.out, stage)
            except (TypeError, KeyError, AttributeError):
                raise RuntimeError(
                    f"{self.out}/units/{stage} holds a commit record that cannot be read; delete it and repeat the run"
                ) from None
        return self._records[stage]

    def num_units(self, stage: str) -> int:
        """Return how many commit records run.json counts for a stage or a directory of shards; 0 where it does not."""
        entry = self.stages.get(stage) or self.stages.get("shards", {}).get("other_lengths", {}).get(stage, {})
        return int(entry.get("units", 0))

    def _missing(self, stage: str) -> list[str]:
        """Return names of units without a record, as far as they can be told: a lost part of a stream is not."""
        planned = (
            [unit["name"] for unit in self.run["plan"]["units"]] if stage in ("clean", "dedup", "tokenize") else []
        )
        return [name for name in planned if name not in self.committed(stage)]

    def record(self, stage: str, unit: str) -> Record:
        """Return the commit record of a unit that the stage must have.

        Raises:
            RuntimeError: it is gone.
        """
        if unit not in self.records(stage):
            raise RuntimeError(f"{self.out}: the commit record of {stage} {unit} is missing; repeat the run")
        return self.records(stage)[unit]

    @property
    def state(self) -> str:
        """A hash of all tables of the stages before training; what was measured of another state says nothing of it."""
        return content_key(
            {name: entry.get("column_hashes") for name, entry in self.stages.items() if name != "pretrain"}
        )

    @cached_property
    def shards(self) -> dict[str, dict[str, Any]]:
        """The counts by split of each directory of shards, one for each length of rows; empty before there are any."""
        entry = self.stages.get("shards")
        if entry is None:
            return {}
        return {
            "shards": entry["counts"],
            **{name: other["counts"] for name, other in entry.get("other_lengths", {}).items()},
        }

    def has(self, stage: str) -> bool:
        """Whether the stage has ended for what the stages before it committed."""
        return stage in self.stages

    @cached_property
    def source_of(self) -> dict[str, str]:
        """The name of the source of each committed unit; the parts of a stream are units of their own."""
        planned = {unit["name"]: unit["slices"][0][0] for unit in self.run["plan"]["units"]}
        return {name: planned[planned_name(name)] for name in self.records("clean")}

    def deleted(self, unit: str) -> NDArray[np.int64]:
        """Return the ids that the dedup stage deleted from a unit, ascending."""
        if not self.has("dedup"):
            return np.zeros(0, np.int64)
        return read_table(self.out, self.record("dedup", unit), "deletions").column("doc_id").to_numpy()

    def documents(self, unit: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the batches of `documents/` of a unit, deleted ones included."""
        return read_batches(self.out, self.record("clean", unit), "documents", columns=columns)

    def surviving(self, unit: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Return the surviving documents of a unit, batch by batch; `columns` must hold doc_id."""
        return surviving_batches(self.out, unit, columns) if self.has("dedup") else self.documents(unit, columns)

    def signatures(self, unit: str) -> pa.Table:
        """Return the signatures of the surviving documents of a unit; mapped while nothing is deleted."""
        table = map_table(self.out, self.record("clean", unit), "signatures")
        kept_N = ~np.isin(table.column("doc_id").to_numpy(), self.deleted(unit), assume_unique=True)
        return table if kept_N.all() else table.filter(pa.array(kept_N))

    def sampled_units(self) -> list[str]:
        """Return units with documents, drawn by a hash of their names, in their order."""
        return self.drawn([name for name, record in self.records("clean").items() if record.rows("documents")])

    def drawn(self, names: Sequence[str]) -> list[str]:
        """Return at most as many of the names as units are sampled, drawn by their hash, in their order."""
        drawn = sorted(names, key=lambda name: (xxhash.xxh3_64_intdigest(name.encode()), name))[: self._most_units]
        return [name for name in names if name in set(drawn)]

    def sample(self, count: int) -> pa.Table:
        """Return `count` surviving documents (schema DOCUMENT) drawn by their content: the same ones every time."""
        hashes, ids, owners = [], [], []
        for number, unit in enumerate(units := self.sampled_units()):
            signed = self.signatures(unit)
            hash_N = np.concatenate(
                [np.zeros(0, np.uint64), *(exact_words(chunk)[:, 1] for chunk in signed.column("exact").chunks)]
            )
            first_N = np.argsort(hash_N, kind="stable")[:count]
            hashes.append(hash_N[first_N])
            ids.append(signed.column("doc_id").to_numpy()[first_N])
            owners.append(np.full(len(first_N), number))
        if not ids:
            return DOCUMENT.empty_table()
        hash_S, id_S, owner_S = (np.concatenate(parts) for parts in (hashes, ids, owners))
        drawn_S = np.lexsort((id_S, hash_S))[:count]
        found = [DOCUMENT.empty_table()]
        for number, unit in enumerate(units):
            ids_S = id_S[drawn_S[owner_S[drawn_S] == number]]
            found.append(_select(self.surviving(unit) if len(ids_S) else iter(()), ids_S))
        return pa.concat_tables(found).combine_chunks()

    def units_of(self, doc_id: int) -> list[str]:
        """Return the committed units that can hold an id: those with a slice of its file or, of a stream, its part."""
        place = split_doc_id(doc_id)
        planned = self._units_of_file.get(place.file, [])
        names = [name for unit in planned for name in (part_name(unit, place.part), unit)]
        committed = self.records("clean")
        return [name for name in names if name in committed]

    @cached_property
    def _units_of_file(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for unit in self.run["plan"]["units"]:
            for file in dict.fromkeys(part[2] for part in unit["slices"]):
                found.setdefault(file, []).append(unit["name"])
        return found

    def find(self, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Return the rows of `documents/` with these ids, deleted ones too; absent ids are left out."""
        wanted: dict[str, list[int]] = {}
        for doc_id in ids:
            for unit in self.units_of(doc_id):
                wanted.setdefault(unit, []).append(doc_id)
        rows = [
            row for unit, some in wanted.items() for row in _select(self.documents(unit), np.array(some)).to_pylist()
        ]
        return {row["doc_id"]: row for row in rows}


def _select(batches: Iterator[pa.RecordBatch], ids_S: NDArray[np.int64]) -> pa.Table:
    """Return the rows with these ids, in the order of the file."""
    found = [DOCUMENT.empty_table()]
    for batch in batches:
        wanted_N = np.isin(batch.column("doc_id").to_numpy(), ids_S)
        if wanted_N.any():
            found.append(pa.Table.from_batches([batch.filter(pa.array(wanted_N))]))
    return pa.concat_tables(found)
