"""The Arrow schemas of every table, and the document id. No Beam.

A batch in flight during the clean stage has the columns of DOCUMENT followed by those of VERDICT. Transforms map a
batch to a batch and never drop a row: a rejection is written into the verdict columns and the writer splits.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

DOCUMENT = pa.schema(
    [
        pa.field("doc_id", pa.int64(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("language", pa.string()),
        pa.field("language_score", pa.float32()),
        pa.field("metadata", pa.string()),  # JSON object, or null
        pa.field("location", pa.string(), nullable=False),  # path#place of the record, as its format counts
    ]
)

# In flight, beside IN_FLIGHT: null where a document is in one language.
SECOND_LANGUAGE = "second_language"

VERDICT = pa.schema(
    [
        pa.field("rule", pa.string()),  # null = alive
        pa.field("value", pa.float64()),  # what was measured, null where a rule measures nothing
        pa.field("threshold", pa.float64()),
    ]
)

IN_FLIGHT = pa.schema([*DOCUMENT, *VERDICT])
STATISTIC = "statistic."  # begins the names of columns in flight that hold what quality rules measure
EDITS = "edits."  # begins the names of columns in flight that count edits

REJECTED = pa.schema(
    [
        pa.field("doc_id", pa.int64(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("threshold", pa.float64()),
        pa.field("twin_id", pa.int64()),
        pa.field("twin_run", pa.string()),
        pa.field("url", pa.string()),
        pa.field("language", pa.string()),  # null if it was rejected before it had a label
        pa.field("location", pa.string()),
        pa.field("text", pa.string()),
    ]
)

DELETIONS = pa.schema(
    [
        pa.field("doc_id", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),  # exact | url | minhash | contaminated | takedown
        pa.field("twin_id", pa.int64(), nullable=False),
        pa.field("twin_run", pa.string()),  # null = this run
        pa.field("similarity", pa.float32()),
    ]
)


def signatures_schema(num_perm: int, metadata: dict[str, str]) -> pa.Schema:
    """Return the schema of `signatures/`; `metadata` names the scheme that made them (null minhash = too short)."""
    return pa.schema(
        [
            pa.field("doc_id", pa.int64(), nullable=False),
            pa.field("exact", pa.binary(16), nullable=False),
            pa.field("minhash", pa.list_(pa.uint32(), num_perm)),
        ],
        metadata=metadata,
    )


def tokens_schema(vocab_size: int, metadata: dict[str, str], *, sentences: bool = False) -> pa.Schema:
    """Return the schema of `tokens/`: ids without special tokens, as narrow as the vocabulary allows.

    With `sentences` also where in `ids` each sentence begins, and the language, which sentence pairs are made by.
    """
    of_sentences = [
        pa.field("sentence_starts", pa.list_(pa.int32()), nullable=False),
        pa.field("language", pa.string()),
    ]
    return pa.schema(
        [
            pa.field("doc_id", pa.int64(), nullable=False),
            pa.field("content_hash", pa.uint64(), nullable=False),
            pa.field("ids", pa.list_(token_type(vocab_size)), nullable=False),
            *(of_sentences if sentences else []),
        ],
        metadata=metadata,
    )


def token_type(vocab_size: int) -> pa.DataType:
    """uint16 while every id fits, else uint32."""
    return pa.uint16() if vocab_size <= 1 << 16 else pa.uint32()


FILE_BITS, PART_BITS, ORDINAL_BITS = 25, 14, 24
MAX_FILES, MAX_PARTS, MAX_ORDINALS = 1 << FILE_BITS, 1 << PART_BITS, 1 << ORDINAL_BITS


class DocId(NamedTuple):
    """The three numbers inside a doc_id: file of the plan, part of the file, record of the part as read."""

    file: int
    part: int
    ordinal: int


def doc_ids(file: int, part: int, ordinal_start: int, count: int) -> NDArray[np.int64]:
    """Return `count` consecutive ids (int64) of records read from `part` of `file`.

    Raises:
        ValueError: a number does not fit its field; ids would collide silently otherwise.
    """
    if not (0 <= file < MAX_FILES and 0 <= part < MAX_PARTS and 0 <= ordinal_start <= MAX_ORDINALS - count):
        raise ValueError(f"no document id for file {file}, part {part}, records {ordinal_start}+{count}")
    base = (file << (PART_BITS + ORDINAL_BITS)) | (part << ORDINAL_BITS) | ordinal_start
    return np.arange(base, base + count, dtype=np.int64)


def split_doc_id(doc_id: int) -> DocId:
    """Return the file, part and ordinal inside `doc_id`."""
    ordinal = doc_id & (MAX_ORDINALS - 1)
    part = (doc_id >> ORDINAL_BITS) & (MAX_PARTS - 1)
    return DocId(doc_id >> (PART_BITS + ORDINAL_BITS), part, ordinal)


def alive_mask(batch: pa.RecordBatch) -> NDArray[np.bool_]:
    """Return bool [N]: True where no rule has rejected the row yet."""
    return pc.is_null(batch.column("rule")).to_numpy(zero_copy_only=False)


def set_column(batch: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    """Return `batch` with column `name` replaced, or appended if it is new."""
    index = batch.schema.get_field_index(name)
    if index < 0:
        return batch.append_column(name, values)
    return batch.set_column(index, batch.schema.field(index), values)


def count_edits(batch: pa.RecordBatch, counts_N: Mapping[str, NDArray[np.integer[Any]]]) -> pa.RecordBatch:
    """Return `batch` with a column for each of `counts_N` (integers [N]): how often something was done to each text.

    The split adds them up into the unit record. They travel with the rows, so a repeated bundle counts once.
    """
    before = edit_columns(batch)
    for name, values_N in counts_N.items():
        column = pa.array(values_N, pa.int32())
        batch = set_column(batch, EDITS + name, pc.add(before[name], column) if name in before else column)
    return batch


def edit_columns(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    """Return what `count_edits` has appended, by name."""
    return {name.removeprefix(EDITS): batch.column(name) for name in batch.schema.names if name.startswith(EDITS)}


def reject(
    batch: pa.RecordBatch,
    rule: Any,
    *,
    where_N: NDArray[np.bool_],
    value: Any = None,
    threshold: Any = None,
) -> pa.RecordBatch:
    """Return `batch` with `rule` written where `where_N` holds and the row is still alive: the first rule wins.

    Args:
        batch: rows with the columns of VERDICT.
        rule: one name, or N names (Arrow string array) of which only those at `where_N` are used.
        where_N: bool [N].
        value: a number, N numbers, or None.
        threshold: a number, N numbers, or None.
    """
    hit_N = where_N & alive_mask(batch)
    if not hit_N.any():
        return batch
    mask = pa.array(hit_N)
    for name, new in (("rule", rule), ("value", value), ("threshold", threshold)):
        field = VERDICT.field(name)
        if not isinstance(new, pa.Array):
            new = pa.array(new, field.type) if isinstance(new, np.ndarray) else pa.scalar(new, field.type)  # noqa: PLW2901
        batch = set_column(batch, name, pc.if_else(mask, new, batch.column(name)))
    return batch
