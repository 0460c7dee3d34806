"""The memory of words: the token ids that a short run of bytes became when it was encoded before.

Shapes: M bytes, W rows.

A key is 32 bytes: a word of at most 31 bytes, and their number. Two rows stand together; a new word takes the second,
and one that is met again moves to the first. So the memory is bounded, and text made to spoil it makes it useless but
never wrong.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import inlined

MEMORY_BITS = 15  # rows: 1 MB of keys and 2 MB of ids; 13 was 10 to 20% slower, 17 no faster
MEMORY_IDS = 15  # most ids of a word that is remembered
MEMORY_BYTES = 31  # most bytes of it
READ_BYTES = 32  # the bytes that `word_key` reads, however short the word

_U = np.uint64
_ONES = np.uint64(0xFFFFFFFFFFFFFFFF)


def new_memory() -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Return the keys, uint64 [W, 4], and the ids, int32 [W, 16], of an empty memory; column 0 of ids is their number.

    No word has the key of an empty row: the highest byte, the number of bytes, is at most 31.
    """
    return np.full((1 << MEMORY_BITS, 4), _ONES), np.zeros((1 << MEMORY_BITS, 1 + MEMORY_IDS), np.int32)


@inlined
def _first(size: int) -> np.uint64:
    """Return a mask of the first `size` of eight bytes: of all from 8 on, of none up to 0."""
    half = _U(32 - 4 * min(max(size, 0), 8))
    return _ONES >> half >> half


@inlined
def word_key(
    size: int, a: np.uint64, b: np.uint64, c: np.uint64, d: np.uint64
) -> tuple[int, np.uint64, np.uint64, np.uint64, np.uint64]:
    """Return the first row of a word of 1 to 31 bytes, and its key, from the 32 bytes that begin with it."""
    # Masks, and not a branch for each number of eights: that is mispredicted for every fifth word.
    a &= _first(size)
    b &= _first(size - 8)
    c &= _first(size - 16)
    d = d & _first(size - 24) | _U(size) << _U(56)
    mixed = (a ^ (b + c) * _U(0x9E3779B97F4A7C15)) + d * _U(0xC2B2AE3D27D4EB4F)
    mixed = (mixed ^ (mixed >> _U(29))) * _U(0xBF58476D1CE4E5B9)
    return int(mixed >> _U(65 - MEMORY_BITS)) << 1, a, b, c, d


@inlined
def recall(
    row: int,
    a: np.uint64,
    b: np.uint64,
    c: np.uint64,
    d: np.uint64,
    key_W4: NDArray[np.uint64],
    ids_W16: NDArray[np.int32],
) -> tuple[int, bool]:
    """Return the row that has the word, and True, or the one that it is to take; the word moves to the first of two."""
    differs = key_W4[_U(row), 0] ^ a | key_W4[_U(row), 1] ^ b | key_W4[_U(row), 2] ^ c | key_W4[_U(row), 3] ^ d
    if differs != 0:
        row += 1
        differs = key_W4[_U(row), 0] ^ a | key_W4[_U(row), 1] ^ b | key_W4[_U(row), 2] ^ c | key_W4[_U(row), 3] ^ d
        if differs == 0:
            for k in range(4):
                key_W4[_U(row - 1), k], key_W4[_U(row), k] = key_W4[_U(row), k], key_W4[_U(row - 1), k]
            for k in range(1 + MEMORY_IDS):
                ids_W16[_U(row - 1), k], ids_W16[_U(row), k] = ids_W16[_U(row), k], ids_W16[_U(row - 1), k]
            row -= 1
    return row, differs == 0
