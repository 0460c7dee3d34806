"""Attention within the documents of packed rows.

Shapes: B rows, S tokens a row, P pieces (documents) a row at most, Q queries a row, H heads, D width of a head.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Layout(NamedTuple):
    """Where the tokens of packed rows sit, made once a microbatch and read by every layer.

    Attributes:
        position_BS: int64, position of a token in its document.
        document_BS: int64, number of its document in the row; padding is a document of its own, numbered P.
        full_B1SS: bool, query and key are of one document.
        local_B1SS: bool, and at most half a window apart; the same tensor as `full_B1SS` where no document is longer.
    """

    position_BS: Tensor
    document_BS: Tensor
    full_B1SS: Tensor
    local_B1SS: Tensor


def layout_of(lengths_BP: Tensor, num_tokens: int, window: int) -> Layout:
    """Return the layout of rows of `num_tokens` tokens.

    No value is read back from the device, and shapes depend on B, P and `num_tokens` only.

    Args:
        lengths_BP: integer, lengths of the pieces of each row, 0 after the last one.
        num_tokens: S.
        window: local attention sees keys at most `window // 2` away.
    """
    ends_BP = lengths_BP.long().cumsum(1)
    starts_BP1 = functional.pad(ends_BP, (1, 0))
    index_BS = torch.arange(num_tokens, device=lengths_BP.device).expand(len(lengths_BP), num_tokens)
    document_BS = torch.searchsorted(ends_BP, index_BS.contiguous(), right=True)
    position_BS = index_BS - starts_BP1.gather(1, document_BS)
    full_BSS = document_BS.unsqueeze(2) == document_BS.unsqueeze(1)
    half = window // 2
    if num_tokens <= half + 1:
        local_BSS = full_BSS
    else:
        index_S = index_BS[0]
        local_BSS = full_BSS & ((index_S.unsqueeze(1) - index_S).abs() <= half)
    return Layout(position_BS, document_BS, full_BSS.unsqueeze(1), local_BSS.unsqueeze(1))


def attend(q_BHQD: Tensor, k_BHSD: Tensor, v_BHSD: Tensor, mask_B1QS: Tensor) -> Tensor:
    """Return softmax(q k^T / sqrt(D)) v over the keys that `mask_B1QS` allows, [B, Q, H * D]."""
    mixed_BHQD = functional.scaled_dot_product_attention(q_BHQD, k_BHSD, v_BHSD, attn_mask=mask_B1QS)
    return mixed_BHQD.transpose(1, 2).flatten(2)


def take_rows(values_BSD: Tensor, slots_BQ: Tensor) -> Tensor:
    """Return the vectors at `slots_BQ` of each row, [B, Q, D]."""
    return values_BSD.gather(1, slots_BQ.unsqueeze(2).expand(-1, -1, values_BSD.shape[2]))


def take_queries(mask_B1SS: Tensor, slots_BQ: Tensor) -> Tensor:
    """Return the mask rows of the queries at `slots_BQ`, [B, 1, Q, S]."""
    num_tokens = mask_B1SS.shape[3]
    return mask_B1SS.squeeze(1).gather(1, slots_BQ.unsqueeze(2).expand(-1, -1, num_tokens)).unsqueeze(1)
