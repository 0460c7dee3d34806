"""The exported model: a directory that `transformers` opens without conversion."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.pretrain.architecture import hugging_face_config
from pipeline.pretrain.disk import sync, write_tensors
from pipeline.pretrain.model import Model

_WEIGHTS = "model.safetensors"


def export_model(model: Model, tokenizer: Path, to: Path, *, special_ids: dict[str, int]) -> None:
    """Write weights, config.json and the tokenizer's files into `to`, replacing what was there.

    Tied weights are stored once, as `transformers` stores them. The tokenizer learns the longest input, and
    whether the model takes token types: BERT does, ModernBERT does not.

    Args:
        model: with its weights on any device.
        tokenizer: directory of the tokenizer's files.
        to: OUT/model.
        special_ids: ids of `cls` and `sep`.

    Raises:
        ValueError: of `check_target`.
    """
    with replace_directory(to) as draft:
        shutil.copytree(tokenizer, draft, dirs_exist_ok=True)
        tensors = {name: p.detach().float().cpu().contiguous() for name, p in model.named_parameters()}
        write_tensors(draft / _WEIGHTS, tensors, {"format": "pt"})
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
    """Give an empty directory to fill; when it is full it takes the place of `to`, which is never half written.

    Raises:
        ValueError: of `check_target`.
    """
    to = check_target(to)
    draft, old = to.with_name(f".tmp-{to.name}-{os.getpid()}"), to.with_name(f".tmp-{to.name}-old")
    to.parent.mkdir(parents=True, exist_ok=True)
    for stale in to.parent.iterdir():
        if re.fullmatch(re.escape(f".tmp-{to.name}-") + r"\d+", stale.name) and _is_ours(stale):
            shutil.rmtree(stale)
    draft.mkdir()
    yield draft
    for path in (*draft.iterdir(), draft):
        sync(path)
    if to.exists():
        if _is_ours(old):  # left by a call that died between the next two lines, with `to` written since
            shutil.rmtree(old)
        to.rename(old)
    draft.rename(to)
    sync(to.parent)
    if _is_ours(old):
        shutil.rmtree(old)


def check_target(to: Path) -> Path:
    """Return the absolute path of `to`, a directory that a model may take the place of.

    Raises:
        ValueError: it is a file, it lies below one, nobody may write there, or it holds something that no model of ours
            holds.
    """
    to = to.expanduser().resolve()
    above = next(path for path in (to, *to.parents) if path.exists())
    if not above.is_dir():
        raise ValueError(f"{to}: {above} is a file; a model is written into a directory")
    parent = to.parent if above == to else above  # a draft beside `to` is renamed
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ValueError(f"{to}: {parent} cannot be written to")
    if above == to and any(to.iterdir()) and not ({"config.json", _WEIGHTS} <= _names(to) and _is_ours(to)):
        raise ValueError(f"{to} is not empty and holds something else than a model; name a new directory")
    return to


def _is_ours(directory: Path) -> bool:
    """Whether nothing is there but files of the names that a model of ours has, whole or half written."""
    return directory.is_dir() and all(
        path.is_file() and (path.name in ("config.json", _WEIGHTS) or path.match("*token*.json"))
        for path in directory.iterdir()
    )


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}
