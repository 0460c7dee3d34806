"""The evaluation of a pretrained model on shards: is its loss good?"""

import dataclasses
import math
from pathlib import Path
from typing import Any

import torch

from pipeline.pretrain.execution import usual_threads
from pipeline.pretrain.model import build_model
from pipeline.pretrain.pretrained import read_pretrained, refuse_other_tokenizer, take_weights
from pipeline.pretrain.pretrained_config import told_as
from pipeline.pretrain.rows import Rows
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.validation import unigram_entropy, validate, validation_batches
from pipeline.pretrain.vocabulary import read_vocabulary
from pipeline.pretrain.world import World, usual_device

_NEXT_SENTENCE = "cls.seq_relationship.weight"


def evaluate_masked_lm(
    model: Path, out: Path, *, mask_rate: float = 0.3, rows: int = 1024, seed: int = 0
) -> dict[str, Any]:
    """Return masked loss, perplexity and accuracy of `model` on the validation rows of `out`, and what they mean.

    Args:
        model: directory of the model.
        out: output directory of a run, holding `shards/` and `tokenizer/`.
        mask_rate: share of the maskable tokens; losses at different rates cannot be compared.
        rows: at most this many rows.
        seed: of the masks; a run's own gives its own validation loss.

    Returns:
        `loss` and `perplexity` (its exponential), `accuracy`, `unigram_entropy` (a model without context),
        `uniform_entropy` (blind guessing, ln V), and `nats_below_unigram`; of sentence pairs and a model that has
        learned their labels `next_sentence_accuracy` as well.

    Raises:
        ValueError: another rate, model and shards do not fit (their tokenizers differ, for instance), or there are no
            validation rows.
    """
    if not 0 < mask_rate < 1:
        raise ValueError(f"--mask-rate {mask_rate} must lie between 0 and 1")
    held_out = Rows(out / "shards" / "validation")
    metadata = held_out.metadata
    if not len(held_out):
        raise ValueError(f"{held_out.directory}: no rows to evaluate on")
    device = usual_device()
    tokenizer_json = out / "tokenizer" / "tokenizer.json"
    vocabulary = read_vocabulary(metadata, tokenizer_json).to(device)
    with told_as("--model"):
        refuse_other_tokenizer(model, tokenizer_json)
        architecture, tensors = read_pretrained(
            model, vocab_size=metadata.vocab_size, seq_length=metadata.seq_length, next_sentence=held_out.are_pairs
        )
        # It saw the types of tokens while it was trained if it learned what they are for.
        next_sentence = architecture.next_sentence and _NEXT_SENTENCE in tensors
        architecture = dataclasses.replace(architecture, next_sentence=next_sentence)
        torch.set_num_threads(usual_threads(architecture))
        network = build_model(architecture, seed=0)
        take_weights(network, tensors)
    objective = "mlm+nsp" if next_sentence else "mlm"
    settings = Settings(objective=objective, mask_rate=mask_rate, validation_rows=rows, seed=seed)
    batches = validation_batches(held_out, settings=settings, micro_rows=min(len(held_out), 16), vocabulary=vocabulary)
    measured = validate(network.to(device), batches, world=World(0, 1, device))
    counts_V = Rows(out / "shards" / "train").token_counts() * vocabulary.maskable_V.cpu().numpy()
    unigram = unigram_entropy(counts_V, batches)
    labels = {"next_sentence_accuracy": measured.next_accuracy} if next_sentence else {}
    return {
        "loss": measured.loss,
        "perplexity": math.exp(measured.loss),
        "accuracy": measured.accuracy,
        "unigram_entropy": unigram,
        "uniform_entropy": math.log(len(vocabulary.random_R)),
        "nats_below_unigram": unigram - measured.loss,
        **labels,
        "rows": min(rows, len(held_out)),
        "torch": str(torch.__version__),
    }
