"""Strings seen before: what each chunk of text splits into, remembered.

Splitting a chunk costs a microsecond, and a text repeats its chunks: nine of ten have been seen before. So every
string, chunk or token, has a row, and the row of a chunk holds its tokens and their summed statistics. Rows say what is
in the string and nothing about who saw it first, so the statistics of a document do not depend on the documents before
it. The numbers of rows do, and may only be compared within one document.

Shapes: R rows, A bytes of all strings, S slots of the hash table, T tokens of all chunks, E exceptions.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.characters import LETTER, MARK, SENTENCE_END, TERMINAL, WORD
from transforms.kernels.jit import borrowing, part
from transforms.kernels.loads import eight_bytes
from transforms.kernels.utf8 import code_point

# Columns of a row.
START, LENGTH, HASH_LOW = 0, 1, 2  # place in bytes_A, and half of the hash; the slot has the other half
CHARS, FLAGS = 3, 4
FIRST, TOKENS = 5, 6  # place in tokens_T; number of tokens, 0 while nobody has split the chunk
WORDS, WORD_CHARS, LETTER_TOKENS, CHUNK_FLAGS = 7, 8, 9, 10  # over its tokens
INLINE, NUM_INLINE = 11, 4  # its first tokens once more, so that a chunk of few needs no look at tokens_T
COLUMNS = 16  # one cache line

# Flags of a string. The first sixteen bits of CHUNK_FLAGS are those of the chunk, with its tokens' stop words.
STOP_WORDS = 0xFF  # one bit each
HAS_HASH, HAS_ELLIPSIS, IS_LONG, IS_SUSPECT = 1 << 8, 1 << 9, 1 << 10, 1 << 11
ENDS_TERMINAL, ENDS_ELLIPSIS, STARTS_BULLET = 1 << 12, 1 << 13, 1 << 14
TOKEN_WORD, TOKEN_LETTER, TOKEN_END, TOKEN_MARK, IS_EXCEPTION = 1 << 16, 1 << 17, 1 << 18, 1 << 19, 1 << 20

LONG_CHARS = 1000

# What is counted in `used`; minus the last three is what a kernel returns when that array has no room.
NUM_MEASURED, NUM_ROWS, NUM_BYTES, NUM_TOKENS = 0, 1, 2, 3

_U = np.uint64
_BASIS = np.uint64(0x9E3779B97F4A7C15)
_PRIME = np.uint64(0xD6E8FEB86659FD93)
_LOW = np.uint64(0xFFFFFFFF)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


class Splitting(NamedTuple):
    """Room for one chunk of at most so many characters while it is split; see `chunks`."""

    places_K1: NDArray[np.int64]
    codes_K: NDArray[np.int32]
    flags_K: NDArray[np.uint16]
    bounds_P1: NDArray[np.int64]
    merged_P: NDArray[np.int64]
    again_P1: NDArray[np.int64]  # for an exception, which has less than 16 characters


class Lexicon(NamedTuple):
    """The arrays of a lexicon. `used` counts documents measured, and rows, bytes and tokens in use."""

    rows_R: NDArray[np.int32]
    bytes_A: NDArray[np.uint8]
    tokens_T: NDArray[np.int32]
    slots_S: NDArray[np.uint64]
    used: NDArray[np.int64]
    flags_C: NDArray[np.uint16]
    lengths_F: NDArray[np.uint16]  # by first and last character: bit n is set if an exception has n characters
    splitting: Splitting


@part
def hash_step(state: np.uint64, word: np.uint64) -> np.uint64:
    """Return the hash after eight more bytes: one multiplication, and a bijection of `word`."""
    state = (state ^ word) * _PRIME
    return state ^ (state >> _U(32))


@part
def hash_bytes(text: NDArray[np.uint8], start: int, stop: int) -> np.uint64:
    """Return the hash of some bytes, eight at a time; up to eight bytes never collide with others of their length."""
    state, word, i = _BASIS, _U(0), start
    while i + 8 <= stop:
        state = hash_step(state, eight_bytes(text, _U(i)))
        i += 8
    if i < stop:
        if i + 8 <= len(text):
            word = eight_bytes(text, _U(i)) & (_ALL >> _U(64 - 8 * (stop - i)))
        else:
            for k in range(stop - i):
                word |= _U(text[_U(i + k)]) << _U(8 * k)
        state = hash_step(state, word)
    return state


@part
def find(
    rows_R: NDArray[np.int32],
    bytes_A: NDArray[np.uint8],
    slots_S: NDArray[np.uint64],
    text: NDArray[np.uint8],
    start: int,
    length: int,
    state: np.uint64,
) -> int:
    """Return the row of the string text[start:start + length] with hash `state`, or -1.

    Takes the arrays and not the Lexicon: each access to one of its fields counts a reference, atomically, 5 ns.
    """
    mask = _U(len(slots_S) - 1)
    slot = state & mask
    while True:
        entry = slots_S[slot]
        if entry == 0:
            return -1
        if entry >> _U(32) == state >> _U(32):
            row = int(entry & _LOW) - 1
            same = rows_R[_U(row), LENGTH] == length and rows_R[_U(row), HASH_LOW] == np.int32(state & _LOW)
            if same and length > 8:  # the hash of up to eight bytes is exact
                place, at, last, k = _U(rows_R[_U(row), START]), _U(start), _U(length - 8), _U(0)
                same = eight_bytes(bytes_A, place + last) == eight_bytes(text, at + last)
                while same and k < last:
                    same = eight_bytes(bytes_A, place + k) == eight_bytes(text, at + k)
                    k += _U(8)
            if same:
                return row
        slot = (slot + _U(1)) & mask


@part
def intern(lexicon: Lexicon, text: NDArray[np.uint8], start: int, length: int, state: np.uint64) -> int:
    """Return the row of a string, a new one if need be; a negative number if an array is full."""
    row = find(lexicon.rows_R, lexicon.bytes_A, lexicon.slots_S, text, start, length, state)
    if row >= 0:
        return row
    used = lexicon.used
    row, place = used[NUM_ROWS], used[NUM_BYTES]
    if row == len(lexicon.rows_R) or 2 * row >= len(lexicon.slots_S):
        return -NUM_ROWS
    if place + length > len(lexicon.bytes_A):
        return -NUM_BYTES
    for k in range(length):
        lexicon.bytes_A[place + k] = text[start + k]
    new = lexicon.rows_R[row]
    for c in range(COLUMNS):
        new[c] = 0
    new[START], new[LENGTH] = place, length
    new[HASH_LOW] = np.int32(state & _LOW)
    new[CHARS], new[FLAGS] = _describe(text, start, start + length, lexicon.flags_C)
    mask = _U(len(lexicon.slots_S) - 1)
    slot = state & mask
    while lexicon.slots_S[slot] != 0:
        slot = (slot + _U(1)) & mask
    lexicon.slots_S[slot] = (state >> _U(32)) << _U(32) | _U(row + 1)
    used[NUM_ROWS] += 1
    used[NUM_BYTES] += length
    return row


@part
def lower(byte: int) -> int:
    """Return an ASCII letter in lower case, and any other byte as it is."""
    return byte | 0x20 if 0x41 <= byte <= 0x5A else byte


@part
def contains(text: NDArray[np.uint8], start: int, stop: int, needle: NDArray[np.uint8]) -> bool:
    """Whether `needle` (lower case) is in the bytes, whatever the case of their ASCII letters."""
    for i in range(start, stop - len(needle) + 1):
        k = 0
        while k < len(needle) and lower(text[i + k]) == needle[k]:
            k += 1
        if k == len(needle):
            return True
    return False


# With { and [, what the C4 rules look for: no two begin alike, so the first letter tells which one to compare with.
_SUSPECTS = (b"javascript", b"lorem", b"policy", b"cookie", b"terms")
_SUSPECTS_M = np.frombuffer(b"".join(_SUSPECTS), np.uint8)
_SUSPECT_FIRST, _SUSPECT_LENGTH = np.zeros(256, np.uint8), np.zeros(256, np.uint8)
for _suspect in _SUSPECTS:
    for _letter in (_suspect[0], _suspect[0] - 32):
        _SUSPECT_FIRST[_letter] = b"".join(_SUSPECTS).index(_suspect)
        _SUSPECT_LENGTH[_letter] = len(_suspect)


@part
def _describe(text: NDArray[np.uint8], start: int, stop: int, flags_C: NDArray[np.uint16]) -> tuple[int, int]:
    """Return the number of characters of a string, and its flags."""
    chars = dots = flags = 0
    any_of, all_of, of_last, code = 0, 0xFFFF, 0, 0
    i = start
    while i < stop:
        length = int(_SUSPECT_LENGTH[text[i]])
        if length and i + length <= stop:
            k = 1
            while k < length and lower(text[i + k]) == _SUSPECTS_M[_SUSPECT_FIRST[text[i]] + k]:
                k += 1
            if k == length:
                flags |= IS_SUSPECT
        code, width = code_point(text, i, stop)
        of_last = int(flags_C[code])
        any_of |= of_last
        all_of &= of_last
        if chars == 0 and (code == 0x2022 or code == 0x2D):  # noqa: PLR1714
            flags |= STARTS_BULLET
        if code == 0x23:
            flags |= HAS_HASH
        if code == 0x7B or code == 0x5B:  # noqa: PLR1714
            flags |= IS_SUSPECT
        dots = dots + 1 if code == 0x2E else 0
        if dots >= 3 or code == 0x2026:
            flags |= HAS_ELLIPSIS
        chars += 1
        i += width
    if dots >= 3 or code == 0x2026:
        flags |= ENDS_ELLIPSIS
    if of_last & TERMINAL:
        flags |= ENDS_TERMINAL
    if chars > LONG_CHARS:
        flags |= IS_LONG
    if any_of & WORD:
        flags |= TOKEN_WORD
    if any_of & LETTER:
        flags |= TOKEN_LETTER
    if all_of & MARK:
        flags |= TOKEN_MARK
    if chars == 1 and of_last & SENTENCE_END:
        flags |= TOKEN_END
    return chars, flags


@part
def summarise(lexicon: Lexicon, row: int, first: int, count: int) -> None:
    """Write a chunk's tokens, which stand at `first` in tokens_T, and their sums to its row."""
    rows_R = lexicon.rows_R
    lexicon.used[NUM_TOKENS] = first + count
    chunk = rows_R[row]
    chunk[FIRST], chunk[TOKENS] = first, count
    flags = chunk[FLAGS] & (0xFFFF ^ STOP_WORDS)
    for k in range(min(count, NUM_INLINE)):
        chunk[INLINE + k] = lexicon.tokens_T[first + k]
    for k in range(count):
        token = rows_R[lexicon.tokens_T[first + k]]
        flags |= token[FLAGS] & STOP_WORDS
        if token[FLAGS] & TOKEN_WORD:
            chunk[WORDS] += 1
            chunk[WORD_CHARS] += token[CHARS]
        if token[FLAGS] & TOKEN_LETTER:
            chunk[LETTER_TOKENS] += 1
    chunk[CHUNK_FLAGS] = flags


