"""Optimizers: AdamW, StableAdamW, Muon. None reads a value back from the device."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

BETAS, EPS = (0.9, 0.98), 1e-6
MOMENTUM = 0.95
_NS_STEPS, _NS_EPS = 5, 1e-7
_NS = (3.4445, -4.7750, 2.0315)


def build_optimizers(model: nn.Module, name: str, *, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Return the optimizers of all parameters of `model`; each group's `initial_lr` is the highest rate.

    Muon takes the matrices of the blocks; embeddings, heads, norms and biases get AdamW. Norms and biases never decay.

    Args:
        model: its parameter names are Hugging Face's.
        name: `adamw`, `stableadamw` or `muon`.
        lr: the highest learning rate.
        weight_decay: decoupled, times the learning rate.
    """
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    vectors: list[Tensor] = []
    for parameter_name, parameter in model.named_parameters():
        in_block = ".layers." in parameter_name or ".layer." in parameter_name
        (vectors if parameter.ndim < 2 else matrices if in_block else others).append(parameter)
    if name == "muon":
        groups = [{"params": others, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        optimizers = [Muon(matrices, lr=lr, weight_decay=weight_decay), _adamw(groups, lr)]
    else:
        groups = [{"params": matrices + others, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        optimizers = [_adamw(groups, lr) if name == "adamw" else StableAdamW(groups, lr=lr)]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = lr
    return optimizers


def _adamw(groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=lr, betas=BETAS, eps=EPS, fused=True)


def set_lr_share(optimizers: list[torch.optim.Optimizer], share: float) -> None:
    """Set every group's rate to `share` of its highest."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * share


class StableAdamW(torch.optim.Optimizer):
    """AdamW whose step shrinks when the gradient outruns its second moment (Wortsman et al., arXiv 2304.13013, alg. 2).

    The published code reads the root mean square of each parameter back to the host; here it stays a tensor.
    """

    def __init__(self, params: Any, *, lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        del closure
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["step"] = torch.zeros((), device=parameter.device)
                    state["exp_avg"] = torch.zeros_like(parameter)
                    state["exp_avg_sq"] = torch.zeros_like(parameter)
                _stable_adamw(parameter, parameter.grad, group["lr"], group["weight_decay"], **state)


def _stable_adamw(
    parameter: Tensor,
    grad: Tensor,
    lr: float,
    weight_decay: float,
    *,
    step: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
) -> None:
    """Update one parameter in place, state included."""
    step += 1
    # Debiased betas instead of debiased moments: the same numbers, and the moments are usable as they are.
    first, second = (beta * (1 - beta ** (step - 1)) / (1 - beta**step) for beta in BETAS)
    exp_avg.lerp_(grad, 1 - first)
    exp_avg_sq.mul_(second).add_(grad.square() * (1 - second))
    rms = (grad.square() / exp_avg_sq.clamp(min=EPS**2)).mean().sqrt()
    rate = lr / rms.clamp(min=1.0)
    parameter.mul_(1 - rate * weight_decay)
    parameter.sub_(rate * exp_avg / (exp_avg_sq.sqrt() + EPS))


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised (Jordan et al. 2024), scaled to the size of AdamW's step (Liu et al., arXiv 2502.16982).

    `torch.optim.Muon` takes one matrix at a time and iterates in bfloat16, which is four times slower on a CPU; here
    matrices of one shape are stacked, and the CPU iterates in float32.
    """

    def __init__(self, params: Any, *, lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        del closure
        for group in self.param_groups:
            for parameters in _of_one_shape(group["params"]):
                self._step_stack(parameters, group["lr"], group["weight_decay"])

    def _step_stack(self, parameters: list[Tensor], lr: float, weight_decay: float) -> None:
        updates = []
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            state["momentum_buffer"].lerp_(parameter.grad, 1 - MOMENTUM)
            updates.append(parameter.grad.lerp(state["momentum_buffer"], MOMENTUM))
        rows, columns = parameters[0].shape
        scaled_lr = 0.2 * max(rows, columns) ** 0.5 * lr
        for parameter, update in zip(parameters, orthogonalise(torch.stack(updates)), strict=True):
            parameter.mul_(1 - lr * weight_decay).sub_(update, alpha=scaled_lr)


def orthogonalise(matrices_NRC: Tensor) -> Tensor:
    """Return N matrices with the singular vectors of the given ones and singular values near 1.

    Five quintic Newton-Schulz steps: bfloat16 on a GPU (its matrix units), float32 elsewhere.
    """
    a, b, c = _NS
    x = matrices_NRC.bfloat16() if matrices_NRC.is_cuda else matrices_NRC
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=_NS_EPS)
    for _ in range(_NS_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices_NRC.dtype)


def _of_one_shape(parameters: list[Tensor]) -> Iterator[list[Tensor]]:
    """Yield the parameters that have a gradient in groups of one shape, in the order of their first member."""
    groups: dict[torch.Size, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            groups.setdefault(parameter.shape, []).append(parameter)
    yield from groups.values()
