"""The quality rules on the tables of one document, and the pass over a batch that applies presets in order.

Each rule compares one number with its threshold; the first that fails gives the verdict. A threshold of NaN never fails.

Shapes: N documents, M bytes, P presets, Q rules of a preset, L lines, T tokens.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.c4 import NUM_CUTS, cut_lines
from transforms.kernels.jit import kernel
from transforms.kernels.lexicon import HAS_ELLIPSIS, HAS_HASH, STOP_WORDS, Lexicon
from transforms.kernels.lines import (
    BULLET,
    DOC_LINES,
    DOC_TOKENS,
    L_CHARS,
    L_CHUNKS,
    L_FLAGS,
    L_LETTERS,
    L_START,
    L_STOP,
    L_WORD_CHARS,
    L_WORDS,
    NO_END,
    OTHER_END,
    TERMINAL_LINE,
    TRAILS_OFF,
    Tables,
    line_feed_lines,
    scan,
)
from transforms.kernels.repetition import (
    Scratch,
    count_repeats,
    duplicate_chars,
    extend,
    measure_tokens,
    top_chars,
)

GOPHER_REPETITION, GOPHER_QUALITY, C4, FINEWEB = 0, 1, 2, 3
PASSED = -1
