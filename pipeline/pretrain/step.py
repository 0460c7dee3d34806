"""One optimizer step over the microbatches of this process."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.pretrain.model import Model
from pipeline.pretrain.objective import Losses, Microbatch
from pipeline.pretrain.world import World


class Step(NamedTuple):
    """What one step was like; tensors on the device, not yet read.

    Attributes:
        losses_2: mean cross-entropy of the masked tokens, and of the next-sentence labels (0 without them).
        norm: of the gradient, before clipping.
        num_tokens: real tokens in the global batch.
    """

    losses_2: Tensor
    norm: Tensor
    num_tokens: Tensor


def take_step(
    model: Model,
    losses: Losses,
    optimizers: list[torch.optim.Optimizer],
    batches: list[Microbatch],
    *,
    num_rows: int,
    clip: float,
    world: World,
) -> Step:
    """Update the weights once: L = L_MLM + L_NSP, each a mean over the whole global batch.

    Microbatch j of the global batch belongs to rank j % size. Losses are summed in the order of j on every rank, and
    gradients by one all-reduce, so that two processes of one microbatch are bit-equal to one process of two.

    Args:
        model: of which gradients are taken.
        losses: returns the two sums of a microbatch, possibly compiled.
        optimizers: of all parameters.
        batches: the microbatches of this rank, in their order.
        num_rows: rows in the global batch.
        clip: largest norm of the gradient.
        world: the processes that share the global batch.
    """
    device = world.device
    counts_2 = torch.stack(
        [sum((batch.masked.weight_BK.sum() for batch in batches), torch.zeros((), device=device)),
         sum((batch.lengths_BP.sum() for batch in batches), torch.zeros((), device=device))]
    )  # fmt: skip
    world.sum_(counts_2)
    means_2 = torch.stack((counts_2[0].clamp(min=1), torch.full_like(counts_2[0], num_rows)))
    losses_M2 = torch.zeros((len(batches) * world.size, 2), device=device)
    for index, batch in enumerate(batches):
        losses_2 = losses(model, batch) / means_2
        losses_2.sum().backward()
        losses_M2[index * world.size + world.rank] = losses_2.detach()
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    if world.size > 1:
        losses_M2 = _sum_gradients(parameters, losses_M2, world)
    norm = nn.utils.clip_grad_norm_(parameters, clip)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    total_2 = torch.zeros(2, device=device)
    for losses_2 in losses_M2:
        total_2 += losses_2
    return Step(total_2, norm, counts_2[1])


def _sum_gradients(parameters: list[Tensor], losses_M2: Tensor, world: World) -> Tensor:
    """Sum gradients and losses over all processes in one buffer; return the losses."""
    flat = torch.cat([parameter.grad.flatten() for parameter in parameters] + [losses_M2.flatten()])
    world.sum_(flat)
    *gradients, losses_N = flat.split([parameter.numel() for parameter in parameters] + [losses_M2.numel()])
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.view_as(parameter)
    return losses_N.view_as(losses_M2)
