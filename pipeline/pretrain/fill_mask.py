"""Fill-mask examples: what the trained model would write in a gap, to be read by a person."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel
from torch import Tensor

from pipeline.pretrain.attention import layout_of
from pipeline.pretrain.model import Model
from pipeline.pretrain.order import rows_at
from pipeline.pretrain.rows import Rows
from pipeline.pretrain.splitmix import fold

NUM_EXAMPLES, NUM_PREDICTIONS = 3, 5
_CONTEXT_TOKENS = 12
_SHORTEST_PIECE = 8
_SPACES = str.maketrans({" ": "\u0120", "\n": "\u010a", "\t": "\u0109"})  # as byte-level tokenizers write them


@torch.no_grad()
def fill(
    model: Model, ids: list[int], position: int, tokenizer: Tokenizer, types: list[int] | None = None
) -> list[dict[str, Any]]:
    """Return the most probable tokens at `position` of one document, as `{"token", "probability"}`, best first.

    `types` are those of a sentence pair's tokens, for a model that has learned them.
    """
    device = next(model.parameters()).device
    ids_1S = torch.tensor([ids], device=device)
    layout = layout_of(torch.tensor([[len(ids)]], device=device), len(ids), model.architecture.local_window)
    slots_11: Tensor = torch.tensor([[position]], device=device)
    types_1S = None if types is None else torch.tensor([types], device=device)
    probability_V = model(ids_1S, layout, slots_11, types_BS=types_1S).token_BQV[0, 0].float().softmax(0)
    best = probability_V.topk(NUM_PREDICTIONS)
    return [
        {"token": readable(tokenizer, token), "probability": round(share, 4)}
        for share, token in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]


def encode_prompts(tokenizer_json: Path, prompts: tuple[str, ...], mask_id: int, longest: int) -> list[list[int]]:
    """Return the ids of each prompt, in which [MASK] stands for the tokenizer's own mask token.

    Raises:
        ValueError: a prompt is longer than `longest` tokens, or the tokenizer does not know its mask token in a text.
    """
    tokenizer = Tokenizer.from_file(str(tokenizer_json))
    encoded = []
    for prompt in prompts:
        ids = tokenizer.encode(prompt.replace("[MASK]", str(tokenizer.id_to_token(mask_id)))).ids
        if len(ids) > longest or ids.count(mask_id) != 1:
            found = f"{len(ids)} tokens with {ids.count(mask_id)} masks, at most {longest} with one are possible"
            raise ValueError(f"pretrain.prompts: {prompt!r} has {found}")
        encoded.append(ids)
    return encoded


def fill_prompts(model: Model, tokenizer_json: Path, prompts: tuple[str, ...], mask_id: int) -> list[dict[str, Any]]:
    """Return for each prompt with one [MASK] its text and the predictions."""
    tokenizer = Tokenizer.from_file(str(tokenizer_json))
    encoded = encode_prompts(tokenizer_json, prompts, mask_id, model.architecture.positions)
    return [
        {"text": prompt, "predictions": fill(model, ids, ids.index(mask_id), tokenizer)}
        for prompt, ids in zip(prompts, encoded, strict=True)
    ]


def fill_rows(
    model: Model, tokenizer_json: Path, rows: Rows, *, seed: int, starts_word_V: Tensor
) -> list[dict[str, Any]]:
    """Return examples from held-out rows: the text around a hidden word, the word (`truth`) and the predictions.

    One word of the first piece of each row is hidden, one that is a single token; rows without such are passed over.
    """
    starts_V = starts_word_V.tolist()
    tokenizer = Tokenizer.from_file(str(tokenizer_json))
    mask_id = rows.metadata.special_ids["mask"]
    examples: list[dict[str, Any]] = []
    for row in rows_at(0, min(100, len(rows)), num_rows=len(rows), seed=seed).tolist() if len(rows) else []:
        batch = rows.read(np.array([row]))
        ids = batch.ids_BS[0, : batch.lengths_BP[0, 0]].tolist()
        begins = [*(starts_V[token] for token in ids), True]
        alone = [index for index in range(len(ids)) if begins[index] and begins[index + 1]]
        words = [index for index in alone if _reads_as_word(tokenizer, ids[index])]
        if len(ids) < _SHORTEST_PIECE or not words:
            continue
        position = words[fold(seed, row) % len(words)]
        before = tokenizer.decode(ids[max(0, position - _CONTEXT_TOKENS) : position])
        after = tokenizer.decode(ids[position + 1 : position + 1 + _CONTEXT_TOKENS])
        types = None
        if batch.types_BS is not None and model.architecture.next_sentence:
            types = batch.types_BS[0, : len(ids)].tolist()
        hidden = [*ids[:position], mask_id, *ids[position + 1 :]]
        examples.append(
            {
                "text": f"{before} [MASK] {after}".strip(),
                "truth": readable(tokenizer, ids[position]),
                "predictions": fill(model, hidden, position, tokenizer, types),
            }
        )
        if len(examples) == NUM_EXAMPLES:
            break
    return examples


def readable(tokenizer: Tokenizer, token: int) -> str:
    """Return a token as its tokenizer writes it, but a byte-level one in letters, not in signs for bytes.

    A token of that kind that is no whole character stays as it is.
    """
    written = str(tokenizer.id_to_token(token))
    if not isinstance(tokenizer.decoder, ByteLevel):
        return written
    text = tokenizer.decode([token])
    return text.translate(_SPACES) if text and "\ufffd" not in text else written


def _reads_as_word(tokenizer: Tokenizer, token: int) -> bool:
    """Whether the token reads as three letters or more."""
    text = tokenizer.decode([token]).strip()
    return len(text) > 2 and text.isalpha()
