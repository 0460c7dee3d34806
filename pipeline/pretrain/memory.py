"""What a training step holds in the memory of a GPU, and how many rows of a microbatch fit into it."""

import torch

from pipeline.pretrain.architecture import Architecture
from pipeline.pretrain.model import num_parameters

# Weights, gradients and two moments in float32, weights and gradients once more in the dtype of the computation, and
# copies of weights and moments while a checkpoint is written.
_WEIGHT_BYTES = 4 * 4 + 2 * 2 + 3 * 4
# The rest is for gradients of one layer, pieces that the allocator cannot use, and what libraries take.
_USABLE = 0.8
# Logits and their gradient; where the loss is not compiled, copies, logarithms and gradients in float32 as well.
_LOGITS, _EAGER_LOGITS = 2, 8


def activation_bytes(a: Architecture, *, mask_rate: float, itemsize: int, compiled: bool) -> float:
    """Return the bytes a token that the forward pass keeps for the backward pass, and what the loss takes.

    Of a layer: sum and norm twice, queries, keys, values and what is mixed of them, input and output of the activation;
    of a ModernBERT also what is rotated, and the activation has two inputs. A test compares it with the graph.

    Args:
        a: the model's numbers.
        mask_rate: share of tokens with logits.
        itemsize: bytes of a number: 2 for bfloat16.
        compiled: whether the loss is part of a graph.
    """
    layer = 10 * a.width + 3 * a.feed_forward if a.family == "modernbert" else 8 * a.width + 2 * a.feed_forward
    logits = (_LOGITS if compiled else _EAGER_LOGITS) * mask_rate * a.vocab_size
    return itemsize * (a.layers * layer + logits)


def rows_that_fit(a: Architecture, *, token_bytes: float, seq_length: int, free: int, shares: int = 1) -> int:
    """Return how many rows a microbatch may have, 0 if there is no room for one.

    Args:
        a: the model's numbers.
        token_bytes: of `activation_bytes`.
        seq_length: tokens in a row.
        free: bytes of the GPU, before the model is there.
        shares: processes among which the weights are divided.
    """
    return max(0, int((_USABLE * free - _WEIGHT_BYTES * num_parameters(a) / shares) / (token_bytes * seq_length)))


def free_bytes(device: torch.device) -> int:
    """Return the memory of a GPU that nobody uses."""
    return int(torch.cuda.mem_get_info(device)[0])
