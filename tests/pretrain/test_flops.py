"""Counted operations against torch's own counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.pretrain.architecture import architecture_of
from pipeline.pretrain.attention import layout_of
from pipeline.pretrain.flops import Work, attended_pairs, training_flops
from pipeline.pretrain.model import build_model


@pytest.mark.parametrize("name", ["bert-tiny", "modernbert-demo"])
@pytest.mark.parametrize(("num_tokens", "num_slots"), [(32, 5), (64, 64), (64, 10)])
def test_equals_torch_counter(name, num_tokens, num_slots):
    """For rows of one document each the formula is exactly what the matrix products of a step come to."""
    architecture = architecture_of(name, vocab_size=500, positions=64, pad_id=0, layers=3)
    model = build_model(architecture, seed=0)
    ids_BS = torch.zeros((2, num_tokens), dtype=torch.int64)
    layout = layout_of(torch.full((2, 1), num_tokens), num_tokens, architecture.window)
    slots_BK = torch.arange(num_slots).expand(2, -1)
    # Dense masks make the kernel's own count depend on its version: let it be two plain products.
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(ids_BS, layout, slots_BK).token_BQV.sum().backward()
    pairs = 2.0 * num_tokens**2
    work = Work(predictions=2.0 * num_slots, tokens=2.0 * num_tokens, full_pairs=pairs, local_pairs=pairs)
    assert training_flops(architecture, work) == counter.get_total_flops()


def test_published_figures():
    """BERT-base and ModernBERT-base at 512 and 1024 tokens cost what the table says, less the last layer's share."""
    for name, vocab_size, length, rate, expected in (
        ("bert-base", 30522, 512, 0.15, 588e6),
        ("modernbert-base", 50368, 1024, 0.30, 825e6),
    ):
        architecture = architecture_of(name, vocab_size=vocab_size, positions=length, pad_id=0)
        full, local = attended_pairs(torch.tensor([[length]]), 64)
        work = Work(predictions=rate * length, tokens=length, full_pairs=float(full), local_pairs=float(local))
        assert training_flops(architecture, work) / length == pytest.approx(expected, rel=0.07)
        assert training_flops(architecture, work) / length < expected


def test_attended_pairs_by_counting():
    """Pairs in sight, counted one by one."""
    lengths = [1, 2, 7, 20, 0]
    full, local = attended_pairs(torch.tensor([lengths]), 3)
    assert full == sum(length**2 for length in lengths)
    assert local == sum(abs(i - j) <= 3 for length in lengths for i in range(length) for j in range(length))
