"""The encoder of an architecture, with fresh weights."""

import torch
from torch.compiler import config

from pipeline.pretrain.architecture import Architecture
from pipeline.pretrain.bert import Bert
from pipeline.pretrain.modernbert import ModernBert

Model = Bert | ModernBert


def build_model(architecture: Architecture, *, seed: int) -> Model:
    """Return the model on the CPU in float32; its weights depend on `architecture` and `seed` only."""
    model: Model = Bert(architecture) if architecture.family == "bert" else ModernBert(architecture)
    model.initialise(torch.Generator().manual_seed(seed))
    return model


def num_parameters(architecture: Architecture) -> int:
    """Return the number of parameters of the model; no weight is made."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_model(architecture, seed=0).parameters())


def compile_blocks(model: Model) -> None:
    """Compile each block of `model` in place: one graph a kind of block, reused by all blocks of that kind.

    It takes a fraction of the time that one graph of the whole model takes, and leaves embedding, head and loss as they
    are.
    """
    # Four kinds (first, global, local, last), with gradients and without: 8, which is all that PyTorch allows.
    config.recompile_limit = max(32, config.recompile_limit)
    for block in model.blocks:
        block.compile(dynamic=False, fullgraph=True)
