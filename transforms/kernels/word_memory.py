"""The memory of words: the token ids that a short run of bytes became when it was encoded before.

Shapes: M bytes, W rows.

A key is 32 bytes: a word of at most 31 bytes, and their number. Two rows stand together; a new word takes the second,
and one that is met again moves to the first. So the memory is bounded, and text made to spoil it makes it useless but
never wrong.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import inlined, part
from transforms.kernels.loads import eight_bytes

MEMORY_BITS = 15  # rows: 1 MB of keys and 2 MB of ids; 13 was 10 to 20% slower, 17 no faster
MEMORY_IDS = 15  # most ids of a word that is remembered
MEMORY_BYTES = 31  # most bytes of it
READ_BYTES = 32  # the bytes that `word_key` reads, however short the word

_U = np.uint64
_ONES = np.uint64(0xFFFFFFFFFFFFFFFF)


class WordMemory(NamedTuple):
    """Keys and ids by row; column 0 of the ids is their number."""

    key_W4: NDArray[np.uint64]
    ids_W16: NDArray[np.int32]


def new_memory() -> WordMemory:
    """Return an empty memory.

    No word has the key of an empty row: its highest bit is never set (five bits of length, and two flags of Unigram).
    """
    rows = 1 << MEMORY_BITS
    return WordMemory(np.full((rows, 4), _ONES), np.zeros((rows, 1 + MEMORY_IDS), np.int32))


@inlined
def _first(size: int) -> np.uint64:
    """Return a mask of the first `size` of eight bytes: of all from 8 on, of none up to 0."""
    half = _U(32 - 4 * min(max(size, 0), 8))
    return _ONES >> half >> half


@inlined
def word_key(
    bytes_M: NDArray[np.uint8], start: int, size: int
) -> tuple[int, np.uint64, np.uint64, np.uint64, np.uint64]:
    """Return the first row of a word of 1 to 31 bytes, and its key; READ_BYTES are read from `start` on."""
    # Masks, and not a branch for each number of eights: that is mispredicted for every fifth word.
    at = _U(start)
    a = eight_bytes(bytes_M, at) & _first(size)
    b = eight_bytes(bytes_M, at + _U(8)) & _first(size - 8)
    c = eight_bytes(bytes_M, at + _U(16)) & _first(size - 16)
    d = eight_bytes(bytes_M, at + _U(24)) & _first(size - 24) | _U(size) << _U(56)
    mixed = (a ^ (b + c) * _U(0x9E3779B97F4A7C15)) + d * _U(0xC2B2AE3D27D4EB4F)
    mixed = (mixed ^ (mixed >> _U(29))) * _U(0xBF58476D1CE4E5B9)
    return int(mixed >> _U(65 - MEMORY_BITS)) << 1, a, b, c, d


@part  # inlined by numba it cost byte-level BPE a sixth of its speed
def recall(
    row: int,
    a: np.uint64,
    b: np.uint64,
    c: np.uint64,
    d: np.uint64,
    memory: WordMemory,
) -> tuple[int, bool]:
    """Return the row that has the word, and True, or the one that it is to take; the word moves to the first of two."""
    key_W4, ids_W16 = memory
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


@part
def recalled_ids(row: int, memory: WordMemory, ids_T: NDArray[np.unsignedinteger], num_ids: int) -> int:
    """Write the ids of a row behind the first `num_ids`, where there must be room for four; return their number."""
    ids_W16 = memory.ids_W16
    count = int(ids_W16[_U(row), 0])
    for k in range(4):  # nearly all words; what is too much is written over
        ids_T[_U(num_ids + k)] = ids_W16[_U(row), 1 + k]
    for k in range(4, count):
        ids_T[_U(num_ids + k)] = ids_W16[_U(row), _U(1 + k)]
    return count


@part
def remember(
    row: int,
    a: np.uint64,
    b: np.uint64,
    c: np.uint64,
    d: np.uint64,
    memory: WordMemory,
    ids_T: NDArray[np.unsignedinteger],
    num_ids: int,
    count: int,
) -> None:
    """Note in the row that a word takes what it became: `count` ids behind the first `num_ids`."""
    key_W4, ids_W16 = memory
    key_W4[_U(row), 0], key_W4[_U(row), 1], key_W4[_U(row), 2], key_W4[_U(row), 3] = a, b, c, d
    ids_W16[_U(row), 0] = count
    for k in range(count):
        ids_W16[_U(row), _U(1 + k)] = ids_T[_U(num_ids + k)]
