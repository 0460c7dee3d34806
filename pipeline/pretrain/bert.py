"""BERT: post-norm, learned positions, token types (arXiv 1810.04805), without dropout.

Parameter names are those of `transformers.BertForPreTraining`, or of `BertForMaskedLM` where there is no next-sentence
head. Shapes: B rows, S tokens, Q queries a row (slots), H heads, D width of the stream, V vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.pretrain.architecture import Architecture
from pipeline.pretrain.attention import Layout, attend, can_gather, take_rows
from pipeline.pretrain.layers import Decoder, LayerNorm, Linear
from pipeline.pretrain.prediction import Prediction

EPS = 1e-12


class Embeddings(nn.Module):
    """Sum of token, position and type embeddings, and norm."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(a.vocab_size, a.width, padding_idx=a.pad_id)
        self.position_embeddings = nn.Embedding(a.positions, a.width)
        self.token_type_embeddings = nn.Embedding(2, a.width)
        self.LayerNorm = LayerNorm(a.width, eps=EPS)

    def forward(self, ids_BS: Tensor, position_BS: Tensor, types_BS: Tensor | None, dtype: torch.dtype) -> Tensor:
        types = self.token_type_embeddings.weight[0] if types_BS is None else self.token_type_embeddings(types_BS)
        return self.LayerNorm((self.word_embeddings(ids_BS) + self.position_embeddings(position_BS) + types).to(dtype))


class SelfAttention(nn.Module):
    """The three projections, kept apart as in `transformers` and computed as one product.

    One wide product instead of three narrow ones, and no sum of three gradients of the stream afterwards; putting the
    weights side by side moves 7 MB a layer of BERT-base, where one pass over the stream moves 100.
    """

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.query = Linear(a.width, a.width)
        self.key = Linear(a.width, a.width)
        self.value = Linear(a.width, a.width)

    def forward(self, x_BQD: Tensor, x_BSD: Tensor) -> tuple[Tensor, ...]:
        """Return queries of `x_BQD`, keys and values of `x_BSD`; the two may be one tensor."""
        if x_BQD is x_BSD:
            return _project(x_BSD, self.query, self.key, self.value)
        return self.query(x_BQD), *_project(x_BSD, self.key, self.value)


def _project(x_BSD: Tensor, *maps: Linear) -> tuple[Tensor, ...]:
    weight = torch.cat([one.weight for one in maps]).to(x_BSD.dtype)
    bias = torch.cat([one.bias for one in maps]).to(x_BSD.dtype)
    return functional.linear(x_BSD, weight, bias).chunk(len(maps), dim=2)


class Output(nn.Module):
    """Projection back to the stream, residual, norm."""

    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        self.dense = Linear(inner, width)
        self.LayerNorm = LayerNorm(width, eps=EPS)

    def forward(self, inner_BQF: Tensor, x_BQD: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(inner_BQF) + x_BQD)


class Attention(nn.Module):
    """Self-attention; queries may be a part of the tokens."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.heads = a.heads
        self.self = SelfAttention(a)
        self.output = Output(a.width, a.width)

    def forward(self, x_BSD: Tensor, layout: Layout, slots_BQ: Tensor | None) -> Tensor:
        x_BQD = x_BSD if slots_BQ is None else take_rows(x_BSD, slots_BQ)
        early = slots_BQ if can_gather(layout, is_global=True) else None
        projected = self.self(x_BSD if early is None else x_BQD, x_BSD)
        q, k, v = (part.unflatten(2, (self.heads, -1)) for part in projected)
        mixed_BQD = attend(q, k, v, layout, is_global=True, slots_BQ=early)
        return self.output(mixed_BQD if early is slots_BQ else take_rows(mixed_BQD, slots_BQ), x_BQD)


class Dense(nn.Module):
    """One linear map under the name `dense`."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.dense = Linear(width, inner)

    def forward(self, x_BQD: Tensor) -> Tensor:
        return self.dense(x_BQD)


