"""A deleted document beside its survivor: both texts, and where their words differ. No Beam."""

import re
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

import numpy as np

from transforms import storage
from transforms.commit import Record, load_record, load_records
from transforms.committed import map_table, read_batches

_WORDS = re.compile(r"\S+\s*|\s+")
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
_MOST_PAIRS = 1 << 28  # of words that may be compared; above that lines are


class Change(NamedTuple):
    """A stretch of both texts, each with the white space behind its words; an empty one where nothing corresponds."""

    kind: Literal["equal", "replace", "delete", "insert"]  # what turns the deleted document into the survivor
    deleted: str
    survivor: str


class TwinDifference(NamedTuple):
    """Why a document was deleted, and how it differs from the document that stands for it."""

    reason: str  # exact | url | minhash | contaminated
    similarity: float | None
    twin_run: str | None  # None: the same run
    twin_id: int
    deleted_text: str
    survivor_text: str | None  # None: an evaluation example, or an earlier run whose documents/ are gone
    changes: tuple[Change, ...]  # joined, each side is its text; empty without a survivor's text


def twin_difference(out: str, doc_id: int) -> TwinDifference | None:
    """Return what became of a document that deduplication deleted; None if it deleted no document of this id.

    Args:
        out: the output directory of a run.
        doc_id: of that run.

    Reads the deletions and documents of one unit, and the documents of the unit of the survivor.
    """
    clean = _unit_of(out, doc_id)
    if clean is None:
        return None
    deletions = map_table(out, load_record(out, "dedup", clean.unit), "deletions")
    row = int(np.searchsorted(deletions.column("doc_id").to_numpy(), doc_id))
    if row == deletions.num_rows or deletions.column("doc_id")[row].as_py() != doc_id:
        return None
    found = deletions.slice(row, 1).to_pylist()[0]
    twin_out = out if found["twin_run"] is None else found["twin_run"]
    deleted_text = _text(out, clean, doc_id)
    assert deleted_text is not None
    survivor_text = None
    if found["reason"] != "contaminated" and (twin := _unit_of(twin_out, found["twin_id"])) is not None:
        survivor_text = _text(twin_out, twin, found["twin_id"])
    changes = () if survivor_text is None else tuple(word_changes(deleted_text, survivor_text))
    return TwinDifference(
        reason=found["reason"],
        similarity=found["similarity"],
        twin_run=found["twin_run"],
        twin_id=found["twin_id"],
        deleted_text=deleted_text,
        survivor_text=survivor_text,
        changes=changes,
    )


def word_changes(deleted: str, survivor: str) -> list[Change]:
    """Return the stretches of two texts that are equal and those that differ, cut between words.

    Between lines where a comparison of words would take minutes: the time grows with the product of their numbers.
    """
    left, right = _WORDS.findall(deleted), _WORDS.findall(survivor)
    start = _common(left, right)
    stop = _common(left[start:][::-1], right[start:][::-1])
    if (len(left) - start - stop) * (len(right) - start - stop) > _MOST_PAIRS:
        left, right = _LINES.findall(deleted), _LINES.findall(survivor)
        start = _common(left, right)
        stop = _common(left[start:][::-1], right[start:][::-1])
    middle = SequenceMatcher(None, left[start : len(left) - stop], right[start : len(right) - stop])
    codes = [("equal", 0, start, 0, start)] if start else []
    codes += [(kind, a + start, b + start, c + start, d + start) for kind, a, b, c, d in middle.get_opcodes()]
    if stop:
        codes.append(("equal", len(left) - stop, len(left), len(right) - stop, len(right)))
    changes: list[Change] = []
    for kind, a, b, c, d in codes:
        change = Change(kind, "".join(left[a:b]), "".join(right[c:d]))  # type: ignore[arg-type]
        if changes and changes[-1].kind == "equal" == kind:
            before = changes.pop()
            change = Change("equal", before.deleted + change.deleted, before.survivor + change.survivor)
        changes.append(change)
    return changes


def _common(left: list[str], right: list[str]) -> int:
    """Return how many elements two lists have in common from the front."""
    return next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))


def _unit_of(out: str, doc_id: int) -> Record | None:
    """Return the clean unit that holds a document; ids ascend within each record batch."""
    for record in load_records(out, "clean").values():
        for chunk in map_table(out, record, "signatures").column("doc_id").chunks:
            ids = chunk.to_numpy()
            if ids[0] <= doc_id <= ids[-1] and ids[np.searchsorted(ids, doc_id)] == doc_id:
                return record
    return None


def _text(out: str, record: Record, doc_id: int) -> str | None:
    if storage.size(storage.join(out, record.tables["documents"].path)) < 0:
        return None
    for batch in read_batches(out, record, "documents", columns=("doc_id", "text")):
        rows = np.flatnonzero(batch.column("doc_id").to_numpy() == doc_id)
        if len(rows):
            text: str = batch.column("text")[int(rows[0])].as_py()
            return text
    return None
