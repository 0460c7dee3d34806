"""The lines of a document as rules want them, or its paragraphs: hash, characters, flags.

Shapes: L lines.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import part, wide
from transforms.kernels.lexicon import hash_step
from transforms.kernels.lines import (
    EMPTY_LINE,
    L_CHARS,
    L_END,
    L_FIRST,
    L_FLAGS,
    L_LAST,
    L_START,
    L_STOP,
    NOT_BLANK,
    OTHER_END,
    RETURNS,
    TERMINAL_LINE,
    Tables,
)

_U = np.uint64


class Units(NamedTuple):
    """Lines as some rule wants them, or paragraphs: hash, characters, flags."""

    hashes_L: NDArray[np.uint64]
    chars_L: NDArray[np.int32]
    flags_L: NDArray[np.int32]


@part
def feed_lines(tables: Tables, num_lines: int, units: Units) -> int:
    """Write the parts of a document between line feeds to `units` and return their number: `str.split` at line feeds.

    The flags are NOT_BLANK, and TERMINAL_LINE if the last character is a terminal mark.
    """
    lines_L, hashes_L = tables.lines_L, tables.hashes_L
    num_units, joined = 0, False
    for l in range(num_lines):
        line = _U(l)
        flags = lines_L[line, L_FLAGS] & (TERMINAL_LINE | NOT_BLANK)
        unit = _U(num_units)
        if joined:
            units.hashes_L[unit] = hash_step(units.hashes_L[unit], hashes_L[line])
            units.chars_L[unit] += lines_L[line, L_CHARS]
            units.flags_L[unit] = flags | (units.flags_L[unit] & NOT_BLANK)
        else:
            units.hashes_L[unit], units.chars_L[unit] = hashes_L[line], lines_L[line, L_CHARS]
            units.flags_L[unit] = flags
        if lines_L[line, L_FLAGS] & RETURNS:  # as if it had ended the line, and an empty one had followed
            units.hashes_L[unit] = hash_step(hash_step(units.hashes_L[unit], _U(0x0D)), EMPTY_LINE)
        joined = lines_L[line, L_FLAGS] & OTHER_END != 0
        if joined:
            units.hashes_L[unit] = hash_step(units.hashes_L[unit], _U(lines_L[line, L_END]))
            units.chars_L[unit] += 1
        else:
            num_units += 1
    return num_units


@part
def separate_lines(units: Units, num_units: int) -> int:
    """Keep in `units`, the parts between line feeds, those of a split at runs of line feeds; return their number."""
    kept = 0
    for u in range(num_units):
        if units.chars_L[_U(u)] or u == 0 or u == num_units - 1:
            units.hashes_L[_U(kept)], units.chars_L[_U(kept)] = units.hashes_L[_U(u)], units.chars_L[_U(u)]
            kept += 1
    return kept


@part
def join_paragraphs(units: Units, num_units: int) -> int:
    """Join in `units`, the parts of a stripped text between line feeds, those without an empty one between them."""
    kept, open_ = 0, False
    for u in range(num_units):
        chars = units.chars_L[_U(u)]
        if chars == 0:
            open_ = False
        elif open_:
            last = _U(kept - 1)
            units.hashes_L[last] = hash_step(units.hashes_L[last], units.hashes_L[_U(u)])
            units.chars_L[last] += 1 + chars
        else:
            units.hashes_L[_U(kept)], units.chars_L[_U(kept)] = units.hashes_L[_U(u)], chars
            kept += 1
            open_ = True
    return max(kept, 1)


@part
def text_lines(lines_L: NDArray[np.int32], num_lines: int) -> int:
    """Return how many lines `str.splitlines` gives: the last one does not count if it is empty."""
    last = _U(num_lines - 1)
    return num_lines - (lines_L[last, L_START] == lines_L[last, L_STOP])


@part
def stripped(lines_L: NDArray[np.int32], num_lines: int, start: int) -> tuple[int, int]:
    """Return where the text of a document begins and ends without the white space around it."""
    first, last = start, start
    blank = True
    for l in range(num_lines):
        if lines_L[_U(l), L_FLAGS] & NOT_BLANK:
            if blank:
                first = wide(lines_L[_U(l), L_FIRST])
            last = wide(lines_L[_U(l), L_LAST])
            blank = False
    return first, last


@part
def num_chars(lines_L: NDArray[np.int32], num_lines: int) -> int:
    """Return the length of a document in characters, line ends included."""
    chars = num_lines - 1
    for l in range(num_lines):
        chars += lines_L[_U(l), L_CHARS]
    return chars


@part
def third_longest(text: NDArray[np.uint8], start: int, stop: int) -> int:
    """Return the length of the third longest line in characters, line feeds only ending lines; 0 with fewer lines."""
    first = second = third = chars = 0
    for i in range(start, stop + 1):
        byte = text[_U(i)] if i < stop else np.uint8(0x0A)
        if byte != 0x0A:
            chars += byte & 0xC0 != 0x80
            continue
        third = max(third, chars)
        if third > second:
            second, third = third, second
        if second > first:
            first, second = second, first
        chars = 0
    return third