class Layer(nn.Module):
    """One block. With `slots_BQ` it is computed for those tokens only: exact, as the last layer has no other reader."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.attention = Attention(a)
        self.intermediate = Dense(a.width, a.feed_forward)
        self.output = Output(a.feed_forward, a.width)

    def forward(self, x_BSD: Tensor, layout: Layout, slots_BQ: Tensor | None) -> Tensor:
        x_BQD = self.attention(x_BSD, layout, slots_BQ)
        return self.output(functional.gelu(self.intermediate(x_BQD)), x_BQD)


class Layers(nn.Module):
    """The blocks under the name `layer`."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(a) for _ in range(a.layers))


class Encoder(nn.Module):
    """Embedding, blocks, and the pooler where the next-sentence head needs it."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.embeddings = Embeddings(a)
        self.encoder = Layers(a)
        if a.next_sentence:
            self.pooler = Dense(a.width, a.width)

    def forward(
        self,
        ids_BS: Tensor,
        layout: Layout,
        types_BS: Tensor | None,
        slots_BQ: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        x = self.embeddings(ids_BS, layout.position_BS, types_BS, dtype)
        last = len(self.encoder.layer) - 1
        for index, layer in enumerate(self.encoder.layer):
            x = layer(x, layout, slots_BQ if index == last else None)
        return x


class Transform(nn.Module):
    """The transform before the decoder."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.dense = Linear(a.width, a.width)
        self.LayerNorm = LayerNorm(a.width, eps=EPS)

    def forward(self, x_BQD: Tensor) -> Tensor:
        return self.LayerNorm(functional.gelu(self.dense(x_BQD)))


class Predictions(nn.Module):
    """The masked language model head; `bias` and the decoder's are one parameter, as in `transformers`."""

    def __init__(self, a: Architecture, embedding: nn.Parameter) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(a.vocab_size))
        self.transform = Transform(a)
        self.decoder = Decoder(a.width, a.vocab_size)
        self.decoder.weight = embedding
        self.decoder.bias = self.bias

    def forward(self, x_BQD: Tensor) -> Tensor:
        return self.decoder(self.transform(x_BQD))


class Heads(nn.Module):
    """The heads under the name `cls`."""

    def __init__(self, a: Architecture, embedding: nn.Parameter) -> None:
        super().__init__()
        self.predictions = Predictions(a, embedding)
        if a.next_sentence:
            self.seq_relationship = Linear(a.width, 2)


class Bert(nn.Module):
    """BERT with its pretraining heads; the decoder shares the embedding's weight."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.architecture = a
        self.bert = Encoder(a)
        self.cls = Heads(a, self.bert.embeddings.word_embeddings.weight)

    def forward(
        self,
        ids_BS: Tensor,
        layout: Layout,
        slots_BQ: Tensor | None = None,
        *,
        types_BS: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> Prediction:
        """Return what is predicted at `slots_BQ` (int64 positions in the row), or at all tokens.

        `types_BS` are 0 (the default) or 1; `dtype` is that of the computation, by default the parameters'.
        """
        dtype = dtype or self.cls.predictions.bias.dtype
        if not self.architecture.next_sentence:
            return Prediction(self.cls.predictions(self.bert(ids_BS, layout, types_BS, slots_BQ, dtype)), None)
        if slots_BQ is not None:  # [CLS] is the first token of a pair: one more query, taken off again below
            slots_BQ = functional.pad(slots_BQ, (1, 0))
        hidden_BQD = self.bert(ids_BS, layout, types_BS, slots_BQ, dtype)
        pooled_BD = torch.tanh(self.bert.pooler(hidden_BQD[:, 0]))
        tokens_BQD = hidden_BQD if slots_BQ is None else hidden_BQD[:, 1:]
        return Prediction(self.cls.predictions(tokens_BQD), self.cls.seq_relationship(pooled_BD))

    @property
    def blocks(self) -> list[nn.Module]:
        """The layers."""
        return list(self.bert.encoder.layer)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights as BERT does in `transformers`: normal with a deviation of 0.02."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.ndim == 1:
                parameter.fill_(1.0)
            else:
                parameter.normal_(std=0.02, generator=generator)
        self.bert.embeddings.word_embeddings.weight[self.architecture.pad_id] = 0.0
