"""The objective: from rows in memory to a masked microbatch, and from that to its losses.

Shapes: B rows, S tokens a row, P pieces a row at most, K slots a row, V vocabulary.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.pretrain.attention import Layout, layout_of
from pipeline.pretrain.masking import Masked, mask_rows
from pipeline.pretrain.model import Model
from pipeline.pretrain.prediction import Prediction
from pipeline.pretrain.rows import Rows
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.vocabulary import Vocabulary


class Microbatch(NamedTuple):
    """Masked rows on the device.

    Attributes:
        masked: tokens, and what to predict of them.
        lengths_BP: int32, lengths of the pieces.
        types_BS: int64, token types of sentence pairs, else None.
        next_B: int64, next-sentence labels of pairs, else None.
    """

    masked: Masked
    lengths_BP: Tensor
    types_BS: Tensor | None
    next_B: Tensor | None


def read_microbatch(
    rows: Rows, rows_B: NDArray[np.int64], *, settings: Settings, step: int, vocabulary: Vocabulary
) -> Microbatch:
    """Return the rows `rows_B`, masked for `step`, on the device of `vocabulary`."""
    batch, pairs = rows.read(rows_B), settings.objective == "mlm+nsp"
    device = vocabulary.maskable_V.device
    masked = mask_rows(
        _on(device, batch.ids_BS).long(),
        _on(device, rows_B),
        seed=settings.seed,
        step=step,
        mask_rate=settings.mask_rate,
        whole_word=settings.whole_word,
        vocabulary=vocabulary,
    )
    return Microbatch(
        masked,
        _on(device, batch.lengths_BP),
        _on(device, batch.types_BS).long() if batch.types_BS is not None and pairs else None,
        _on(device, batch.next_B) if batch.next_B is not None and pairs else None,
    )


def _on(device: torch.device, values: NDArray[Any]) -> Tensor:
    """Return `values` on `device`; from pinned memory, or else the host would wait for all earlier work of the GPU."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def layout_for(model: Model, batch: Microbatch, attention: str = "sdpa") -> Layout:
    """Return the layout of `batch` for `attention`."""
    return layout_of(batch.lengths_BP, batch.masked.ids_BS.shape[1], model.architecture.local_window, attention)


def predict(model: Model, batch: Microbatch, layout: Layout, dtype: torch.dtype | None = None) -> Prediction:
    """Return what `model` predicts at the slots of `batch`, computed in `dtype`, returned in float32 or wider."""
    token_BKV, next_B2 = model(batch.masked.ids_BS, layout, batch.masked.slots_BK, types_BS=batch.types_BS, dtype=dtype)
    if dtype is not None:
        token_BKV, next_B2 = token_BKV.float(), None if next_B2 is None else next_B2.float()
    return Prediction(token_BKV, next_B2)


def loss_sums(model: Model, batch: Microbatch, layout: Layout, dtype: torch.dtype | None = None) -> Tensor:
    """Return [2]: the losses of masked tokens and of next-sentence labels (0 without them), summed over a microbatch.

    The caller divides by the predictions and the pairs of the whole step, so that the loss of a step does not depend on
    how its rows are split into microbatches.
    """
    token_BKV, next_B2 = predict(model, batch, layout, dtype)
    token_loss = token_loss_sum(token_BKV, batch.masked)
    next_loss = torch.zeros_like(token_loss)
    if next_B2 is not None and batch.next_B is not None:
        next_loss = next_loss_sum(next_B2, batch.next_B)
    return torch.stack((token_loss, next_loss))


Losses = Callable[[Model, Microbatch], Tensor]


def losses_with(*, attention: str, dtype: torch.dtype | None, compiled: bool) -> Losses:
    """Return `loss_sums` with attention by `attention` in `dtype`.

    Compiled, it is one graph without breaks, from embedding to loss, for one shape: every microbatch has the same one,
    so nothing is compiled again. The layout is made outside: block masks cannot be built inside a graph.
    """
    inner = torch.compile(loss_sums, dynamic=False, fullgraph=True) if compiled else loss_sums

    def losses(model: Model, batch: Microbatch) -> Tensor:
        return inner(model, batch, layout_for(model, batch, attention), dtype)

    return losses


def token_loss_sum(token_BKV: Tensor, masked: Masked) -> Tensor:
    """Return the cross-entropy (nats) summed over the predictions of a microbatch; empty slots add exactly 0."""
    loss_N = functional.cross_entropy(token_BKV.flatten(0, 1), masked.labels_BK.flatten(), reduction="none")
    return (loss_N * masked.weight_BK.flatten()).sum()


def next_loss_sum(next_B2: Tensor, next_B: Tensor) -> Tensor:
    """Return the cross-entropy (nats) of the next-sentence labels, summed over the pairs; label -100 is left out."""
    return functional.cross_entropy(next_B2, next_B, reduction="sum")
