"""Packed rows for the Trainer of `transformers`: masks that keep the documents of a row apart, exactly.

collator = PackedCollator(DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.3), model.config)
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Collator = Callable[[list[dict[str, Any]]], Any]


class PackedCollator:
    """Collates rows of shards by `collator` and adds attention masks and positions of one document at a time.

    Each document is then computed as if it were alone in its row. Without it the documents of a row attend to each
    other: attention_mask has a value a token, and positions that begin anew do not hide anything. BERT takes a mask of
    four dimensions as it stands; ModernBERT takes one for its full and one for its sliding layers, and would lose the
    window by one mask for both.

    `TrainingArguments(remove_unused_columns=False)` is needed, or the Trainer drops `document_lengths`.

    Args:
        collator: pads `input_ids` and makes `labels`; it is given nothing else.
        config: of the model: `bert` or `modernbert`, attention `sdpa` or `eager`.

    Raises:
        ValueError: another model or attention, to which such masks cannot be given; and of a call, rows of sentence
            pairs, or a collator that pads on the left.
    """

    def __init__(self, collator: Collator, config: Any) -> None:
        if config.model_type not in ("bert", "modernbert"):
            raise ValueError(f"masks for {config.model_type} are not known; there are bert and modernbert")
        attention = getattr(config, "_attn_implementation", None) or "sdpa"
        if attention not in ("sdpa", "eager"):
            raise ValueError(
                f"attention {attention} takes no such masks; load the model with attn_implementation='sdpa'"
            )
        self._collator, self._is_additive = collator, attention == "eager"
        self._window = config.sliding_window if config.model_type == "modernbert" else None

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        if any("next_sentence_label" in row or "token_type_ids" in row for row in rows):
            raise ValueError("rows of packing: pairs hold one pair each, not documents; pad them by a usual collator")
        batch = dict(self._collator([{"input_ids": row["input_ids"]} for row in rows]))
        ids_BS, real_BS = batch["input_ids"], batch.get("attention_mask")
        document_BS, positions_BS = torch.full_like(ids_BS, -1), torch.zeros_like(ids_BS)
        for index, row in enumerate(rows):
            lengths = torch.as_tensor(row["document_lengths"])
            starts = lengths.cumsum(0) - lengths
            num_tokens = int(lengths.sum())
            if real_BS is not None and not real_BS[index, :num_tokens].all():
                raise ValueError("the collator pads on the left; set padding_side='right' in its tokenizer")
            document_BS[index, :num_tokens] = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
            positions_BS[index, :num_tokens] = torch.arange(num_tokens) - torch.repeat_interleave(starts, lengths)
        # Padding attends to padding: a row of the mask without a single key would give NaN.
        same_BSS = document_BS[:, :, None] == document_BS[:, None, :]
        batch["position_ids"] = positions_BS
        if self._window is None:
            batch["attention_mask"] = self._mask(same_BSS)
        else:
            place_S = torch.arange(ids_BS.shape[1])
            near_SS = (place_S[:, None] - place_S[None, :]).abs() <= self._window
            batch["attention_mask"] = {
                "full_attention": self._mask(same_BSS),
                "sliding_attention": self._mask(same_BSS & near_SS),
            }
        return batch

    def _mask(self, may_attend_BSS: Tensor) -> Tensor:
        """Return [B, 1, S, S]: bool for sdpa, which works in every precision; to be added to the scores for eager."""
        mask = may_attend_BSS[:, None]
        return torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min) if self._is_additive else mask
