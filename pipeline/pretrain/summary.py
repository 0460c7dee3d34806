"""The summary of a finished run: how good the model is beside what it could be, and what it fills into gaps."""

import json
import math
from pathlib import Path
from typing import Any

from pipeline.pretrain.disk import replace_text
from pipeline.pretrain.fill_mask import fill_prompts, fill_rows
from pipeline.pretrain.log import read_log
from pipeline.pretrain.model import Model
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.start import Corpus
from pipeline.pretrain.validation import Validation, unigram_entropy


def summarise(
    settings: Settings,
    out: Path,
    corpus: Corpus,
    model: Model,
    validation: Validation,
    *,
    tokens: int,
    seconds: float,
) -> dict[str, Any]:
    """Return the summary.

    Args:
        settings: of the run.
        out: its output directory, whose log is complete.
        corpus: what was read.
        model: as it is in the end, whole on this process.
        validation: of it.
        tokens: trained on.
        seconds: of training.
    """
    rows, held_out, vocabulary, batches = corpus
    tokenizer_json = out / "tokenizer" / "tokenizer.json"
    counts_V = rows.token_counts() * vocabulary.maskable_V.cpu().numpy()
    curve = [line["loss"] for line in read_log(out / "pretrain" / "log.jsonl") if "loss" in line]
    examples = (
        fill_prompts(model, tokenizer_json, settings.prompts, vocabulary.mask_id)
        if settings.prompts
        else fill_rows(model, tokenizer_json, held_out, seed=settings.seed, starts_word_V=vocabulary.starts_word_V)
    )
    return {
        "model": settings.init_from or settings.model,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": settings.steps,
        "tokens": tokens,
        "seconds": round(seconds, 3),
        "tokens_per_second": round(tokens / seconds),
        "first_loss": curve[0] if curve else None,  # the log is the user's to delete
        "last_loss": curve[-1] if curve else None,
        "validation_loss": _or_none(validation.loss),
        "validation_accuracy": _or_none(validation.accuracy),
        "next_sentence_accuracy": _or_none(validation.next_accuracy),
        "unigram_entropy": _or_none(unigram_entropy(counts_V, batches)),
        "uniform_entropy": math.log(len(vocabulary.random_R)),
        "fill_mask": examples,
    }


def write_summary(out: Path, summary: dict[str, Any]) -> None:
    """Write `summary`, by which the run counts as finished."""
    replace_text(out / "pretrain" / "summary.json", json.dumps(summary, indent=2) + "\n")


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
