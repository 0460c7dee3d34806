"""What the trainer must know about the ids of a vocabulary."""

import json
import unicodedata
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pipeline.pretrain.rows import ShardMetadata

# How pieces that begin a word begin themselves, by the pre-tokenizer that writes them: byte-level BPE turns a space
# into U+0120 and a line feed into U+010A, metaspace (SentencePiece) turns a space into U+2581.
_BYTE_LEVEL, _METASPACE = ("\u0120", "\u010a"), ("\u2581",)
# Scripts without spaces: Thai and Lao, Burmese, Khmer, Chinese and Japanese with their wide forms. There each piece is
# a word, as BERT's tokenizer has it for Chinese characters; or else a whole document would be one.
_UNSPACED = ((0xE00, 0xEFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x9FFF), (0xF900, 0xFAFF), (0xFF00, 0xFFEF),
             (0x20000, 0x3FFFF))  # fmt: skip
# Byte-level BPE writes bytes as characters: these as they are, the others as U+0100 onwards (GPT-2).
_PLAIN_BYTES = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_HIDDEN_BYTES = [byte for byte in range(256) if byte not in _PLAIN_BYTES]


class Vocabulary(NamedTuple):
    """Ids as masking sees them.

    Attributes:
        mask_id: id of [MASK].
        maskable_V: bool, False for special tokens.
        starts_word_V: bool, False for pieces that continue the word before them.
        random_R: int64, the ids that may replace a token: every one of the tokenizer's that is not special.
    """

    mask_id: int
    maskable_V: Tensor
    starts_word_V: Tensor
    random_R: Tensor

    def to(self, device: torch.device) -> "Vocabulary":
        """Return the same with its tensors on `device`."""
        tensors = (self.maskable_V, self.starts_word_V, self.random_R)
        return Vocabulary(self.mask_id, *(tensor.to(device) for tensor in tensors))


def read_vocabulary(metadata: ShardMetadata, tokenizer_json: Path) -> Vocabulary:
    """Return the vocabulary of shards and their `tokenizer.json`, whose added special tokens count as special too.

    Raises:
        ValueError: the tokenizer cannot be read, or has ids that the shards do not allow for.
    """
    tokenizer = read_tokenizer_json(tokenizer_json)
    pieces = tokenizer["model"]["vocab"]
    # Unigram lists pairs of piece and score, all others map piece to id.
    ids = dict(pieces) if isinstance(pieces, dict) else {piece: index for index, (piece, _) in enumerate(pieces)}
    special = set(metadata.special_ids.values())
    for token in tokenizer.get("added_tokens", []):
        ids[token["content"]] = token["id"]
        if token["special"]:
            special.add(token["id"])
    if max(ids.values()) >= metadata.vocab_size:
        found = f"id {max(ids.values())}, but the shards have a vocabulary of {metadata.vocab_size}"
        raise ValueError(f"{tokenizer_json}: {found}")
    maskable_V = torch.ones(metadata.vocab_size, dtype=torch.bool)
    maskable_V[sorted(special)] = False
    starts_word_V = torch.ones(metadata.vocab_size, dtype=torch.bool)
    starts_word_V[[number for piece, number in ids.items() if not _starts_word(piece, tokenizer)]] = False
    random_R = torch.tensor(sorted(set(ids.values()) - special))
    return Vocabulary(metadata.special_ids["mask"], maskable_V, starts_word_V, random_R)


def read_tokenizer_json(path: Path) -> dict[str, Any]:
    """Return what a `tokenizer.json` says.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    try:
        tokenizer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not readable as a tokenizer ({error})") from None
    return tokenizer


def _starts_word(piece: str, tokenizer: dict[str, Any]) -> bool:
    """Whether `piece` begins a word, by the mark of its tokenizer, or by its first character where that has none."""
    if tokenizer["model"]["type"] == "WordPiece":
        return not piece.startswith(tokenizer["model"].get("continuing_subword_prefix", "##"))
    if "ByteLevel" not in json.dumps(tokenizer.get("pre_tokenizer")):
        return piece.startswith(_METASPACE) or _is_word(piece[:1])
    return piece.startswith(_BYTE_LEVEL) or _is_word(_first_character(piece))


def _first_character(piece: str) -> str:
    """Return the first character of a piece of byte-level BPE, of a cut one some character of its script."""
    first = bytes(_HIDDEN_BYTES[ord(c) - 256] if ord(c) > 255 else ord(c) for c in piece[:4] if ord(c) < 324)
    return (first + b"\xbf\xbf\xbf").decode(errors="replace")[:1]


def _is_word(character: str) -> bool:
    """Whether a piece is a word for beginning with `character`: punctuation, or of a script without spaces."""
    if not character or character == "\ufffd":
        return False
    kind = unicodedata.category(character)
    return kind[0] in "PSZ" or (kind[0] != "M" and any(low <= ord(character) <= high for low, high in _UNSPACED))
