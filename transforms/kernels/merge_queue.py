"""The queue of pairs to be merged: a binary heap, the most frequent pair first.

Shapes: J places of the queue (counts; for each the number of a pair, the chain of its places, its turn), Q pairs.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import part
from transforms.kernels.pair_counts import END, Pairs


@part
def _before(
    i: int,
    j: int,
    count_J: NDArray[np.int64],
    entry_J3: NDArray[np.int32],
    pair_Q: NDArray[np.int64],
) -> bool:
    """Return whether place i of the queue comes before j: the larger count, the smaller pair, the older chain."""
    if count_J[i] != count_J[j]:
        return count_J[i] > count_J[j]
    if entry_J3[i, 0] != entry_J3[j, 0]:
        return pair_Q[entry_J3[i, 0]] < pair_Q[entry_J3[j, 0]]
    return entry_J3[i, 2] < entry_J3[j, 2]


@part
def _swap(i: int, j: int, count_J: NDArray[np.int64], entry_J3: NDArray[np.int32]) -> None:
    count_J[i], count_J[j] = count_J[j], count_J[i]
    for k in range(3):
        entry_J3[i, k], entry_J3[j, k] = entry_J3[j, k], entry_J3[i, k]


@part
def rise(j: int, count_J: NDArray[np.int64], entry_J3: NDArray[np.int32], pair_Q: NDArray[np.int64]) -> None:
    """Move the last entry of the queue, a binary heap, to its place."""
    while j > 0 and _before(j, (j - 1) >> 1, count_J, entry_J3, pair_Q):
        _swap(j, (j - 1) >> 1, count_J, entry_J3)
        j = (j - 1) >> 1


@part
def _sink(num_queued: int, count_J: NDArray[np.int64], entry_J3: NDArray[np.int32], pair_Q: NDArray[np.int64]) -> None:
    """Move the first entry of the queue to its place."""
    j = 0
    while 2 * j + 1 < num_queued:
        child = 2 * j + 1
        if child + 1 < num_queued and _before(child + 1, child, count_J, entry_J3, pair_Q):
            child += 1
        if not _before(child, j, count_J, entry_J3, pair_Q):
            return
        _swap(j, child, count_J, entry_J3)
        j = child


@part
def pop(
    num_queued: int, count_J: NDArray[np.int64], entry_J3: NDArray[np.int32], pairs: Pairs
) -> tuple[int, int, int, int]:
    """Take the first entry out; return how many are left, -1 if there was none; its count, pair and chain."""
    while num_queued > 0 and count_J[0] != pairs.count_Q[entry_J3[0, 0]]:  # the count of before others were merged
        count_J[0] = pairs.count_Q[entry_J3[0, 0]]
        _sink(num_queued, count_J, entry_J3, pairs.pair_Q)
    if num_queued == 0:
        return -1, 0, 0, END
    count, pair, chain = count_J[0], pairs.pair_Q[entry_J3[0, 0]], int(entry_J3[0, 1])
    _swap(0, num_queued - 1, count_J, entry_J3)
    _sink(num_queued - 1, count_J, entry_J3, pairs.pair_Q)
    return num_queued - 1, count, pair, chain
