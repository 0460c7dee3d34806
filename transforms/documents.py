"""Reading back what survives: documents/ of a unit minus its deletion vector and its cuts. No Beam."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from transforms.commit import load_record
from transforms.committed import read_batches, read_table
from transforms.schema import set_column
from transforms.spans import cut_texts


def surviving_batches(out: str, unit: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the batches of `documents/<unit>` in doc_id order, without what deduplication took.

    That is the rows that `deletions/<unit>` names, and of the others the bytes that `cuts/<unit>` names if it exists.
    `columns`, if not all, must hold doc_id.
    """
    record = load_record(out, "dedup", unit)
    deleted_D = read_table(out, record, "deletions").column("doc_id").to_numpy()
    has_cuts = "cuts" in record.tables and (columns is None or "text" in columns)
    cuts = read_table(out, record, "cuts") if has_cuts else None
    for batch in read_batches(out, load_record(out, "clean", unit), "documents", columns=columns):
        doc_id_N = batch.column("doc_id").to_numpy()
        kept_N = ~np.isin(doc_id_N, deleted_D, assume_unique=True)
        kept = batch if kept_N.all() else batch.filter(pa.array(kept_N))
        yield kept if cuts is None else _cut(kept, cuts)


def _cut(batch: pa.RecordBatch, cuts: pa.Table) -> pa.RecordBatch:
    """Return a batch without the spans that `cuts` (CUTS, of documents that are not deleted) names."""
    doc_id_N, doc_id_S = batch.column("doc_id").to_numpy(), cuts.column("doc_id").to_numpy()
    if not len(doc_id_N):
        return batch
    here = slice(*np.searchsorted(doc_id_S, [doc_id_N[0], doc_id_N[-1] + 1]))
    row_S = np.searchsorted(doc_id_N, doc_id_S[here])
    start_S, stop_S = (cuts.column(name).to_numpy()[here] for name in ("start", "stop"))
    return set_column(batch, "text", cut_texts(batch.column("text"), row_S, start_S, stop_S))