@part
def exception_pair(first: int, last: int) -> int:
    """Return the place in `lengths_F` of strings that begin and end with these characters."""
    return (first & 0x7F) << 7 | (last & 0x7F)


@borrowing
def seed(
    lexicon: Lexicon,
    text: NDArray[np.uint8],
    pieces_P1: NDArray[np.int64],
    chunks_E1: NDArray[np.int64],
    num_stop_words: int,
) -> None:
    """Enter exceptions that split into given pieces. The first ones are the stop words, one piece each.

    Args:
        lexicon: empty, with room for all.
        text: uint8, the pieces one after the other.
        pieces_P1: int64, where each piece begins.
        chunks_E1: int64, which piece is the first of each exception.
        num_stop_words: how many of the exceptions are stop words, and no exceptions otherwise.
    """
    for e in range(len(chunks_E1) - 1):
        first = chunks_E1[e]
        start, stop = pieces_P1[first], pieces_P1[chunks_E1[e + 1]]
        state = hash_bytes(text, start, stop)
        row = intern(lexicon, text, start, stop - start, state)
        if e < num_stop_words:
            lexicon.rows_R[row, FLAGS] |= 1 << e
            continue
        lexicon.rows_R[row, FLAGS] |= IS_EXCEPTION
        last = stop - 1
        while text[last] & 0xC0 == 0x80:
            last -= 1
        pair = exception_pair(code_point(text, start, stop)[0], code_point(text, last, stop)[0])
        lexicon.lengths_F[pair] |= np.uint16(1 << lexicon.rows_R[row, CHARS])
        at = lexicon.used[NUM_TOKENS]
        for p in range(first, chunks_E1[e + 1]):
            start, stop = pieces_P1[p], pieces_P1[p + 1]
            token = intern(lexicon, text, start, stop - start, hash_bytes(text, start, stop))
            lexicon.tokens_T[at + p - first] = token
        summarise(lexicon, row, at, chunks_E1[e + 1] - first)


@borrowing
def intern_all(
    lexicon: Lexicon, text: NDArray[np.uint8], offsets_W1: NDArray[np.int64], rows_W: NDArray[np.int32]
) -> int:
    """Write the rows of strings, entered where they are new; return 0, or minus the number of a full array."""
    for w in range(len(rows_W)):
        start, stop = offsets_W1[w], offsets_W1[w + 1]
        row = intern(lexicon, text, start, stop - start, hash_bytes(text, start, stop))
        if row < 0:
            return row
        rows_W[w] = row
    return 0


@borrowing
def rehash(slots_S: NDArray[np.uint64], rows_R: NDArray[np.int32], larger_S: NDArray[np.uint64]) -> None:
    """Enter the rows of one hash table into a larger, empty one."""
    mask = _U(len(larger_S) - 1)
    for entry in slots_S:
        if entry != 0:
            low = _U(np.uint32(rows_R[int(entry & _LOW) - 1, HASH_LOW]))
            slot = (entry >> _U(32) << _U(32) | low) & mask
            while larger_S[slot] != 0:
                slot = (slot + _U(1)) & mask
            larger_S[slot] = entry
