"""Added tokens: where a text has the next token that is matched before the model sees it.

Shapes: M bytes, S slots of a trie, A added tokens.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import part
from transforms.kernels.trie import START, longest_entry

_U = np.uint64


class AddedTokens(NamedTuple):
    """The added tokens of a tokenizer."""

    trie_S3: NDArray[np.int32]  # of their bytes, leading to their numbers
    length_A: NDArray[np.int32]  # bytes of each
    id_A: NDArray[np.int32]  # -1 for a special token, which is text but hides shorter ones inside


@part
def next_added(bytes_M: NDArray[np.uint8], start: int, stop: int, added: AddedTokens) -> tuple[int, int]:
    """Return where the next added token of bytes_M[start:stop] begins, and its number; `stop` and -1 without one.

    The leftmost, of those the longest. 1 ns a byte that begins none; nothing is allocated.
    """
    at = start if len(added.id_A) else stop
    first = added.trie_S3[START, 0] + 1
    while at < stop:
        while at < stop and added.trie_S3[_U(first + bytes_M[_U(at)]), 1] != START:
            at += 1
        number = longest_entry(bytes_M, at, stop, added.trie_S3)
        if number < 0:
            at += at < stop
        elif added.id_A[number] < 0:
            at += added.length_A[number]
        else:
            return at, number
    return stop, -1
