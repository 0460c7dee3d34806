"""The quality rules on the tables of a document, and the pass over a batch that applies presets in their order.

Each rule compares one number with its threshold, and the first that fails is the verdict. Against NaN nothing fails.

Shapes: N documents, M bytes, P presets, Q rules of a preset, L lines, T tokens.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.c4 import NUM_CUTS, TOO_FEW_SENTENCES, cut_lines
from transforms.kernels.jit import kernel, wide
from transforms.kernels.lexicon import HAS_ELLIPSIS, HAS_HASH, NUM_MEASURED, STOP_WORDS, Lexicon
from transforms.kernels.lines import (
    BULLET,
    DOC_FLAGS,
    DOC_LETTERS,
    DOC_LINES,
    DOC_TOKENS,
    DOC_WORD_CHARS,
    DOC_WORDS,
    L_CHARS,
    L_FLAGS,
    L_START,
    L_STOP,
    NOT_BLANK,
    NUM_COUNTS,
    TERMINAL_LINE,
    TRAILS_OFF,
    Tables,
    Units,
    feed_lines,
    scan,
    stripped,
    text_lines,
)
from transforms.kernels.repetition import (
    Scratch,
    count_repeats,
    duplicate_chars,
    extend,
    join_paragraphs,
    measure_tokens,
    separate_lines,
    top_chars,
)

GOPHER_REPETITION, GOPHER_QUALITY, C4, FINEWEB, MC4_PARAGRAPH = 0, 1, 2, 3, 4

_SHORT_LINE = 30  # characters
_U = np.uint64


class Room(NamedTuple):
    """Arrays that one document at a time is worked on in. Python makes those larger that a kernel found full."""

    first: Tables
    second: Tables
    units: Units
    scratch: Scratch


@kernel
def _num_chars(lines_L: NDArray[np.int32], num_lines: int) -> int:
    """Return the length of a document in characters, line ends included."""
    chars = num_lines - 1
    for l in range(num_lines):
        chars += lines_L[_U(l), L_CHARS]
    return chars


@kernel
def _gopher_repetition(
    lexicon: Lexicon,
    text: NDArray[np.uint8],
    tables: Tables,
    counts: NDArray[np.int64],
    spare: Tables,
    room: Room,
    thresholds_Q: NDArray[np.float64],
) -> tuple[int, float]:
    """Return the rule that a document fails (minus the number of a full array, less 1; or -1) and the value."""
    lines_L, num_lines, units, keys_S = tables.lines_L, counts[DOC_LINES], room.units, room.scratch.keys_S
    start, stop = wide(lines_L[0, L_START]), wide(lines_L[num_lines - 1, L_STOP])
    if start == stop:
        return 0, 0.0
    chars = _num_chars(lines_L, num_lines)
    num_units = feed_lines(tables, num_lines, units)
    first, last = stripped(lines_L, num_lines, start)
    if first > start or last < stop:
        spare_counts = np.zeros(NUM_COUNTS, np.int64)
        full = scan(lexicon, text, first, last, spare, spare_counts)
        if full < 0:
            return full - 1, 0.0
        num_units = feed_lines(spare, spare_counts[DOC_LINES], units)
    num_units = join_paragraphs(units, num_units)
    repeats, repeat_chars = count_repeats(units.hashes_L, units.chars_L, num_units, keys_S)
    if repeats / num_units > thresholds_Q[1]:
        return 1, repeats / num_units
    if repeat_chars / chars > thresholds_Q[2]:
        return 2, repeat_chars / chars
    num_units = separate_lines(units, feed_lines(tables, num_lines, units))
    repeats, repeat_chars = count_repeats(units.hashes_L, units.chars_L, num_units, keys_S)
    if repeats / num_units > thresholds_Q[3]:
        return 3, repeats / num_units
    if repeat_chars / chars > thresholds_Q[4]:
        return 4, repeat_chars / chars
    num_tokens, scratch = counts[DOC_TOKENS], room.scratch
    lexicon.used[NUM_MEASURED] += 1
    found = measure_tokens(tables.tokens_T, num_tokens, lexicon.rows_R, lexicon.used[NUM_MEASURED], scratch)
    for n in range(2, 11):
        found, grams = extend(n, found, num_tokens, scratch)
        if n <= 4:
            share = top_chars(n, grams, num_tokens, scratch) / chars
        else:
            share = duplicate_chars(n, found, scratch) / chars
        if share > thresholds_Q[3 + n]:
            return 3 + n, share
    return -1, 0.0


@kernel
def _gopher_quality(
    text: NDArray[np.uint8], tables: Tables, counts: NDArray[np.int64], thresholds_Q: NDArray[np.float64]
) -> tuple[int, float]:
    """Return the rule that a document fails, or -1, and the value."""
    lines_L, num_tokens = tables.lines_L, counts[DOC_TOKENS]
    words, word_chars, flags = counts[DOC_WORDS], counts[DOC_WORD_CHARS], counts[DOC_FLAGS]
    bullets = trailing = 0
    for l in range(counts[DOC_LINES]):
        bullets += lines_L[_U(l), L_FLAGS] & BULLET != 0
        trailing += lines_L[_U(l), L_FLAGS] & TRAILS_OFF != 0
    if words < thresholds_Q[0]:
        return 0, words
    if words > thresholds_Q[1]:
        return 1, words
    if words:
        if word_chars / words < thresholds_Q[2]:
            return 2, word_chars / words
        if word_chars / words > thresholds_Q[3]:
            return 3, word_chars / words
    hashes = ellipses = 0
    if flags & (HAS_HASH | HAS_ELLIPSIS):
        hashes, ellipses = _symbols(text, wide(lines_L[0, L_START]), wide(lines_L[counts[DOC_LINES] - 1, L_STOP]))
    if num_tokens:
        if hashes / num_tokens > thresholds_Q[4]:
            return 4, hashes / num_tokens
        if ellipses / num_tokens > thresholds_Q[5]:
            return 5, ellipses / num_tokens
    num_lines = text_lines(lines_L, counts[DOC_LINES])
    if num_lines:
        if bullets / num_lines > thresholds_Q[6]:
            return 6, bullets / num_lines
        if trailing / num_lines > thresholds_Q[7]:
            return 7, trailing / num_lines
    if num_tokens and counts[DOC_LETTERS] / num_tokens < thresholds_Q[8]:
        return 8, counts[DOC_LETTERS] / num_tokens
    stop_words, bits = 0, flags & STOP_WORDS
    while bits:
        stop_words += bits & 1
        bits >>= 1
    if stop_words < thresholds_Q[9]:
        return 9, stop_words
    return -1, 0.0


@kernel
def _symbols(text: NDArray[np.uint8], start: int, stop: int) -> tuple[int, int]:
    """Return how often `#` and how often `...` or U+2026 stands in a text, without overlap."""
    hashes = ellipses = dots = 0
    for i in range(start, stop):
        byte = text[_U(i)]
        hashes += byte == 0x23
        dots = dots + 1 if byte == 0x2E else 0
        if dots == 3:
            ellipses += 1
            dots = 0
        if byte == 0xA6 and i - start > 1 and text[_U(i - 1)] == 0x80 and text[_U(i - 2)] == 0xE2:
            ellipses += 1
    return hashes, ellipses


@kernel
def _fineweb(
    tables: Tables,
    counts: NDArray[np.int64],
    units: Units,
    keys_S: NDArray[np.uint64],
    thresholds_Q: NDArray[np.float64],
) -> tuple[int, float]:
    """Return the rule that a document fails, or -1, and the value."""
    num_units = feed_lines(tables, counts[DOC_LINES], units)
    feeds = num_units - 1
    chars = kept = terminal = short = 0
    for u in range(num_units):
        unit = _U(u)
        chars += units.chars_L[unit]
        if units.flags_L[unit] & NOT_BLANK:
            terminal += units.flags_L[unit] & TERMINAL_LINE != 0
            short += units.chars_L[unit] <= _SHORT_LINE
            units.hashes_L[_U(kept)], units.chars_L[_U(kept)] = units.hashes_L[unit], units.chars_L[unit]
            kept += 1
    if kept == 0:
        return 0, 0.0
    if terminal / kept < thresholds_Q[1]:
        return 1, terminal / kept
    if short / kept > thresholds_Q[2]:
        return 2, short / kept
    _, repeat_chars = count_repeats(units.hashes_L, units.chars_L, kept, keys_S)
    if repeat_chars / chars > thresholds_Q[3]:
        return 3, repeat_chars / chars
    if feeds / counts[DOC_TOKENS] > thresholds_Q[4]:
        return 4, feeds / counts[DOC_TOKENS]
    return -1, 0.0


@kernel
def _third_longest(tables: Tables, counts: NDArray[np.int64], units: Units) -> int:
    """Return the length of the third longest line in characters, line feeds only ending lines; 0 with fewer lines."""
    num_units = feed_lines(tables, counts[DOC_LINES], units)
    first = second = third = 0
    for u in range(num_units):
        third = max(third, wide(units.chars_L[_U(u)]))
        if third > second:
            second, third = third, second
        if second > first:
            first, second = second, first
    return third


@kernel
def judge(
    lexicon: Lexicon,
    room: Room,
    offsets_N1: NDArray[np.int32],
    text: NDArray[np.uint8],
    skip_N: NDArray[np.bool_],
    presets_P: NDArray[np.int64],
    thresholds_PQ: NDArray[np.float64],
    document: int,
    preset_N: NDArray[np.int64],
    rule_N: NDArray[np.int64],
    value_N: NDArray[np.float64],
    stop_N: NDArray[np.int32],
    cuts_C: NDArray[np.int64],
) -> tuple[int, int]:
    """Apply presets to documents, from number `document` on, until all are done or an array is full.

    Args:
        lexicon: chunks seen before; chunks of these documents are added.
        room: arrays for one document.
        offsets_N1: int32, where the documents begin in `text`.
        text: uint8, UTF-8. Documents that the C4 preset passes are rewritten in place and get shorter.
        skip_N: bool, documents that are left alone (rejected before).
        presets_P: int64, which rules, in order.
        thresholds_PQ: float64, the thresholds of each preset's rules; NaN disables a rule.
        document: the first to look at.
        preset_N: int64, written: place in `presets_P` of the preset that a document fails, or -1.
        rule_N: int64, written: which of its rules.
        value_N: float64, written: what was measured.
        stop_N: int32, written: end of the document's text.
        cuts_C: int64, to which the lines cut by C4 are added by reason.

    Returns:
        The document to go on with (N when all are done), and the number of the full array or 0. With room made, the
        same document has to be given again, its text restored.
    """
    counts, out_counts = np.zeros(NUM_COUNTS, np.int64), np.zeros(NUM_COUNTS, np.int64)
    cuts = np.zeros(NUM_CUTS, np.int64)
    for n in range(document, len(offsets_N1) - 1):
        start, stop = wide(offsets_N1[n]), wide(offsets_N1[n + 1])
        preset_N[n], rule_N[n], value_N[n], stop_N[n] = -1, -1, 0.0, stop
        if skip_N[n]:
            continue
        for c in range(NUM_COUNTS):
            counts[c] = 0
        tables, spare = room.first, room.second
        full = scan(lexicon, text, start, stop, tables, counts)
        if full < 0:
            return n, -full
        for p in range(len(presets_P)):
            preset, thresholds_Q = presets_P[p], thresholds_PQ[p]
            rule, value = -1, 0.0
            if preset == GOPHER_REPETITION:
                rule, value = _gopher_repetition(lexicon, text, tables, counts, spare, room, thresholds_Q)
                if rule < -1:
                    return n, -1 - rule
            elif preset == GOPHER_QUALITY:
                rule, value = _gopher_quality(text, tables, counts, thresholds_Q)
            elif preset == MC4_PARAGRAPH:
                value = float(_third_longest(tables, counts, room.units))
                rule = 0 if value < thresholds_Q[0] else -1
            elif preset == FINEWEB:
                rule, value = _fineweb(tables, counts, room.units, room.scratch.keys_S, thresholds_Q)
            else:
                for c in range(NUM_COUNTS):
                    out_counts[c] = 0
                rule, sentences, stop = cut_lines(lexicon, text, start, tables, counts, spare, out_counts, cuts)
                if stop < 0:
                    return n, -stop
                for c in range(NUM_CUTS):
                    cuts_C[c] += cuts[c]
                    cuts[c] = 0
                if rule < 0 and sentences < thresholds_Q[TOO_FEW_SENTENCES]:
                    rule, value = TOO_FEW_SENTENCES, float(sentences)
                tables, spare = spare, tables
                counts, out_counts = out_counts, counts
                stop_N[n] = stop
            if rule >= 0:
                preset_N[n], rule_N[n], value_N[n] = p, rule, value
                break
    return len(offsets_N1) - 1, 0
