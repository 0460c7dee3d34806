"""Token ids of the surviving documents: encoding a batch, and what the tokenize stage writes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.encode import Encoder
from transforms.fingerprint import content_hash
from transforms.schema import tokens_schema
from transforms.sentences import encode_sentences


def encode_batch(batch: pa.RecordBatch, encoder: Encoder, schema: pa.Schema) -> pa.RecordBatch:
    """Return the columns of `tokens/` and those that are only counted, for N documents."""
    texts = batch.column("text")
    columns = {
        "doc_id": batch.column("doc_id"),
        "content_hash": pa.array(content_hash(texts)),
        "text_bytes": pc.binary_length(texts),
        "language": batch.column("language"),
    }
    if "sentence_starts" in schema.names:
        columns["ids"], columns["sentence_starts"] = encode_sentences(texts, encoder)
    else:
        columns["ids"] = encoder.encode(texts)
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


@dataclass(frozen=True, kw_only=True)
class TokensSplit:
    """Everything that arrives is written to tokens/; documents, tokens and bytes of text are counted, by language too.

    `unknown` is the id that stands for what the vocabulary lacks.
    """

    vocab_size: int
    tokenizer_hash: str
    unknown: int
    sentences: bool = False

    @property
    def schemas(self) -> Mapping[str, pa.Schema]:
        metadata = {"tokenizer_hash": self.tokenizer_hash}
        return {"tokens": tokens_schema(self.vocab_size, metadata, sentences=self.sentences)}

    @property
    def in_flight(self) -> pa.Schema:
        """The columns of tokens/, and what is only counted."""
        written = self.schemas["tokens"]
        counted = [pa.field("text_bytes", pa.int32()), pa.field("language", pa.string())]
        return pa.schema([*written, *(field for field in counted if field.name not in written.names)])

    def __call__(self, batch: pa.RecordBatch) -> tuple[dict[str, pa.RecordBatch], dict[str, Any]]:
        schema = self.schemas["tokens"]
        languages = self._languages(batch)
        counts = {
            "input": batch.num_rows,
            "kept": batch.num_rows,
            "rejected": {},
            "tokens": sum(language["tokens"] for language in languages.values()),
            "text_bytes": sum(language["text_bytes"] for language in languages.values()),
            "languages": languages,
        }
        rows = pa.RecordBatch.from_arrays([batch.column(name) for name in schema.names], schema=schema)
        return {"tokens": rows}, counts

    def _languages(self, batch: pa.RecordBatch) -> dict[str, dict[str, int]]:
        ids = batch.column("ids")
        ends_N1 = ids.offsets.to_numpy() - ids.offsets[0].as_py()
        unknown_T = np.flatnonzero(ids.flatten().to_numpy() == self.unknown)
        columns = {
            "language": pc.fill_null(batch.column("language"), ""),
            "documents": np.ones(batch.num_rows, np.int64),
            "text_bytes": batch.column("text_bytes"),
            "tokens": np.diff(ends_N1),
            "unknown": np.diff(np.searchsorted(unknown_T, ends_N1)),
        }
        counted = [name for name in columns if name != "language"]
        table = pa.table(columns).group_by("language").aggregate([(name, "sum") for name in counted])
        return {row["language"]: {name: row[f"{name}_sum"] for name in counted} for row in table.to_pylist()}
