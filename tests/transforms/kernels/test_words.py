"""The word scan against its twin, and what a word is."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import words as reference
from transforms.kernels.minhash import shingles
from transforms.kernels.strings import string_views
from transforms.kernels.words import CLASS_SHIFT, LETTER, MARK, SEPARATOR, SOLO, word_table

# Latin, digits, case that changes length, marks, Thai with marks, Han, Kana, Hangul, astral letters, separators.
LETTERS = (
    "aZ09_ '\n\t\u00df\u0130\u03a3\u0300\u0e01\u0e34\u0e33\u4e2d\u6587\u30a2\u30fc\uff71\ud55c\u200d"
    "\U00010400\U0001d7ce\U00020000\U0001f600"
)
texts = st.text(st.one_of(st.sampled_from(LETTERS), st.characters(codec="utf-8")), max_size=60).map(str.encode)
broken = st.lists(st.one_of(texts, st.binary(max_size=6)), max_size=6).map(b"".join)


def kernel_words(documents: list[bytes]) -> list[list[int]]:
    """The word hashes of each document: shingles of one word."""
    offsets_N1, bytes_M = string_views(pa.array(documents, pa.binary()))
    word_S = np.empty((len(bytes_M) + len(documents)) // 2, np.uint64)
    starts_N1 = np.empty(len(documents) + 1, np.int64)
    shingles(offsets_N1, bytes_M, word_table(), 1, word_S, starts_N1)
    return [word_S[start:stop].tolist() for start, stop in pairwise(starts_N1)]


def reference_words(documents: list[bytes]) -> list[list[int]]:
    """The same from the twin."""
    return [[reference.word_hash(word) for word in reference.words(document)] for document in documents]


@pytest.mark.parametrize("scan", [kernel_words, reference_words])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n.,!\u00ad", []),
        ("Don't STOP", ["don", "t", "stop"]),
        ("x1 2y", ["x1", "2y"]),
        ("\u0391\u03a3 \u0130", ["\u03b1\u03c3", "i"]),
        ("e\u0301t", ["e\u0301t"]),
        ("\u0301a", ["\u0301a"]),
        ("abc\u4e2d\u6587def", ["abc", "\u4e2d", "\u6587", "def"]),
        ("\u0e01\u0e34\u0e19", ["\u0e01\u0e34", "\u0e19"]),
        ("\u30ab\u3099\u4e2d\u0301a", ["\u30ab\u3099", "\u4e2d\u0301", "a"]),
        ("\u4e2d \u0301a", ["\u4e2d", "\u0301a"]),
        ("\ud55c\uad6d \uc5b4", ["\ud55c\uad6d", "\uc5b4"]),
    ],
)
def test_words(scan, text, expected):
    """Runs of letters, numbers and marks, lower-cased; one word for each character of a script without spaces."""
    assert scan([text.encode()]) == [[reference.word_hash(word) for word in expected]]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(texts, broken), max_size=5))
def test_kernel_equals_twin(documents):
    """Also in bytes that are not UTF-8, and at the edges of documents that lie in one buffer."""
    assert kernel_words(documents) == reference_words(documents)


def test_every_pair_of_bytes_is_read():
    """No two bytes after a letter crash the scan or read as other words than Python's decoder sees."""
    documents = [
        b"a" + bytes([first, second]) + tail
        for first in range(256)
        for second in range(256)
        for tail in (b"", b"\xbf\x80z")
    ]
    assert kernel_words(documents) == reference_words(documents)


@pytest.mark.parametrize("cut", [b"\xc3", b"\xe4\xb8", b"\xe4", b"\xf0\xa0\x80", b"\xf0\xa0", b"\xf0"])
def test_a_character_is_not_completed_by_the_next_document(cut):
    """Documents lie side by side in one buffer: a document that ends inside a character must not read on."""
    documents = [b"a" + cut, b"\x80\x80\x80", b"\xad\x80\x80b"]
    assert kernel_words(documents) == reference_words(documents)


def test_words_longer_than_a_block_of_words():
    """A document of more words than one block keeps their number and order."""
    document = " ".join(map(str, range(5000))).encode()
    assert kernel_words([document, b"x"]) == reference_words([document, b"x"])


def test_table_classes():
    """Every code point has the class that its category and script say."""
    kinds = np.array(["separator", "solo", "letter", "mark"])
    assert [SEPARATOR, SOLO, LETTER, MARK] == [0, 1, 2, 3]
    expected = [reference.kind(chr(code)) for code in range(0x110000)]
    wrong = np.flatnonzero(kinds[word_table() >> CLASS_SHIFT] != np.array(expected))
    assert [hex(code) for code in wrong] == []
