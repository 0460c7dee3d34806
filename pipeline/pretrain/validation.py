"""Validation: loss and accuracy on held-out rows, masked the same each time, and what a model without context loses."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.pretrain.model import Model
from pipeline.pretrain.objective import Microbatch, loss_sum, predict, read_microbatch
from pipeline.pretrain.order import rows_at
from pipeline.pretrain.rows import Rows
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.vocabulary import Vocabulary

# No training step has this number, so validation masks are never training masks.
VALIDATION_STEP = -1


def validation_batches(rows: Rows, *, settings: Settings, micro_rows: int, vocabulary: Vocabulary) -> list[Microbatch]:
    """Return the microbatches of at most `settings.validation_rows` rows, masked once; the last may be short."""
    count = min(settings.validation_rows, len(rows))
    rows_N = rows_at(0, count, num_rows=len(rows), seed=settings.seed) if count else np.zeros(0, np.int64)
    return [
        read_microbatch(
            rows, rows_N[start : start + micro_rows], settings=settings, step=VALIDATION_STEP, vocabulary=vocabulary
        )
        for start in range(0, count, micro_rows)
    ]


@torch.no_grad()
def validate(model: Model, batches: list[Microbatch]) -> tuple[float, float]:
    """Return the mean loss (nats) and the share of right predictions over all masked tokens of `batches`."""
    loss = torch.zeros((), dtype=torch.float64)
    right = torch.zeros((), dtype=torch.float64)
    for batch in batches:
        logits_BKV = predict(model, batch)
        masked = batch.masked
        loss += loss_sum(logits_BKV, masked).double().cpu()
        right += ((logits_BKV.argmax(2) == masked.labels_BK) * masked.weight_BK).sum().double().cpu()
    num_predictions = sum(float(batch.masked.weight_BK.sum()) for batch in batches)
    return float(loss) / num_predictions, float(right) / num_predictions


def unigram_entropy(counts_V: NDArray[np.int64], batches: list[Microbatch]) -> float:
    """Return the mean surprise (nats) of the masked tokens of `batches` for one who only knows how often tokens occur.

    It is the cross-entropy of the validation targets under the unigram distribution of the training rows, add-one
    smoothed over the ids that can be masked: what a model without context reaches, and the bar for one with context.

    Args:
        counts_V: int64, occurrences in the training rows, 0 for ids that are never masked.
        batches: of `validation_batches`.
    """
    logs_V = np.log((counts_V + 1.0) / (counts_V.sum() + len(counts_V)))
    total = num_predictions = 0.0
    for batch in batches:
        weight_BK = batch.masked.weight_BK.cpu().numpy()
        total -= float((logs_V[batch.masked.labels_BK.cpu().numpy()] * weight_BK).sum())
        num_predictions += float(weight_BK.sum())
    return total / num_predictions if num_predictions else math.nan
