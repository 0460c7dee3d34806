"""The statistics of a document: all that rules compare with thresholds.

Shapes: S statistics, Q rules.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.fineweb import fineweb
from transforms.kernels.gopher import gopher_quality, gopher_repetition
from transforms.kernels.jit import allocating_part, wide
from transforms.kernels.lexicon import Lexicon
from transforms.kernels.lines import DOC_LINES, DOC_TOKENS, L_START, L_STOP, Tables
from transforms.kernels.room import Room
from transforms.kernels.units import num_chars, text_lines, third_longest

# The statistics of a document, in the order in which `measure` writes them.
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


@allocating_part
def measure(
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
    statistics_S[0] = num_chars(lines_L, counts[DOC_LINES])
    statistics_S[1], statistics_S[2] = text_lines(lines_L, counts[DOC_LINES]), counts[DOC_TOKENS]
    gopher_quality(text, tables, counts, nothing_W, never_Q, values_Q)
    statistics_S[3] = values_Q[0]
    for q in range(3, 10):
        statistics_S[1 + q] = values_Q[q]
    rule = gopher_repetition(lexicon, text, tables, counts, spare, room, never_Q, values_Q, True)
    if rule < -1:
        return rule + 1
    if rule < 0:
        for q in range(1, 14):
            statistics_S[10 + q] = values_Q[q]
    if fineweb(tables, counts, room.units, room.scratch.keys_S, never_Q, values_Q) < 0:
        for q in range(1, 5):
            statistics_S[23 + q] = values_Q[q]
    start, stop = wide(lines_L[0, L_START]), wide(lines_L[counts[DOC_LINES] - 1, L_STOP])
    statistics_S[28] = third_longest(text, start, stop)
    return 0
