"""The objective: from rows in memory to a masked microbatch, and from that to its loss.

Shapes: B rows, S tokens a row, P pieces a row at most, K slots a row, V vocabulary.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.pretrain.attention import layout_of
from pipeline.pretrain.masking import Masked, mask_rows
from pipeline.pretrain.model import Model
from pipeline.pretrain.rows import Rows
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.vocabulary import Vocabulary


class Microbatch(NamedTuple):
    """Masked rows on the device, with the lengths of their pieces."""

    masked: Masked
    lengths_BP: Tensor


def read_microbatch(
    rows: Rows, rows_B: NDArray[np.int64], *, settings: Settings, step: int, vocabulary: Vocabulary
) -> Microbatch:
    """Return the rows `rows_B`, masked for `step`, on the device of `vocabulary`."""
    ids_BS, lengths_BP = rows.read(rows_B)
    device = vocabulary.maskable_V.device
    masked = mask_rows(
        torch.from_numpy(ids_BS).to(device).long(),
        torch.from_numpy(rows_B).to(device),
        seed=settings.seed,
        step=step,
        mask_rate=settings.mask_rate,
        mask_id=vocabulary.mask_id,
        maskable_V=vocabulary.maskable_V,
        random_R=vocabulary.random_R,
    )
    return Microbatch(masked, torch.from_numpy(lengths_BP).to(device))


def predict(model: Model, batch: Microbatch) -> Tensor:
    """Return the logits [B, K, V] (float32) at the slots of `batch`."""
    ids_BS, slots_BK, _, _ = batch.masked
    layout = layout_of(batch.lengths_BP, ids_BS.shape[1], model.architecture.window)
    return model(ids_BS, layout, slots_BK).float()


def loss_sum(logits_BKV: Tensor, masked: Masked) -> Tensor:
    """Return the cross-entropy (nats) summed over the predictions of a microbatch; empty slots add exactly 0.

    The caller divides by the number of predictions of the whole step, so that the loss of a step does not depend on how
    its rows are split into microbatches.
    """
    loss_N = functional.cross_entropy(logits_BKV.flatten(0, 1), masked.labels_BK.flatten(), reduction="none")
    return (loss_N * masked.weight_BK.flatten()).sum()
