"""Linear map and layer norm that follow the dtype of their input.

Parameters stay float32 and are cast where they are used, so the residual stream is bfloat16 on a GPU and gradients
arrive in float32. Autocast would keep the stream in float32 after every norm: more memory traffic than these casts.
"""

from torch import Tensor, nn
from torch.nn import functional


class Linear(nn.Linear):
    """`nn.Linear` computed in the dtype of its input."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return functional.linear(x, self.weight.to(x.dtype), bias)


class LayerNorm(nn.LayerNorm):
    """`nn.LayerNorm` in the dtype of its input; its statistics are float32 in any case."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return functional.layer_norm(x, self.normalized_shape, self.weight.to(x.dtype), bias, self.eps)
