"""Floating point operations of a training step, counted honestly: real tokens, keys in sight, masked positions only.

    F = 6 * (N_body * tokens + N_head * predictions) + 12 * width * (pairs of query and key in sight, over all layers)

with the last layer's queries and feed-forward for predictions only. Embedding gathers, norms, softmax and the optimizer
are not counted; padding and masked-out keys earn nothing. Checked against torch's FlopCounterMode.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.pretrain.architecture import Architecture

# Dense bfloat16 FLOP/s: of the data sheet, and measured as one 8192^3 matrix product (None where we have not measured).
PEAKS: dict[str, tuple[float, float | None]] = {
    "H200": (989e12, 790e12),
    "H100": (989e12, None),
    "A100": (312e12, None),
}


class Work(NamedTuple):
    """What a step worked on.

    Attributes:
        predictions: masked tokens (slots in use).
        tokens: real tokens.
        full_pairs: pairs of query and key within a document.
        local_pairs: those among them that are at most half a window apart.
    """

    predictions: float
    tokens: float
    full_pairs: float
    local_pairs: float


def attended_pairs(lengths_BP: Tensor, half: int) -> tuple[Tensor, Tensor]:
    """Return the pairs of query and key in sight (float64 scalars): in whole documents, and at most `half` apart."""
    length = lengths_BP.double()
    reach = length.clamp(max=half + 1)
    # A document of L tokens, L > half: L * (2 half + 1) pairs, less the half * (half + 1) that stick out at its ends.
    local = length * (2 * reach - 1) - reach * (reach - 1)
    return length.square().sum(), local.sum()


def training_flops(a: Architecture, work: Work) -> float:
    """Return the operations of one forward and backward pass over `work` (a multiplication and an addition are two)."""
    width, inner = a.width, a.feed_forward * (3 if a.family == "modernbert" else 2)
    projections, mlp = 4 * width**2, inner * width
    head = width**2 + width * a.vocab_size
    share = work.predictions / max(work.tokens, 1)
    matmul = attention = 0.0
    for layer in range(a.layers):
        pairs = work.full_pairs if a.is_global(layer) else work.local_pairs
        if layer == a.layers - 1:  # keys and values of all tokens, the rest of predictions only
            matmul += 2 * width**2 * work.tokens + (projections - 2 * width**2 + mlp) * work.predictions
            attention += pairs * share
        else:
            matmul += (projections + mlp) * work.tokens
            attention += pairs
    return 6 * (matmul + head * work.predictions) + 12 * width * attention


def peaks_of(device: torch.device) -> tuple[float, float | None] | None:
    """Return the data sheet's and the measured FLOP/s of `device`, None for one that is not in the table."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peaks for key, peaks in PEAKS.items() if key in name), None)
