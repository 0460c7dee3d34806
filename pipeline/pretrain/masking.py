"""Masks of masked language modelling, drawn on the device.

The number of predictions of a row is fixed by its maskable tokens, so that no shape depends on the data and no loss
swings with the luck of the draw. A topk over a whole microbatch (the usual way to a fixed count) makes a row's mask depend
on its neighbours; here the hash of (seed, step, row, position) alone decides.
Shapes: B rows, S tokens a row, K slots a row, V vocabulary, R ids for random replacement.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.pretrain.splitmix import fold, shift_right, signed, splitmix_tensor

# Of the chosen tokens 80% become [MASK], 10% a random token, 10% stay (Devlin et al. 2019, section 3.1).
MASKED_FRAC, RANDOM_FRAC = 0.8, 0.1
_UNIT = 1 << 24


class Masked(NamedTuple):
    """Rows to predict.

    Attributes:
        ids_BS: int64, tokens after masking.
        slots_BK: int64, positions to predict; where `weight_BK` is 0 any position.
        labels_BK: int64, the true tokens there.
        weight_BK: float32, 1 for a prediction, 0 for an empty slot.
    """

    ids_BS: Tensor
    slots_BK: Tensor
    labels_BK: Tensor
    weight_BK: Tensor


def slots_per_row(mask_rate: float, seq_length: int) -> int:
    """Return K, the most predictions a row can have."""
    return max(1, round(mask_rate * seq_length))


def mask_rows(
    ids_BS: Tensor,
    rows_B: Tensor,
    *,
    seed: int,
    step: int,
    mask_rate: float,
    mask_id: int,
    maskable_V: Tensor,
    random_R: Tensor,
) -> Masked:
    """Return the rows with round(mask_rate * maskable tokens) predictions each, but at least one.

    BERT counts [CLS] and [SEP] in the rate as well; in a row packed from many short documents that would mask most of
    what can be masked, so only maskable tokens count here, as in Hugging Face's collator.

    Args:
        ids_BS: int64, tokens; padding is a special token.
        rows_B: int64, row numbers in the data set.
        seed: of the run.
        step: of the run; any constant for masks that are the same each time.
        mask_rate: share of the maskable tokens.
        mask_id: id of [MASK].
        maskable_V: bool, False for special tokens.
        random_R: int64, ids to draw random replacements from.
    """
    num_tokens = ids_BS.shape[1]
    num_slots = slots_per_row(mask_rate, num_tokens)
    eligible_BS = maskable_V[ids_BS]
    row_key_B1 = splitmix_tensor(rows_B ^ signed(fold(seed, step))).unsqueeze(1)
    position_S = torch.arange(num_tokens, device=ids_BS.device)
    hash_BS = splitmix_tensor(row_key_B1 ^ position_S)

    # Keys are 40 bits of hash and 20 of position: no two are equal, so every device picks the same tokens.
    key_BS = (shift_right(hash_BS, 24) << 20) | position_S
    key_BS = torch.where(eligible_BS, key_BS, key_BS | (1 << 62))
    slots_BK = key_BS.topk(num_slots, dim=1, largest=False, sorted=True).indices
    num_eligible_B = eligible_BS.sum(1)
    num_masked_B = (num_eligible_B * mask_rate).round().long().clamp(min=1).minimum(num_eligible_B).clamp(max=num_slots)
    slot_K = torch.arange(num_slots, device=ids_BS.device)
    real_BK = slot_K < num_masked_B.unsqueeze(1)

    labels_BK = ids_BS.gather(1, slots_BK)
    draw_BK = splitmix_tensor(hash_BS.gather(1, slots_BK) + 1)
    share_BK = shift_right(draw_BK, 40)
    choice_BK = (shift_right(splitmix_tensor(draw_BK), 33) * len(random_R)) >> 31
    inserted_BK = torch.where(share_BK < round((MASKED_FRAC + RANDOM_FRAC) * _UNIT), random_R[choice_BK], labels_BK)
    inserted_BK = torch.where(share_BK < round(MASKED_FRAC * _UNIT), mask_id, inserted_BK)
    inserted_BK = torch.where(real_BK, inserted_BK, labels_BK)
    return Masked(ids_BS.scatter(1, slots_BK, inserted_BK), slots_BK, labels_BK, real_BK.float())
