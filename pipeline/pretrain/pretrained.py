"""An existing Hugging Face checkpoint as the start of a run: continued pretraining, a second phase, another domain."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.pretrain.architecture import Architecture

# What our two families are, as config.json says it; a checkpoint of anything else is refused rather than bent.
_EXPECTED: dict[str, dict[str, Any]] = {
    "bert": {
        "hidden_act": "gelu", "layer_norm_eps": 1e-12, "type_vocab_size": 2, "position_embedding_type": "absolute",
        "is_decoder": False, "tie_word_embeddings": True,
    },
    "modernbert": {
        "hidden_activation": "gelu", "classifier_activation": "gelu", "norm_eps": 1e-5, "norm_bias": False,
        "attention_bias": False, "mlp_bias": False, "classifier_bias": False, "decoder_bias": True,
        "tie_word_embeddings": True,
    },
}  # fmt: skip
_NEXT_SENTENCE = ("bert.pooler.", "cls.seq_relationship.")


class Pretrained(NamedTuple):
    """A checkpoint: its architecture, and its tensors under Hugging Face's names."""

    architecture: Architecture
    tensors: dict[str, Tensor]


def find_pretrained(name: str) -> Path:
    """Return the directory `name`, or the downloaded snapshot of the hub's repository of that name.

    Raises:
        ValueError: there is no such directory, and the hub's client is not installed or has no such repository.
    """
    if Path(name).is_dir():
        return Path(name)
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - only for names, not for directories

        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors"]))
    except (ImportError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"pretrain.init_from: {name!r} is no directory, and the hub does not help ({reason})"
        ) from None


def read_pretrained(directory: Path, *, vocab_size: int, seq_length: int, next_sentence: bool) -> Pretrained:
    """Return the checkpoint in `directory`, to go on with rows of `seq_length` tokens.

    Args:
        directory: with config.json and safetensors.
        vocab_size: of the shards; the checkpoint's may be padded beyond it.
        seq_length: of the shards; ModernBERT takes any, BERT has a fixed number of positions.
        next_sentence: whether the run has the next-sentence head; a checkpoint without one gets a fresh one.

    Raises:
        ValueError: the checkpoint is of another kind, has fewer ids or positions than the shards, or lacks weights.
    """
    path = directory / "config.json"
    if not path.exists():
        raise ValueError(f"pretrain.init_from: {directory} has no config.json")
    config = json.loads(path.read_text(encoding="utf-8"))
    family = config.get("model_type")
    if family not in _EXPECTED:
        raise ValueError(f"pretrain.init_from: {path} is a {family!r}, not one of {', '.join(_EXPECTED)}")
    for key, expected in _EXPECTED[family].items():
        if config.get(key, expected) != expected:
            raise ValueError(f"pretrain.init_from: {path} has {key} {config[key]!r}, only {expected!r} is supported")
    if config["vocab_size"] < vocab_size:
        raise ValueError(f"pretrain.init_from: {path} has {config['vocab_size']} ids, the shards {vocab_size}")
    positions = config["max_position_embeddings"]
    if family == "bert" and positions < seq_length:
        raise ValueError(f"pretrain.init_from: {path} has {positions} positions, the rows {seq_length} tokens")
    return Pretrained(
        Architecture(
            family=family,
            vocab_size=config["vocab_size"],
            layers=config["num_hidden_layers"],
            width=config["hidden_size"],
            heads=config["num_attention_heads"],
            feed_forward=config["intermediate_size"],
            positions=max(positions, seq_length),
            pad_id=config.get("pad_token_id") or 0,
            next_sentence=next_sentence,
            **(_modernbert_numbers(path, config) if family == "modernbert" else {}),
        ),
        _read_tensors(directory),
    )


def _modernbert_numbers(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return window, angles and the pattern of global layers, from the older or the newer form of the config."""
    every = config.get("global_attn_every_n_layers", 3)
    count = config["num_hidden_layers"]
    pattern = ["sliding_attention" if layer % every else "full_attention" for layer in range(count)]
    if config.get("layer_types", pattern) != pattern:
        raise ValueError(f"pretrain.init_from: {path} has layer_types other than every {every}th global")
    thetas = {}
    for name, kind, old, default in (
        ("global_theta", "full_attention", "global_rope_theta", 160_000.0),
        ("local_theta", "sliding_attention", "local_rope_theta", 10_000.0),
    ):
        rope = (config.get("rope_parameters") or {}).get(kind) or {}
        if rope.get("rope_type", "default") != "default":
            raise ValueError(
                f"pretrain.init_from: {path} has rope_type {rope['rope_type']!r}, only 'default' is supported"
            )
        thetas[name] = rope.get("rope_theta", config.get(old, default))
    return {"global_every": every, "window": config.get("local_attention", 128), **thetas}


def _read_tensors(directory: Path) -> dict[str, Tensor]:
    """Return the tensors of one file or of several with an index, under today's names."""
    index = directory / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.exists():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    if not (directory / names[0]).exists():
        raise ValueError(f"pretrain.init_from: {directory} has no {names[0]}; save it with safetensors first")
    tensors: dict[str, Tensor] = {}
    for name in names:
        tensors |= load_file(directory / name)
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
            missing = f"the checkpoint has no {name}; it needs its masked language model head"
            raise ValueError(f"pretrain.init_from: {missing}")
        if tensors[name].shape != parameter.shape:
            shapes = f"{list(tensors[name].shape)}, expected {list(parameter.shape)}"
            raise ValueError(f"pretrain.init_from: {name} has the shape {shapes}")
        parameter.copy_(tensors[name])


def refuse_other_tokenizer(directory: Path, tokenizer_json: Path) -> None:
    """Raise ValueError if the checkpoint in `directory` brings a tokenizer that maps tokens to other ids."""
    theirs = directory / "tokenizer.json"
    if theirs.exists() and _ids(theirs) != _ids(tokenizer_json):
        raise ValueError(
            f"pretrain.init_from: {theirs} maps tokens to other ids than {tokenizer_json}; "
            "tokenize with {load: ...} of the checkpoint's tokenizer"
        )


def _ids(path: Path) -> list[Any]:
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    added = sorted((token["id"], token["content"]) for token in tokenizer.get("added_tokens", []))
    return [tokenizer["model"]["vocab"], added]
