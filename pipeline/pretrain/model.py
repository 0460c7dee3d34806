"""The encoder of an architecture, with fresh weights."""

import torch

from pipeline.pretrain.architecture import Architecture
from pipeline.pretrain.bert import Bert
from pipeline.pretrain.modernbert import ModernBert

Model = Bert | ModernBert


def build_model(architecture: Architecture, *, seed: int) -> Model:
    """Return the model on the CPU in float32; its weights depend on `architecture` and `seed` only."""
    model: Model = Bert(architecture) if architecture.family == "bert" else ModernBert(architecture)
    model.initialise(torch.Generator().manual_seed(seed))
    return model
