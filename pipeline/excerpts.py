"""What the report quotes: sampled documents, kept and rejected, and near-duplicates beside their survivors."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.charts import NONE_LOST, Lost
from pipeline.output import Output
from transforms.commit import Record
from transforms.committed import read_batches, read_table
from transforms.schema import REJECTED
from transforms.twin import Change, word_changes

_KEPT, _PER_RULE, _PAIRS = 120, 15, 12
_CHARACTERS = 1500  # of a quoted document
_COMPARED, _CONTEXT = 20_000, 160  # characters of a text that is compared, and of an equal stretch at each end


def kept_documents(sample: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield the quoted survivors of a sample: evenly, since it is in the order of the units."""
    chosen = np.arange(0, sample.num_rows, max(1, -(-sample.num_rows // _KEPT)))
    for row in sample.take(chosen).to_pylist():
        yield _quoted(row, "kept", row["language"], row["text"], row["source"])


def _quoted(row: dict[str, Any], rule: str, language: str | None, text: str | None, source: str) -> dict[str, Any]:
    cut = text is not None and len(text) > _CHARACTERS
    return {
        "id": str(row["doc_id"]),  # JavaScript's numbers end at 2**53
        "rule": rule,
        "language": language,
        "source": source,
        "url": row["url"],
        "location": row["location"],
        "text": f"{text[:_CHARACTERS]} ..." if text is not None and cut else text,
        "value": row.get("value"),
        "threshold": row.get("threshold"),
    }


def _lots(rows: pa.Table) -> NDArray[np.uint64]:
    """Return the numbers that rows are drawn by, the smallest first: hashes of their ids."""
    return (rows.column("doc_id").to_numpy().astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(8)


class Rejections:
    """The ledger of rejected documents of the sampled units: a few rows of each rule, and what each rule measured."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.thresholds: dict[str, float] = {}
        self._measured: dict[str, list[NDArray[np.float64]]] = {}
        self._rows: dict[str, pa.Table] = {}  # of each rule, drawn by their ids, in the order in which they are drawn
        for stage in ("clean", "dedup"):
            if output.has(stage):
                self._read(stage)
        self.values = {rule: np.concatenate(parts) for rule, parts in self._measured.items()}

    def _read(self, stage: str) -> None:
        records = self._output.records(stage)
        for unit in self._output.drawn([name for name, record in records.items() if record.rows("rejected")]):
            for batch in read_batches(self._output.out, records[unit], "rejected", columns=REJECTED.names):
                self._add(pa.Table.from_batches([batch]))

    def _add(self, rows: pa.Table) -> None:
        lots_N = _lots(rows)
        for rule in pc.unique(rows.column("rule")).to_pylist():
            own_R = np.flatnonzero(pc.equal(rows.column("rule"), rule).to_numpy())
            value, threshold = (rows.column(name).take(own_R).drop_null() for name in ("value", "threshold"))
            self._measured.setdefault(rule, []).append(value.to_numpy())
            if len(threshold):
                self.thresholds[rule] = threshold[0].as_py()
            before = self._rows.get(rule, REJECTED.empty_table())
            if before.num_rows == _PER_RULE and lots_N[own_R].min() >= _lots(before)[-1]:
                continue  # as of most batches of a long ledger
            drawn_R = own_R[np.argsort(lots_N[own_R], kind="stable")[:_PER_RULE]]
            both = pa.concat_tables([before, rows.take(drawn_R)])
            self._rows[rule] = both.take(np.argsort(_lots(both), kind="stable")[:_PER_RULE])

    def scaled(self, rules: Sequence[str]) -> Lost:
        """Return what these rules measured, each value for as many documents of the run as it stands for."""
        parts = [(self.values[rule], self._num_rejected(rule)) for rule in rules if len(self.values[rule])]
        if not parts:
            return NONE_LOST
        weights = [np.full(len(values), number / len(values)) for values, number in parts]
        return Lost(np.concatenate([values for values, _ in parts]), np.concatenate(weights))

    def _num_rejected(self, rule: str) -> int:
        stages = (
            self._output.stages[stage]["counts"]["rejected"] for stage in ("clean", "dedup") if self._output.has(stage)
        )
        return sum(rejected.get(rule, 0) for rejected in stages)

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield the quoted rows; the text of what dedup deleted is still in documents/."""
        rows = [row for own in self._rows.values() for row in own.to_pylist()]
        documents = self._output.find([row["doc_id"] for row in rows if row["stage"] == "dedup"])
        for row in rows:
            document = documents.get(row["doc_id"], {})
            unit = self._output.unit_of(row["doc_id"])
            source = self._output.source_of[unit] if unit is not None else ""
            yield _quoted(row, row["rule"], row["language"], document.get("text", row["text"]), source)


def near_duplicates(output: Output) -> Iterator[dict[str, Any]]:
    """Yield near-duplicates of the largest clusters, each with the document that stands for it and how they differ."""
    if not output.has("dedup"):
        return
    records = output.records("dedup")
    sizes: dict[int, int] = {}
    worst: dict[int, dict[str, Any]] = {}
    for unit in output.sampled_units():
        sizes.update(_cluster_sizes(output, records[unit]))
        deleted = read_table(output.out, records[unit], "deletions")
        near = pc.and_(pc.equal(deleted.column("reason"), "minhash"), pc.is_null(deleted.column("twin_run")))
        for row in deleted.filter(near).to_pylist():
            if row["similarity"] < worst.get(row["twin_id"], {"similarity": 2.0})["similarity"]:
                worst[row["twin_id"]] = row
    chosen = sorted(worst.values(), key=lambda row: (-sizes.get(row["twin_id"], 2), row["twin_id"]))[:_PAIRS]
    texts = output.find([doc_id for row in chosen for doc_id in (row["doc_id"], row["twin_id"])])
    for row in chosen:
        deleted, survivor = texts[row["doc_id"]], texts[row["twin_id"]]
        changes = word_changes(deleted["text"][:_COMPARED], survivor["text"][:_COMPARED])
        yield {
            "deleted": _quoted(deleted, "minhash", deleted["language"], None, deleted["source"]),
            "survivor": _quoted(survivor, "kept", survivor["language"], None, survivor["source"]),
            "similarity": row["similarity"],
            "size": sizes.get(row["twin_id"], 2),
            "changes": [[is_equal(change), *_shortened(change)] for change in changes],
        }


def _cluster_sizes(output: Output, record: Record) -> dict[int, int]:
    clusters = read_table(output.out, record, "clusters")
    return dict(zip(clusters.column("doc_id").to_pylist(), clusters.column("size").to_pylist(), strict=True))


def is_equal(change: Change) -> bool:
    """Whether both texts have the same words there: another line break is not shown as a difference."""
    return change.deleted.split() == change.survivor.split()


def _shortened(change: Change) -> Iterator[str]:
    """Yield both sides without the middle of a stretch that both have; what differs is kept as far as people read."""
    room = _CONTEXT if is_equal(change) else 4 * _CONTEXT
    for text in (change.deleted, change.survivor):
        yield text if len(text) <= 2 * room + 20 else f"{text[:room]} [...] {text[-room:]}"
