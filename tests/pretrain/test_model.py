"""The two families against `transformers`, and documents against their neighbours."""

import dataclasses

import pytest
import torch
from torch.nn.attention import varlen

from pipeline.pretrain.architecture import architecture_of, hugging_face_config
from pipeline.pretrain.attention import layout_of, take_rows
from pipeline.pretrain.layers import Decoder
from pipeline.pretrain.masking import Masked
from pipeline.pretrain.model import build_model
from pipeline.pretrain.objective import Microbatch, layout_for, loss_sums, predict, token_loss_sum
from tests.reference.attention import attend_stream

VOCAB, ROW = 97, 160
LENGTHS = [[100, 12, 1, 40], [150, 0, 0, 0]]
FAMILIES = ["bert-tiny", "modernbert-demo"]


def _model(name, **changed):
    """A model of four layers: ModernBERT's fourth is global again, the others between are local."""
    architecture = architecture_of(name, vocab_size=VOCAB, positions=ROW, pad_id=0, layers=4, **changed)
    model = build_model(architecture, seed=1)
    # Trained weights are not as small as fresh ones; small ones would hide a wrong softmax.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0).add_(torch.sin(torch.arange(parameter.numel()).reshape(parameter.shape)) * 0.02)
    return model


def _batch():
    ids_BS = torch.randint(5, VOCAB, (2, ROW), generator=torch.Generator().manual_seed(0))
    return ids_BS, torch.tensor(LENGTHS)


def _theirs(model):
    """The same weights in `transformers`, eager attention, no dropout; key for key."""
    import transformers

    values = hugging_face_config(model.architecture, {"cls": 2, "sep": 3})
    kind = getattr(transformers, values["architectures"][0])
    config = kind.config_class(**{**values, "attn_implementation": "eager"})
    theirs = kind(config).eval()
    keys = theirs.load_state_dict(model.state_dict(), strict=True)
    assert not keys.missing_keys
    assert not keys.unexpected_keys
    assert theirs.state_dict().keys() == model.state_dict().keys()
    return theirs


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_equal_transformers_per_document(name):
    """Logits of each packed document are those of `transformers` for the document alone (local window included)."""
    model = _model(name)
    ids_BS, lengths_BP = _batch()
    theirs = _theirs(model)
    with torch.no_grad():
        ours = model(ids_BS, layout_of(lengths_BP, ROW, model.architecture.window)).token_BQV
        for row, lengths in enumerate(LENGTHS):
            start = 0
            for length in lengths:
                if length:
                    piece = ids_BS[row : row + 1, start : start + length]
                    expected = theirs(piece, attention_mask=torch.ones_like(piece)).logits[0]
                    error = (ours[row, start : start + length] - expected).abs().max() / expected.abs().max()
                    assert error < 1e-5, (name, row, start)
                start += length


