"""Encoding is what `tokenizers` says, and text cannot forge special tokens."""

import io
import json
from itertools import islice

import pyarrow as pa
import pytest
import zstandard
from tokenizers import Tokenizer, pre_tokenizers

from tests.transforms.test_packing import pack_documents, pieces_of
from tests.transforms.test_tokenizer import CORPUS
from transforms import encode
from transforms.encode import Encoder
from transforms.tokenizer import TrainParameters, load_tokenizer, special_ids, train_tokenizer

NAMES = pytest.mark.parametrize(
    "name", ["bert-base-uncased", "bert-base-chinese", "gpt2", "roberta-base", "gpt-neox-20b-olmo", "torchtitan-test"]
)
FILES = ["nltk-public-domain/de", "oi-wiki/zh", "libreoffice-help/el", "manpages/ja", "perl-doc/en", "wesnoth/he"]


def shared_texts(shared_data, num):
    """The first documents of several languages."""
    for name in FILES:
        with zstandard.open(shared_data / "text" / f"{name}.jsonl.zst", "rb") as file:
            for line in islice(io.TextIOWrapper(file, encoding="utf-8"), num):
                yield json.loads(line)["text"][:20_000]


def expected_ids(tokenizer, texts):
    """Ids of `tokenizers` with special tokens read as text."""
    tokenizer.encode_special_tokens = True
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


@NAMES
def test_ids_equal_tokenizers_on_real_text(shared_data, name):
    """On documents in German, Chinese, Greek, Japanese, English and Hebrew."""
    tokenizer = load_tokenizer(shared_data / "tokenizers" / name)
    texts = list(shared_texts(shared_data, 4))
    encoded = Encoder(tokenizer).encode(pa.array(texts))
    encoded.validate(full=True)
    assert encoded.type.value_type == pa.uint16()
    assert encoded.to_pylist() == expected_ids(tokenizer, texts)


@pytest.mark.parametrize("encode_special_tokens", [True, False])
@NAMES
def test_special_tokens_in_a_text(shared_data, name, encode_special_tokens):
    """They are characters, or themselves, as `tokenizers` has it: alone, in words, touching, and cut short."""
    tokenizer = load_tokenizer(shared_data / "tokenizers" / name)
    special = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special]
    texts = [f"a {each} b{each}c{each}{each} {each[:-1]} {each}\n" for each in special] + ["".join(special), "none"]
    tokenizer.encode_special_tokens = encode_special_tokens
    expected = [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    encoder = Encoder(tokenizer, encode_special_tokens=encode_special_tokens)
    assert encoder.encode(pa.array(texts)).to_pylist() == expected
    ids = {tokenizer.token_to_id(each) for each in special if each != "[UNK]"}  # which a character may be
    assert {token for each in expected for token in each} & ids == (set() if encode_special_tokens else ids)


@pytest.mark.parametrize("fast", [True, False], ids=["kernel", "tokenizers"])
@pytest.mark.parametrize("model", ["wordpiece", "bpe", "unigram"])
def test_text_cannot_forge_special_tokens(model, fast):
    """ "[MASK]" in a text becomes the tokens of its characters, and the tokenizer given is left as it was."""
    tokenizer = train_tokenizer([*CORPUS, "[mask] [ ] sep cls"], TrainParameters(model=model, vocab_size=500))
    if not fast:
        nothing = pre_tokenizers.Split("\0", behavior="removed")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([tokenizer.pre_tokenizer, nothing])
    forged = ["[MASK] [SEP][CLS] x[PAD]", "a [UNK]"]
    encoder = Encoder(tokenizer)
    assert encoder.is_fast == fast
    ids = encoder.encode(pa.array(forged)).to_pylist()
    assert not {0, 2, 3, 4} & {token for each in ids for token in each}
    assert ids == expected_ids(Tokenizer.from_str(tokenizer.to_str()), forged)
    assert 4 in tokenizer.encode(forged[0]).ids


def test_chunks_nulls_and_slices(monkeypatch):
    """Results do not depend on how texts are cut into chunks; a null is no tokens; a slice is itself."""
    tokenizer = train_tokenizer(CORPUS, TrainParameters(vocab_size=500))
    expected = expected_ids(tokenizer, CORPUS)
    texts = pa.array([*CORPUS, None, "", *CORPUS])
    whole = Encoder(tokenizer).encode(texts).to_pylist()
    assert whole == [*expected, [], [], *expected]
    monkeypatch.setattr(encode, "_CHUNK_BYTES", 700)
    assert Encoder(tokenizer).encode(texts).to_pylist() == whole
    assert Encoder(tokenizer).encode(texts.slice(3, 5)).to_pylist() == expected[3:8]
    assert Encoder(tokenizer).encode(pa.array([], pa.string())).to_pylist() == []


def test_a_truncating_tokenizer_does_not_truncate():
    """Truncation and padding of the tokenizer given are not used."""
    tokenizer = train_tokenizer(CORPUS, TrainParameters(vocab_size=500))
    expected = Encoder(tokenizer).encode(pa.array(CORPUS))
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=900)
    assert Encoder(tokenizer).encode(pa.array(CORPUS)) == expected


@pytest.mark.parametrize("model", ["wordpiece", "bpe", "unigram"])
def test_rows_decode_to_the_text_as_the_tokenizer_sees_it(model):
    """Pieces of every document, put together and decoded, are its text after normalisation and tokenisation."""
    tokenizer = train_tokenizer(CORPUS, TrainParameters(model=model, vocab_size=500))
    encoder = Encoder(tokenizer)
    rows, _ = pack_documents(
        encoder.encode(pa.array(CORPUS)).to_pylist(),
        seq_length=24,
        vocab_size=encoder.vocab_size,
        special_ids=special_ids(tokenizer),
    )
    ids = {document: [] for document in range(len(CORPUS))}
    for document, _, piece in sorted(pieces_of(rows)):
        ids[document] += piece[1:-1]
    for document, text in enumerate(CORPUS):
        decoded = tokenizer.decode(ids[document])
        assert decoded == tokenizer.decode(tokenizer.encode(text).ids)
        if model == "bpe":
            assert decoded == text
