"""Blocks of 256 code points: what a tokenizer does with characters is asked of it for one block at a time."""

import numpy as np
from numpy.typing import NDArray

BLOCK = 256
_SURROGATES = range(0xD800 // BLOCK, 0xE000 // BLOCK)  # never in UTF-8


def blocks_in(text_M: NDArray[np.uint8]) -> list[int]:
    """Return the numbers of the blocks that a UTF-8 text has characters of, in order."""
    codes = np.frombuffer(text_M.tobytes().decode("utf-8", "replace").encode("utf-32-le"), np.uint32)
    return np.flatnonzero(np.bincount(codes // BLOCK)).tolist()


def characters_of(block: int) -> str:
    """Return the characters of a block, none for surrogates."""
    return "" if block in _SURROGATES else "".join(map(chr, range(block * BLOCK, block * BLOCK + BLOCK)))
