"""What the tokenize stage writes and counts."""

import pyarrow as pa

from tests.transforms.test_tokenizer import CORPUS
from transforms.encode import Encoder
from transforms.tokenizer import TrainParameters, special_ids, tokenizer_hash, train_tokenizer
from transforms.tokens import TokensSplit, encode_batch


def test_counts_by_language():
    """Documents, bytes, tokens and unknown tokens of each language; no language is its own; a slice counts itself."""
    tokenizer = train_tokenizer(CORPUS, TrainParameters(vocab_size=500))
    unknown = special_ids(tokenizer).unk
    split = TokensSplit(vocab_size=500, tokenizer_hash=tokenizer_hash(tokenizer), unknown=unknown)
    texts = [*CORPUS[:3], "\u0b95 \u0b95", "", CORPUS[3] + " \u0b95"]
    batch = pa.record_batch(
        {
            "doc_id": pa.array(range(6), pa.int64()),
            "text": pa.array(texts),
            "language": pa.array(["de", "en", "de", "ta", None, "en"], pa.string()),
        }
    )
    encoder = Encoder(tokenizer)
    tables, counts = split(encode_batch(batch, encoder, split.in_flight).slice(1))
    ids = encoder.encode(batch.column("text")).to_pylist()
    assert tables["tokens"].column("ids").to_pylist() == ids[1:]
    assert tables["tokens"].schema.equals(split.schemas["tokens"])
    rows = {"en": (1, 5), "de": (2,), "ta": (3,), "": (4,)}
    assert counts["languages"] == {
        language: {
            "documents": len(own),
            "text_bytes": sum(len(texts[n].encode()) for n in own),
            "tokens": sum(len(ids[n]) for n in own),
            "unknown": sum(ids[n].count(unknown) for n in own),
        }
        for language, own in rows.items()
    }
    assert counts["languages"]["ta"]["unknown"] == 2
    assert (counts["input"], counts["tokens"]) == (5, sum(map(len, ids[1:])))
    assert counts["text_bytes"] == sum(len(text.encode()) for text in texts[1:])
