"""Training, loading and saving tokenizers."""

import json
import os
import random
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer, models

from transforms.encode import Encoder
from transforms.tokenizer import (
    SPECIAL_TOKENS,
    SpecialIds,
    TrainParameters,
    language_rates,
    load_tokenizer,
    sample_copies,
    sample_mask,
    save_tokenizer,
    special_ids,
    tokenizer_hash,
    train_tokenizer,
)

_RNG = random.Random(0)
_SYLLABLES = [a + b for a in "bcdfglmnprst" for b in ("a", "e", "i", "o", "u", "\xe9", "an", "er", "th")]
_LEXICON = ["".join(_RNG.choices(_SYLLABLES, k=_RNG.randint(1, 4))) for _ in range(800)]
# Words of a language that is not, a little Chinese, capitals and punctuation, many counts equal.
CORPUS = [
    " ".join(_RNG.choice(_LEXICON).title() if _RNG.random() < 0.1 else _RNG.choice(_LEXICON) for _ in range(40))
    + _RNG.choice([".", "!", " \u4e2d\u6587\u8bcd\u3002", "?!", " 1984"])
    for _ in range(120)
]
SETTINGS = pytest.mark.parametrize(
    "parameters",
    [
        TrainParameters(model="wordpiece", vocab_size=500),
        TrainParameters(model="wordpiece", vocab_size=500, lowercase=False),
        TrainParameters(model="bpe", vocab_size=500),
        TrainParameters(model="bpe", vocab_size=500, lowercase=True),
        TrainParameters(model="unigram", vocab_size=500),
        TrainParameters(model="unigram", vocab_size=500, lowercase=True),
    ],
    ids=["wordpiece", "wordpiece-cased", "bpe", "bpe-uncased", "unigram", "unigram-uncased"],
)


@SETTINGS
def test_training_gives_the_same_bytes(parameters):
    """Six trainings in any order of the texts agree; left alone, WordPiece differs each time."""
    hashes = {tokenizer_hash(train_tokenizer(CORPUS, parameters)) for _ in range(4)}
    hashes |= {tokenizer_hash(train_tokenizer(CORPUS[::-1], parameters)) for _ in range(2)}
    assert len(hashes) == 1


def test_training_does_not_depend_on_threads(tmp_path):
    """Processes with 1 and 3 threads and with none give the bytes of this one."""
    corpus = tmp_path / "corpus.json"
    corpus.write_text(json.dumps(CORPUS), "utf-8")
    program = (
        "import json, sys; from transforms.tokenizer import *\n"
        "texts = json.load(open(sys.argv[1]))\n"
        "for model in ('wordpiece', 'bpe', 'unigram'):\n"
        "    print(tokenizer_hash(train_tokenizer(texts, TrainParameters(model=model, vocab_size=500))))\n"
    )
    expected = [
        tokenizer_hash(train_tokenizer(CORPUS, TrainParameters(model=model, vocab_size=500)))
        for model in ("wordpiece", "bpe", "unigram")
    ]
    for threads in (
        {"RAYON_NUM_THREADS": "1", "PYTHONHASHSEED": "1"},
        {"RAYON_NUM_THREADS": "3", "PYTHONHASHSEED": "2"},
        {"TOKENIZERS_PARALLELISM": "false"},
    ):
        environment = os.environ | {"TOKENIZERS_PARALLELISM": "true"} | threads
        run = [sys.executable, "-c", program, str(corpus)]
        printed = subprocess.run(run, env=environment, check=True, capture_output=True, text=True).stdout
        assert printed.split() == expected, threads


@SETTINGS
def test_trained_vocabulary(parameters):
    """Special tokens are ids 0 to 4, the vocabulary is full, nothing else is an added token, and a pair is framed."""
    tokenizer = train_tokenizer(CORPUS, parameters)
    assert special_ids(tokenizer) == SpecialIds(pad=0, unk=1, cls=2, sep=3, mask=4)
    assert tokenizer.get_vocab_size() == 500
    assert sorted(tokenizer.get_vocab().values()) == list(range(500))
    assert [token.content for token in tokenizer.get_added_tokens_decoder().values()] == list(SPECIAL_TOKENS)
    encoded = tokenizer.encode("ba", "ce")
    assert (encoded.ids[0], encoded.ids.count(3), encoded.ids[-1]) == (2, 2, 3)
    assert encoded.type_ids == sorted(encoded.type_ids)
    folded = parameters.model == "wordpiece" if parameters.lowercase is None else parameters.lowercase
    assert (tokenizer.encode("Ba").ids == tokenizer.encode("ba").ids) == folded


@SETTINGS
def test_a_gap_in_a_text(parameters):
    """Around [MASK] stand the tokens that stand around a word there: no space is left over before it."""
    tokenizer = train_tokenizer(CORPUS, parameters)
    gap = tokenizer.encode("ba [MASK] ba", add_special_tokens=False).ids
    assert gap == [*tokenizer.encode("ba", add_special_tokens=False).ids, 4, *gap[gap.index(4) + 1 :]]
    around = tokenizer.encode("ba ba", add_special_tokens=False).ids
    assert [token for token in gap if token != 4] == around


