"""`gristmill explain`: the life of one document, from the record it was read from to the rows that hold its tokens."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UserError
from pipeline.escape import printable
from pipeline.output import Output
from pipeline.sections import preset_names
from transforms.commit import Record
from transforms.committed import map_table, read_batches, read_table
from transforms.schema import split_doc_id
from transforms.shards import SPLITS
from transforms.twin import Change, word_changes

_MAX_FOUND = 20
_TEXT_LINES, _LINE_CHARACTERS = 12, 200
_CONTEXT = 8  # words shown at each end of a stretch that both texts have
_REJECTED = ("doc_id", "rule", "value", "threshold", "twin_id", "twin_run", "url", "location", "text")


class Found(NamedTuple):
    """A document that a search found."""

    doc_id: int
    what: str  # kept, or the rule that rejected it
    url: str | None


def search(out: str, *, url: str | None = None, text: str | None = None) -> list[Found]:
    """Return the first 20 documents whose URL or text holds the given words; rejected ones too, where they are stored.

    Raises:
        UserError: there is none.
    """
    output = Output(out)
    column, words = ("url", url) if url is not None else ("text", text)
    assert words is not None
    found: list[Found] = []
    for unit in output.records("clean"):
        deleted = set(output.deleted(unit).tolist())
        found += [
            Found(row["doc_id"], "deleted by dedup" if row["doc_id"] in deleted else "kept", row["url"])
            for row in _matches(output.documents(unit, ("doc_id", "url", column)), column, words)
        ]
        record = output.records("clean")[unit]
        rejected = read_batches(output.out, record, "rejected", columns=("doc_id", "rule", "url", column))
        found += [Found(row["doc_id"], row["rule"], row["url"]) for row in _matches(rejected, column, words)]
        if len(found) >= _MAX_FOUND:
            break
    if not found:
        kept = output.config["rejected"]["keep_text"]
        hint = "" if column == "url" or kept else "; rejected documents are not searched without rejected.keep_text"
        raise UserError(f"no document of {out} has {printable(words)!r} in its {column}{hint}")
    return found[:_MAX_FOUND]


def _matches(batches: Iterator[pa.RecordBatch], column: str, words: str) -> Iterator[dict[str, Any]]:
    for batch in batches:
        hits = batch.filter(pc.fill_null(pc.match_substring(batch.column(column), words), False))
        yield from hits.select([name for name in ("doc_id", "rule", "url") if name in hits.schema.names]).to_pylist()


def explain(out: str, doc_id: int) -> Iterator[str]:
    """Yield the lines that tell the life of a document; strangers' text is escaped.

    Raises:
        UserError: the run has no such document.
    """
    output = Output(out)
    if doc_id < 0:
        raise UserError(f"{doc_id} is no document id")
    document = output.find([doc_id]).get(doc_id)
    rejection = None if document is not None else _rejection(output, "clean", doc_id)
    row = document or rejection
    if row is None:
        raise UserError(f"{out} has no document {doc_id}; look for it with --url or --text")
    yield from _origin(output, doc_id, row)
    yield from _cleaning(output, document, rejection)
    if document is not None and output.has("dedup"):
        yield from _dedup(output, document)
    if document is not None and output.has("tokenize"):
        yield from _tokens(output, doc_id)
    if document is not None and output.has("shards"):
        yield from _rows(output, doc_id)
    yield from _text(row["text"])


def _line(name: str, *parts: str) -> str:
    return f"{name:<10} {', '.join(printable(part) for part in parts if part)}"


def _origin(output: Output, doc_id: int, row: dict[str, Any]) -> Iterator[str]:
    place = split_doc_id(doc_id)
    yield _line("document", str(doc_id))
    unit = output.unit_of(doc_id)
    assert unit is not None
    source = output.source_of[unit]
    yield _line("source", source, f"file {place.file}, part {place.part}, record {place.ordinal}")
    yield _line("location", row["location"])
    yield _line("url", row["url"] or "none")
    if row.get("metadata"):
        yield _line("metadata", _cut(row["metadata"]))


def _rejection(output: Output, stage: str, doc_id: int) -> dict[str, Any] | None:
    unit = output.unit_of(doc_id)
    if unit is not None and unit in output.records(stage):
        for batch in read_batches(output.out, output.records(stage)[unit], "rejected", columns=_REJECTED):
            rows = batch.filter(pc.equal(batch.column("doc_id"), doc_id)).to_pylist()
            if rows:
                return rows[0]
    return None


def _verdict(row: dict[str, Any]) -> str:
    """Return rule, value and threshold as far as they were measured."""
    numbers = [f"{name} {row[name]:.6g}" for name in ("value", "threshold") if row[name] is not None]
    return " ".join([row["rule"], *([f"({', '.join(numbers)})"] if numbers else [])])


def _cleaning(output: Output, document: dict[str, Any] | None, rejection: dict[str, Any] | None) -> Iterator[str]:
    if rejection is not None:
        yield _line("clean", f"rejected by {_verdict(rejection)}")
        return
    assert document is not None
    yield _line("clean", "kept")
    settings = output.config["clean"]
    if document["language"] is not None:
        least = f"the kept languages need {settings['language']['threshold']}" if settings["language"]["keep"] else ""
        yield _line("", f"language {document['language']} with score {document['language_score']:.3f}", least)
    if settings["quality"]:
        yield _line("", f"passed every rule of {', '.join(preset_names(settings['quality']))}")


def _dedup(output: Output, document: dict[str, Any]) -> Iterator[str]:
    doc_id = document["doc_id"]
    rejection = _rejection(output, "dedup", doc_id)
    if rejection is None:
        copies = list(_copies(output, doc_id))
        yield _line("dedup", "kept", f"{len(copies)} documents were deleted as its copies" if copies else "it is alone")
        for row in copies[:_MAX_FOUND]:
            similarity = f"similarity {row['similarity']:.3f}" if row["similarity"] is not None else ""
            yield _line("", f"copy {row['doc_id']}: {row['reason']}", similarity)
        if len(copies) > _MAX_FOUND:
            yield _line("", f"and {len(copies) - _MAX_FOUND:,} more")
        yield from _cuts(output, document)
        return
    yield _line("dedup", f"deleted: {_verdict(rejection)}")
    twin_id, twin_run = rejection["twin_id"], rejection["twin_run"]
    if rejection["rule"] == "takedown" and twin_id == doc_id:
        return
    if twin_run is not None and twin_run.startswith("evaluation:"):
        yield _line("", f"it shares words with example {twin_id} of the evaluation set {twin_run.partition(':')[2]}")
        return
    try:
        twin = (Output(twin_run) if twin_run is not None else output).find([twin_id]).get(twin_id)
    except (UserError, RuntimeError):
        twin = None  # the earlier run is gone
    yield _line("twin", str(twin_id), f"of the earlier run {twin_run}" if twin_run is not None else "")
    if twin is None:
        yield _line("", "its text is no longer there")
        return
    yield _line("", twin["url"] or twin["location"])
    if twin["text"] == document["text"]:
        yield _line("difference", "none, the texts are equal")
        return
    yield _line("difference", "[-only this document-] {+only its twin+}")
    yield _line("", as_words(word_changes(document["text"], twin["text"])))


def _cuts(output: Output, document: dict[str, Any]) -> Iterator[str]:
    """Yield what of the text is left out when it is read back."""
    cuts: list[dict[str, Any]] = []
    record = output.records("dedup").get(output.unit_of(document["doc_id"]) or "")
    if record is not None and "cuts" in record.tables:
        table = read_table(output.out, record, "cuts")
        cuts = table.filter(pc.equal(table.column("doc_id"), document["doc_id"])).to_pylist()
    text = document["text"].encode()
    for cut in cuts[:_MAX_FOUND]:
        where = f"bytes {cut['start']} to {cut['stop']} are repeated {cut['reason']} and stay in {cut['twin_id']}"
        yield _line("cut", where, _cut(" ".join(text[cut["start"] : cut["stop"]].decode().split())))
    if len(cuts) > _MAX_FOUND:
        yield _line("", f"and {len(cuts) - _MAX_FOUND:,} more")


def as_words(changes: Sequence[Change]) -> str:
    """Return the difference on one line, as wdiff writes it: [-only the first-] {+only the second+}."""
    shown = []
    for change in changes:
        deleted, survivor = change.deleted.split(), change.survivor.split()
        if deleted == survivor:
            long = len(deleted) > 2 * _CONTEXT + 1
            shown += [*deleted[:_CONTEXT], "...", *deleted[-_CONTEXT:]] if long else deleted
            continue
        if deleted:
            shown.append(f"[-{' '.join(deleted)}-]")
        if survivor:
            shown.append(f"{{+{' '.join(survivor)}+}}")
    return " ".join(shown)


def _copies(output: Output, doc_id: int) -> Iterator[dict[str, Any]]:
    for record in output.records("dedup").values():
        deleted = read_table(output.out, record, "deletions")
        own = pc.and_(pc.equal(deleted.column("twin_id"), doc_id), pc.is_null(deleted.column("twin_run")))
        yield from deleted.filter(own).to_pylist()


def _tokens(output: Output, doc_id: int) -> Iterator[str]:
    record = output.records("tokenize").get(output.unit_of(doc_id) or "")
    if record is None:
        return
    for batch in read_batches(output.out, record, "tokens", columns=("doc_id", "content_hash", "ids")):
        for row in batch.filter(pc.equal(batch.column("doc_id"), doc_id)).to_pylist():
            yield _line("tokens", f"{len(row['ids']):,}", f"content hash {row['content_hash']:016x}")


def _rows(output: Output, doc_id: int) -> Iterator[str]:
    pieces = [
        piece
        for directory in output.shards
        for record in output.records(directory).values()
        for piece in _pieces(output, record, directory, doc_id)
    ]
    if not pieces:
        yield _line("shards", "in no row")
    for number, piece in enumerate(pieces[:_MAX_FOUND]):
        yield _line("" if number else "shards", piece)
    if len(pieces) > _MAX_FOUND:
        yield _line("", f"and {len(pieces) - _MAX_FOUND:,} more")


def _pieces(output: Output, record: Record, directory: str, doc_id: int) -> Iterator[str]:
    """Yield the rows of a shard that hold pieces of the document; only the columns of pieces are touched on disk."""
    for split in SPLITS:
        first_row = 0
        for batch in map_table(output.out, record, f"{directory}/{split}").to_batches():
            doc_ids = batch.column("doc_ids")
            starts, lengths = batch.column("piece_starts").flatten(), batch.column("document_lengths").flatten()
            offsets_R1 = doc_ids.offsets.to_numpy() - doc_ids.offsets[0].as_py()
            for place in np.flatnonzero(doc_ids.flatten().to_numpy() == doc_id).tolist():
                row = int(np.searchsorted(offsets_R1, place, side="right")) - 1
                where = f"{split}, {record.tables[f'{directory}/{split}'].path} row {first_row + row}"
                yield f"{where}: {lengths[place]} tokens with special ones, from token {starts[place]} of the document"
            first_row += batch.num_rows


def _text(text: str | None) -> Iterator[str]:
    if text is None:
        yield _line("text", "not stored; rejected.keep_text keeps it")
        return
    lines = text.split("\n")
    yield _line("text", f"{len(text):,} characters on {len(lines):,} lines")
    for line in lines[:_TEXT_LINES]:
        yield f"  | {printable(_cut(line))}"
    if len(lines) > _TEXT_LINES:
        yield "  | ..."


def _cut(text: str) -> str:
    return text if len(text) <= _LINE_CHARACTERS else f"{text[:_LINE_CHARACTERS]}..."
