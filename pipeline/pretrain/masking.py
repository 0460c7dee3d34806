"""Masks of masked language modelling, drawn on the device.

The number of predictions of a row is fixed by its maskable tokens, so that no shape depends on the data and no loss
swings with the luck of the draw. A topk over a whole microbatch (the usual way to a fixed count) makes a row's mask
depend on its neighbours; here the hash of (seed, step, row, position) alone decides.
Shapes: B rows, S tokens a row, K slots a row, V vocabulary, R ids for random replacement.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.pretrain.settings import LONGEST_ROW
from pipeline.pretrain.splitmix import fold, shift_right, signed, splitmix_tensor
from pipeline.pretrain.vocabulary import Vocabulary

# Of the chosen tokens 80% become [MASK], 10% a random token, 10% stay (Devlin et al. 2019, section 3.1).
MASKED_FRAC, RANDOM_FRAC = 0.8, 0.1
_UNIT = 1 << 24
# Tokens of a word; of a longer one (an address, a number, a script that no mark parts) each so many are one, or it
# would fit into few quotas, and a row that is all one word would have no prediction.
_LONGEST_WORD = 16
_POSITION_BITS = (LONGEST_ROW - 1).bit_length()


class Masked(NamedTuple):
    """Rows to predict.

    Attributes:
        ids_BS: int64, tokens after masking.
        slots_BK: int64, positions to predict, ascending in each row; where `weight_BK` is 0 any position.
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
    whole_word: bool,
    vocabulary: Vocabulary,
) -> Masked:
    """Return the rows with round(mask_rate * maskable tokens) predictions each, but at least one.

    BERT counts [CLS] and [SEP] in the rate as well; in a row packed from many short documents that would mask most of
    what can be masked, so only maskable tokens count here, as in Hugging Face's collator.

    Whole words are taken in random order until the next one does not fit, so a row may have fewer predictions then, and
    none if its first word is longer than its quota.

    Args:
        ids_BS: int64, tokens; padding is a special token. S is at most `LONGEST_ROW`.
        rows_B: int64, row numbers in the data set.
        seed: of the run.
        step: of the run; any constant for masks that are the same each time.
        mask_rate: share of the maskable tokens.
        whole_word: mask all tokens of a word or none.
        vocabulary: which ids can be masked, start a word, or replace a token; its device is that of `ids_BS`.
    """
    num_rows, num_tokens = ids_BS.shape
    num_slots = slots_per_row(mask_rate, num_tokens)
    eligible_BS = vocabulary.maskable_V[ids_BS]
    row_key_B1 = splitmix_tensor(rows_B ^ signed(fold(seed, step))).unsqueeze(1)
    position_BS = torch.arange(num_tokens, device=ids_BS.device).expand(num_rows, -1)
    hash_BS = splitmix_tensor(row_key_B1 ^ position_BS)
    unit_BS = _word_starts(ids_BS, eligible_BS, position_BS, vocabulary) if whole_word else position_BS

    # A key is 34 bits of its unit's hash, the unit, the position: no two are equal, so every device picks the same
    # tokens, and the tokens of a word stand together.
    key_BS = (shift_right(hash_BS.gather(1, unit_BS), 30) << _POSITION_BITS | unit_BS) << _POSITION_BITS | position_BS
    key_BS = torch.where(eligible_BS, key_BS, key_BS | (1 << 62))
    slots_BK = key_BS.topk(num_slots, dim=1, largest=False, sorted=True).indices
    num_eligible_B = eligible_BS.sum(1)
    num_masked_B = (num_eligible_B * mask_rate).round().long().clamp(min=1).minimum(num_eligible_B).clamp(max=num_slots)

    # A token is predicted if the last token of its unit is within the quota.
    unit_BK = unit_BS.gather(1, slots_BK)
    size_BS = torch.zeros_like(ids_BS).scatter_add_(1, unit_BS, eligible_BS.long())
    first_BK = torch.arange(num_slots, device=ids_BS.device) - (slots_BK - unit_BK)
    real_BK = first_BK + size_BS.gather(1, unit_BK) <= num_masked_B.unsqueeze(1)
    real_BK &= eligible_BS.gather(1, slots_BK)
    slots_BK, order_BK = slots_BK.sort(dim=1)
    real_BK = real_BK.gather(1, order_BK)

    labels_BK = ids_BS.gather(1, slots_BK)
    draw_BK = splitmix_tensor(hash_BS.gather(1, slots_BK) + 1)
    share_BK = shift_right(draw_BK, 40)
    choice_BK = (shift_right(splitmix_tensor(draw_BK), 33) * len(vocabulary.random_R)) >> 31
    replaced_BK = share_BK < round((MASKED_FRAC + RANDOM_FRAC) * _UNIT)
    inserted_BK = torch.where(replaced_BK, vocabulary.random_R[choice_BK], labels_BK)
    inserted_BK = torch.where(share_BK < round(MASKED_FRAC * _UNIT), vocabulary.mask_id, inserted_BK)
    inserted_BK = torch.where(real_BK, inserted_BK, labels_BK)
    return Masked(ids_BS.scatter(1, slots_BK, inserted_BK), slots_BK, labels_BK, real_BK.float())


def _word_starts(ids_BS: Tensor, eligible_BS: Tensor, position_BS: Tensor, vocabulary: Vocabulary) -> Tensor:
    """Return int64 [B, S]: the position at which the word of each token starts; special tokens stand alone.

    A word of more than `_LONGEST_WORD` tokens is several.
    """
    after_special_BS = torch.nn.functional.pad(~eligible_BS[:, :-1], (1, 0), value=True)
    starts_BS = vocabulary.starts_word_V[ids_BS] | ~eligible_BS | after_special_BS
    start_BS = torch.where(starts_BS, position_BS, 0).cummax(1).values
    return start_BS + (position_BS - start_BS) // _LONGEST_WORD * _LONGEST_WORD
