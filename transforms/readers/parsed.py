"""Rows whose text a parser makes in the sandbox, in the order of their records."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pyarrow as pa

from transforms.readers.rows import EXCERPT_BYTES, Rows
from transforms.sandbox import Document, Refusal, Sandbox, borrowed

# Of what is given to the sandbox at once. 41 MB of pages one at a time: 10% more processor time than the parser alone
# takes; by the mebibyte: 2%.
_BATCH_BYTES = 1 << 20
_BATCH_RECORDS = 1024


class FoundRecord(NamedTuple):
    """A record on its way to a row: its text, why it has none, or a document that the parser will make one of."""

    content: str | Refusal | Document
    location: str
    url: str | None = None
    metadata: bytes | None = None
    excerpt: bytes = b""


def parsed_rows(records: Iterable[FoundRecord], *, parser: str, seconds: float) -> Iterator[pa.RecordBatch]:
    """Yield records as batches of schema ROWS; while the sandbox parses some, the next ones are read.

    Args:
        records: in order; documents of at most `sandbox.DOCUMENT_BYTES`.
        parser: `module:function` of a `sandbox.Parser`; a sandbox is only started for a document.
        seconds: processor time that the parser may take for one document.
    """
    rows = Rows()
    with ExitStack() as stack:
        sandbox: Sandbox | None = None
        waiting: list[FoundRecord] = []
        for batch in _batches(records):
            documents = [record.content for record in batch if isinstance(record.content, Document)]
            if sandbox is None and documents:
                sandbox = stack.enter_context(borrowed(parser, seconds=seconds))
            results = sandbox.collect() if sandbox is not None else []
            if sandbox is not None:
                sandbox.submit(documents)
            yield from _add(rows, waiting, results)
            waiting = batch
        yield from _add(rows, waiting, sandbox.collect() if sandbox is not None else [])
    if rows:
        yield rows.take()


def _batches(records: Iterable[FoundRecord]) -> Iterator[list[FoundRecord]]:
    batch: list[FoundRecord] = []
    num_bytes = 0
    for record in records:
        batch.append(record)
        num_bytes += len(record.content.content if isinstance(record.content, Document) else record.content)
        if num_bytes >= _BATCH_BYTES or len(batch) == _BATCH_RECORDS:
            yield batch
            batch, num_bytes = [], 0
    if batch:
        yield batch


def _add(rows: Rows, records: list[FoundRecord], results: list[bytes | Refusal]) -> Iterator[pa.RecordBatch]:
    """Add records to the rows, those of documents with the results for them; yield the rows when they are full."""
    of_documents = iter(results)
    for content, location, url, metadata, excerpt in records:
        result = next(of_documents) if isinstance(content, Document) else content
        if isinstance(result, Refusal):
            raw = content.content[:EXCERPT_BYTES] if isinstance(content, Document) else excerpt
            if not rows.fits(len(raw)):
                yield rows.take()
            rows.add_broken(
                result.rule, location=location, url=url, value=result.value, threshold=result.threshold, excerpt=raw
            )
        else:
            if not rows.fits(len(result)):
                yield rows.take()
            rows.add(result, location=location, url=url, metadata=metadata, num_bytes=len(result))
