"""Keys of the memory of words."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import word_memory as twin
from transforms.kernels.jit import kernel
from transforms.kernels.word_memory import MEMORY_BITS, MEMORY_BYTES, new_memory, word_key


@kernel
def _key_at(bytes_M, position, size):
    first = word_key(bytes_M, position, size)
    return first  # noqa: RET504 - a call that is inlined must be assigned


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=MEMORY_BYTES), st.binary(max_size=9), st.binary(min_size=31, max_size=40))
def test_a_key_is_the_word_and_nothing_else(word, before, behind):
    """Whatever stands around a word, at any address, its key is its bytes and their number, and its row is the same."""
    bytes_M = np.frombuffer(before + word + behind, np.uint8)
    row, *parts = _key_at(bytes_M, len(before), len(word))
    assert sum(int(part) << 64 * k for k, part in enumerate(parts)) == twin.key(word)
    assert row % 2 == 0
    assert 0 <= row < 1 << MEMORY_BITS
    assert row == _key_at(np.frombuffer(word + bytes(32), np.uint8), 0, len(word))[0]


def test_words_spread_over_the_rows():
    """10,000 similar words want at least 70% of the rows that as many random numbers would."""
    words = [
        f" {prefix}{number}".encode()
        for prefix in ("word", "a", "longer-than-16-bytes-", "\u043d\u0435")
        for number in range(2500)
    ]
    rows = {_key_at(np.frombuffer(word + bytes(32), np.uint8), 0, len(word))[0] for word in words}
    places = 1 << (MEMORY_BITS - 1)
    assert len(rows) > 0.7 * places * (1 - np.exp(-len(words) / places))


def test_no_word_is_in_an_empty_memory():
    """The empty key has 255 as the number of bytes."""
    memory = new_memory()
    assert (memory.key_W4[:, 3] >> np.uint64(56) > MEMORY_BYTES).all()
    assert len(memory.key_W4) == len(memory.ids_W16) == 1 << MEMORY_BITS
