"""What a run is given beside its sources, looked at before anything is read: a mistake is told at once."""

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.config import Config
from pipeline.decontamination import evaluation_files
from pipeline.dedup_earlier import load_earlier
from pipeline.errors import UserError
from pipeline.pretrain.pretrained_config import find_pretrained, read_architecture, told_as
from pipeline.pretrain.settings import LONGEST_ROW
from transforms import storage
from transforms.tokenizer import load_tokenizer, special_ids
from transforms.word_lists import read_list

_TOKENIZERS = ("tokenizer.json", "vocab.txt")  # of a checkpoint, the second one of an older BERT


def check_inputs(config: Config, stages: Sequence[str]) -> None:
    """Refuse what one of `stages` would refuse hours later.

    Raises:
        UserError: an earlier run, a list, an evaluation set, a tokenizer or a checkpoint that is not there or does not
            fit, or rows longer than the trainer takes.
    """
    if config.dedup.takedown is not None:  # whatever the stage: each is compared with what the list asks for
        _check_takedown(config.dedup.takedown)
    if "dedup" in stages:
        _check_dedup(config)
    try:
        if "tokenize" in stages and config.tokenize.tokenizer.load is not None:
            with told_as("tokenize.tokenizer.load"):
                special_ids(load_tokenizer(config.tokenize.tokenizer.load))
        if "pretrain" in stages:
            _check_pretrain(config)
    except ValueError as error:
        raise UserError(str(error)) from None


def _check_dedup(config: Config) -> None:
    for out in config.dedup.against:
        load_earlier(out, config.dedup, config.output)
    if config.dedup.decontaminate is not None:
        list(evaluation_files(config.dedup.decontaminate))


def _check_takedown(path: str) -> None:
    try:
        read_list(path)
    except OSError as error:
        raise UserError(f"dedup.takedown: cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise UserError(f"dedup.takedown: {error}") from None


def _check_pretrain(config: Config) -> None:
    settings = config.pretrain
    if settings is None:
        return
    length = int(settings.shards.removeprefix("shards-")) if "-" in settings.shards else config.tokenize.seq_lengths[0]
    if length > LONGEST_ROW:
        raise ValueError(
            f"tokenize.seq_length: rows of {length} tokens, at most {LONGEST_ROW} are possible for pretrain"
        )
    if settings.init_from and not _began_with(settings.init_from, config.output):
        with told_as("pretrain.init_from"):
            directory = find_pretrained(settings.init_from, ["config.json", *_TOKENIZERS])
            read_architecture(directory, vocab_size=0, seq_length=length, next_sentence=False)
            _check_ids(directory, config.tokenize.tokenizer.load)


def _check_ids(checkpoint: Path, load: str | None) -> None:
    """Refuse to load a tokenizer of other ids than the checkpoint's; of one that is trained, only the trainer knows."""
    theirs = next((checkpoint / name for name in _TOKENIZERS if (checkpoint / name).exists()), None)
    if load is None or theirs is None:
        return
    added = theirs.name == "tokenizer.json"
    if load_tokenizer(theirs).get_vocab(added) != load_tokenizer(load).get_vocab(added):
        raise ValueError(f"{theirs} maps tokens to other ids than tokenize.tokenizer.load, {load}")


def _began_with(checkpoint: str, out: str) -> bool:
    """Whether a training in `out` began with `checkpoint`: it goes on from its own."""
    path = storage.local_path(out) / "pretrain" / "settings.json"
    return path.is_file() and json.loads(path.read_text(encoding="utf-8"))["init_from"] == checkpoint
