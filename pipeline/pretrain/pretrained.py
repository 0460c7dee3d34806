"""An existing Hugging Face checkpoint as the start of a run: continued pretraining, a second phase, another domain."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.pretrain.architecture import Architecture
from pipeline.pretrain.checkpoint import WEIGHTS, load_checkpoint
from pipeline.pretrain.pretrained_config import CHECKPOINT_RECORD, read_architecture
from pipeline.pretrain.vocabulary import read_tokenizer_json

_NEXT_SENTENCE = ("bert.pooler.", "cls.seq_relationship.")


class Pretrained(NamedTuple):
    """A checkpoint: its architecture, and its tensors under Hugging Face's names."""

    architecture: Architecture
    tensors: dict[str, Tensor]


def read_pretrained(directory: Path, *, vocab_size: int, seq_length: int, next_sentence: bool) -> Pretrained:
    """Return the checkpoint in `directory`, to go on with rows of `seq_length` tokens.

    Args:
        directory: with config.json and safetensors, or a checkpoint of a run of ours.
        vocab_size: of the shards; the checkpoint's may be padded beyond it.
        seq_length: of the shards; ModernBERT takes any the trainer does, BERT has a fixed number of positions.
        next_sentence: whether the run has the next-sentence head; a checkpoint without one gets a fresh one.

    Raises:
        ValueError: the checkpoint is of another kind, has fewer ids or positions than the shards, or lacks weights.
    """
    architecture = read_architecture(
        directory, vocab_size=vocab_size, seq_length=seq_length, next_sentence=next_sentence
    )
    return Pretrained(architecture, _read_tensors(directory))


def _read_tensors(directory: Path) -> dict[str, Tensor]:
    """Return the tensors of one file or of several with an index, under today's names, or a checkpoint's weights."""
    if (directory / CHECKPOINT_RECORD).exists():
        saved = load_checkpoint(directory).tensors
        return {key.removeprefix(WEIGHTS): value for key, value in saved.items() if key.startswith(WEIGHTS)}
    index = directory / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.exists():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    if not (directory / names[0]).exists():
        raise ValueError(f"{directory} has no {names[0]}; save it with safetensors first")
    tensors: dict[str, Tensor] = {}
    for name in names:
        try:
            tensors |= load_file(directory / name)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{directory / name} is damaged or incomplete ({error})") from None
    # The first BERTs were converted from TensorFlow and kept its names for the norms.
    return {key.replace(".gamma", ".weight").replace(".beta", ".bias"): value for key, value in tensors.items()}


@torch.no_grad()
def take_weights(model: nn.Module, tensors: dict[str, Tensor], may_lack: tuple[str, ...] = _NEXT_SENTENCE) -> None:
    """Put `tensors` into `model`; only weights whose names begin with one of `may_lack` may be missing from them.

    Raises:
        ValueError: another weight is missing (the masked language model head, for instance), or has another shape.
    """
    for name, parameter in model.named_parameters():
        if name not in tensors and name.startswith(may_lack):
            continue
        if name not in tensors:
            raise ValueError(f"the checkpoint has no {name}; it needs its masked language model head")
        if tensors[name].shape != parameter.shape:
            shapes = f"{list(tensors[name].shape)}, expected {list(parameter.shape)}"
            raise ValueError(f"{name} has the shape {shapes}")
        parameter.copy_(tensors[name])


def refuse_other_tokenizer(directory: Path, tokenizer_json: Path) -> None:
    """Raise ValueError if the checkpoint in `directory` brings a tokenizer that maps tokens to other ids.

    It is in tokenizer.json, or of an older BERT in vocab.txt alone; that of a run's checkpoint is the run's,
    and must be there.
    """
    ours = read_tokenizer_json(tokenizer_json)
    theirs, lines = directory / "tokenizer.json", directory / "vocab.txt"
    if (directory / CHECKPOINT_RECORD).exists():
        theirs = directory.resolve().parents[1] / "tokenizer" / "tokenizer.json"
        if not theirs.exists():
            raise ValueError(
                f"{directory}: its run's tokenizer is not at {theirs}, so it cannot be compared; copy it there"
            )
    if theirs.exists():
        same = _ids(read_tokenizer_json(theirs)) == _ids(ours)
    elif lines.exists():
        theirs = lines
        pieces = lines.read_text(encoding="utf-8").rstrip("\n").split("\n")
        same = {piece.rstrip("\r"): index for index, piece in enumerate(pieces)} == ours["model"]["vocab"]
    else:
        return
    if not same:
        raise ValueError(
            f"{theirs} maps tokens to other ids than {tokenizer_json}; "
            "tokenize with {load: ...} of the checkpoint's tokenizer"
        )


def _ids(tokenizer: dict[str, Any]) -> list[Any]:
    added = sorted((token["id"], token["content"]) for token in tokenizer.get("added_tokens", []))
    return [tokenizer["model"]["vocab"], added]