def test_next_sentence_equals_transformers():
    """Both logits, the loss L = L_MLM + L_NSP and its gradients are those of BertForPreTraining on sentence pairs."""
    model = _model("bert-tiny", next_sentence=True)
    theirs = _theirs(model)
    ids_BS, _ = _batch()
    types_BS = torch.zeros_like(ids_BS)
    types_BS[0, 70:], types_BS[1, 12:] = 1, 1
    next_B = torch.tensor([1, 0])
    slots_BK = torch.tensor([[3, 70, 101, 159], [0, 20, 70, 150]])
    masked = Masked(ids_BS, slots_BK, ids_BS.gather(1, slots_BK), torch.ones(2, 4))
    batch = Microbatch(masked, torch.tensor([[ROW], [ROW]]), types_BS, next_B)
    layout = layout_for(model, batch)
    (loss_sums(model, batch, layout) / torch.tensor([8.0, 2.0])).sum().backward()
    labels = torch.full_like(ids_BS, -100).scatter(1, slots_BK, masked.labels_BK)
    expected = theirs(ids_BS, token_type_ids=types_BS, labels=labels, next_sentence_label=next_B)
    expected.loss.backward()
    ours = predict(model, batch, layout)
    for got, wanted in (
        (ours.next_B2, expected.seq_relationship_logits),
        (ours.token_BQV, take_rows(expected.prediction_logits, slots_BK)),
        ((loss_sums(model, batch, layout) / torch.tensor([8.0, 2.0])).sum(), expected.loss),
    ):
        assert (got - wanted).abs().max() < 1e-5 * wanted.abs().max()
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in model.named_parameters():
        # Keys have no use for a bias: its gradient is rounding.
        assert (parameter.grad - gradients[name]).abs().max() < 1e-4 * gradients[name].abs().max() + 1e-6, name
    everywhere = model(ids_BS, layout, types_BS=types_BS)
    assert torch.allclose(everywhere.next_B2, ours.next_B2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_initial_weights_have_the_family_s_spread(name):
    """Fresh weights have the standard deviation that `transformers` gives each of them."""
    import transformers

    ours = build_model(architecture_of(name, vocab_size=VOCAB, positions=ROW, pad_id=0), seed=0)
    values = hugging_face_config(ours.architecture, {"cls": 2, "sep": 3})
    kind = getattr(transformers, values["architectures"][0])
    theirs = dict(kind(kind.config_class(**values)).named_parameters())
    for key, parameter in ours.named_parameters():
        if parameter.ndim == 2 and parameter.numel() > 10_000:
            assert parameter.detach().std() == pytest.approx(float(theirs[key].detach().std()), rel=0.05), key
        elif parameter.ndim == 1:
            assert torch.equal(parameter, theirs[key]), key
    again = build_model(ours.architecture, seed=0)
    other = build_model(ours.architecture, seed=1)
    same = [torch.equal(a, b) for a, b in zip(ours.parameters(), again.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(next(ours.parameters()), next(other.parameters()))


@pytest.mark.parametrize("name", FAMILIES)
def test_no_leakage_between_documents(name):
    """Changing one document leaves the logits of its neighbours bit-equal; without the mask it does not."""
    model = _model(name)
    ids_BS, lengths_BP = _batch()
    changed_BS = ids_BS.clone()
    changed_BS[0, 100:112] = (changed_BS[0, 100:112] + 7) % (VOCAB - 5) + 5
    others = [*range(100), *range(112, 153)]
    for lengths, leaks in ((lengths_BP, False), (torch.tensor([[153], [150]]), True)):
        layout = layout_of(lengths, ROW, model.architecture.window)
        with torch.no_grad():
            before, after = model(ids_BS, layout).token_BQV, model(changed_BS, layout).token_BQV
        assert not torch.equal(before[0, 100:112], after[0, 100:112])
        assert torch.equal(before[1], after[1])
        if leaks:
            assert (before[0, others] - after[0, others]).abs().max() > 1e-4
        else:
            assert torch.equal(before[0, others], after[0, others])


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("layers", [4, 3])
def test_kernels_agree(name, layers, monkeypatch):
    """With variable-length attention (a loop in place of its kernel) the logits are those of dense masks.

    Of four ModernBERT layers the last is global and gathers its queries; of three it is local and cannot.
    """
    monkeypatch.setattr(varlen, "varlen_attn", attend_stream)
    architecture = architecture_of(name, vocab_size=VOCAB, positions=24, pad_id=0, layers=layers, width=16, heads=2)
    model = build_model(dataclasses.replace(architecture, window=6), seed=2)
    ids_BS, lengths_BP = _batch()[0][:, :24], torch.tensor([[10, 1, 9, 0], [24, 0, 0, 0]])
    slots_BK = torch.tensor([[0, 3, 10, 15, 19], [1, 1, 7, 20, 23]])
    with torch.no_grad():
        dense, stream = (
            model(ids_BS, layout_of(lengths_BP, 24, 6, backend), slots_BK).token_BQV for backend in ("sdpa", "varlen")
        )
    assert torch.allclose(dense, stream, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_bfloat16_stays_near(name):
    """Computed in bfloat16 the loss is within 2% and gradients are float32 and point the same way."""
    model = _model(name)
    ids_BS, lengths_BP = _batch()
    slots_BK = torch.arange(0, 150, 3).expand(2, -1)
    batch = Microbatch(Masked(ids_BS, slots_BK, ids_BS.gather(1, slots_BK), torch.ones(2, 50)), lengths_BP, None, None)
    results = []
    for dtype in (None, torch.bfloat16):
        model.zero_grad()
        loss = loss_sums(model, batch, layout_for(model, batch), dtype)[0]
        loss.backward()
        results.append((loss.item(), torch.cat([parameter.grad.flatten() for parameter in model.parameters()])))
    assert results[1][1].dtype == torch.float32
    assert results[1][0] != results[0][0]
    assert results[1][0] == pytest.approx(results[0][0], rel=0.02)
    assert torch.cosine_similarity(results[0][1], results[1][1], dim=0) > 0.97


@pytest.mark.parametrize("vocab", [64, 97, 128])
def test_decoder_has_rows_that_tensor_cores_take(vocab):
    """In bfloat16 rows of logits begin at multiples of 64; values and gradients are those of the plain product."""
    generator = torch.Generator().manual_seed(0)
    decoder = Decoder(32, vocab)
    results = []
    for plain in (False, True):
        x_ND = torch.randn((10, 32), generator=generator.manual_seed(1)).bfloat16().requires_grad_()
        decoder.zero_grad()
        if plain:
            logits_NV = x_ND.double() @ decoder.weight.bfloat16().double().T + decoder.bias.bfloat16().double()
        else:
            logits_NV = decoder(x_ND)
            assert logits_NV.shape == (10, vocab)
            assert logits_NV.dtype == torch.bfloat16
            assert logits_NV.stride(0) == -(-vocab // 64) * 64
        logits_NV.double().logsumexp(1).sum().backward()
        results.append([logits_NV.detach().double(), x_ND.grad.double(), decoder.weight.grad, decoder.bias.grad])
    for own, twin in zip(*results, strict=True):
        assert torch.allclose(own.double(), twin.double(), rtol=0.02, atol=0.02 * float(twin.abs().max()))
    single = decoder(torch.ones(3, 32))
    assert single.dtype == torch.float32
    assert single.is_contiguous()


@pytest.mark.parametrize("name", FAMILIES)
def test_gathered_head_equals_full_cross_entropy(name):
    """Loss and gradients at K slots, the last layer computed for them only, equal the full-logit loss in float64."""
    model = _model(name).double()
    ids_BS, lengths_BP = _batch()
    layout = layout_of(lengths_BP, ROW, model.architecture.window)
    slots_BK = torch.tensor([[3, 130, 101, 0], [149, 20, 7, 7]])
    weight_BK = torch.tensor([[1.0, 1, 1, 0], [1, 1, 1, 0]])
    labels_BK = ids_BS.gather(1, slots_BK)
    results = []
    for gathered in (True, False):
        model.zero_grad()
        if gathered:
            logits = model(ids_BS, layout, slots_BK).token_BQV
            loss = token_loss_sum(logits, Masked(ids_BS, slots_BK, labels_BK, weight_BK))
        else:
            target = torch.full_like(ids_BS, -100)
            target.scatter_(1, slots_BK[:, :3], labels_BK[:, :3])
            logits = model(ids_BS, layout).token_BQV
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="sum")
            assert torch.allclose(take_rows(logits, slots_BK), results[0][1], rtol=1e-11, atol=1e-11)
        loss.backward()
        results.append((loss.detach(), logits.detach(), [p.grad.clone() for p in model.parameters()]))
    assert results[0][0].item() == pytest.approx(results[1][0].item(), rel=1e-12)
    for own, full in zip(results[0][2], results[1][2], strict=True):
        assert (own - full).abs().max() <= 1e-11 * max(1.0, float(full.abs().max()))
