"""Encoding as a step of a graph, with an encoder that goes from pipeline to pipeline of a process."""

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
from tokenizers import Tokenizer

from transforms.batch import BatchKey
from transforms.encode import Encoder
from transforms.tokens import TokensSplit, encode_batch

# The encoder that the last pipeline of this process used: making one takes 0.7 s for GPT-2, and it knows words by now.
# One thread has it at a time, because a kernel writes to its memory.
_IDLE: list[tuple[str, Encoder]] = []


class _Encode(beam.DoFn):
    def __init__(self, tokenizer: str, schema: pa.Schema) -> None:
        self._tokenizer, self._schema = tokenizer, schema
        self._encoder: Encoder | None = None

    def setup(self) -> None:
        try:
            tokenizer, self._encoder = _IDLE.pop()
        except IndexError:
            tokenizer = ""
        if tokenizer != self._tokenizer:
            self._encoder = Encoder(Tokenizer.from_str(self._tokenizer))

    def teardown(self) -> None:
        if self._encoder is not None:
            _IDLE[:] = [(self._tokenizer, self._encoder)]
            self._encoder = None

    def process(self, element: tuple[BatchKey, pa.RecordBatch]) -> Iterator[tuple[BatchKey, pa.RecordBatch]]:
        assert self._encoder is not None
        key, batch = element
        yield key, encode_batch(batch, self._encoder, self._schema)


@dataclass(kw_only=True, eq=False)
class Encode(beam.PTransform):
    """Keyed batches of documents to keyed batches of token ids; `tokenizer` is its JSON."""

    tokenizer: str
    split: TokensSplit

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        encode = beam.ParDo(_Encode(self.tokenizer, self.split.in_flight))
        return batches | "Encode" >> encode.with_output_types(tuple[BatchKey, pa.RecordBatch])
