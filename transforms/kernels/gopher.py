"""Gopher's rules on the tables of a document: what it repeats, and what it is made of.

Rae et al., Scaling Language Models (2021), table A1, as datatrove implements it.

Shapes: Q rules, T tokens, L lines, W stop words.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import allocating_part, part, wide
from transforms.kernels.lexicon import HAS_ELLIPSIS, HAS_HASH, NUM_MEASURED, STOP_WORDS, Lexicon
from transforms.kernels.lines import (
    BULLET,
    DOC_FLAGS,
    DOC_LETTERS,
    DOC_LINES,
    DOC_TOKENS,
    DOC_WORD_CHARS,
    DOC_WORDS,
    L_FLAGS,
    L_START,
    L_STOP,
    NUM_COUNTS,
    TOKEN_ROW,
    TRAILS_OFF,
    Tables,
    scan,
)
from transforms.kernels.loads import eight_bytes
from transforms.kernels.repetition import count_repeats, judge_n_grams
from transforms.kernels.room import Room
from transforms.kernels.units import feed_lines, join_paragraphs, num_chars, separate_lines, stripped, text_lines

_U = np.uint64
_ONES, _HIGH_BITS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_FULL_STOPS, _LAST_BYTES = _ONES * np.uint64(0x2E), _ONES * np.uint64(0xA6)  # of U+2026


@allocating_part
def gopher_repetition(
    lexicon: Lexicon,
    text: NDArray[np.uint8],
    tables: Tables,
    counts: NDArray[np.int64],
    spare: Tables,
    room: Room,
    thresholds_Q: NDArray[np.float64],
    values_Q: NDArray[np.float64],
    every: bool,
) -> int:
    """Return the rule that a document fails (minus a full array's number, less 1; or -1); values as `judge_n_grams`."""
    lines_L, num_lines, units, keys_S = tables.lines_L, counts[DOC_LINES], room.units, room.scratch.keys_S
    start, stop = wide(lines_L[0, L_START]), wide(lines_L[num_lines - 1, L_STOP])
    if start == stop:
        return 0
    chars = num_chars(lines_L, num_lines)
    num_units = feed_lines(tables, num_lines, units)
    first, last = stripped(lines_L, num_lines, start)
    if first > start or last < stop:
        spare_counts = np.zeros(NUM_COUNTS, np.int64)
        full = scan(lexicon, text, first, last, spare, spare_counts)
        if full < 0:
            return full - 1
        num_units = feed_lines(spare, spare_counts[DOC_LINES], units)
    num_units = join_paragraphs(units, num_units)
    repeats, repeat_chars = count_repeats(units.hashes_L, units.chars_L, num_units, keys_S)
    values_Q[1], values_Q[2] = repeats / num_units, repeat_chars / chars
    num_units = separate_lines(units, feed_lines(tables, num_lines, units))
    repeats, repeat_chars = count_repeats(units.hashes_L, units.chars_L, num_units, keys_S)
    values_Q[3], values_Q[4] = repeats / num_units, repeat_chars / chars
    for q in range(1, 5):
        if values_Q[q] > thresholds_Q[q]:
            return q
    lexicon.used[NUM_MEASURED] += 1
    tokens_T, num_tokens, rows_R = tables.tokens_T, counts[DOC_TOKENS], lexicon.rows_R
    document, scratch = lexicon.used[NUM_MEASURED], room.scratch
    return judge_n_grams(tokens_T, num_tokens, rows_R, document, chars, thresholds_Q, values_Q, every, scratch)


@part
def gopher_quality(
    text: NDArray[np.uint8],
    tables: Tables,
    counts: NDArray[np.int64],
    stop_rows_W: NDArray[np.int32],
    thresholds_Q: NDArray[np.float64],
    values_Q: NDArray[np.float64],
) -> int:
    """Return the rule that a document fails, or -1; all values, those of nothing being NaN."""
    lines_L, num_tokens = tables.lines_L, counts[DOC_TOKENS]
    words, flags = counts[DOC_WORDS], counts[DOC_FLAGS]
    bullets = trailing = 0
    for l in range(counts[DOC_LINES]):
        bullets += lines_L[_U(l), L_FLAGS] & BULLET != 0
        trailing += lines_L[_U(l), L_FLAGS] & TRAILS_OFF != 0
    values_Q[0] = values_Q[1] = words
    for q in range(2, 9):
        values_Q[q] = np.nan
    if words:
        values_Q[2] = values_Q[3] = counts[DOC_WORD_CHARS] / words
    if num_tokens:
        hashes = ellipses = 0
        if flags & (HAS_HASH | HAS_ELLIPSIS):
            start, stop = wide(lines_L[0, L_START]), wide(lines_L[counts[DOC_LINES] - 1, L_STOP])
            if flags & HAS_HASH:
                hashes = _hashes(text, start, stop)
            if flags & HAS_ELLIPSIS:
                ellipses = _ellipses(text, start, stop)
        values_Q[4], values_Q[5] = hashes / num_tokens, ellipses / num_tokens
        values_Q[8] = counts[DOC_LETTERS] / num_tokens
    num_lines = text_lines(lines_L, counts[DOC_LINES])
    if num_lines:
        values_Q[6], values_Q[7] = bullets / num_lines, trailing / num_lines
    stop_words, bits = 0, flags & STOP_WORDS
    if len(stop_rows_W):
        stop_words = _stop_words(tables.tokens_T, num_tokens, stop_rows_W, thresholds_Q[9])
    else:
        while bits:
            stop_words += bits & 1
            bits >>= 1
    values_Q[9] = stop_words
    for q in range(10):
        least = q == 0 or q == 2 or q >= 8  # noqa: PLR1714
        if values_Q[q] < thresholds_Q[q] if least else values_Q[q] > thresholds_Q[q]:
            return q
    return -1


@allocating_part
def _stop_words(tokens_T: NDArray[np.int32], num_tokens: int, stop_rows_W: NDArray[np.int32], enough: float) -> int:
    """Return how many strings of a sorted list are tokens of a document, or a number that is not below `enough`."""
    seen_W = np.zeros(len(stop_rows_W), np.bool_)
    found = t = 0
    while t < num_tokens and not found >= enough:
        row = tokens_T[_U(t)] & TOKEN_ROW
        low, high = 0, len(stop_rows_W)
        while low < high:
            middle = (low + high) >> 1
            if stop_rows_W[_U(middle)] < row:
                low = middle + 1
            else:
                high = middle
        if low < len(stop_rows_W) and stop_rows_W[_U(low)] == row and not seen_W[_U(low)]:
            seen_W[_U(low)] = True
            found += 1
        t += 1
    return found


@part
def _hashes(text: NDArray[np.uint8], start: int, stop: int) -> int:
    """Return how often `#` stands in a text."""
    hashes = 0
    for i in range(start, stop):
        hashes += text[_U(i)] == 0x23
    return hashes


@part
def _ellipses(text: NDArray[np.uint8], start: int, stop: int) -> int:
    """Return how often `...` or U+2026 stands in a text, without overlap."""
    ellipses, dots, i = 0, 0, start
    while i < stop:
        if i + 8 <= stop:  # nothing in most eights
            word = eight_bytes(text, _U(i))
            full_stop, last = word ^ _FULL_STOPS, word ^ _LAST_BYTES
            if (((full_stop - _ONES) & ~full_stop) | ((last - _ONES) & ~last)) & _HIGH_BITS == 0:
                dots = 0
                i += 8
                continue
        byte = text[_U(i)]
        dots = dots + 1 if byte == 0x2E else 0
        if dots == 3:
            ellipses += 1
            dots = 0
        if byte == 0xA6 and i - start > 1 and text[_U(i - 1)] == 0x80 and text[_U(i - 2)] == 0xE2:
            ellipses += 1
        i += 1
    return ellipses