def test_wordpiece_symbols_are_those_of_the_text():
    """Characters that only stand alone have no "##" form, rare ones are left out, words of the corpus are known."""
    texts = ["the \u4e2d word. Words, w\xf6rds!"] * 5000 + ["\u9f98"]
    vocab = train_tokenizer(texts, TrainParameters(vocab_size=300)).get_vocab()
    assert {"\u4e2d", ".", "!", "w", "##o", "word", "words"} <= set(vocab)
    assert not {"##\u4e2d", "##.", "##w", "\u9f98", "\xf6", "##\xf6"} & set(vocab)


def test_wordpiece_alphabet_leaves_room_for_words():
    """A corpus of more characters than tokens keeps the most frequent, and half of the vocabulary for words."""
    texts = ["".join(chr(0x4E00 + i) for i in range(2000)) + " common words here" * 100]
    tokenizer = train_tokenizer(texts, TrainParameters(vocab_size=300))
    characters = [token for token in tokenizer.get_vocab() if len(token.removeprefix("##")) == 1]
    assert 140 <= len(characters) <= 150
    assert "common" in tokenizer.get_vocab()


@pytest.mark.parametrize(
    ("texts", "parameters", "message"),
    [
        (["text"], TrainParameters(vocab_size=261), "261"),
        ([" \n"], TrainParameters(), "no text"),
        ([" \n"], TrainParameters(model="unigram"), "no text"),
    ],
)
def test_training_mistakes(texts, parameters, message):
    """Each is one line that says what to do."""
    with pytest.raises(ValueError, match=message):
        train_tokenizer(texts, parameters)


@SETTINGS
def test_transformers_loads_what_is_saved(tmp_path, parameters):
    """AutoTokenizer gives equal ids, knows every special token, and frames a text as we do."""
    transformers = pytest.importorskip("transformers")
    tokenizer = train_tokenizer(CORPUS, parameters)
    save_tokenizer(tokenizer, tmp_path / "tokenizer", seq_length=128)
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    for text in [*CORPUS[:20], "ba [MASK] ba"]:
        assert loaded(text)["input_ids"] == tokenizer.encode(text).ids
    assert (loaded.mask_token, loaded.mask_token_id, loaded.pad_token_id) == ("[MASK]", 4, 0)
    assert (loaded.cls_token_id, loaded.sep_token_id, loaded.unk_token_id) == (2, 3, 1)
    assert (loaded.model_max_length, len(loaded)) == (128, 500)
    assert tokenizer_hash(load_tokenizer(tmp_path / "tokenizer")) == tokenizer_hash(tokenizer)
    assert tokenizer_hash(load_tokenizer(tmp_path / "tokenizer" / "tokenizer.json")) == tokenizer_hash(tokenizer)


@pytest.mark.parametrize(
    ("name", "vocab_size", "specials"),
    [
        ("bert-base-uncased", 30522, SpecialIds(pad=0, unk=100, cls=101, sep=102, mask=103)),
        ("bert-base-chinese", 21128, SpecialIds(pad=0, unk=100, cls=101, sep=102, mask=103)),
        ("roberta-base", 50265, SpecialIds(pad=1, unk=3, cls=0, sep=2, mask=50264)),
    ],
)
def test_published_tokenizers(shared_data, tmp_path, name, vocab_size, specials):
    """Their special tokens are found, and transformers reads the same ids from what we save."""
    transformers = pytest.importorskip("transformers")
    tokenizer = load_tokenizer(shared_data / "tokenizers" / name)
    assert tokenizer.get_vocab_size() == vocab_size
    assert special_ids(tokenizer) == specials
    save_tokenizer(tokenizer, tmp_path, seq_length=512)
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = f"H\xe9llo {loaded.mask_token} \u4e2d\u6587, it's 1984!"
    assert loaded(text)["input_ids"] == tokenizer.encode(text).ids
    assert loaded.mask_token_id in loaded(text)["input_ids"]


def test_published_ids(shared_data):
    """Known ids: a vocab.txt is uncased BERT, byte-level BPE counts a leading space."""
    bert = load_tokenizer(shared_data / "tokenizers" / "bert-base-uncased" / "vocab.txt")
    assert bert.encode("Hello World").ids == [101, 7592, 2088, 102]
    roberta = load_tokenizer(shared_data / "tokenizers" / "roberta-base")
    assert roberta.encode("Hello world").ids == [0, 31414, 232, 2]


@pytest.mark.parametrize("name", ["gpt2", "gpt-neox-20b-olmo"])
def test_a_decoder_tokenizer_has_no_mask(shared_data, name):
    """It is refused with the role and the names looked for."""
    tokenizer = load_tokenizer(shared_data / "tokenizers" / name)
    with pytest.raises(ValueError, match=r"mask \(\[MASK\] or <mask>\)"):
        special_ids(tokenizer)


def test_vocab_txt_case(tmp_path):
    """Capitals in the vocabulary mean cased; tokenizer_config.json beside has the last word."""
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*SPECIAL_TOKENS, "Berlin", "berlin"]) + "\n")
    assert load_tokenizer(path).encode("Berlin berlin").ids == [2, 5, 6, 3]
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    assert load_tokenizer(tmp_path).encode("Berlin berlin").ids == [2, 6, 6, 3]


