"""Pieces learned from counts of words."""

import json

import pyarrow as pa
import pytest
from tokenizers import Tokenizer

from tests.transforms.test_tokenizer import CORPUS
from transforms import unigram_trainer
from transforms.tokenizer import TrainParameters, train_tokenizer
from transforms.unigram_trainer import most_frequent, train_pieces
from transforms.word_counts import WORD_COUNTS, merged

WORDS = {"abcabc": 50, "abc": 40, "xabc": 3, "(abc)": 20, "abc,": 9, "don't": 30, "\u4e2d\u6587": 8, "\u9f98": 1}


def test_the_order_of_the_words_is_nothing():
    """Equal counts give equal pieces and scores."""
    again = dict(sorted(WORDS.items(), key=lambda item: item[0][::-1]))
    assert train_pieces(WORDS, num_pieces=40, required="") == train_pieces(again, num_pieces=40, required="")


def test_pieces_stay_within_letters_or_signs():
    """Every character is a piece, what is frequent is one, a mark stands only in front, and required ones are there."""
    pieces = dict(train_pieces(WORDS, num_pieces=60, required="[Z"))
    assert set("\u2581abcx(),dont'\u4e2d\u6587\u9f98[Z") <= set(pieces)
    assert {"abc", "\u2581abc"} <= set(pieces)
    for piece in pieces:
        letters = piece.removeprefix("\u2581")
        assert "\u2581" not in letters
        assert letters.isalpha() or not any(map(str.isalpha, letters))
    assert max(pieces.values()) < 0.01
    assert min(pieces.values()) > -30


def test_a_word_that_begins_no_other_one_is_a_piece():
    """ "between" is always followed by the end of a word, which sentencepiece takes for a part of it."""
    pieces = dict(train_pieces({"between": 500, "the": 700, "a(b)=c;" * 3 + "between": 20}, num_pieces=60, required=""))
    assert "\u2581between" in pieces


def table(words):
    column = pa.array(list(words), pa.string())
    return merged([pa.record_batch([column, pa.array(words.values(), pa.int64())], schema=WORD_COUNTS)])


def test_words_are_chosen_where_there_are_too_many(monkeypatch):
    """Frequent ones stay, of the others some, whatever their order."""
    monkeypatch.setattr(unigram_trainer, "_MOST_CHARACTERS", 40)
    words = {"abab": 9} | {chr(0x4E00 + n) * 4: 1 for n in range(40)}
    kept = most_frequent(table(words))
    assert kept == most_frequent(table(dict(reversed(words.items()))))
    assert kept.pop("abab") == 9
    assert set(kept.values()) == {1}
    chosen = [n for n in range(40) if chr(0x4E00 + n) * 4 in kept]
    assert len(chosen) == len(kept) == 9
    assert chosen[-1] - chosen[0] > 9


def test_rare_characters_are_left_to_the_unknown_token():
    """Those beyond 99.98% of the text, and those beyond half of the pieces; what is beside them is still learned."""
    pieces = dict(train_pieces({"abcd": 10_000, "ab\u9f98": 1}, num_pieces=40, required=""))
    assert "\u9f98" not in pieces
    assert "\u2581abcd" in pieces
    pieces = dict(train_pieces({chr(0x4E00 + i): 1000 - i for i in range(500)}, num_pieces=100, required=""))
    assert "\u4e00" in pieces
    assert sum(len(piece) == 1 for piece in pieces) <= 51


@pytest.mark.parametrize(
    "word", ["\u2581", "a\u2581b", "\0", "\u2585x", "\u2047", "<unk>", "\ufffe\U0010ffff", "x" * 9000]
)
def test_any_word_can_be_learned_from(word):
    """Characters that sentencepiece keeps for itself, and a word longer than it takes, do not stop it."""
    pieces = dict(train_pieces({word: 5, "abc": 9000}, num_pieces=60, required=""))
    assert {"a", "b", "c"} <= set(pieces)
    assert not {"\0", "\u2585"} & set(pieces)


def test_a_corpus_of_one_letter():
    """The smallest there is; the vocabulary is then smaller than asked for."""
    tokenizer = train_tokenizer(["a"], TrainParameters(model="unigram", vocab_size=300))
    assert tokenizer.encode("a", add_special_tokens=False).tokens in (["\u2581a"], ["\u2581", "a"])
    assert tokenizer.get_vocab_size() < 40


def test_scores_are_read_as_they_were_written():
    """The JSON of the tokenizer, read and written again, is the same text, so every copy gives the same ids."""
    first = train_tokenizer(CORPUS, TrainParameters(model="unigram", vocab_size=500)).to_str()
    assert Tokenizer.from_str(first).to_str() == first
    assert all(round(score, 6) == score for _, score in json.loads(first)["model"]["vocab"])
