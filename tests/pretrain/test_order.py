"""The order of rows: a permutation, another one each epoch, found in constant time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.pretrain.order import permute, rows_at


@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
@settings(max_examples=60, deadline=None)
def test_permute_is_a_permutation(size, key):
    """Each number of the range comes out once."""
    image = permute(np.arange(size), size=size, key=key)
    assert np.array_equal(np.sort(image), np.arange(size))


def test_permute_mixes():
    """Images are uncorrelated with their positions and with those of another key."""
    positions = np.arange(10_000)
    first, second = (permute(positions, size=10_000, key=key) for key in (1, 2))
    assert abs(np.corrcoef(positions, first)[0, 1]) < 0.05
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05
    assert (np.abs(np.diff(first)) < 10).mean() < 0.01


@pytest.mark.parametrize("count", [1, 7, 40, 95])
def test_any_split_into_batches_is_the_same_walk(count):
    """Batches cut the walk anywhere, over epoch ends too; each epoch visits each row once."""
    whole = rows_at(0, 40 * 5, num_rows=40, seed=3)
    parts = [rows_at(start, min(count, 200 - start), num_rows=40, seed=3) for start in range(0, 200, count)]
    assert np.array_equal(np.concatenate(parts), whole)
    epochs = whole.reshape(5, 40)
    assert all(sorted(epoch) == list(range(40)) for epoch in epochs.tolist())
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 5


def test_far_positions_cost_nothing():
    """Position 10**15 of a data set of 10**9 rows is found without walking there."""
    rows = rows_at(10**15, 4, num_rows=10**9, seed=0)
    assert len(set(rows.tolist())) == 4
    assert rows.max() < 10**9
