"""The quality rules on the tables of a document, and the pass over a batch that applies presets in their order.

Each rule compares one number with its threshold, and the first that fails is the verdict. Against NaN nothing fails.

Shapes: N documents, M bytes, P presets, Q rules of a preset, L lines, T tokens.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.c4 import cut_lines
from transforms.kernels.c4_line import NUM_CUTS, TOO_FEW_SENTENCES, TOO_LONG
from transforms.kernels.jit import allocating_part, kernel, part, wide
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
    TOKEN_ROW,
    TRAILS_OFF,
    Tables,
    Units,
    feed_lines,
    scan,
    stripped,
    text_lines,
)
from transforms.kernels.loads import eight_bytes
from transforms.kernels.repetition import (
    Scratch,
    count_repeats,
    join_paragraphs,
    judge_n_grams,
    separate_lines,
)

GOPHER_REPETITION, GOPHER_QUALITY, C4, FINEWEB, MC4_PARAGRAPH, C4_TFDS = 0, 1, 2, 3, 4, 5

# The statistics of a document, in the order in which `_measure` writes them.
STATISTICS = (
    "characters",
    "lines",
    "tokens",
    "words",
    "mean_word_length",
    "hash_ratio",
    "ellipsis_ratio",
    "bullet_line_ratio",
    "ellipsis_line_ratio",
    "alpha_ratio",
    "stop_words",
    "dup_para_frac",
    "dup_para_char_frac",
    "dup_line_frac",
    "dup_line_char_frac",
    "top_2_gram",
    "top_3_gram",
    "top_4_gram",
    "duplicated_5_n_grams",
    "duplicated_6_n_grams",
    "duplicated_7_n_grams",
    "duplicated_8_n_grams",
    "duplicated_9_n_grams",
    "duplicated_10_n_grams",
    "line_punct_ratio",
    "short_line_ratio",
    "char_dup_ratio",
    "list_ratio",
    "third_longest_line",
)
NUM_STATISTICS = len(STATISTICS)

_SHORT_LINE = 30  # characters
_U = np.uint64
_ONES, _HIGH_BITS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_FULL_STOPS, _LAST_BYTES = _ONES * np.uint64(0x2E), _ONES * np.uint64(0xA6)  # of U+2026


class Room(NamedTuple):
    """Arrays that one document at a time is worked on in. Python makes those larger that a kernel found full."""

    first: Tables
    second: Tables
    units: Units
    scratch: Scratch


@part
def _num_chars(lines_L: NDArray[np.int32], num_lines: int) -> int:
    """Return the length of a document in characters, line ends included."""
    chars = num_lines - 1
    for l in range(num_lines):
        chars += lines_L[_U(l), L_CHARS]
    return chars


@allocating_part
def _gopher_repetition(
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
    chars = _num_chars(lines_L, num_lines)
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
def _gopher_quality(
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


@part
def _fineweb(
    tables: Tables,
    counts: NDArray[np.int64],
    units: Units,
    keys_S: NDArray[np.uint64],
    thresholds_Q: NDArray[np.float64],
    values_Q: NDArray[np.float64],
) -> int:
    """Return the rule that a document fails, or -1; all values, unless the document is empty."""
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
        return 0
    _, repeat_chars = count_repeats(units.hashes_L, units.chars_L, kept, keys_S)
    values_Q[1], values_Q[2] = terminal / kept, short / kept
    values_Q[3], values_Q[4] = repeat_chars / chars, feeds / counts[DOC_TOKENS]
    for q in range(1, 5):
        if values_Q[q] < thresholds_Q[q] if q == 1 else values_Q[q] > thresholds_Q[q]:
            return q
    return -1


@part
def _third_longest(text: NDArray[np.uint8], start: int, stop: int) -> int:
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


@allocating_part
def _measure(
    lexicon: Lexicon,
    text: NDArray[np.uint8],
    tables: Tables,
    counts: NDArray[np.int64],
    spare: Tables,
    room: Room,
    nothing_W: NDArray[np.int32],
    values_Q: NDArray[np.float64],
    statistics_S: NDArray[np.float64],
) -> int:
    """Write the STATISTICS of a document, NaN where one is of nothing; return 0, or minus a full array's number."""
    never_Q = np.full(len(values_Q), np.nan)
    for s in range(len(statistics_S)):
        statistics_S[s] = np.nan
    lines_L = tables.lines_L
    statistics_S[0] = _num_chars(lines_L, counts[DOC_LINES])
    statistics_S[1], statistics_S[2] = text_lines(lines_L, counts[DOC_LINES]), counts[DOC_TOKENS]
    _gopher_quality(text, tables, counts, nothing_W, never_Q, values_Q)
    statistics_S[3] = values_Q[0]
    for q in range(3, 10):
        statistics_S[1 + q] = values_Q[q]
    rule = _gopher_repetition(lexicon, text, tables, counts, spare, room, never_Q, values_Q, True)
    if rule < -1:
        return rule + 1
    if rule < 0:
        for q in range(1, 14):
            statistics_S[10 + q] = values_Q[q]
    if _fineweb(tables, counts, room.units, room.scratch.keys_S, never_Q, values_Q) < 0:
        for q in range(1, 5):
            statistics_S[23 + q] = values_Q[q]
    start, stop = wide(lines_L[0, L_START]), wide(lines_L[counts[DOC_LINES] - 1, L_STOP])
    statistics_S[28] = _third_longest(text, start, stop)
    return 0


