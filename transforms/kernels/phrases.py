"""Phrases of a list in texts, found or removed, whatever their case: a walk down a trie wherever one may begin.

Shapes: N documents, M bytes, C code points, S slots of the trie.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import kernel, wide
from transforms.kernels.trie import START, trie_of
from transforms.kernels.utf8 import code_point
from transforms.kernels.words import CLASS_SHIFT
from transforms.kernels.words import word_table as lower_case_table

_U = np.uint64


class Phrases(NamedTuple):
    """A list of phrases, compiled."""

    symbols_C: NDArray[np.uint16]  # number of each character's lower case in the alphabet of the list, 0 = not in it
    trie_S3: NDArray[np.int32]


def compiled(phrases: Sequence[str]) -> Phrases:
    """Return the trie of `phrases`. One with an upper-case letter is in no text, texts being lower-cased first."""
    found = sorted({phrase for phrase in phrases if phrase})
    alphabet = sorted({ord(char) for phrase in found for char in phrase})
    number_C = np.zeros(0x110000, np.uint16)
    number_C[alphabet] = np.arange(1, len(alphabet) + 1)
    lower_C = lower_case_table() & np.uint32((1 << CLASS_SHIFT) - 1)
    entries = [([int(number_C[ord(char)]) for char in phrase], i) for i, phrase in enumerate(found)]
    trie_S3 = trie_of(entries, [], num_symbols=len(alphabet)) if entries else np.full((1, 3), -1, np.int32)
    return Phrases(number_C[lower_C], trie_S3)


@kernel
def contain_any(
    offsets_N1: NDArray[np.int32],
    text: NDArray[np.uint8],
    skip_N: NDArray[np.bool_],
    symbols_C: NDArray[np.uint16],
    trie_S3: NDArray[np.int32],
    words_C: NDArray[np.bool_],
    anywhere: bool,
    found_N: NDArray[np.bool_],
) -> None:
    """Write whether a phrase of the trie is in each document, letters compared in lower case.

    Args:
        offsets_N1: int32, see `string_views`.
        text: uint8, UTF-8.
        skip_N: bool, documents of which nothing is written.
        symbols_C: uint16, see `Phrases`.
        trie_S3: int32, see `Phrases`.
        words_C: bool, see `transforms.kernels.pii_classes.word_table`.
        anywhere: whether a phrase may stand inside of a word, as it must in scripts without spaces; otherwise neither
            the character before it nor the one behind it may be of `words_C`.
        found_N: bool, written.

    Lower case is one code point for one. About 2 ns a byte of English; nothing is allocated.
    """
    for n in range(len(skip_N)):
        if skip_N[n]:
            continue
        i, stop = wide(offsets_N1[n]), wide(offsets_N1[n + 1])
        found, inside = False, False
        while i < stop and not found:
            code, width = code_point(text, i, stop)
            if anywhere or not inside:
                slot, j = START, i
                while j < stop:
                    next_code, next_width = code_point(text, j, stop)
                    symbol = wide(symbols_C[_U(next_code)])
                    if symbol == 0:
                        break
                    child = trie_S3[slot, 0] + symbol
                    if trie_S3[child, 1] != slot:
                        break
                    slot = child
                    j += next_width
                    if trie_S3[slot, 2] >= 0 and (anywhere or j == stop or not words_C[code_point(text, j, stop)[0]]):
                        found = True
                        break
            inside = words_C[_U(code)]
            i += width
        found_N[n] = found


@kernel
def remove_words(
    offsets_N1: NDArray[np.int32],
    text: NDArray[np.uint8],
    skip_N: NDArray[np.bool_],
    symbols_C: NDArray[np.uint16],
    trie_S3: NDArray[np.int32],
    words_C: NDArray[np.bool_],
    out_offsets_N1: NDArray[np.int32],
    out_M: NDArray[np.uint8],
    removed_N: NDArray[np.int32],
) -> None:
    """Write the documents without the words of the trie, each with the spaces behind it.

    Args:
        offsets_N1: int32, see `string_views`.
        text: uint8, UTF-8.
        skip_N: bool, documents that are copied as they are.
        symbols_C: uint16, see `Phrases`.
        trie_S3: int32, see `Phrases`.
        words_C: bool, see `pii_classes.word_table`: a word is a run of these, and only whole runs go.
        out_offsets_N1: int32, written.
        out_M: uint8, written; as long as the input, which the output never exceeds.
        removed_N: int32, written: how many words went.

    The space in front of a removed word stays, also before a full stop or a line end. Nothing is allocated.
    """
    o = 0
    out_offsets_N1[0] = 0
    for n in range(len(skip_N)):
        i, stop = wide(offsets_N1[n]), wide(offsets_N1[n + 1])
        removed = 0
        while i < stop:
            start = i
            slot = -1 if skip_N[n] else START
            while i < stop:
                code, width = code_point(text, i, stop)
                if not words_C[code]:
                    break
                symbol = wide(symbols_C[_U(code)])
                if slot >= 0:
                    child = trie_S3[slot, 0] + symbol
                    slot = child if symbol and trie_S3[child, 1] == slot else -1
                i += width
            if i > start and slot >= 0 and trie_S3[slot, 2] >= 0:
                removed += 1
                while i < stop and text[_U(i)] == 0x20:
                    i += 1
                continue
            if i == start:  # no word: one character
                i += code_point(text, i, stop)[1]
            for k in range(start, i):
                out_M[_U(o)] = text[_U(k)]
                o += 1
        out_offsets_N1[n + 1] = o
        removed_N[n] = removed
