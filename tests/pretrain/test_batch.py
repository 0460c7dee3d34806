"""The size of the batch over a run."""

import pytest

from pipeline.pretrain.batch import rows_before, rows_of_step, smallest_batch
from pipeline.pretrain.settings import Settings


def test_constant_without_warmup():
    """Every batch is full and their sum is found at once."""
    settings = Settings(batch_rows=24, steps=10)
    assert [rows_of_step(settings, step) for step in range(3)] == [24, 24, 24]
    assert rows_before(settings, 10**9) == 24 * 10**9
    assert smallest_batch(settings) == 24


@pytest.mark.parametrize("steps", [14, 20, 700, 3])
def test_grows_by_eighths(steps):
    """From an eighth to the whole in seven stages of about equal length, then constant; sums agree with the sizes."""
    settings = Settings(batch_rows=16, batch_warmup=0.5, steps=steps)
    sizes = [rows_of_step(settings, step) for step in range(steps)]
    growing = round(0.5 * steps)
    expected = [2 * (step * 7 // growing + 1) if step < growing else 16 for step in range(steps)]
    assert sizes == expected
    assert [rows_before(settings, step) for step in range(steps)] == [sum(sizes[:step]) for step in range(steps)]
    assert smallest_batch(settings) == 2
