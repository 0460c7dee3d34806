"""The processes of one run and what they add up: one process, or one a GPU started by `torchrun` (gloo on CPUs).

Gradients are summed by one all-reduce of one flat buffer a step. DistributedDataParallel overlaps the same sum with the
backward pass, but its hooks complicate accumulation and compilation, and at a million tokens a step the sum of a
BERT-base takes a few milliseconds in a second.
"""

import os
import sys
from typing import NamedTuple

import torch
from torch import Tensor, distributed


class World(NamedTuple):
    """This process among its like.

    Attributes:
        rank: 0 to size - 1; rank 0 writes and speaks.
        size: number of processes.
        device: where this process computes.
    """

    rank: int
    size: int
    device: torch.device

    def sum_(self, values: Tensor) -> Tensor:
        """Replace `values` by their sum over all processes, the same bits on each, and return them."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def least(self, value: int) -> int:
        """Return the least of the values of all processes."""
        if self.size == 1:
            return value
        values = torch.tensor(value, device=self.device)
        distributed.all_reduce(values, distributed.ReduceOp.MIN)
        return int(values)

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            distributed.barrier()


ALONE = World(0, 1, torch.device("cpu"))


def usual_device() -> torch.device:
    """Return where one process computes: on the GPU, if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def join_world() -> World:
    """Return this process's place; under `torchrun`, connect to the others."""
    if not distributed.is_torchelastic_launched():
        return World(0, 1, usual_device())
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    return World(distributed.get_rank(), distributed.get_world_size(), device)


def leave(code: int) -> None:
    """End this process, if it is one of several, with what it has said and written.

    Taking the group apart, or leaving that to the end of the interpreter, aborted a process on gloo now and then
    ("terminate called without an active exception", torch 2.13), long after its work was done.
    """
    if distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
