"""Linear map, decoder and layer norm that follow the dtype of their input.

Parameters stay float32 and are cast where they are used, so the residual stream is bfloat16 on a GPU and gradients
arrive in float32. Autocast would keep the stream in float32 after every norm: more memory traffic than these casts.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Linear(nn.Linear):
    """`nn.Linear` computed in the dtype of its input."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return functional.linear(x, self.weight.to(x.dtype), bias)


class Decoder(nn.Linear):
    """The map to the vocabulary. In bfloat16 its product has a multiple of 64 columns, of which the last are cut off.

    Tensor cores want rows that are multiples of 16 bytes: 30,522 logits are 61,044, and the three products of the head
    would take kernels for rows that are not aligned. The weight is filled up in the pass that casts it, and cutting off
    is a view: no pass more in the compiled step (tests/bench/pretrain_passes.py).
    """

    def forward(self, x: Tensor) -> Tensor:
        missing = -len(self.weight) % 64 if x.dtype == torch.bfloat16 else 0
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        if not missing:
            return functional.linear(x, weight, bias)
        padded = functional.linear(x, functional.pad(weight, (0, 0, 0, missing)), functional.pad(bias, (0, missing)))
        return padded[..., :-missing]


class LayerNorm(nn.LayerNorm):
    """`nn.LayerNorm` in the dtype of its input; its statistics are float32 in any case."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return functional.layer_norm(x, self.normalized_shape, self.weight.to(x.dtype), bias, self.eps)
