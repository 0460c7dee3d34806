"""Sentences: where each one begins in a text, by rules that need model.

The rules are those of Unicode Standard Annex 29 (sentence boundaries: SB4 to SB11), with a list of abbreviations.

Shapes: N documents, M bytes, S sentences.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.characters import LOWER, SENTENCE_END, UPPER, character_table
from transforms.kernels.characters import SPACE as IS_SPACE
from transforms.kernels.jit import allocating_part, kernel
from transforms.kernels.utf8 import code_point

SPACE = 1
NEWLINE = 2  # ends a sentence whatever stands before it
TERMINAL = 4  # ends a sentence if white space follows
WIDE = 8  # of these, the ones that need white space: Chinese and Japanese
CLOSER = 16  # belongs to the sentence whose end it follows
SMALL = 32  # lower-case letter: what it begins is sentence
CAPITAL = 64  # upper-case letter: alone before a full stop it is an initial

NEWLINES = "\n\x0b\x0c\r\x85\u2028\u2029"
WIDE_TERMINALS = "\u3002\uff01\uff0e\uff1f\uff61"
CLOSERS = "\"')]}\xbb\u2019\u201d\u3009\u300b\u300d\u300f\u3011\u3015\uff02\uff07\uff09\uff3d\uff5d\uff63"

# Lower case, up to 8 bytes, ASCII; single letters, letters with full stops between them and short numbers need no list.
_ABBREVIATIONS = (
    "abb adm al approx apr aug ave bd bros bzgl bzw ca capt cf ch co corp dec dept dipl dr eds ev evtl feb"
    " fig figs fr ggf gov hon hr inc inkl jan jr jul jun lt ltd mar messrs mlle mme mr mrs ms mt nov nr"
    " oct pp prof resp rev sec sen sep sept sgt sog spp sr st str tel ul univ usw v vgl viz vol vols vs zb zzgl"
)
ABBREVIATIONS = tuple(_ABBREVIATIONS.split(" "))

_LONGEST = 8


def packed(word: str) -> int:
    """Return a word of up to 8 ASCII characters as one number, the first character highest."""
    return int.from_bytes(word.encode(), "big")


@cache
def sentence_table() -> NDArray[np.uint8]:
    """Return uint8 [0x110000]: the flags of every code point."""
    flags_C = character_table()
    table_C = np.zeros(len(flags_C), np.uint8)
    table_C[flags_C & IS_SPACE != 0] |= SPACE
    table_C[flags_C & SENTENCE_END != 0] |= TERMINAL
    table_C[0x2026] |= TERMINAL
    table_C[(flags_C & LOWER != 0) & (flags_C & UPPER == 0)] |= SMALL
    table_C[(flags_C & UPPER != 0) & (flags_C & LOWER == 0)] |= CAPITAL
    for characters, flag in ((NEWLINES, SPACE | NEWLINE), (WIDE_TERMINALS, TERMINAL | WIDE), (CLOSERS, CLOSER)):
        table_C[list(map(ord, characters))] |= flag
    table_C.setflags(write=False)
    return table_C


@cache
def abbreviation_table() -> NDArray[np.uint64]:
    """Return uint64, sorted: ABBREVIATIONS as numbers."""
    table_A = np.array(sorted(map(packed, ABBREVIATIONS)), np.uint64)
    table_A.setflags(write=False)
    return table_A


@kernel
def sentence_starts(
    offsets_N1: NDArray[np.int32],
    bytes_M: NDArray[np.uint8],
    table_C: NDArray[np.uint8],
    abbreviation_A: NDArray[np.uint64],
    start_S: NDArray[np.int32],
    first_N1: NDArray[np.int64],
) -> None:
    """Write where each sentence begins: behind the end of the one before it, so that sentences tile their document.

    A sentence ends at a line end; behind a wide terminal and the closers that follow it; and behind another terminal
    and its closers where white space follows and after that no lower-case letter, unless the terminal is one full stop
    after an abbreviation, an initial, letters with full stops between them, or a number of up to two digits (ordinals
    and numbered lists). White space between two sentences begins the second, so that byte-level tokens stay the same.

    Args:
        offsets_N1: int32, document i is `bytes_M[offsets_N1[i]:offsets_N1[i + 1]]`.
        bytes_M: uint8, UTF-8.
        table_C: uint8 [0x110000], see `sentence_table`.
        abbreviation_A: uint64, see `abbreviation_table`.
        start_S: int32, written: positions in `bytes_M`. Room for the characters of the texts is enough.
        first_N1: int64, written: number of sentences before each document. One that is empty has none, one of white
            space has one.

    One pass: 350 MB/s on English, 600 MB/s on Chinese.
    """
    num = 0
    first_N1[0] = 0
    for document in range(len(offsets_N1) - 1):
        position, stop = int(offsets_N1[document]), int(offsets_N1[document + 1])
        if position < stop:
            start_S[num] = position
            num += 1
        word = position  # where the run of characters that are no white space begins
        seen = False  # anything but white space since the sentence began
        ended = 0  # 1 behind a terminal and its closers, 2 behind a wide one
        held = False  # that terminal is a full stop that ends no sentence
        while position < stop:
            code, width = code_point(bytes_M, position, stop)
            flags = table_C[code]
            if flags & SPACE:
                end, broken = position, False
                while end < stop and flags & SPACE:
                    broken |= flags & NEWLINE != 0
                    end += width
                    if end < stop:
                        code, width = code_point(bytes_M, end, stop)
                        flags = table_C[code]
                if end < stop and seen and (broken or ended == 2 or (ended == 1 and not held and not flags & SMALL)):
                    start_S[num] = position
                    num += 1
                    seen = False
                word, position, ended = end, end, 0
                continue
            if ended == 2 and not flags & (TERMINAL | CLOSER):
                start_S[num] = position
                num += 1
                word, ended = position, 0
            seen = True
            if flags & TERMINAL:
                held = ended == 0 and code == 0x2E and _is_short(bytes_M, word, position, table_C, abbreviation_A)
                ended = 2 if flags & WIDE or ended == 2 else 1
            elif not (flags & CLOSER and ended):
                ended = 0
            position += width
        first_N1[document + 1] = num


@allocating_part
def _is_short(
    bytes_M: NDArray[np.uint8],
    start: int,
    stop: int,
    table_C: NDArray[np.uint8],
    abbreviation_A: NDArray[np.uint64],
) -> bool:
    """Whether the word before a full stop is an abbreviation, an initial, letters with stops, or a short number."""
    while start < stop and (bytes_M[start] == 0x22 or bytes_M[start] == 0x27 or bytes_M[start] == 0x28):
        start += 1
    if start == stop:
        return False
    code, width = code_point(bytes_M, start, stop)
    if width == stop - start and table_C[code] & CAPITAL:
        return True
    if stop - start > _LONGEST:
        return False
    number = np.uint64(0)
    digits, letters, between = 0, 0, True
    for i in range(start, stop):
        byte = bytes_M[i]
        if 0x41 <= byte <= 0x5A:
            byte += np.uint8(0x20)
        number = number << np.uint64(8) | np.uint64(byte)
        digits += 0x30 <= byte <= 0x39
        is_letter = 0x61 <= byte <= 0x7A
        letters += is_letter
        between &= is_letter == ((i - start) % 2 == 0) and (is_letter or byte == 0x2E)
    if digits == stop - start:
        return digits <= 2
    if between and letters > 1 and (stop - start) % 2:
        return True
    place = np.searchsorted(abbreviation_A, number)
    return bool(place < len(abbreviation_A) and abbreviation_A[place] == number)
