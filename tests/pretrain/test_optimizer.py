"""Optimizers against torch's and against loops written out."""

import copy

import pytest
import torch
from torch import nn

from pipeline.pretrain.architecture import architecture_of
from pipeline.pretrain.model import build_model
from pipeline.pretrain.optimizer import MOMENTUM, Muon, StableAdamW, build_optimizers, orthogonalise, set_lr_share

SHAPES = [(24, 16), (16, 24), (24, 16), (20, 20)]


def _parameters(dtype):
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in SHAPES]


def _gradients(step, dtype):
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(shape, generator=generator, dtype=dtype) * 10**step for shape in SHAPES]


def test_muon_equals_torch(monkeypatch):
    """Stacked float32 Muon takes the steps of torch.optim.Muon, whose iteration is raised to float32 here."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self)
    ours, theirs = _parameters(torch.float32), _parameters(torch.float32)
    own = Muon(ours, lr=0.02, weight_decay=0.1)
    reference = torch.optim.Muon(
        theirs, lr=0.02, weight_decay=0.1, momentum=MOMENTUM, nesterov=True, adjust_lr_fn="match_rms_adamw"
    )
    start = [parameter.detach().clone() for parameter in ours]
    for step in range(3):
        for parameters, optimizer in ((ours, own), (theirs, reference)):
            for parameter, gradient in zip(parameters, _gradients(step, torch.float32), strict=True):
                parameter.grad = gradient
            optimizer.step()
    for parameter, expected, before in zip(ours, theirs, start, strict=True):
        assert (parameter - before).abs().max() > 0.01
        assert torch.allclose(parameter, expected, rtol=1e-5, atol=1e-6)


def test_orthogonalise_flattens_singular_values():
    """Singular values end between 0.6 and 1.3 and singular vectors stay, for wide, tall and stacked matrices."""
    generator = torch.Generator().manual_seed(0)
    for shape in ((3, 20, 50), (2, 50, 20)):
        given = torch.randn(shape, generator=generator)
        got = orthogonalise(given)
        singular = torch.linalg.svdvals(got)
        assert singular.min() > 0.6
        assert singular.max() < 1.3
        u, _, vh = torch.linalg.svd(given, full_matrices=False)
        assert (got * (u @ vh)).sum() / (got.norm() * (u @ vh).norm()) > 0.97


def test_stable_adamw_equals_its_algorithm():
    """Three steps in float64 equal algorithm 2 of the paper written out with debiased betas and per-tensor clipping."""
    parameters = _parameters(torch.float64)
    expected = [parameter.detach().clone() for parameter in parameters]
    own = StableAdamW([{"params": parameters, "weight_decay": 0.1}], lr=0.01)
    first = [torch.zeros_like(value) for value in expected]
    second = [torch.zeros_like(value) for value in expected]
    clipped = 0
    for step in range(3):
        gradients = _gradients(step, torch.float64)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        own.step()
        for i, g in enumerate(gradients):
            b1, b2 = 0.9, 0.98
            t = step + 1
            b1_hat, b2_hat = b1 * (1 - b1 ** (t - 1)) / (1 - b1**t), b2 * (1 - b2 ** (t - 1)) / (1 - b2**t)
            first[i] = b1_hat * first[i] + (1 - b1_hat) * g
            second[i] = b2_hat * second[i] + (1 - b2_hat) * g * g
            rms = (g * g / second[i].clamp(min=1e-12)).mean().sqrt().item()
            rate = 0.01 / max(1.0, rms)
            clipped += rms > 1.0
            expected[i] = expected[i] * (1 - rate * 0.1) - rate * first[i] / (second[i].sqrt() + 1e-6)
    assert clipped > 0
    for parameter, value in zip(parameters, expected, strict=True):
        # The bias corrections are float32 tensors: the only part that is not float64.
        assert torch.allclose(parameter, value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("preset", ["bert-tiny", "modernbert-demo"])
@pytest.mark.parametrize("name", ["adamw", "stableadamw", "muon"])
def test_every_parameter_is_updated_once(preset, name):
    """Each parameter belongs to one group; norms and biases do not decay; Muon gets the matrices of the blocks only."""
    model = build_model(architecture_of(preset, vocab_size=50, positions=8, pad_id=0), seed=0)
    optimizers = build_optimizers(model, name, lr=0.1, weight_decay=0.5)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    owned = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(owned) == sorted(id(parameter) for parameter in model.parameters())
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    for group in groups:
        for parameter in group["params"]:
            assert (group["weight_decay"] == 0) == (parameter.ndim < 2)
    if name == "muon":
        muon = {names[id(parameter)] for parameter in optimizers[0].param_groups[0]["params"]}
        assert all(".layer" in key for key in muon)
        assert not any("embeddings" in key or "head" in key or "predictions" in key for key in muon)
        assert len(muon) == (12 if preset == "bert-tiny" else 8)
    set_lr_share(optimizers, 0.25)
    assert {group["lr"] for group in groups} == {0.025}
    assert copy.deepcopy(model).state_dict().keys() == model.state_dict().keys()
