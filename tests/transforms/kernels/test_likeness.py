"""How alike two documents are, against sets and counts."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import likeness as reference
from transforms.evidence import NOTHING
from transforms.kernels.likeness import distinct_shingles, pair_likeness


def kernel_likeness(left, right):
    """The similarity of two sets of shingles or of two signatures."""
    compared = NOTHING
    if isinstance(left, set):
        values = [sorted(left), sorted(right)]
        starts_M1 = np.array([0, len(left), len(left) + len(right)])
        compared = NOTHING._replace(starts_M1=starts_M1, shingle_S=np.array([*values[0], *values[1]], np.uint64))
    elif left:
        compared = NOTHING._replace(sig_MK=np.array([left, right], np.uint32))
    similarity_L = np.empty(1, np.float32)
    pair_likeness(np.array([0]), np.array([1]), *compared, similarity_L)
    return float(similarity_L[0])


sets = st.sets(st.integers(0, 20).map(lambda n: n * 0x0DDB1A5E5BAD5EED % (1 << 64)), max_size=15)
signatures = st.lists(st.integers(0, 3), min_size=7, max_size=7)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.tuples(sets, sets), st.tuples(signatures, signatures)))
def test_likeness_equals_twin(pair):
    """Either kind of evidence, in either direction."""
    assert kernel_likeness(*pair) == pytest.approx(reference.likeness(*pair), abs=1e-6)
    assert kernel_likeness(*pair) == kernel_likeness(*reversed(pair))


@pytest.mark.parametrize("likeness", [kernel_likeness, reference.likeness])
@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [({1, 2, 3}, {2, 3, 4}, 0.5), (set(), set(), 0), ({1}, set(), 0), ([1, 2], [1, 3], 0.5), ([], [], 1)],
)
def test_known_likeness(likeness, left, right, expected):
    """Documents without shingles are like nothing; where nothing is compared at all, everything is alike."""
    assert likeness(left, right) == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), max_size=12), max_size=6))
def test_distinct_shingles_equal_twin(documents):
    """Each shingle of a document once, ascending, documents close together."""
    shingle_S = np.array([value for document in documents for value in document], np.uint64)
    starts_M1 = np.concatenate(([0], np.cumsum([len(document) for document in documents]))).astype(np.int64)
    out_M1 = np.empty_like(starts_M1)
    distinct_shingles(starts_M1, shingle_S, out_M1)
    found = [shingle_S[start:stop].tolist() for start, stop in pairwise(out_M1)]
    assert found == [reference.distinct_shingles(document) for document in documents]
