"""Stores of eight bytes, loads ahead of their use, and sums of rows."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from transforms.kernels.jit import borrowing
from transforms.kernels.loads import prefetch, put_eight_bytes, sum_rows


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


@borrowing
def _sum_rows(rows_RL: NDArray[np.int16], which_K: NDArray[np.int32], count: int, sums_L: NDArray[np.int32]) -> None:
    sum_rows(rows_RL, which_K, count, sums_L)


@settings(deadline=None)
@given(which=st.lists(st.integers(0, 9), max_size=40), rest=st.integers(0, 3))
def test_sums_of_rows_are_those_of_numpy(which: list[int], rest: int) -> None:
    """Rows named several times count so often, those behind the count not at all; what the sums were is forgotten."""
    rows_RL = np.random.default_rng(0).integers(-(1 << 15), 1 << 15, (10, 64), np.int16)
    which_K = np.array([*which, *[9] * rest], np.int32)
    padded_L = np.full(66, 7, np.int32)
    _sum_rows(rows_RL, which_K, len(which), padded_L[1:65])
    assert np.array_equal(padded_L[1:65], rows_RL[which].sum(axis=0, dtype=np.int32))
    assert padded_L[0] == padded_L[65] == 7
