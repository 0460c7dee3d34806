"""The clean stage's split: alive rows to documents/ and signatures/, the others to the rejected ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from transforms.schema import DOCUMENT, REJECTED, SECOND_LANGUAGE, STATISTIC, alive_mask, edit_columns


@dataclass(frozen=True, kw_only=True)
class CleanSplit:
    """Splits a batch of schema IN_FLIGHT plus signature columns.

    `keep_text` stores the text of rejected rows too, `statistics` names those that are kept.
    """

    stage: str
    signatures: pa.Schema
    keep_text: bool
    statistics: tuple[str, ...] = ()

    @property
    def schemas(self) -> Mapping[str, pa.Schema]:
        schemas = {"documents": DOCUMENT, "signatures": self.signatures, "rejected": REJECTED}
        return {**schemas, "statistics": statistics_schema(self.statistics)} if self.statistics else schemas

    def __call__(self, batch: pa.RecordBatch) -> tuple[dict[str, pa.RecordBatch], dict[str, Any]]:
        alive_N = alive_mask(batch)
        kept = batch.filter(pa.array(alive_N))
        dead = (batch if self.keep_text else batch.drop_columns(["text"])).filter(pa.array(~alive_N))
        signatures = [kept.column(name) for name in self.signatures.names]
        tables = {
            "documents": pa.RecordBatch.from_arrays([kept.column(name) for name in DOCUMENT.names], schema=DOCUMENT),
            "signatures": pa.RecordBatch.from_arrays(signatures, schema=self.signatures),
            "rejected": rejected_rows(dead, stage=self.stage, keep_text=self.keep_text),
        }
        if self.statistics:
            tables["statistics"] = statistics_rows(batch, self.statistics)
        counts = {
            "input": batch.num_rows,
            "kept": kept.num_rows,
            "rejected": value_counts(dead.column("rule")),
            "text_bytes": pc.sum(pc.binary_length(kept.column("text"))).as_py() or 0,
            "languages": value_counts(kept.column("language")),
        }
        if SECOND_LANGUAGE in batch.schema.names:
            counts["mixed"] = mixed_counts(kept.column("language"), kept.column(SECOND_LANGUAGE))
        if edits := edit_columns(batch):
            counts["edits"] = {name: pc.sum(column).as_py() or 0 for name, column in edits.items()}
        return tables, counts


def value_counts(column: pa.Array) -> dict[str, int]:
    """Return how often each value occurs; null counts as `unknown`."""
    return {str(entry["values"] or "unknown"): entry["counts"] for entry in pc.value_counts(column).to_pylist()}


def mixed_counts(language: pa.Array, second: pa.Array) -> dict[str, int]:
    """Return how many documents are in two languages, by `first+second`."""
    return value_counts(pc.binary_join_element_wise(language, second, "+").drop_null())


def statistics_schema(names: tuple[str, ...]) -> pa.Schema:
    """Return the schema of `statistics/`: double, null where there was nothing to measure."""
    doc_id = pa.field("doc_id", pa.int64(), nullable=False)
    return pa.schema([doc_id, *(pa.field(name, pa.float64()) for name in names)])


def statistics_rows(batch: pa.RecordBatch, names: tuple[str, ...]) -> pa.RecordBatch:
    """Return doc_id and statistics of the rows that were measured, whether they live or not."""
    columns = [batch.column("doc_id"), *(batch.column(STATISTIC + name) for name in names)]
    rows = pa.RecordBatch.from_arrays(columns, schema=statistics_schema(names))
    return rows.filter(pc.is_valid(rows.column(names[0])))


def rejected_rows(dead: pa.RecordBatch, *, stage: str, keep_text: bool) -> pa.RecordBatch:
    """Return the ledger rows (schema REJECTED) of rows whose rule is set."""
    num_rows = dead.num_rows
    no_text = pa.nulls(num_rows, pa.string())
    values = {
        "doc_id": dead.column("doc_id"),
        "stage": pa.array([stage] * num_rows, pa.string()),
        **{name: dead.column(name) for name in ("rule", "value", "threshold", "url", "language", "location")},
        "twin_id": pa.nulls(num_rows, pa.int64()),
        "twin_run": no_text,
        "text": dead.column("text") if keep_text else no_text,
    }
    return pa.RecordBatch.from_arrays([values[name] for name in REJECTED.names], schema=REJECTED)
