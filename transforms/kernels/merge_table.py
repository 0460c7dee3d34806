"""The merges of BPE in a hash table: what a pair of tokens becomes.

Shapes: H places of the table, a power of two; R merges, V tokens, M bytes of all tokens.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import inlined, kernel

NO_RANK = 1 << 30

_U = np.uint64


@inlined
def pair_slot(left: int, right: int, pairs_H2: NDArray[np.int64]) -> int:
    """Return where the pair is in the hash table, or where it would be; `pairs_H2` is int64 [H, 2], H a power of two.

    Column 0 is the pair as `left << 32 | right` (-1: free), column 1 the rank of what it merges to.
    """
    key = left << 32 | right
    mixed = (_U(key) ^ (_U(key) >> _U(29))) * _U(0x9E3779B97F4A7C15)
    mask = len(pairs_H2) - 1
    slot = int(mixed >> _U(32)) & mask
    while pairs_H2[_U(slot), 0] != key and pairs_H2[_U(slot), 0] >= 0:
        slot = (slot + 1) & mask
    return slot


@inlined
def merged_rank(left: int, right: int, pairs_H2: NDArray[np.int64]) -> int:
    """Return the rank that the pair merges to, or NO_RANK."""
    slot = pair_slot(left, right, pairs_H2)
    return int(pairs_H2[_U(slot), 1]) if pairs_H2[_U(slot), 0] >= 0 else NO_RANK


@kernel
def add_pairs(
    left_R: NDArray[np.int32], right_R: NDArray[np.int32], result_R: NDArray[np.int32], pairs_H2: NDArray[np.int64]
) -> None:
    """Enter pairs (int32 [R]) and what they merge to into an empty hash table with at least 2 R places.

    Of equal pairs the last one stays, as in the dictionary that `tokenizers` reads merges into.
    """
    for r in range(len(left_R)):
        slot = pair_slot(int(left_R[r]), int(right_R[r]), pairs_H2)
        pairs_H2[slot, 0] = int(left_R[r]) << 32 | int(right_R[r])
        pairs_H2[slot, 1] = result_R[r]


@kernel
def last_merges(
    tokens_M: NDArray[np.int32],
    offsets_V1: NDArray[np.int32],
    pairs_H2: NDArray[np.int64],
    result_R: NDArray[np.int32],
    last_V: NDArray[np.int32],
) -> None:
    """Find by which merge each token comes into being when BPE runs on its bytes alone.

    Merges the pair of least rank, the leftmost of equals, until none is left: quadratic, for tokens only.

    Args:
        tokens_M: int32, ids of the single bytes of each token, one token after the other.
        offsets_V1: int32 [V + 1].
        pairs_H2: int64 [H, 2], pairs of ids and the number of the merge.
        result_R: int32 [R], id that a merge makes.
        last_V: int32 [V], written: the merge, or -1 if the bytes do not end up as one token.
    """
    for v in range(len(last_V)):
        parts = tokens_M[offsets_V1[v] : offsets_V1[v + 1]].copy()
        num_parts = len(parts)
        last = -1
        while num_parts > 1:
            least, where = NO_RANK, -1
            for i in range(num_parts - 1):
                merge = merged_rank(int(parts[i]), int(parts[i + 1]), pairs_H2)
                if merge < least:
                    least, where = merge, i
            if where < 0:
                break
            last = least
            parts[where] = result_R[least]
            for i in range(where + 1, num_parts - 1):
                parts[i] = parts[i + 1]
            num_parts -= 1
        last_V[v] = last if num_parts == 1 else -1
