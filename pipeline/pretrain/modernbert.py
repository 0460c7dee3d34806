"""ModernBERT: pre-norm, rotary positions, GeGLU, alternating global and local attention (arXiv 2412.13663).

Parameter names are those of `transformers.ModernBertForMaskedLM`, so weights go back and forth without conversion.
Shapes: B rows, S tokens, Q queries a row (slots), H heads, D width of the stream, E width of a head, V vocabulary.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.pretrain.architecture import Architecture
from pipeline.pretrain.attention import Layout, attend, can_gather, take_rows
from pipeline.pretrain.layers import Decoder, LayerNorm, Linear
from pipeline.pretrain.prediction import Prediction


def rotary_table(positions: int, head_width: int, theta: float) -> Tensor:
    """Return [2, positions, E] float32: cosine and sine of position times frequency.

    Angles are float32, as `transformers` computes them: float64 angles differ by 5e-4 at position 8192, which is more
    than the parity with its models may lose.
    """
    frequency_F = 1.0 / (theta ** (torch.arange(0, head_width, 2, dtype=torch.float32) / head_width))
    angle_SE = (torch.arange(positions, dtype=torch.float32).unsqueeze(1) * frequency_F).repeat(1, 2)
    return torch.stack((angle_SE.cos(), angle_SE.sin()))


def rotate(values_BQHE: Tensor, table_2BQE: Tensor) -> Tensor:
    """Return `values_BQHE` turned by the angles of `table_2BQE`, computed in the wider of both dtypes."""
    cos_BQ1E, sin_BQ1E = table_2BQE.unsqueeze(3).unbind(0)
    first, second = values_BQHE.chunk(2, dim=-1)
    return (values_BQHE * cos_BQ1E + torch.cat((-second, first), dim=-1) * sin_BQ1E).to(values_BQHE.dtype)


class Embeddings(nn.Module):
    """Token embedding and norm."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(a.vocab_size, a.width, padding_idx=a.pad_id)
        self.norm = LayerNorm(a.width, eps=1e-5, bias=False)

    def forward(self, ids_BS: Tensor, dtype: torch.dtype) -> Tensor:
        return self.norm(self.tok_embeddings(ids_BS).to(dtype))


class Attention(nn.Module):
    """Self-attention with rotary positions; queries may be a part of the tokens."""

    def __init__(self, a: Architecture, index: int) -> None:
        super().__init__()
        self.heads, self.is_global = a.heads, a.is_global(index)
        self.Wqkv = Linear(a.width, 3 * a.width, bias=False)
        self.Wo = Linear(a.width, a.width, bias=False)

    def forward(self, x_BSD: Tensor, layout: Layout, tables: tuple[Tensor, Tensor], slots_BQ: Tensor | None) -> Tensor:
        width, table_2BSE = x_BSD.shape[2], tables[0 if self.is_global else 1]
        early = slots_BQ if can_gather(layout, is_global=self.is_global) else None
        if early is None:
            q_BQD, k_BSD, v_BSD = self.Wqkv(x_BSD).split(width, dim=2)
            query_table = table_2BSE
        else:
            weight_q, weight_kv = self.Wqkv.weight.to(x_BSD.dtype).split((width, 2 * width))
            q_BQD = functional.linear(take_rows(x_BSD, early), weight_q)
            k_BSD, v_BSD = functional.linear(x_BSD, weight_kv).split(width, dim=2)
            query_table = torch.stack([take_rows(part, early) for part in table_2BSE.unbind(0)])
        q, k, v = (part.unflatten(2, (self.heads, -1)) for part in (q_BQD, k_BSD, v_BSD))
        q, k = rotate(q, query_table), rotate(k, table_2BSE)
        mixed_BQD = attend(q, k, v, layout, is_global=self.is_global, slots_BQ=early)
        return self.Wo(mixed_BQD if early is slots_BQ else take_rows(mixed_BQD, slots_BQ))


