"""Presets of quality rules, applied in their order to the documents of a batch.

Each rule compares one number with its threshold, and the first that fails is the verdict. Against NaN nothing fails.

Shapes: N documents, M bytes, P presets, Q rules of a preset, L lines, T tokens.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.c4 import cut_lines
from transforms.kernels.c4_line import NUM_CUTS, TOO_FEW_SENTENCES, TOO_LONG
from transforms.kernels.fineweb import fineweb
from transforms.kernels.gopher import gopher_quality, gopher_repetition
from transforms.kernels.jit import kernel, part, wide
from transforms.kernels.lexicon import Lexicon
from transforms.kernels.lines import DOC_LINES, NUM_COUNTS, Tables, scan
from transforms.kernels.room import Room
from transforms.kernels.statistics import measure
from transforms.kernels.units import num_chars, third_longest

GOPHER_REPETITION, GOPHER_QUALITY, C4, FINEWEB, MC4_PARAGRAPH, C4_TFDS = 0, 1, 2, 3, 4, 5


@part
def _c4(
    lexicon: Lexicon,
    text: NDArray[np.uint8],
    start: int,
    stop: int,
    tables: Tables,
    counts: NDArray[np.int64],
    spare: Tables,
    out_counts: NDArray[np.int64],
    tfds: bool,
    thresholds_Q: NDArray[np.float64],
    values_Q: NDArray[np.float64],
    cuts_C: NDArray[np.int64],
) -> tuple[int, int]:
    """Return the rule that a document fails, or -1, and as `cut_lines` the end of the text that is left."""
    for c in range(NUM_CUTS):
        cuts_C[c] = 0
    values_Q[TOO_LONG] = num_chars(tables.lines_L, counts[DOC_LINES])
    if values_Q[TOO_LONG] > thresholds_Q[TOO_LONG]:
        return TOO_LONG, stop
    for c in range(NUM_COUNTS):
        out_counts[c] = 0
    rule, sentences, stop = cut_lines(
        lexicon, text, start, tables, counts, spare, out_counts, tfds, thresholds_Q, cuts_C
    )
    values_Q[TOO_FEW_SENTENCES] = sentences
    if rule < 0 and sentences < thresholds_Q[TOO_FEW_SENTENCES]:
        rule = TOO_FEW_SENTENCES
    return rule, stop


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
            full = measure(lexicon, text, tables, counts, spare, room, nothing_W, values_Q, statistics_NS[n])
            if full < 0:
                return n, -full
        for p in range(len(presets_P)):
            preset, thresholds_Q = presets_P[p], thresholds_VPQ[variant_N[n], p]
            rule = -1
            if preset == GOPHER_REPETITION:
                rule = gopher_repetition(lexicon, text, tables, counts, spare, room, thresholds_Q, values_Q, False)
                if rule < -1:
                    return n, -1 - rule
            elif preset == GOPHER_QUALITY:
                v = variant_N[n] * len(presets_P) + p
                rows_W = stop_rows_W[stop_rows_VP1[v] : stop_rows_VP1[v + 1]]
                rule = gopher_quality(text, tables, counts, rows_W, thresholds_Q, values_Q)
            elif preset == MC4_PARAGRAPH:
                values_Q[0] = third_longest(text, start, stop)
                rule = 0 if values_Q[0] < thresholds_Q[0] else -1
            elif preset == FINEWEB:
                rule = fineweb(tables, counts, room.units, room.scratch.keys_S, thresholds_Q, values_Q)
            else:
                tfds = preset == C4_TFDS
                rule, stop = _c4(
                    lexicon, text, start, stop, tables, counts, spare, out_counts, tfds, thresholds_Q, values_Q, cuts_C
                )
                if stop < 0:
                    return n, -stop
                stop_N[n] = stop
                for c in range(NUM_CUTS):
                    cuts_PNC[p, n, c] = cuts_C[c]
                tables, spare, counts, out_counts = spare, tables, out_counts, counts
            if rule >= 0:
                preset_N[n], rule_N[n], value_N[n] = p, rule, values_Q[rule]
                break
    return len(offsets_N1) - 1, 0
