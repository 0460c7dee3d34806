"""What documents are compared by, by dense index in any order."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from tests.reference import minhash as reference
from transforms.evidence import SHINGLES, ShingleRows, shingle_rows


def test_shingles_by_dense_index():
    """Several units and batches, repetitions, documents without shingles, and documents that were left out."""
    texts = ["a b c a b c", "b c", "", "c d e f", "a b c d e f g"]

    def rows(numbers):
        return shingle_rows(pa.array([texts[n] for n in numbers], pa.string()), np.array(numbers, np.uint32), 3)

    first = pa.Table.from_batches([rows([0]), rows([]), rows([2, 3])])
    second = pa.Table.from_batches([rows([4])])
    found = ShingleRows([second, SHINGLES.empty_table(), first], [10, 5, 0])
    dense_M = np.array([14, 3, 0, 1, 2, 14, 7], np.uint32)
    _, starts_M1, shingle_S = found.compared(dense_M)
    lists = [shingle_S[start:stop].tolist() for start, stop in pairwise(starts_M1)]
    expected = {dense: sorted(set(reference.shingles(texts[n].encode(), 3))) for dense, n in ((14, 4), (3, 3), (0, 0))}
    assert lists == [expected.get(dense, []) for dense in dense_M.tolist()]
    assert len(expected[0]) == 3


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_nothing_is_like_nothing(threshold):
    """Even a threshold of 0 needs a shingle in common."""
    least = ShingleRows([], []).least(threshold)
    assert 0 < least <= 1
