"""A table of words and how often each occurs, and the counting of words where they lie in a text.

Shapes: N documents, M bytes, A bytes of all words, W words, S slots of the hash table, C code points, X bytes of
expansions, L bytes of a word as it may become.

Words have numbers in the order in which they come, and their bytes lie in that order, one after the other. The arrays
are the caller's: a kernel that finds one full says where it stopped, and is called again from there. Nothing of a text
is counted twice, so it may stop wherever a word begins.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import borrowing, kernel, part
from transforms.kernels.lexicon import hash_bytes
from transforms.kernels.loads import eight_bytes
from transforms.kernels.pieces import gpt2_pieces
from transforms.kernels.utf8 import code_point, put_code_point

WORD = 0  # part of a word; argument: the code point that it becomes
MARK = 1  # part of a word, as it is, but behind another MARK normalisation may reorder them
SPACE = 2  # ends a word
REMOVED = 3  # as if it were not there
ISOLATED = 4  # ends a word and is one by itself; argument: the code point that it becomes
EXPANDED = 5  # part of a word as other bytes; argument: where `expansion_X` has their number, followed by them
FOREIGN = 6  # depends on its neighbours: the document is left to the caller
UNKNOWN = 7  # the caller has to find out first
KIND_SHIFT = 28

DONE, FULL, LONG = -1, -2, -3  # why a kernel stopped, if not at a code point

_U = np.uint64
_ARGUMENT = (1 << KIND_SHIFT) - 1
_AT_ONCE = 1024  # pieces
_LOW = np.uint64(0xFFFFFFFF)
_HIGH = np.uint64(0xFFFFFFFF00000000)


@part
def _same(bytes_A: NDArray[np.uint8], first: int, text: NDArray[np.uint8], start: int, length: int) -> bool:
    """Return whether two runs of `length` bytes are equal."""
    k = 0
    while k + 8 <= length:
        if eight_bytes(bytes_A, _U(first + k)) != eight_bytes(text, _U(start + k)):
            return False
        k += 8
    while k < length:
        if bytes_A[_U(first + k)] != text[_U(start + k)]:
            return False
        k += 1
    return True


@part
def enter(
    text: NDArray[np.uint8],
    start: int,
    stop: int,
    bytes_A: NDArray[np.uint8],
    offset_W1: NDArray[np.int64],
    slots_S: NDArray[np.uint64],
    num_words: int,
) -> int:
    """Return the number of the word text[start:stop], `num_words` if it is new, and then entered; FULL if no room is.

    Half of a slot is half of the hash, the other half one more than the number of a word; 0 is free. Empty `slots_S`
    are at least four thirds of `offset_W1`.
    """
    length = stop - start
    state = hash_bytes(text, start, stop)
    mask = _U(len(slots_S) - 1)
    slot = state & mask
    while slots_S[slot] != 0:
        entry = slots_S[slot]
        if (entry ^ state) & _HIGH == 0:
            number = int(entry & _LOW) - 1
            first = offset_W1[_U(number)]
            if offset_W1[_U(number + 1)] - first == length and _same(bytes_A, first, text, start, length):
                return number
        slot = (slot + _U(1)) & mask
    first = offset_W1[_U(num_words)]
    if num_words + 1 >= len(offset_W1) or first + length > len(bytes_A):
        return FULL
    for k in range(length):
        bytes_A[_U(first + k)] = text[_U(start + k)]
    offset_W1[_U(num_words + 1)] = first + length
    slots_S[slot] = state & _HIGH | _U(num_words + 1)
    return num_words


@borrowing
def place(
    bytes_A: NDArray[np.uint8], offset_W1: NDArray[np.int64], num_words: int, slots_S: NDArray[np.uint64]
) -> None:
    """Enter the words of a table into other, empty slots."""
    mask = _U(len(slots_S) - 1)
    for number in range(num_words):
        state = hash_bytes(bytes_A, offset_W1[number], offset_W1[number + 1])
        slot = state & mask
        while slots_S[slot] != 0:
            slot = (slot + _U(1)) & mask
        slots_S[slot] = state & _HIGH | _U(number + 1)


@borrowing
def add_words(
    offsets_N1: NDArray[np.int32],
    bytes_M: NDArray[np.uint8],
    weight_N: NDArray[np.int64],
    first: int,
    bytes_A: NDArray[np.uint8],
    offset_W1: NDArray[np.int64],
    count_W: NDArray[np.int64],
    slots_S: NDArray[np.uint64],
    num_words: int,
) -> tuple[int, int]:
    """Add words with their counts, from word `first` on; return the one to go on with, and how many there are now.

    Args:
        offsets_N1: int32 [N + 1], word n is `bytes_M[offsets_N1[n]:offsets_N1[n + 1]]`.
        bytes_M: uint8.
        weight_N: int64 [N], added to the count of word n.
        first: where to begin.
        bytes_A: uint8 [A], see `enter`, like what follows.
        offset_W1: int64 [W + 1], written.
        count_W: int64 [W], written; 0 behind the words that there are.
        slots_S: uint64 [S], S a power of two.
        num_words: how many there are.
    """
    for n in range(first, len(offsets_N1) - 1):
        number = enter(bytes_M, int(offsets_N1[n]), int(offsets_N1[n + 1]), bytes_A, offset_W1, slots_S, num_words)
        if number == FULL:
            return n, num_words
        count_W[number] += weight_N[n]
        num_words = max(num_words, number + 1)
    return len(offsets_N1) - 1, num_words


@kernel
def count_pieces(
    offsets_N1: NDArray[np.int32],
    bytes_M: NDArray[np.uint8],
    weight_N: NDArray[np.int64],
    class_C: NDArray[np.uint8],
    document: int,
    position: int,
    bytes_A: NDArray[np.uint8],
    offset_W1: NDArray[np.int64],
    count_W: NDArray[np.int64],
    slots_S: NDArray[np.uint64],
    num_words: int,
) -> tuple[int, int, int, int]:
    """Count the pieces that GPT-2's pattern makes of documents, see `gpt2_pieces`: 4 to 10 ns a byte.

    Arguments as those of `count_words`, but `class_C` (uint8), which is that of `gpt2_pieces`.
    """
    ends = np.empty(_AT_ONCE, np.int32)
    for n in range(document, len(offsets_N1) - 1):
        stop = int(offsets_N1[n + 1])
        weight = weight_N[n]
        i = position if n == document else int(offsets_N1[n])
        while i < stop:
            num_pieces, next_start, code = gpt2_pieces(bytes_M, i, stop, class_C, True, ends)
            for k in range(num_pieces):
                end = int(ends[_U(k)])
                number = enter(bytes_M, i, end, bytes_A, offset_W1, slots_S, num_words)
                if number == FULL:
                    return n, i, FULL, num_words
                count_W[_U(number)] += weight
                num_words = max(num_words, number + 1)
                i = end
            if code >= 0:
                return n, next_start, code, num_words
    return len(offsets_N1) - 1, 0, DONE, num_words


@borrowing
def count_words(
    offsets_N1: NDArray[np.int32],
    bytes_M: NDArray[np.uint8],
    weight_N: NDArray[np.int64],
    action_C: NDArray[np.int32],
    expansion_X: NDArray[np.uint8],
    word_L: NDArray[np.uint8],
    document: int,
    position: int,
    bytes_A: NDArray[np.uint8],
    offset_W1: NDArray[np.int64],
    count_W: NDArray[np.int64],
    slots_S: NDArray[np.uint64],
    num_words: int,
) -> tuple[int, int, int, int]:
    """Count the words that a normaliser and a pre-tokeniser make of documents, from a place on: 3 to 7 ns a byte.

    Args:
        offsets_N1: int32 [N + 1], UTF-8 text of document n is `bytes_M[offsets_N1[n]:offsets_N1[n + 1]]`.
        bytes_M: uint8.
        weight_N: int64 [N], how often each document is read; a negative number takes back what was counted.
        action_C: int32 [C], C = 0x110000: what becomes of a code point, a kind and its argument.
        expansion_X: uint8, see EXPANDED.
        word_L: uint8, room for the longest word as it becomes, and 256 more.
        document: where to begin.
        position: where to begin in it: at a word, with the number of its first byte in `bytes_M`.
        bytes_A: see `enter`, like what follows.
        offset_W1: int64 [W + 1], written.
        count_W: int64 [W], written; 0 behind the words that there are.
        slots_S: uint64.
        num_words: how many there are.

    Returns:
        The document to go on with and the place in it, always where a word begins or between words; DONE, FULL (the
        table), LONG (a word does not fit into `word_L`) or a code point that is FOREIGN or UNKNOWN; and how many words
        there are now.
    """
    limit = len(word_L) - 256
    for n in range(document, len(offsets_N1) - 1):
        stop = int(offsets_N1[n + 1])
        weight = weight_N[n]
        i = position if n == document else int(offsets_N1[n])
        word_start, size, after_mark = i, 0, -1
        while i <= stop:
            kind, argument, width = SPACE, 0, 1  # at the end of the text
            if i < stop:
                code, width = code_point(bytes_M, i, stop)
                action = action_C[_U(code)]
                kind = action >> KIND_SHIFT
                argument = action & _ARGUMENT
                if kind == WORD:
                    if size >= limit:
                        return n, word_start, LONG, num_words
                    size = put_code_point(word_L, size, argument)
                    i += width
                    continue
                if kind == MARK:
                    if i == after_mark:
                        return n, word_start, code, num_words
                    if size >= limit:
                        return n, word_start, LONG, num_words
                    size = put_code_point(word_L, size, code)
                    i += width
                    after_mark = i
                    continue
                if kind == EXPANDED:
                    if size >= limit:
                        return n, word_start, LONG, num_words
                    for k in range(int(expansion_X[_U(argument)])):
                        word_L[_U(size + k)] = expansion_X[_U(argument + 1 + k)]
                    size += int(expansion_X[_U(argument)])
                    i += width
                    continue
                if kind == REMOVED:
                    i += width
                    continue
                if kind >= FOREIGN:
                    return n, word_start, code, num_words
            if size > 0:
                number = enter(word_L, 0, size, bytes_A, offset_W1, slots_S, num_words)
                if number == FULL:
                    return n, word_start, FULL, num_words
                count_W[_U(number)] += weight
                num_words = max(num_words, number + 1)
                size = 0
                word_start = i
            if kind == ISOLATED:
                size = put_code_point(word_L, 0, argument)
                number = enter(word_L, 0, size, bytes_A, offset_W1, slots_S, num_words)
                if number == FULL:
                    return n, word_start, FULL, num_words
                count_W[_U(number)] += weight
                num_words = max(num_words, number + 1)
                size = 0
            i += width
            word_start = i
    return len(offsets_N1) - 1, 0, DONE, num_words
