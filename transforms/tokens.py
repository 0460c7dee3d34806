"""Token ids of the surviving documents: encoding a batch, and what the tokenize stage writes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer

from transforms.batch import BatchKey
from transforms.encode import Encoder
from transforms.fingerprint import content_hash
from transforms.schema import tokens_schema
from transforms.sentences import encode_sentences


def encode_batch(batch: pa.RecordBatch, encoder: Encoder, schema: pa.Schema) -> pa.RecordBatch:
    """Return the columns of `tokens/` and the bytes of text (for progress) of N documents."""
    texts = batch.column("text")
    columns = [batch.column("doc_id"), pa.array(content_hash(texts))]
    if "sentence_starts" in schema.names:
        columns += [*encode_sentences(texts, encoder), batch.column("language")]
    else:
        columns.append(encoder.encode(texts))
    return pa.RecordBatch.from_arrays([*columns, pc.binary_length(texts)], schema=schema)


class _Encode(beam.DoFn):
    def __init__(self, tokenizer: str, schema: pa.Schema) -> None:
        self._tokenizer, self._schema = tokenizer, schema
        self._encoder: Encoder | None = None

    def setup(self) -> None:
        self._encoder = Encoder(Tokenizer.from_str(self._tokenizer))

    def process(self, element: tuple[BatchKey, pa.RecordBatch]) -> Iterator[tuple[BatchKey, pa.RecordBatch]]:
        assert self._encoder is not None
        key, batch = element
        yield key, encode_batch(batch, self._encoder, self._schema)


@dataclass(kw_only=True, eq=False)
class Encode(beam.PTransform):
    """Keyed batches of documents to keyed batches of token ids; `tokenizer` is its JSON."""

    tokenizer: str
    split: "TokensSplit"

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        encode = beam.ParDo(_Encode(self.tokenizer, self.split.in_flight))
        return batches | "Encode" >> encode.with_output_types(tuple[BatchKey, pa.RecordBatch])


@dataclass(frozen=True, kw_only=True)
class TokensSplit:
    """Everything that arrives is written to tokens/; the counts are documents, tokens and bytes of text."""

    vocab_size: int
    tokenizer_hash: str
    sentences: bool = False

    @property
    def schemas(self) -> Mapping[str, pa.Schema]:
        metadata = {"tokenizer_hash": self.tokenizer_hash}
        return {"tokens": tokens_schema(self.vocab_size, metadata, sentences=self.sentences)}

    @property
    def in_flight(self) -> pa.Schema:
        """The columns of tokens/ and the length of the text."""
        return self.schemas["tokens"].append(pa.field("text_bytes", pa.int32()))

    def __call__(self, batch: pa.RecordBatch) -> tuple[dict[str, pa.RecordBatch], dict[str, Any]]:
        schema = self.schemas["tokens"]
        ids = batch.column("ids")
        counts = {
            "input": batch.num_rows,
            "kept": batch.num_rows,
            "rejected": {},
            "tokens": len(ids.flatten()),
            "text_bytes": pc.sum(batch.column("text_bytes")).as_py() or 0,
        }
        rows = pa.RecordBatch.from_arrays([batch.column(name) for name in schema.names], schema=schema)
        return {"tokens": rows}, counts
