"""The config.json of an existing checkpoint: found, read and compared with what our families are; without torch."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.pretrain.architecture import Architecture

# In a checkpoint of one of our runs, beside weights and optimizer.
CHECKPOINT_RECORD = "checkpoint.json"

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


@contextmanager
def told_as(option: str) -> Iterator[None]:
    """Put `option`, by which the user named the checkpoint, before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None


def find_pretrained(name: str, files: Sequence[str] = ("*.json", "vocab.txt", "*.safetensors")) -> Path:
    """Return the directory `name`, or the downloaded `files` of the hub's repository of that name.

    Raises:
        ValueError: there is no such directory, and the hub's client is not installed or has no such repository.
    """
    if Path(name).is_dir():
        return Path(name)
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - only for names, not for directories

        return Path(snapshot_download(name, allow_patterns=list(files)))
    except (ImportError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{name!r} is no directory, and the hub does not help ({reason})") from None


def read_architecture(directory: Path, *, vocab_size: int, seq_length: int, next_sentence: bool) -> Architecture:
    """Return the architecture of the checkpoint in `directory`; arguments and mistakes as in `read_pretrained`."""
    path = directory / "config.json"
    of_a_run = directory / CHECKPOINT_RECORD
    if of_a_run.exists():
        path = of_a_run
    if not path.exists():
        raise ValueError(f"{directory} has no config.json")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        found = Architecture(**config["architecture"]) if path == of_a_run else _architecture(path, config)
        return _fitted(path, found, vocab_size=vocab_size, seq_length=seq_length, next_sentence=next_sentence)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not readable as JSON ({error})") from None
    except KeyError as error:
        raise ValueError(f"{path} has no {error.args[0]}") from None
    except (AttributeError, TypeError):
        raise ValueError(f"{path} is no configuration of a model") from None


def _fitted(path: Path, a: Architecture, *, vocab_size: int, seq_length: int, next_sentence: bool) -> Architecture:
    """Return the architecture for the rows to come, or raise ValueError if they have more ids or positions."""
    if a.vocab_size < vocab_size:
        raise ValueError(f"{path} has {a.vocab_size} ids, the shards {vocab_size}")
    if a.family == "bert" and a.positions < seq_length:
        raise ValueError(f"{path} has {a.positions} positions, the rows {seq_length} tokens")
    return dataclasses.replace(a, positions=max(a.positions, seq_length), next_sentence=next_sentence)


def _architecture(path: Path, config: dict[str, Any]) -> Architecture:
    family = config.get("model_type")
    if family not in _EXPECTED:
        raise ValueError(f"{path} is a {family!r}, not one of {', '.join(_EXPECTED)}")
    for key, expected in _EXPECTED[family].items():
        if config.get(key, expected) != expected:
            raise ValueError(f"{path} has {key} {config[key]!r}, only {expected!r} is supported")
    return Architecture(
        family=family,
        vocab_size=config["vocab_size"],
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        heads=config["num_attention_heads"],
        feed_forward=config["intermediate_size"],
        positions=config["max_position_embeddings"],
        pad_id=config.get("pad_token_id") or 0,
        **(_modernbert_numbers(path, config) if family == "modernbert" else {}),
    )


def _modernbert_numbers(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return window, angles and the pattern of global layers, from the older or the newer form of the config."""
    every = config.get("global_attn_every_n_layers", 3)
    count = config["num_hidden_layers"]
    pattern = ["sliding_attention" if layer % every else "full_attention" for layer in range(count)]
    if config.get("layer_types", pattern) != pattern:
        raise ValueError(f"{path} has layer_types other than every {every}th global")
    thetas = {}
    for name, kind, old, default in (
        ("global_theta", "full_attention", "global_rope_theta", 160_000.0),
        ("local_theta", "sliding_attention", "local_rope_theta", 10_000.0),
    ):
        rope = (config.get("rope_parameters") or {}).get(kind) or {}
        if rope.get("rope_type", "default") != "default":
            raise ValueError(f"{path} has rope_type {rope['rope_type']!r}, only 'default' is supported")
        thetas[name] = rope.get("rope_theta", config.get(old, default))
    return {"global_every": every, "window": config.get("local_attention", 128), **thetas}