@kernel
def judge(
    lexicon: Lexicon,
    room: Room,
    offsets_N1: NDArray[np.int32],
    text: NDArray[np.uint8],
    skip_N: NDArray[np.bool_],
    presets_P: NDArray[np.int64],
    variant_N: NDArray[np.int64],
    thresholds_VPQ: NDArray[np.float64],
    stop_rows_W: NDArray[np.int32],
    stop_rows_VP1: NDArray[np.int64],
    document: int,
    preset_N: NDArray[np.int64],
    rule_N: NDArray[np.int64],
    value_N: NDArray[np.float64],
    stop_N: NDArray[np.int32],
    cuts_PNC: NDArray[np.int32],
    statistics_NS: NDArray[np.float64],
) -> tuple[int, int]:
    """Apply presets to documents, from number `document` on, until all are done or an array is full.

    Args:
        lexicon: chunks seen before; chunks of these documents are added.
        room: arrays for one document.
        offsets_N1: int32, where the documents begin in `text`.
        text: uint8, UTF-8. Documents that the C4 preset passes are rewritten in place and get shorter.
        skip_N: bool, documents that are left alone (rejected before).
        presets_P: int64, which rules, in order.
        variant_N: int64, which thresholds apply to each document.
        thresholds_VPQ: float64, the thresholds of each preset's rules in each variant; NaN disables a rule.
        stop_rows_W: int32, rows of the lexicon: stop words, sorted for each variant and preset.
        stop_rows_VP1: int64, where those of variant v and preset p begin, at v * P + p; Gopher's own if there are none.
        document: the first to look at.
        preset_N: int64, written: place in `presets_P` of the preset that a document fails, or -1.
        rule_N: int64, written: which of its rules.
        value_N: float64, written: what was measured.
        stop_N: int32, written: end of the document's text.
        cuts_PNC: int32, written: lines cut from each document by each preset and reason.
        statistics_NS: float64, written: STATISTICS of each document as it is before the first preset; or no rows.

    Returns:
        The document to go on with (N when all are done), and the number of the full array or 0. With room made, the
        same document has to be given again, its text restored.
    """
    counts, out_counts = np.zeros(NUM_COUNTS, np.int64), np.zeros(NUM_COUNTS, np.int64)
    cuts_C, values_Q = np.zeros(NUM_CUTS, np.int64), np.zeros(thresholds_VPQ.shape[2], np.float64)
    scanned = len(statistics_NS) > 0
    for p in range(len(presets_P)):
        scanned |= presets_P[p] != MC4_PARAGRAPH  # which only needs the lengths of lines: 98 MB/s with a scan
    for n in range(document, len(offsets_N1) - 1):
        start, stop = wide(offsets_N1[n]), wide(offsets_N1[n + 1])
        preset_N[n], rule_N[n], value_N[n], stop_N[n] = -1, -1, 0.0, stop
        if skip_N[n]:
            continue
        for c in range(NUM_COUNTS):
            counts[c] = 0
        tables, spare = room.first, room.second
        if scanned:
            full = scan(lexicon, text, start, stop, tables, counts)
            if full < 0:
                return n, -full
        if len(statistics_NS):
            nothing_W = stop_rows_W[:0]
            full = _measure(lexicon, text, tables, counts, spare, room, nothing_W, values_Q, statistics_NS[n])
            if full < 0:
                return n, -full
        for p in range(len(presets_P)):
            preset, thresholds_Q = presets_P[p], thresholds_VPQ[variant_N[n], p]
            rule = -1
            if preset == GOPHER_REPETITION:
                rule = _gopher_repetition(lexicon, text, tables, counts, spare, room, thresholds_Q, values_Q, False)
                if rule < -1:
                    return n, -1 - rule
            elif preset == GOPHER_QUALITY:
                v = variant_N[n] * len(presets_P) + p
                rows_W = stop_rows_W[stop_rows_VP1[v] : stop_rows_VP1[v + 1]]
                rule = _gopher_quality(text, tables, counts, rows_W, thresholds_Q, values_Q)
            elif preset == MC4_PARAGRAPH:
                values_Q[0] = _third_longest(text, start, stop)
                rule = 0 if values_Q[0] < thresholds_Q[0] else -1
            elif preset == FINEWEB:
                rule = _fineweb(tables, counts, room.units, room.scratch.keys_S, thresholds_Q, values_Q)
            else:
                values_Q[TOO_LONG] = _num_chars(tables.lines_L, counts[DOC_LINES])
                if values_Q[TOO_LONG] > thresholds_Q[TOO_LONG]:
                    rule = TOO_LONG
                else:
                    for c in range(NUM_COUNTS):
                        out_counts[c] = 0
                    for c in range(NUM_CUTS):
                        cuts_C[c] = 0
                    tfds = preset == C4_TFDS
                    rule, sentences, stop = cut_lines(
                        lexicon, text, start, tables, counts, spare, out_counts, tfds, thresholds_Q, cuts_C
                    )
                    if stop < 0:
                        return n, -stop
                    for c in range(NUM_CUTS):
                        cuts_PNC[p, n, c] = cuts_C[c]
                    values_Q[TOO_FEW_SENTENCES] = sentences
                    if rule < 0 and sentences < thresholds_Q[TOO_FEW_SENTENCES]:
                        rule = TOO_FEW_SENTENCES
                    tables, spare = spare, tables
                    counts, out_counts = out_counts, counts
                    stop_N[n] = stop
            if rule >= 0:
                preset_N[n], rule_N[n], value_N[n] = p, rule, values_Q[rule]
                break
    return len(offsets_N1) - 1, 0
