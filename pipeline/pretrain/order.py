"""The order of rows: a permutation of row numbers that is computed, not stored.

Any position of any epoch is found in constant time, so resuming at step 900,000 costs what step 1 costs, and every
number of processes walks through the same global batches.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.pretrain.splitmix import fold, splitmix_array

_ROUNDS = 6


def permute(index_N: NDArray[np.int64], *, size: int, key: int) -> NDArray[np.int64]:
    """Return the images (int64 [N]) of `index_N` under the permutation of `range(size)` named by `key`.

    A balanced Feistel network over the next power of four, walked until the image lies in the range (Black and Rogaway,
    Ciphers with Arbitrary Finite Domains, 2002): under four rounds of walking a value on average.
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    low = np.uint64((1 << half) - 1)
    keys = [np.uint64(fold(key, number)) for number in range(_ROUNDS)]
    image_N = index_N.astype(np.uint64)
    outside_M = np.arange(len(image_N))
    while len(outside_M):
        left_M, right_M = image_N[outside_M] >> np.uint64(half), image_N[outside_M] & low
        for round_key in keys:
            left_M, right_M = right_M, left_M ^ (splitmix_array(right_M ^ round_key) & low)
        image_N[outside_M] = (left_M << np.uint64(half)) | right_M
        outside_M = outside_M[image_N[outside_M] >= size]
    return image_N.astype(np.int64)


def rows_at(start: int, count: int, *, num_rows: int, seed: int) -> NDArray[np.int64]:
    """Return the row numbers (int64 [count]) at positions `start` onwards of an endless walk, epoch after epoch.

    Args:
        start: rows taken before, since the first step.
        count: rows wanted.
        num_rows: rows in the data set; each epoch visits each once, in an order of its own.
        seed: of the run.
    """
    position_N = np.arange(start, start + count, dtype=np.int64)
    rows_N = np.empty(count, np.int64)
    epoch_N = position_N // num_rows
    for epoch in np.unique(epoch_N).tolist():
        here_N = epoch_N == epoch
        rows_N[here_N] = permute(position_N[here_N] % num_rows, size=num_rows, key=fold(seed, epoch))
    return rows_N
