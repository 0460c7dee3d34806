"""FineWeb's rules on the lines of a document.

Shapes: Q rules, S slots of a hash table.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import part
from transforms.kernels.lines import DOC_LINES, DOC_TOKENS, NOT_BLANK, TERMINAL_LINE, Tables
from transforms.kernels.repetition import count_repeats
from transforms.kernels.units import Units, feed_lines

_SHORT_LINE = 30  # characters
_U = np.uint64


@part
def fineweb(
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
