"""One optimizer step over the microbatches of this process."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.pretrain.flops import attended_pairs
from pipeline.pretrain.model import Model
from pipeline.pretrain.objective import Losses, Microbatch
from pipeline.pretrain.sharding import is_sharded, whole
from pipeline.pretrain.world import World


class Step(NamedTuple):
    """What one step was like; tensors on the device, not yet read.

    Attributes:
        losses_2: mean cross-entropy of the masked tokens, and of the next-sentence labels (0 without them).
        norm: of the gradient, before clipping.
        work_4: float64, the fields of `flops.Work` of the global batch.
    """

    losses_2: Tensor
    norm: Tensor
    work_4: Tensor


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

    Microbatch j of the global batch belongs to rank j % size, so that two processes of one microbatch are bit-equal to
    one process of two.

    Args:
        model: of which gradients are taken.
        losses: returns the two sums of a microbatch, possibly compiled.
        optimizers: of all parameters.
        batches: the microbatches of this rank, in their order.
        num_rows: rows in the global batch.
        clip: largest norm of the gradient.
        world: the processes that share the global batch.
    """
    half = model.architecture.window // 2
    counts_4 = torch.zeros(4, dtype=torch.float64, device=world.device)
    for batch in batches:
        full, local = attended_pairs(batch.lengths_BP, half)
        counts_4 += torch.stack((batch.masked.weight_BK.double().sum(), batch.lengths_BP.double().sum(), full, local))
    world.sum_(counts_4)
    means_2 = torch.stack((counts_4[0].clamp(min=1), torch.full_like(counts_4[0], num_rows))).float()
    total_2 = torch.zeros(2, device=world.device)
    sharded = is_sharded(model)
    for batch in batches:
        losses_2 = losses(model, batch) / means_2
        # Sharding takes the mean of the processes' gradients, where their sum is wanted.
        (losses_2.sum() * (world.size if sharded else 1)).backward()
        total_2 += losses_2.detach()
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    if sharded:
        world.sum_(total_2)
    elif world.size > 1:
        total_2 = _sum_gradients(parameters, total_2, world)
    norm = whole(nn.utils.clip_grad_norm_(parameters, clip))
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return Step(total_2, norm, counts_4)


def _sum_gradients(parameters: list[Tensor], losses_2: Tensor, world: World) -> Tensor:
    """Sum gradients and losses over all processes in one buffer; return the losses."""
    flat = world.sum_(torch.cat([parameter.grad.flatten() for parameter in parameters] + [losses_2]))
    *gradients, losses_2 = flat.split([parameter.numel() for parameter in parameters] + [len(losses_2)])
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.view_as(parameter)
    return losses_2
