"""Learning rate schedules at their corners."""

import itertools

import pytest

from pipeline.pretrain.schedule import lr_share


def _shares(name, steps=100, warmup=0.1, decay=0.2):
    return [lr_share(name, step, steps, warmup=warmup, decay=decay) for step in range(steps)]


@pytest.mark.parametrize("name", ["wsd", "linear", "cosine"])
def test_warms_up_and_ends_near_zero(name):
    """Ten rising steps from a tenth to one, never above one, never zero, small at the end."""
    shares = _shares(name)
    assert shares[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert max(shares) <= 1.0
    assert min(shares) > 0.0
    assert shares[-1] < 0.05
    assert all(later <= earlier for earlier, later in itertools.pairwise(shares[10:]))


def test_wsd_is_stable_between():
    """WSD stays at one from the end of the warm-up to the start of the decay, then follows 1 - sqrt."""
    shares = _shares("wsd")
    assert shares[9:80] == [1.0] * 71
    assert shares[80] == pytest.approx(1 - (1 / 21) ** 0.5)
    assert shares[99] == pytest.approx(1 - (20 / 21) ** 0.5)


def test_linear_and_cosine_by_hand():
    """Half way down both are at a half; the linear one falls by equal amounts."""
    for name in ("linear", "cosine"):
        assert lr_share(name, 50, 101, warmup=0.0, decay=0.0) == pytest.approx(0.5)
    shares = _shares("linear", warmup=0.0)
    assert shares[0] - shares[1] == pytest.approx(shares[-2] - shares[-1])


@pytest.mark.parametrize("name", ["wsd", "linear", "cosine"])
@pytest.mark.parametrize(("warmup", "decay"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])
def test_extremes(name, warmup, decay):
    """No warm-up, nothing but warm-up, nothing but decay, and a single step all give shares above zero."""
    for steps in (1, 2, 7):
        assert all(0 < share <= 1 for share in _shares(name, steps, warmup, decay))
