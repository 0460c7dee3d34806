"""Attention within documents: every kernel against the twin, and what it must not see."""

import pytest
import torch
from torch.nn.attention import varlen

from pipeline.pretrain.attention import attend, can_gather, layout_of, take_rows
from tests.reference.attention import attend_by_document, attend_stream

LENGTHS_BP = torch.tensor([[5, 1, 14, 0], [20, 0, 0, 0], [1, 1, 1, 4]])
NUM_TOKENS, WINDOW = 20, 6
SLOTS_BQ = torch.tensor([[0, 7, 19], [3, 3, 12], [1, 2, 6]])


@pytest.fixture(autouse=True)
def _stream_kernel_on_cpu(monkeypatch):
    """Variable-length attention has no CPU kernel: its contract, written as a loop, takes its place."""
    monkeypatch.setattr(varlen, "varlen_attn", attend_stream)


def _heads(seed):
    generator = torch.Generator().manual_seed(seed)
    shape = (3, len(LENGTHS_BP), NUM_TOKENS, 2, 16)
    return torch.randn(shape, generator=generator, dtype=torch.float64).unbind(0)


def test_layout():
    """Positions restart at each document; padding is a document of its own."""
    layout = layout_of(LENGTHS_BP, NUM_TOKENS, WINDOW)
    assert layout.position_BS[0].tolist() == [*range(5), 0, *range(14)]
    assert layout.document_BS[2].tolist() == [0, 1, 2, 3, 3, 3, 3] + [4] * 13
    assert layout.local[1, 0, 10].nonzero().flatten().tolist() == list(range(7, 14))
    offsets = layout_of(LENGTHS_BP, NUM_TOKENS, WINDOW, "varlen").full
    assert offsets.dtype == torch.int32
    assert offsets.tolist() == [0, 5, 6, 20, 20, 20, 40, 40, 40, 40, 40, 41, 42, 43, 47, 60]


@pytest.mark.parametrize("is_global", [True, False])
@pytest.mark.parametrize("backend", ["sdpa", "varlen"])
def test_attention_and_gradients_equal_twin(backend, is_global):
    """Mixed values and gradients equal softmax(q k^T / sqrt(d)) v per document, in float64."""
    layout = layout_of(LENGTHS_BP, NUM_TOKENS, WINDOW, backend)
    real_BS1 = (layout.document_BS < LENGTHS_BP.shape[1]).unsqueeze(2)
    gradients = []
    for path in ("own", "twin"):
        q, k, v = (part.clone().requires_grad_() for part in _heads(0))
        if path == "own":
            mixed = attend(q, k, v, layout, is_global=is_global, slots_BQ=None) * real_BS1
        else:
            mixed = attend_by_document(q, k, v, LENGTHS_BP, None if is_global else WINDOW)
        (mixed * torch.arange(mixed.numel()).reshape(mixed.shape).sin()).sum().backward()
        gradients.append((mixed.detach(), q.grad, k.grad, v.grad))
    for own, twin in zip(*gradients, strict=True):
        assert torch.allclose(own, twin, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("is_global", [True, False])
def test_flex_equals_twin(is_global):
    """The block masks of FlexAttention allow the same keys (forward only: it has no backward pass on a CPU)."""
    layout = layout_of(LENGTHS_BP, NUM_TOKENS, WINDOW, "flex")
    real_BS1 = (layout.document_BS < LENGTHS_BP.shape[1]).unsqueeze(2)
    q, k, v = (part.float() for part in _heads(0))
    mixed = attend(q, k, v, layout, is_global=is_global, slots_BQ=None) * real_BS1
    expected = attend_by_document(q, k, v, LENGTHS_BP, None if is_global else WINDOW)
    assert torch.allclose(mixed, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("backend", "is_global"), [("sdpa", True), ("sdpa", False), ("varlen", True)])
def test_gathered_queries_equal_all_queries(backend, is_global):
    """Attention computed for some queries only is what those queries get among all, where the kernel can do so."""
    q, k, v = _heads(1)
    layout = layout_of(LENGTHS_BP, NUM_TOKENS, WINDOW, backend)
    assert can_gather(layout, is_global=is_global)
    assert not can_gather(layout._replace(kernels=("flex", "flex")), is_global=is_global)
    some_BQHE = take_rows(q.flatten(2), SLOTS_BQ).unflatten(2, (2, 16))
    mixed = attend(some_BQHE, k, v, layout, is_global=is_global, slots_BQ=SLOTS_BQ)
    everywhere = attend(q, k, v, layout, is_global=is_global, slots_BQ=None)
    assert torch.allclose(mixed, take_rows(everywhere, SLOTS_BQ), rtol=1e-12, atol=1e-12)


def test_short_rows_share_one_mask():
    """Where no document is longer than half a window, or no layer is local, there is one mask."""
    for window in (38, None):
        layout = layout_of(LENGTHS_BP, NUM_TOKENS, window)
        assert layout.local is layout.full
    shorter = layout_of(LENGTHS_BP, NUM_TOKENS, 36)
    assert not torch.equal(shorter.local, shorter.full)
    assert layout_of(LENGTHS_BP, NUM_TOKENS, 38, "sdpa+varlen").local.dtype == torch.int32


@pytest.mark.parametrize("attention", ["sdpa+varlen", "varlen+sdpa", "varlen+flex", "flex+sdpa"])
def test_layers_of_two_kinds_take_two_kernels(attention, monkeypatch):
    """The first kernel named computes global layers, the second local ones, and each equals itself alone."""
    q, k, v = (part.float() for part in _heads(2))
    layout = layout_of(LENGTHS_BP, NUM_TOKENS, WINDOW, attention)
    for name, is_global in zip(attention.split("+"), (True, False), strict=True):
        alone = layout_of(LENGTHS_BP, NUM_TOKENS, WINDOW, name)
        mixed = attend(q, k, v, layout, is_global=is_global, slots_BQ=None)
        assert torch.equal(mixed, attend(q, k, v, alone, is_global=is_global, slots_BQ=None))
        assert can_gather(layout, is_global=is_global) == can_gather(alone, is_global=is_global)
    calls = []

    def counted(*args, **kwargs):
        calls.append(1)
        return attend_stream(*args, **kwargs)

    monkeypatch.setattr(varlen, "varlen_attn", counted)
    for is_global in (True, False):
        attend(q, k, v, layout, is_global=is_global, slots_BQ=None)
    assert len(calls) == attention.split("+").count("varlen")
