"""Merges learned from counts of words: those of the twin, and those of the trainer of `tokenizers`."""

import json
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tests.reference import merges as twin
from transforms.bpe_trainer import train_bpe
from transforms.byte_level import byte_characters
from transforms.kernels.merges import learn_merges
from transforms.word_counts import WordTable

SPECIAL = ("[PAD]", "[UNK]")
TOKENS = [*SPECIAL, *sorted(byte_characters())]
# Few letters and many equal counts: pairs that spell the same token, and pairs that come back after their merge.
WORDS = st.dictionaries(st.text("abc", min_size=1, max_size=30), st.integers(1, 9), min_size=1, max_size=40)


def table(words):
    counted = WordTable()
    counted.add(pa.array(list(words), pa.string()), np.array(list(words.values()), np.int64))
    return counted.words()


def assert_equal_to_library(words, vocab_size):
    """Train with `tokenizers` from texts of one word each, and compare vocabulary and merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((word for word, count in words.items() for _ in range(count)), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocab, merges = train_bpe(table(words), vocab_size=vocab_size, special_tokens=SPECIAL)
    assert vocab == model["vocab"]
    assert merges == list(map(tuple, model["merges"]))
    return merges


@settings(deadline=None, max_examples=150)
@given(WORDS, st.sampled_from([259, 262, 275, 400]), st.sampled_from([b"", b"a"]))
def test_merges_are_those_of_the_twin(words, vocab_size, prefix):
    """Any words, vocabularies that fill up and that do not, with a prefix that second parts lose."""
    symbols = [[TOKENS.index(letter) for letter in word] for word in words]
    offset_W1 = np.cumsum([0, *map(len, words)])
    tokens = [token.encode() for token in TOKENS]
    token_V1 = np.zeros(vocab_size + 1, np.int64)
    token_V1[1 : len(tokens) + 1] = np.cumsum([len(token) for token in tokens])
    merge_R3 = learn_merges(
        np.array([symbol for word in symbols for symbol in word], np.int32),
        offset_W1,
        np.array(list(words.values())),
        np.frombuffer(bytearray(b"".join(tokens)), np.uint8),
        token_V1,
        len(tokens),
        np.frombuffer(bytearray(prefix), np.uint8),
        2,
    )
    counted = list(zip(symbols, words.values(), strict=True))
    expected = twin.learn_merges(counted, TOKENS, vocab_size=vocab_size, prefix=prefix.decode())
    assert list(map(tuple, merge_R3.tolist())) == expected


@settings(deadline=None, max_examples=60)
@given(WORDS, st.sampled_from([259, 275, 400]))
def test_merges_are_those_of_the_library(words, vocab_size):
    """Ties and pairs that come back, too."""
    assert_equal_to_library(words, vocab_size)


def test_more_than_any_array_has_room_for_at_first():
    """Thousands of words, pairs and merges; the order of the words is nothing."""
    draw = random.Random(0)
    letters = [*map(chr, range(0x61, 0x7B))] * 40 + [*map(chr, range(0x4E00, 0x5800))]
    words = {"".join(draw.choices(letters, k=draw.randint(1, 12))): draw.randint(1, 5) for _ in range(20_000)}
    merges = assert_equal_to_library(words, 6000)
    assert len(merges) > 5000
    again = dict(sorted(words.items(), key=lambda item: item[0][::-1]))
    assert train_bpe(table(again), vocab_size=6000, special_tokens=SPECIAL)[1] == merges


@pytest.mark.parametrize("size", [1, 2, 3, 5000])
def test_a_run_of_one_letter(size):
    """Its tokens double in length, beyond the room for their text; overlapping pairs are merged from the left."""
    merges = assert_equal_to_library({"a" * size: 3, "b": 2}, 600)
    assert max((len(left + right) for left, right in merges), default=0) == (0 if size == 1 else min(size, 5000))


def test_nothing_to_learn_from():
    """No words, no pairs, or none that occurs twice: no merges."""
    for words in ({}, {"a": 7}, {"ab": 1, "cd": 1}):
        assert train_bpe(table(words), vocab_size=300, special_tokens=SPECIAL)[1] == []
