"""The estimate of a step's memory against the graph that is compiled."""

import pytest

from pipeline.pretrain.architecture import architecture_of
from pipeline.pretrain.memory import activation_bytes, rows_that_fit
from tests.bench import pretrain_passes


@pytest.mark.parametrize("model", ["bert-small", "modernbert-small"])
def test_a_layer_keeps_what_is_calculated(model):
    """One layer more keeps as many bytes as calculated, to 1%, besides its weights in bfloat16."""
    kept, calculated, weights = [], [], []
    for layers in (5, 6):  # of ModernBERT the last one is local both times
        a = architecture_of(model, vocab_size=512, positions=256, pad_id=0, layers=layers)
        kept.append(pretrain_passes.kept_bytes(a, length=256, rate=0.25, tokens=16_384))
        calculated.append(16_384 * activation_bytes(a, mask_rate=0.25, itemsize=2, compiled=True))
        weights.append(2 * (4 * a.width + (3 if a.family == "modernbert" else 2) * a.feed_forward) * a.width * layers)
    layer = kept[1] - kept[0] - (weights[1] - weights[0])
    assert layer == pytest.approx(calculated[1] - calculated[0], rel=0.01)
    assert kept[1] < 1.1 * calculated[1]


def test_rows_that_fit():
    """Half of the memory holds fewer than half of the rows, as weights take their part; of too little, none."""
    a = architecture_of("bert-base", vocab_size=30_522, positions=512, pad_id=0)
    token_bytes = activation_bytes(a, mask_rate=0.15, itemsize=2, compiled=True)
    assert 2 * token_bytes == activation_bytes(a, mask_rate=0.15, itemsize=4, compiled=True)
    assert token_bytes < activation_bytes(a, mask_rate=0.15, itemsize=2, compiled=False)
    whole, half, none = (
        rows_that_fit(a, token_bytes=token_bytes, seq_length=512, free=free << 30) for free in (24, 12, 2)
    )
    assert 100 < whole < 128
    assert 0 < half < whole / 2
    assert none == 0
