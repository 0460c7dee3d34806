"""transforms.runs: hashes ordered by prefix."""

import numpy as np
import pytest

from tests.reference import lsh as reference
from tests.transforms.test_dedup import NEAR, PARAMETERS, PROSE, generated, sign
from transforms.fingerprint import signature_rows
from transforms.runs import band_run, prefix_bounds


def test_runs_are_ordered_by_prefix():
    """Every entry once, partitions contiguous for any power of two, rows ascending within a prefix."""
    unit = generated(np.random.default_rng(0).integers(0, 1 << 32, (500, 112), np.uint32))
    run = band_run(unit, PARAMETERS)
    key_E, row_E = run.column("key").to_numpy(), run.column("row").to_numpy()
    sig_NK, _ = signature_rows(unit.column("minhash").combine_chunks())
    expected = {(key, n) for n, row in enumerate(sig_NK.tolist()) for key in reference.band_keys(row, 14, 8)}
    assert set(zip(key_E.tolist(), row_E.tolist(), strict=True)) == expected
    prefix_E = (key_E >> np.uint64(48)).astype(np.int64)
    assert (np.diff(prefix_E << 32 | row_E.astype(np.int64)) >= 0).all()
    for num_partitions in (1, 2, 64, 1 << 16):
        bounds = prefix_bounds(key_E, num_partitions)
        part_E = np.repeat(np.arange(num_partitions), np.diff(bounds))
        assert len(bounds) == num_partitions + 1
        assert (part_E == prefix_E * num_partitions >> 16).all()


def test_runs_name_the_row_of_the_document():
    """Documents without a signature take no entry, and do not shift the rows of those after them."""
    run = band_run(sign(["short", PROSE, "", NEAR]), PARAMETERS)
    assert sorted(run.column("row").to_pylist()) == [1] * 14 + [3] * 14


@pytest.mark.parametrize("num_partitions", [0, 3, 1 << 17])
def test_partitions_are_a_power_of_two(num_partitions):
    """Other numbers do not fit the order of a run."""
    with pytest.raises(ValueError, match=f"{num_partitions} partitions"):
        prefix_bounds(np.empty(0, np.uint64), num_partitions)
