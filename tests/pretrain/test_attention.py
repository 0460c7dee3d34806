"""Attention within documents: against its twin, and what it must not see."""

import pytest
import torch

from pipeline.pretrain.attention import attend, layout_of, take_queries, take_rows
from tests.reference.attention import attend_by_document

LENGTHS_BP = torch.tensor([[5, 1, 14, 0], [20, 0, 0, 0], [1, 1, 1, 4]])
NUM_TOKENS, WINDOW = 20, 6


def _heads(seed):
    generator = torch.Generator().manual_seed(seed)
    shape = (3, len(LENGTHS_BP), 2, NUM_TOKENS, 8)
    return torch.randn(shape, generator=generator, dtype=torch.float64).unbind(0)


def test_layout():
    """Positions restart at each document; padding is a document of its own."""
    layout = layout_of(LENGTHS_BP, NUM_TOKENS, WINDOW)
    assert layout.position_BS[0].tolist() == [*range(5), 0, *range(14)]
    assert layout.document_BS[2].tolist() == [0, 1, 2, 3, 3, 3, 3] + [4] * 13
    assert layout.local_B1SS[1, 0, 10].nonzero().flatten().tolist() == list(range(7, 14))


@pytest.mark.parametrize("window", [None, WINDOW])
def test_attention_and_gradients_equal_twin(window):
    """Mixed values and gradients equal softmax(q k^T / sqrt(d)) v per document, in float64."""
    layout = layout_of(LENGTHS_BP, NUM_TOKENS, WINDOW)
    real_BS1 = (layout.document_BS < LENGTHS_BP.shape[1]).unsqueeze(2)
    gradients = []
    for path in ("own", "twin"):
        q, k, v = (part.clone().requires_grad_() for part in _heads(0))
        if path == "own":
            mixed = attend(q, k, v, layout.full_B1SS if window is None else layout.local_B1SS) * real_BS1
        else:
            mixed = attend_by_document(q, k, v, LENGTHS_BP, window)
        (mixed * torch.arange(mixed.numel()).reshape(mixed.shape).sin()).sum().backward()
        gradients.append((mixed.detach(), q.grad, k.grad, v.grad))
    for own, twin in zip(*gradients, strict=True):
        assert torch.allclose(own, twin, rtol=1e-12, atol=1e-12)


def test_gathered_queries_equal_all_queries():
    """Attention computed for some queries only is what those queries get among all."""
    q, k, v = _heads(1)
    layout = layout_of(LENGTHS_BP, NUM_TOKENS, WINDOW)
    slots_BQ = torch.tensor([[0, 7, 19], [3, 3, 12], [2, 6, 1]])
    some_BHQD = q.transpose(1, 2).flatten(2)
    some_BHQD = take_rows(some_BHQD, slots_BQ).unflatten(2, (2, 8)).transpose(1, 2)
    mixed = attend(some_BHQD, k, v, take_queries(layout.local_B1SS, slots_BQ))
    assert torch.allclose(mixed, take_rows(attend(q, k, v, layout.local_B1SS), slots_BQ), rtol=1e-12, atol=1e-12)


def test_short_rows_share_one_mask():
    """Where no document is longer than half a window, local attention is global attention and costs no mask."""
    layout = layout_of(LENGTHS_BP, NUM_TOKENS, 38)
    assert layout.local_B1SS.data_ptr() == layout.full_B1SS.data_ptr()
    assert not torch.equal(layout_of(LENGTHS_BP, NUM_TOKENS, 36).local_B1SS, layout.full_B1SS)
