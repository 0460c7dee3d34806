"""Validation: loss and accuracy on held-out rows, masked the same each time, and what a model without context loses."""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.pretrain.model import Model
from pipeline.pretrain.objective import Microbatch, layout_for, next_loss_sum, predict, read_microbatch, token_loss_sum
from pipeline.pretrain.order import rows_at
from pipeline.pretrain.rows import Rows
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.vocabulary import Vocabulary
from pipeline.pretrain.world import World

# No training step has this number, so validation masks are never training masks.
VALIDATION_STEP = -1
_NO_LABEL = -100


class Validation(NamedTuple):
    """Means over all validation rows; nan where there is nothing to measure.

    Attributes:
        loss: cross-entropy of the masked tokens, nats.
        accuracy: share of masked tokens that are predicted first.
        next_loss: cross-entropy of the next-sentence labels, nats.
        next_accuracy: share of right next-sentence labels.
    """

    loss: float
    accuracy: float
    next_loss: float
    next_accuracy: float


def validation_batches(rows: Rows, *, settings: Settings, micro_rows: int, vocabulary: Vocabulary) -> list[Microbatch]:
    """Return microbatches of at most `settings.validation_rows` rows, masked once.

    The last one is filled up with rows of no weight, so that all have one shape.
    """
    count = min(settings.validation_rows, len(rows))
    rows_N = rows_at(0, count, num_rows=len(rows), seed=settings.seed) if count else np.zeros(0, np.int64)
    batches = []
    for start in range(0, count, micro_rows):
        rows_B = rows_N[start : start + micro_rows]
        filled_B = np.resize(rows_B, micro_rows)
        batch = read_microbatch(rows, filled_B, settings=settings, step=VALIDATION_STEP, vocabulary=vocabulary)
        batch.masked.weight_BK[len(rows_B) :] = 0.0
        if batch.next_B is not None:
            batch.next_B[len(rows_B) :] = _NO_LABEL
        batches.append(batch)
    return batches


@torch.no_grad()
def validate(
    model: Model,
    batches: list[Microbatch],
    *,
    world: World,
    attention: str = "sdpa",
    dtype: torch.dtype | None = None,
) -> Validation:
    """Return the means over `batches`, of which each process looks at every `world.size`-th; equal bits on all."""
    # token loss, right tokens, tokens, next loss, right labels, labels
    sums_N6 = torch.zeros((len(batches), 6), dtype=torch.float64, device=world.device)
    # Every process runs the model equally often, on some batch again if need be: a sharded model is run by all at once.
    for start in range(0, len(batches), world.size):
        index = min(start + world.rank, len(batches) - 1)
        batch = batches[index]
        token_BKV, next_B2 = predict(model, batch, layout_for(model, batch, attention), dtype)
        masked = batch.masked
        if start + world.rank > index:
            continue
        sums_N6[index, 0] = token_loss_sum(token_BKV, masked)
        sums_N6[index, 1] = ((token_BKV.argmax(2) == masked.labels_BK) * masked.weight_BK).sum()
        sums_N6[index, 2] = masked.weight_BK.sum()
        if next_B2 is not None and batch.next_B is not None:
            sums_N6[index, 3] = next_loss_sum(next_B2, batch.next_B)
            sums_N6[index, 4] = (next_B2.argmax(1) == batch.next_B).sum()
            sums_N6[index, 5] = (batch.next_B != _NO_LABEL).sum()
    world.sum_(sums_N6)
    loss, right, tokens, next_loss, right_labels, labels = sums_N6.cpu().sum(0).tolist()
    return Validation(_mean(loss, tokens), _mean(right, tokens), _mean(next_loss, labels), _mean(right_labels, labels))


def unigram_entropy(counts_V: NDArray[np.int64], batches: list[Microbatch]) -> float:
    """Return the mean surprise (nats) of the masked tokens of `batches` for one who only knows how often tokens occur.

    It is the cross-entropy of the validation targets under the unigram distribution of the training rows, add-one
    smoothed: what a model without context reaches, and the bar for one with context.

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
    return _mean(total, num_predictions)


def _mean(total: float, count: float) -> float:
    return total / count if count else math.nan
