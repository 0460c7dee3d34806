"""The start of a run: the rows that it reads, its architecture, and its weights, fresh or of an existing checkpoint."""

from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from pipeline.pretrain.architecture import Architecture, architecture_of
from pipeline.pretrain.execution import check_attention
from pipeline.pretrain.fill_mask import encode_prompts
from pipeline.pretrain.model import Model, build_model
from pipeline.pretrain.objective import Microbatch
from pipeline.pretrain.pretrained import read_pretrained, refuse_other_tokenizer, take_weights
from pipeline.pretrain.pretrained_config import find_pretrained, told_as
from pipeline.pretrain.rows import Rows, ShardMetadata
from pipeline.pretrain.settings import LONGEST_ROW, Settings
from pipeline.pretrain.splitmix import fold
from pipeline.pretrain.validation import validation_batches
from pipeline.pretrain.vocabulary import Vocabulary, read_vocabulary
from pipeline.pretrain.world import usual_device


class Corpus(NamedTuple):
    """What a run reads."""

    rows: Rows
    held_out: Rows
    vocabulary: Vocabulary
    batches: list[Microbatch]  # of held-out rows, masked once


def check_start(settings: Settings, out: Path) -> None:
    """Raise the ValueError with which `train` would refuse to start afresh; nothing is written or trained."""
    rows, held_out = open_rows(settings.check(), out)
    check_attention(settings.attention, usual_device())
    tokenizer_json = out / "tokenizer" / "tokenizer.json"
    architecture, weights = architecture_and_weights(settings, rows.metadata, tokenizer_json)
    first_model(architecture, weights, settings.seed)
    vocabulary = read_vocabulary(rows.metadata, tokenizer_json)
    encode_prompts(tokenizer_json, settings.prompts, vocabulary.mask_id, architecture.positions)
    validation_batches(held_out, settings=settings, micro_rows=1, vocabulary=vocabulary)


def open_rows(settings: Settings, out: Path) -> tuple[Rows, Rows]:
    """Return the rows to train and to validate on.

    Raises:
        ValueError: there are none, or not such as the settings need.
    """
    shards = out / settings.shards
    rows, held_out = Rows(shards / "train"), Rows(shards / "validation")
    if not held_out.metadata.agrees_with(rows.metadata):
        raise ValueError(f"{shards}: train and validation were made differently; run tokenize again")
    if not len(rows):
        raise ValueError(f"{rows.directory}: no rows to train on")
    if settings.objective == "mlm+nsp" and not rows.are_pairs:
        raise ValueError("pretrain.objective: mlm+nsp needs sentence pairs, but the shards hold packed documents")
    if rows.metadata.seq_length > LONGEST_ROW:
        raise ValueError(
            f"{rows.directory}: rows of {rows.metadata.seq_length} tokens, at most {LONGEST_ROW} are possible"
        )
    return rows, held_out


def architecture_and_weights(
    settings: Settings, metadata: ShardMetadata, tokenizer_json: Path
) -> tuple[Architecture, dict[str, Tensor] | None]:
    """Return the architecture, and the weights of an existing checkpoint where the run starts from one."""
    next_sentence = settings.objective == "mlm+nsp"
    if not settings.init_from:
        architecture = architecture_of(
            settings.model,
            vocab_size=metadata.vocab_size,
            positions=metadata.seq_length,
            pad_id=metadata.special_ids["pad"],
            layers=settings.layers,
            width=settings.width,
            heads=settings.heads,
            next_sentence=next_sentence,
        )
        return architecture, None
    with told_as("pretrain.init_from"):
        directory = find_pretrained(settings.init_from)
        refuse_other_tokenizer(directory, tokenizer_json)
        return read_pretrained(
            directory, vocab_size=metadata.vocab_size, seq_length=metadata.seq_length, next_sentence=next_sentence
        )


def first_model(architecture: Architecture, weights: dict[str, Tensor] | None, seed: int) -> Model:
    """Return the model on the CPU with `weights`; what they lack, or all without any, is drawn from `seed`.

    Raises:
        ValueError: the weights are not those of a masked language model of this architecture.
    """
    model = build_model(architecture, seed=fold(seed, 0) >> 1)
    if weights:
        with told_as("pretrain.init_from"):
            take_weights(model, weights)
    return model
