"""Validation: the same masks each time, means over masked tokens, and the entropy beside them."""

import math

import numpy as np
import pytest
import torch

from pipeline.pretrain.architecture import architecture_of
from pipeline.pretrain.model import build_model
from pipeline.pretrain.rows import Rows
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.validation import unigram_entropy, validate, validation_batches
from pipeline.pretrain.vocabulary import read_vocabulary
from pipeline.pretrain.world import World
from tests.pretrain.shards import IDS, SEQ_LENGTH

ALONE = World(0, 1, torch.device("cpu"))


def _batches(out, micro_rows, **changed):
    rows = Rows(out / "shards" / "validation")
    vocabulary = read_vocabulary(rows.metadata, out / "tokenizer" / "tokenizer.json")
    return validation_batches(rows, settings=Settings(**changed), micro_rows=micro_rows, vocabulary=vocabulary)


def test_uniform_model_costs_log_vocabulary(out):
    """A model whose logits are all equal costs ln V on each masked token, however the rows are split."""
    model = build_model(architecture_of("bert-tiny", vocab_size=len(IDS), positions=SEQ_LENGTH, pad_id=0), seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    for micro_rows in (3, 20):
        loss = validate(model, _batches(out, micro_rows), world=ALONE).loss
        assert loss == pytest.approx(math.log(len(IDS)), rel=1e-6)


def test_split_changes_nothing(out):
    """Loss and accuracy are those of all rows at once, with a short last microbatch too."""
    model = build_model(architecture_of("bert-tiny", vocab_size=len(IDS), positions=SEQ_LENGTH, pad_id=0), seed=3)
    whole, parts = (validate(model, _batches(out, micro_rows), world=ALONE)[:2] for micro_rows in (20, 8))
    assert whole == pytest.approx(parts, rel=1e-6)
    assert [len(batch.lengths_BP) for batch in _batches(out, 8)] == [8, 8, 8]
    assert sum((batch.masked.weight_BK.sum(1) > 0).sum() for batch in _batches(out, 4, validation_rows=5)) == 5


def test_unigram_entropy_by_hand(out):
    """It is the mean of -ln((count + 1) / (total + V)) over the masked tokens."""
    batches = _batches(out, 20)
    counts_V = np.arange(len(IDS))
    targets = [int(t) for b in batches for t in b.masked.labels_BK[b.masked.weight_BK > 0]]
    expected = -np.mean([math.log((counts_V[t] + 1) / (counts_V.sum() + len(IDS))) for t in targets])
    assert unigram_entropy(counts_V, batches) == pytest.approx(expected)
    assert math.isnan(unigram_entropy(counts_V, []))
