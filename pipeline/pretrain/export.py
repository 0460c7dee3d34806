"""The exported model: a directory that `transformers` opens without conversion."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import save_file

from pipeline.pretrain.architecture import hugging_face_config
from pipeline.pretrain.model import Model


def export_model(model: Model, tokenizer: Path, to: Path, *, special_ids: dict[str, int]) -> None:
    """Write weights, config.json and the tokenizer's files into `to`, replacing what was there.

    Tied weights are stored once, as `transformers` stores them. The tokenizer learns the longest input, and
    whether the model takes token types: BERT does, ModernBERT does not.

    Args:
        model: with its weights on any device.
        tokenizer: directory of the tokenizer's files.
        to: OUT/model.
        special_ids: ids of `cls` and `sep`.
    """
    with replace_directory(to) as draft:
        shutil.copytree(tokenizer, draft, dirs_exist_ok=True)
        tensors = {name: p.detach().float().cpu().contiguous() for name, p in model.named_parameters()}
        save_file(tensors, draft / "model.safetensors", metadata={"format": "pt"})
        config = hugging_face_config(model.architecture, special_ids)
        (draft / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        tokenizer_config = draft / "tokenizer_config.json"
        about = json.loads(tokenizer_config.read_text(encoding="utf-8")) if tokenizer_config.exists() else {}
        about["model_max_length"] = model.architecture.positions
        types = ["token_type_ids"] if model.architecture.family == "bert" else []
        about["model_input_names"] = ["input_ids", *types, "attention_mask"]
        tokenizer_config.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


@contextmanager
def replace_directory(to: Path) -> Iterator[Path]:
    """Give an empty directory to fill; when it is full it takes the place of `to`, which is never half written."""
    draft, old = to.with_name(f".tmp-{to.name}-{os.getpid()}"), to.with_name(f".tmp-{to.name}-old")
    for stale in to.parent.glob(f".tmp-{to.name}-*"):
        shutil.rmtree(stale)
    draft.mkdir(parents=True)
    yield draft
    if to.exists():
        to.rename(old)
    draft.rename(to)
    if old.exists():
        shutil.rmtree(old)
