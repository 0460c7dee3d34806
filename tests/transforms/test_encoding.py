"""transforms.encoding: the encoder of a process, from pipeline to pipeline."""

import apache_beam as beam
import pyarrow as pa

from tests.transforms.test_tokenizer import CORPUS
from transforms import encoding
from transforms.batch import BatchKey
from transforms.encode import Encoder
from transforms.tokenizer import TrainParameters, train_tokenizer
from transforms.tokens import TokensSplit


def test_an_encoder_serves_one_unit_after_the_other(monkeypatch):
    """Two pipelines in one process make one encoder; another tokenizer gets its own; two at a time get two."""
    made = []

    class Counted(Encoder):
        def __init__(self, tokenizer):
            super().__init__(tokenizer)
            made.append(tokenizer)

    monkeypatch.setattr(encoding, "Encoder", Counted)
    monkeypatch.setattr(encoding, "_IDLE", [])
    first, second = (train_tokenizer(CORPUS, TrainParameters(vocab_size=size)).to_str() for size in (400, 500))
    split = TokensSplit(vocab_size=500, tokenizer_hash="", unknown=1)
    columns = {"doc_id": pa.array([0], pa.int64()), "text": pa.array(["x"]), "language": pa.array(["en"])}
    for tokenizer, expected in ((first, 1), (first, 1), (second, 2), (second, 2)):
        with beam.Pipeline("FnApiRunner") as pipeline:
            batches = pipeline | beam.Create([(BatchKey("u", 0, "k", 0, 1, last=True), pa.record_batch(columns))])
            batches | encoding.Encode(tokenizer=tokenizer, split=split)
        assert len(made) == expected
    together = [encoding._Encode(second, split.in_flight) for _ in range(2)]
    for each in together:
        each.setup()
    assert together[0]._encoder is not together[1]._encoder
