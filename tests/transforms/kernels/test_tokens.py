"""Kernel and twin of the token rules side by side."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import tokens as twin
from transforms.kernels.english import EXCEPTIONS
from transforms.kernels.jit import borrowing
from transforms.kernels.lexicon import LENGTH, NUM_ROWS, START, find, hash_bytes, intern
from transforms.kernels.lines import DOC_TOKENS, NUM_COUNTS, TOKEN_ROW, scan
from transforms.kernels.room import enlarged, new_lexicon, new_room


@borrowing
def scanned(lexicon, text, tables, counts):
    """What Python calls in the place of `scan`, a part of kernels."""
    return scan(lexicon, text, 0, len(text), tables, counts)


@borrowing
def entered(lexicon, text, length, state):
    """Return the row of text[:length]."""
    return intern(lexicon, text, 0, length, state)


@borrowing
def found(lexicon, text, length, state):
    """Return the row of text[:length], or -1."""
    return find(lexicon.rows_R, lexicon.bytes_A, lexicon.slots_S, text, 0, length, state)


@borrowing
def hashed(text, length):
    """Return the hash of text[:length]."""
    return hash_bytes(text, 0, length)


class Splitter:
    """Tokens of a text as strings, through `scan` and one lexicon."""

    def __init__(self, **size):
        self.lexicon = new_lexicon(**size)
        self.room = new_room(len(self.lexicon.rows_R))

    def string(self, row):
        start, length = self.lexicon.rows_R[row, START], self.lexicon.rows_R[row, LENGTH]
        return self.lexicon.bytes_A[start : start + length].tobytes().decode()

    def __call__(self, text):
        data = np.frombuffer(text.encode(), np.uint8).copy()
        while True:
            counts = np.zeros(NUM_COUNTS, np.int64)
            full = scanned(self.lexicon, data, self.room.first, counts)
            if full == 0:
                return [self.string(row & TOKEN_ROW) for row in self.room.first.tokens_T[: counts[DOC_TOKENS]]]
            self.lexicon, self.room = enlarged(self.lexicon, self.room, -full)


SPLITTER = Splitter()


@pytest.fixture(params=[SPLITTER, twin.tokens], ids=["kernel", "twin"])
def tokens(request):
    return request.param


CASES = {
    "Hello, world!": "Hello|,|world|!",
    "(see below).": "(|see|below|)|.",
    'He said: "No..."': 'He|said|:|"|No|...|"',
    "don't can't I'm we'll cannot Dont": "do|n't|ca|n't|I|'m|we|'ll|can|not|Do|nt",
    "he\u2019s Peter\u2019s": "he|\u2019s|Peter|\u2019s",
    "e.g., i.e. Mr. Smith a.m. 5pm": "e.g.|,|i.e.|Mr.|Smith|a.m.|5|pm",
    "U.S. U.N.! NATO. end.": "U.S.|U.N.|!|NATO|.|end|.",
    "well-known non-\u00e9tat 3-4 --x a--b": "well|-|known|non|-|\xe9tat|3|-|4|--x|a|--|b",
    "10km 3.5kg 20% $5 US$7 5\u20ac 40mph x10k": "10|km|3.5|kg|20|%|$|5|US$|7|5|\u20ac|40|mph|x10k",
    "http://a.b.com/c-d?e=f www.x.org, me@y.net a.b-c.de": "http://a.b.com/c-d?e=f|www.x.org|,|me@y.net|a.b-c.de",
    "8.8.8.8/a-b 10.0.0.1/a-b 1.2.3/a-b": "8.8.8.8/a-b|10.0.0.1|/|a|-|b|1.2.3|/|a|-|b",
    "end.Start and/or x/y a,b 1,000 a:b c=d": "end|.|Start|and/or|x|/|y|a|,|b|1,000|a|:|b|c|=|d",
    "ok:) (no):( x:')": "ok|:)|(|no|):|(|x|:')",
    "5\xb0C. \xa7 3 \xa9me": "5|\xb0|C|.|\xa7|3|\xa9|me",
    "\u4e2d\u6587\uff0c\u6587\u5b57\u3002": "\u4e2d\u6587\uff0c\u6587\u5b57|\u3002",
    "a\xa0b\u3000c\u2028d": "a|b|c|d",
    "+1 +x 1+ a+": "+1|+|x|1|+|a+",
    "!!!": "!|!|!",
}


@pytest.mark.parametrize("text", CASES)
def test_token_cases(tokens, text):
    """Each rule on a text made for it."""
    assert tokens(text) == CASES[text].split("|")


@pytest.mark.parametrize("start", range(0, len(EXCEPTIONS), 97))
def test_exceptions_split_as_listed(tokens, start):
    """An exception in brackets and before a comma splits as its entry says."""
    for chunk, pieces in list(EXCEPTIONS.items())[start::97]:
        assert tokens(chunk) == list(pieces)


PIECES = st.sampled_from(
    [
        *"aBc.,:;!?'\"()[]{}<>/\\-_=+*&%$#@~^|`0123456789",
        "...", "..", "--", "---", "\u2014", "\u2013", "\u2019", "\u2026", "\u201c", "\u20ac", "\xb0", "\xb2", "\xe9",
        "\xc9", "\u4e2d", "\u3002", "\u3001", "\u0301", "\u02b9", "\U0001f600", "km", "US$", "C", "s", "n't", "www.",
        ".com", "http://", "://", "10.", "255", "don't", "e.g.", ":)", "Mr.", "\u043a\u043c", "\u0645",
    ]
)  # fmt: skip


@given(st.lists(PIECES, min_size=1, max_size=8).map("".join))
@settings(max_examples=1500, deadline=None)
def test_tokens_equal_twin(chunk):
    """Kernel and regular expressions split any mixture of characters that matter alike, and lose none of them."""
    expected = twin.split_chunk(chunk)
    assert SPLITTER(chunk) == expected
    assert "".join(expected) == chunk


SPACES = ["\t", "\n", "\x1c", " ", "\x85", "\xa0", "\u1680", "\u2003", "\u2028", "\u3000"]
LETTERS = ["a", "b", "z", "\x00", "\x08", "\x0e", "\x1b", "\x7f", "\xe9", "\u0433", "\u2020", "\u4e2d", "\U0001f600"]


@given(st.text(st.sampled_from(LETTERS), max_size=30), st.sampled_from(SPACES), st.text(st.sampled_from(LETTERS)))
@settings(max_examples=500, deadline=None)
def test_a_chunk_ends_at_white_space_wherever_it_stands(before, space, behind):
    """Chunks of any length, read eight bytes at a time, end where `str.split` ends them, at the end of a text too."""
    text = f"{before}{space}{behind}"
    assert "".join(SPLITTER(text)) == "".join(text.split())
    assert SPLITTER(text) == [token for chunk in text.split() for token in twin.split_chunk(chunk)]


@pytest.mark.parametrize("length", [9, 15, 16, 17, 40])
def test_equal_hashes_are_not_enough(length):
    """A string that differs in any one byte from one with the same hash is not found under it."""
    lexicon = new_lexicon(num_rows=1 << 12)
    known = np.arange(65, 65 + length, dtype=np.uint8)
    state = hashed(known, length)
    row = entered(lexicon, known, length, state)
    assert found(lexicon, known, length, state) == row
    for at in range(length):
        other = known.copy()
        other[at] += 1
        assert found(lexicon, other, length, state) == -1


@pytest.mark.parametrize("chars", [*range(250, 262), 5000])
def test_long_chunks_split_as_short_ones(chars):
    """The room that is kept for splitting ends at 256 characters; longer chunks get their own."""
    chunk = ("don't;\u20ac" * chars)[: chars - 1] + "."
    assert SPLITTER(chunk) == twin.split_chunk(chunk)


def test_a_lexicon_grows():
    """Arrays that start too small are enlarged, and everything is still split as before."""
    splitter = Splitter(num_rows=1 << 12)
    words = [f"x{i}y,z{i}." for i in range(40_000)]
    assert splitter(" ".join(words)) == [token for i in range(40_000) for token in (f"x{i}y", ",", f"z{i}", ".")]
    assert splitter.lexicon.used[NUM_ROWS] > 100_000
    assert splitter("don't stop") == ["do", "n't", "stop"]


def test_real_chunks_equal_twin(shared_data):
    """Every different chunk of some real pages in three languages is split like the twin splits it."""
    from tests.corpora import read_jsonl

    chunks = set()
    for name in ("python-docs/en", "wesnoth/de", "oi-wiki/zh"):
        for row in read_jsonl(shared_data / f"text/{name}.jsonl.zst")[:12]:
            chunks.update(row["text"].split())
    assert len(chunks) > 5000
    assert [c for c in sorted(chunks) if SPLITTER(c) != twin.split_chunk(c)] == []
