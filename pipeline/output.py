"""The output directory of a run as it lies on disk: run.json, commit records and tables, read and never written."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.job import content_key
from pipeline.run_state import VERSION
from transforms import storage
from transforms.commit import Record, load_records
from transforms.committed import map_table, read_batches, read_table
from transforms.documents import surviving_batches
from transforms.fingerprint import exact_words
from transforms.schema import DOCUMENT, split_doc_id
from transforms.unit import Slice, part_name, planned_name

_KEYS = {"version", "stages", "config", "versions", "plan"}
SAMPLED_UNITS = 64  # 16 GB of text at most are read for a sample, however large the run, or a unit of each source
SAMPLE_BYTES = 1 << 27  # of text: 2,000 pages have 10 MB, as many books 1 GB, and what is measured takes as much again
DRAWN = "drawn"  # in the metadata of a sample


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
        """Return as many of the units as are sampled, drawn by the hash of their names, in their order.

        Of each source there is one, also where these are more: what nobody looks at passes every gate.
        """
        ordered = sorted(names, key=lambda name: (xxhash.xxh3_64_intdigest(name.encode()), name))
        drawn = set({self.source_of[name]: name for name in reversed(ordered)}.values())
        for name in ordered:
            if len(drawn) >= self._most_units:
                break
            drawn.add(name)
        return [name for name in names if name in drawn]

    def sample(self, count: int) -> pa.Table:
        """Return `count` surviving documents (schema DOCUMENT) drawn by their content: the same ones every time.

        Of these as many, in the order in which they are drawn, as have SAMPLE_BYTES of text, but one at least; the
        schema's metadata tells how many were drawn.
        """
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
        id_S, owner_S = id_S[drawn_S], owner_S[drawn_S]
        place_of = {doc_id: place for place, doc_id in enumerate(id_S.tolist())}
        bytes_S = np.zeros(len(id_S), np.int64)  # of the texts read so far
        found, num_kept = DOCUMENT.empty_table(), len(id_S)
        for number, unit in enumerate(units):
            own = id_S[:num_kept][owner_S[:num_kept] == number]
            for rows in _selected(self.surviving(unit), own) if len(own) else ():
                places = [place_of[doc_id] for doc_id in rows.column("doc_id").to_pylist()]
                bytes_S[places] = pc.binary_length(rows.column("text")).to_numpy()
                found = pa.concat_tables([found, rows])
                fitting = max(1, int(np.searchsorted(np.cumsum(bytes_S), SAMPLE_BYTES, side="right")))
                if fitting < num_kept:
                    num_kept = fitting
                    found = found.filter(pc.is_in(found.column("doc_id"), pa.array(id_S[:num_kept])))
        return found.combine_chunks().replace_schema_metadata({DRAWN: str(len(id_S))})

    def unit_of(self, doc_id: int) -> str | None:
        """Return the committed unit that an id is of: that with its part of its file, or that part of a stream."""
        place = split_doc_id(doc_id)
        unit = self._unit_of_part.get((place.file, place.part))
        if unit is None and (stream := self._stream_of_file.get(place.file)) is not None:
            unit = part_name(stream, place.part)
        return unit if unit in self.records("clean") else None

    @cached_property
    def _slices(self) -> list[tuple[str, Slice]]:
        return [(unit["name"], Slice(*part)) for unit in self.run["plan"]["units"] for part in unit["slices"]]

    @cached_property
    def _unit_of_part(self) -> dict[tuple[int, int], str]:
        return {(part.file, part.part): unit for unit, part in self._slices if not part.stream_bytes}

    @cached_property
    def _stream_of_file(self) -> dict[int, str]:
        return {part.file: unit for unit, part in self._slices if part.stream_bytes}

    def find(self, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Return the rows of `documents/` with these ids, deleted ones too; absent ids are left out."""
        wanted: dict[str, list[int]] = {}
        for doc_id in ids:
            if (unit := self.unit_of(doc_id)) is not None:
                wanted.setdefault(unit, []).append(doc_id)
        rows = [
            row
            for unit, some in wanted.items()
            for rows in _selected(self.documents(unit), np.array(some))
            for row in rows.to_pylist()
        ]
        return {row["doc_id"]: row for row in rows}


def _selected(batches: Iterator[pa.RecordBatch], ids_S: NDArray[np.int64]) -> Iterator[pa.Table]:
    """Yield the rows with these ids, in the order of the file."""
    for batch in batches:
        wanted_N = np.isin(batch.column("doc_id").to_numpy(), ids_S)
        if wanted_N.any():
            yield pa.Table.from_batches([batch.filter(pa.array(wanted_N))])
