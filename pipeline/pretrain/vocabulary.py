"""What the trainer must know about the ids of a vocabulary."""

import json
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.pretrain.rows import ShardMetadata


class Vocabulary(NamedTuple):
    """Ids as masking sees them.

    Attributes:
        mask_id: id of [MASK].
        maskable_V: bool, False for special tokens.
        random_R: int64, the ids that may replace a token: every one of the tokenizer's that is not special.
    """

    mask_id: int
    maskable_V: Tensor
    random_R: Tensor

    def to(self, device: torch.device) -> "Vocabulary":
        """Return the same with its tensors on `device`."""
        return Vocabulary(self.mask_id, self.maskable_V.to(device), self.random_R.to(device))


def read_vocabulary(metadata: ShardMetadata, tokenizer_json: Path) -> Vocabulary:
    """Return the vocabulary of shards and their `tokenizer.json`, whose added special tokens count as special too.

    Raises:
        ValueError: the tokenizer has ids that the shards do not allow for.
    """
    tokenizer = json.loads(tokenizer_json.read_text())
    pieces = tokenizer["model"]["vocab"]
    ids = set(pieces.values()) if isinstance(pieces, dict) else set(range(len(pieces)))
    special = set(metadata.special_ids.values())
    for token in tokenizer.get("added_tokens", []):
        ids.add(token["id"])
        if token["special"]:
            special.add(token["id"])
    if max(ids) >= metadata.vocab_size:
        raise ValueError(f"{tokenizer_json}: id {max(ids)}, but the shards have a vocabulary of {metadata.vocab_size}")
    maskable_V = torch.ones(metadata.vocab_size, dtype=torch.bool)
    maskable_V[sorted(special)] = False
    return Vocabulary(metadata.special_ids["mask"], maskable_V, torch.tensor(sorted(ids - special)))
