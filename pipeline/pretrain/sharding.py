"""Sharding of weights, gradients and optimizer state over the processes (FSDP2), for models too large for one GPU.

Below about a billion parameters it is not needed: the plain way keeps everything on each GPU and adds gradients up once
a step. Blocks are gathered one by one; checkpoints hold whole tensors, so any number of processes goes on from them.
"""

from torch import Tensor, distributed, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from pipeline.pretrain.model import Model
from pipeline.pretrain.world import World


def shard_model(model: Model, world: World) -> None:
    """Shard `model` in place over all processes, block by block; its parameters become distributed tensors."""
    from torch.distributed.fsdp import fully_shard  # noqa: PLC0415 - slow to import, for large models only

    mesh = distributed.device_mesh.init_device_mesh(world.device.type, (world.size,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    # The root would keep its weights gathered until a backward pass, which validation has not.
    fully_shard(model, mesh=mesh, reshard_after_forward=True)


def is_sharded(model: nn.Module) -> bool:
    """Whether the parameters of `model` are distributed over processes."""
    return isinstance(next(model.parameters()), DTensor)


def whole(value: Tensor) -> Tensor:
    """Return `value`, gathered from all processes if it is distributed; then each of them must call this."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def like(value: Tensor, template: Tensor) -> Tensor:
    """Return `value` (the whole, on each process) distributed as `template` is, if it is and has the same shape."""
    value = value.to(template.device)
    if isinstance(template, DTensor) and value.shape == template.shape:
        return distribute_tensor(value, template.device_mesh, template.placements, src_data_rank=None)
    return value