class Mlp(nn.Module):
    """Gated feed-forward: Wo(gelu(a) * b), where a and b are the halves of Wi(x)."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.Wi = Linear(a.width, 2 * a.feed_forward, bias=False)
        self.Wo = Linear(a.feed_forward, a.width, bias=False)

    def forward(self, x_BQD: Tensor) -> Tensor:
        inner, gate = self.Wi(x_BQD).chunk(2, dim=-1)
        return self.Wo(functional.gelu(inner) * gate)


class Layer(nn.Module):
    """One block. With `slots_BQ` it is computed for those tokens only: exact, as the last layer has no other reader."""

    def __init__(self, a: Architecture, index: int) -> None:
        super().__init__()
        # The embedding has just been normalised.
        self.attn_norm = LayerNorm(a.width, eps=1e-5, bias=False) if index else nn.Identity()
        self.attn = Attention(a, index)
        self.mlp_norm = LayerNorm(a.width, eps=1e-5, bias=False)
        self.mlp = Mlp(a)

    def forward(self, x_BSD: Tensor, layout: Layout, tables: tuple[Tensor, Tensor], slots_BQ: Tensor | None) -> Tensor:
        mixed_BQD = self.attn(self.attn_norm(x_BSD), layout, tables, slots_BQ)
        x_BQD = (x_BSD if slots_BQ is None else take_rows(x_BSD, slots_BQ)) + mixed_BQD
        return x_BQD + self.mlp(self.mlp_norm(x_BQD))


class Encoder(nn.Module):
    """Embedding, blocks, final norm."""

    global_table: Tensor
    local_table: Tensor

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.embeddings = Embeddings(a)
        self.layers = nn.ModuleList(Layer(a, index) for index in range(a.layers))
        self.final_norm = LayerNorm(a.width, eps=1e-5, bias=False)
        for name, theta in (("global_table", a.global_theta), ("local_table", a.local_theta)):
            self.register_buffer(name, rotary_table(a.positions, a.head_width, theta), persistent=False)

    def forward(self, ids_BS: Tensor, layout: Layout, slots_BQ: Tensor | None, dtype: torch.dtype) -> Tensor:
        tables = (self.global_table[:, layout.position_BS], self.local_table[:, layout.position_BS])
        x = self.embeddings(ids_BS, dtype)
        last = len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            x = layer(x, layout, tables, slots_BQ if index == last else None)
        return self.final_norm(x)


class Head(nn.Module):
    """The transform before the decoder."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.dense = Linear(a.width, a.width, bias=False)
        self.norm = LayerNorm(a.width, eps=1e-5, bias=False)

    def forward(self, x_BQD: Tensor) -> Tensor:
        return self.norm(functional.gelu(self.dense(x_BQD)))


class ModernBert(nn.Module):
    """ModernBERT with its masked language model head; the decoder shares the embedding's weight."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.architecture = a
        self.model = Encoder(a)
        self.head = Head(a)
        self.decoder = Decoder(a.width, a.vocab_size)
        self.decoder.weight = self.model.embeddings.tok_embeddings.weight

    def forward(
        self,
        ids_BS: Tensor,
        layout: Layout,
        slots_BQ: Tensor | None = None,
        *,
        types_BS: None = None,
        dtype: torch.dtype | None = None,
    ) -> Prediction:
        """Return what is predicted at `slots_BQ` (int64 positions in the row), or at all tokens.

        `dtype` is that of the computation, by default the parameters'. The family has no token types.
        """
        assert types_BS is None
        hidden_BQD = self.model(ids_BS, layout, slots_BQ, dtype or self.decoder.weight.dtype)
        return Prediction(self.decoder(self.head(hidden_BQD)), None)

    @property
    def blocks(self) -> list[nn.Module]:
        """The layers."""
        return list(self.model.layers)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights as ModernBERT does: normal, cut at two deviations; maps into the stream scaled by depth."""
        deviation, depth = 0.02, math.sqrt(2 * self.architecture.layers)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.ndim == 1:
                parameter.fill_(1.0)
            else:
                std = deviation / depth if name.endswith(("Wo.weight", "head.dense.weight")) else deviation
                nn.init.trunc_normal_(parameter, std=std, a=-2 * std, b=2 * std, generator=generator)
        self.model.embeddings.tok_embeddings.weight[self.architecture.pad_id] = 0.0