def test_truncation_and_padding_are_dropped(tmp_path):
    """A tokenizer.json that truncates must not cut documents here."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    expected = tokenizer_hash(tokenizer)
    tokenizer.enable_truncation(7)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert tokenizer_hash(load_tokenizer(tmp_path)) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent", None, "no tokenizer at"),
        ("tokenizer.json", "{", "cannot read the tokenizer"),
        ("vocab.txt", "a\nb\n", r"\[UNK\] is missing"),
        ("vocab.json", "{}", "cannot read the tokenizer"),
    ],
)
def test_loading_mistakes(tmp_path, name, content, message):
    """Each is one line with the path."""
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        load_tokenizer(tmp_path / name)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("model", ["wordpiece", "bpe", "unigram"])
@pytest.mark.parametrize("lowercase", [True, False])
def test_a_padded_vocabulary(tmp_path, model, lowercase):
    """It is a multiple of 128, transformers reads that size, and no text becomes a token that pads."""
    transformers = pytest.importorskip("transformers")
    plain = train_tokenizer(CORPUS, TrainParameters(model=model, vocab_size=500, lowercase=lowercase))
    padded = train_tokenizer(CORPUS, TrainParameters(model=model, vocab_size=500, lowercase=lowercase, pad_to=128))
    assert (plain.get_vocab_size(), padded.get_vocab_size()) == (500, 512)
    assert sorted(padded.get_vocab().values()) == list(range(512))
    text = "[unused0] [unused11]unused5 bathe " + CORPUS[0]
    assert padded.encode(text).ids == plain.encode(text).ids
    assert Encoder(padded).is_fast
    assert Encoder(padded).encode(pa.array([text])).to_pylist() == Encoder(plain).encode(pa.array([text])).to_pylist()
    assert Encoder(padded).vocab_size == 512
    save_tokenizer(padded, tmp_path, seq_length=64)
    assert len(transformers.AutoTokenizer.from_pretrained(tmp_path)) == 512


@pytest.mark.parametrize(
    ("temperature", "sample_bytes", "expected"),
    [
        (1.0, 10**9, {"de": 1.0, "en": 1.0, "tr": 1.0}),
        (1.0, 555, {"de": 0.5, "en": 0.5, "tr": 0.5}),
        (0.0, 10**9, {"de": 3.7, "en": 0.37, "tr": 37.0}),
        (0.0, 111, {"de": 0.37, "en": 0.037, "tr": 3.7}),
    ],
)
def test_rates_of_languages(temperature, sample_bytes, expected):
    """Temperature 1 reads everything alike, 0 as much of each language; the sum stays within the sample."""
    sizes = {"en": 1000, "de": 100, "tr": 10, "": 0}
    rates = language_rates(sizes, sample_bytes=sample_bytes, temperature=temperature)
    assert rates == pytest.approx(expected)
    assert sum(sizes[language] * rate for language, rate in rates.items()) <= min(sample_bytes, 1110) + 1e-6


def test_rates_between_and_their_bound():
    """Shares follow the power, a page of a language is not read more than 100 times, and 2 is no temperature."""
    sizes = {"en": 10**6, "de": 10**4}
    rates = language_rates(sizes, sample_bytes=10**9, temperature=0.5)
    assert sizes["en"] * rates["en"] / (sizes["de"] * rates["de"]) == pytest.approx(10)
    assert language_rates({"en": 10**9, "xx": 10}, sample_bytes=10**9, temperature=0.0)["xx"] == 100.0
    assert language_rates({}, sample_bytes=1, temperature=0.5) == {}
    with pytest.raises(ValueError, match="temperature 2"):
        language_rates({"en": 1}, sample_bytes=1, temperature=2.0)


def test_copies_by_rate():
    """The whole part for all, the rest for a share that is drawn by content."""
    hashes = np.random.default_rng(0).integers(0, 2**64, 20_000, np.uint64)
    copies_N = sample_copies(hashes, 2.25)
    assert set(copies_N.tolist()) == {2, 3}
    assert abs(copies_N.mean() - 2.25) < 0.02
    assert (sample_copies(hashes, 1.0) == 1).all()
    assert (sample_copies(hashes, 0.25) == sample_mask(hashes, 0.25)).all()


def test_sample_by_content():
    """About the fraction asked for, nested, equal each time, and independent of the smallest hashes."""
    hashes = np.random.default_rng(0).integers(0, 2**64, 50_000, np.uint64)
    tenth, half = sample_mask(hashes, 0.1), sample_mask(hashes, 0.5)
    assert abs(tenth.mean() - 0.1) < 0.01
    assert abs(half.mean() - 0.5) < 0.015
    assert (half | ~tenth).all()
    assert abs(half[hashes < 2**60].mean() - 0.5) < 0.05
    assert sample_mask(hashes, 1.0).all()
    assert not sample_mask(hashes, 0.0).any()
    with pytest.raises(ValueError, match=r"1\.5"):
        sample_mask(hashes, 1.5)
