"""How alike two documents are: the share of equal signature values, or the Jaccard similarity of their shingles.

Shapes: M documents, K permutations, S shingles, L pairs.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import kernel, part


@part
def likeness(
    a: int, b: int, sig_MK: NDArray[np.uint32], starts_M1: NDArray[np.int64], shingle_S: NDArray[np.uint64]
) -> float:
    """Return the similarity of rows `a` and `b`: by shingles where there are any, else by signature, else 1.

    Args:
        a: a row.
        b: another one.
        sig_MK: uint32; K = 0 knows nothing.
        starts_M1: int64, document i owns `shingle_S[starts_M1[i]:starts_M1[i + 1]]`; empty = compare signatures.
        shingle_S: uint64, ascending and different within a document.

    Two documents without shingles are not alike (0): nothing speaks for it.
    """
    if len(starts_M1) > 0:
        i, i_end = starts_M1[a], starts_M1[a + 1]
        j, j_end = starts_M1[b], starts_M1[b + 1]
        total = (i_end - i) + (j_end - j)
        shared = 0
        while i < i_end and j < j_end:
            left, right = shingle_S[i], shingle_S[j]
            shared += left == right
            i += left <= right
            j += right <= left
        return shared / max(total - shared, 1)
    equal = 0
    for k in range(sig_MK.shape[1]):
        equal += sig_MK[a, k] == sig_MK[b, k]
    return equal / sig_MK.shape[1] if sig_MK.shape[1] > 0 else 1.0


@kernel
def pair_likeness(
    a_L: NDArray[np.int64],
    b_L: NDArray[np.int64],
    sig_MK: NDArray[np.uint32],
    starts_M1: NDArray[np.int64],
    shingle_S: NDArray[np.uint64],
    similarity_L: NDArray[np.float32],
) -> None:
    """Write the `likeness` of every pair of rows to `similarity_L` (float32); the other arguments are its own."""
    for pair in range(len(a_L)):
        similarity_L[pair] = likeness(a_L[pair], b_L[pair], sig_MK, starts_M1, shingle_S)


@kernel
def distinct_shingles(
    starts_M1: NDArray[np.int64], shingle_S: NDArray[np.uint64], out_starts_M1: NDArray[np.int64]
) -> None:
    """Sort the shingles of every document and drop repetitions, in place and close together.

    Args:
        starts_M1: int64, as written by `shingles`.
        shingle_S: uint64, changed: what is left stands at its beginning, `out_starts_M1[-1]` of them.
        out_starts_M1: int64, output.
    """
    end = np.int64(0)
    out_starts_M1[0] = 0
    for m in range(len(starts_M1) - 1):
        own = np.sort(shingle_S[starts_M1[m] : starts_M1[m + 1]])
        for s in range(len(own)):
            if s == 0 or own[s] != own[s - 1]:
                shingle_S[end] = own[s]
                end += 1
        out_starts_M1[m + 1] = end
