"""Stores of eight bytes and loads ahead of their use."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from transforms.kernels.jit import borrowing
from transforms.kernels.loads import prefetch, put_eight_bytes


@borrowing
def _put(bytes_M: NDArray[np.uint8], position: np.uint64, number: np.uint64) -> None:
    put_eight_bytes(bytes_M, position, number)


@borrowing
def _sum_ahead(rows_RC: NDArray[np.int32], ahead_N: NDArray[np.uint64]) -> int:
    total = 0
    for index in ahead_N:
        prefetch(rows_RC, index)
        total += rows_RC[0, 0]
    return total


@settings(deadline=None)
@given(position=st.integers(0, 9), number=st.integers(0, 2**64 - 1))
def test_eight_bytes_are_written_lowest_first_and_no_others(position: int, number: int) -> None:
    """The bytes of the number stand from `position` on, whatever its alignment; the others are as before."""
    bytes_M = np.arange(17, dtype=np.uint8)
    _put(bytes_M, np.uint64(position), np.uint64(number))
    before = bytes(range(17))
    assert bytes_M.tobytes() == before[:position] + number.to_bytes(8, "little") + before[position + 8 :]


def test_prefetching_changes_nothing_whatever_the_index() -> None:
    """Also an index far outside of the array is harmless, as an empty slot of a hash table gives one."""
    rows_RC = np.full((4, 16), 3, np.int32)
    indices_N = np.array([0, 63, 64, 1 << 40, (1 << 64) - 16], np.uint64)
    assert _sum_ahead(rows_RC, indices_N) == 15
    assert (rows_RC == 3).all()
