"""Rows gathered from many pieces equal those of one list; what lies in no piece is refused, not read."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import rows as reference
from transforms.kernels.rows import copy_rows


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), min_size=1, max_size=5),
    st.lists(st.integers(0, 22), max_size=12),
    st.integers(1, 3),
)
def test_rows_of_pieces(drawn, wanted, width):
    """Any order, repetitions, gaps between pieces, rows before the first and behind the last."""
    pieces, position = [], 0
    for gap, size in drawn:
        position += gap
        rows = np.arange(position * 10, (position + size) * 10, 10, dtype=np.uint32)
        pieces.append((position, np.ascontiguousarray(rows[:, None] + np.arange(width, dtype=np.uint32))))
        position += size
    out_MW = np.zeros((len(wanted), width), np.uint32)
    wanted_M = np.array(wanted, np.uint32)
    found = copy_rows(
        np.array([piece.ctypes.data for _, piece in pieces], np.uint64),
        np.array([first for first, _ in pieces], np.int64),
        np.array([len(piece) for _, piece in pieces], np.int64),
        wanted_M,
        np.argsort(wanted_M),
        out_MW,
    )
    expected = reference.copy_rows([(first, piece.tolist()) for first, piece in pieces], wanted)
    assert found == (expected is not None)
    assert not found or out_MW.tolist() == expected
