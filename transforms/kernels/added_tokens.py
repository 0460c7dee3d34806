"""Added tokens: where a text has the next token that is matched before the model sees it.

Shapes: M bytes, S slots of a trie, A added tokens.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import inlined, part
from transforms.kernels.trie import START

_U = np.uint64


@inlined
def _longest(bytes_M: NDArray[np.uint8], start: int, stop: int, trie_S3: NDArray[np.int32]) -> int:
    """Return the value of the longest entry of the trie that bytes_M[start:stop] begins with, or -1."""
    slot = START
    best = -1
    for i in range(start, stop):
        child = trie_S3[_U(slot), 0] + bytes_M[_U(i)] + 1
        if trie_S3[_U(child), 1] != slot:
            break
        slot = child
        if trie_S3[_U(slot), 2] >= 0:
            best = trie_S3[_U(slot), 2]
    return int(best)


@part
def next_added(
    bytes_M: NDArray[np.uint8],
    start: int,
    stop: int,
    added_S3: NDArray[np.int32],
    added_length_A: NDArray[np.int32],
    added_id_A: NDArray[np.int32],
) -> tuple[int, int]:
    """Return where the next added token of bytes_M[start:stop] begins, and its number; `stop` and -1 without one.

    The leftmost, of those the longest. 1 ns a byte that begins none; nothing is allocated.

    Args:
        bytes_M: uint8.
        start: where to look from.
        stop: where the text ends.
        added_S3: trie of the bytes of added tokens, leading to their numbers.
        added_length_A: int32 [A], bytes of each.
        added_id_A: int32 [A], -1 for a special token, which is text but hides shorter ones inside.
    """
    at = start if len(added_id_A) else stop
    first = added_S3[START, 0] + 1
    while at < stop:
        while at < stop and added_S3[_U(first + bytes_M[_U(at)]), 1] != START:
            at += 1
        number = _longest(bytes_M, at, stop, added_S3)
        if number < 0:
            at += at < stop
        elif added_id_A[number] < 0:
            at += added_length_A[number]
        else:
            return at, number
    return stop, -1
