"""The objective as one compiled graph."""

import functools

import pytest
import torch

from pipeline.pretrain.architecture import architecture_of
from pipeline.pretrain.model import build_model
from pipeline.pretrain.objective import losses_with, read_microbatch
from pipeline.pretrain.rows import Rows
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.vocabulary import read_vocabulary
from tests.pretrain.shards import IDS, SEQ_LENGTH


@pytest.mark.parametrize("name", ["bert-tiny", "modernbert-demo"])
def test_one_graph_for_all_microbatches(out, monkeypatch, name):
    """Rows with other numbers and lengths of documents never break the graph and never compile it again."""
    import numpy as np

    # The graph is traced and guarded as on a GPU; only the code generator, which costs minutes, is left out.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    torch._dynamo.reset()
    rows = Rows(out / "shards" / "train")
    vocabulary = read_vocabulary(rows.metadata, out / "tokenizer" / "tokenizer.json")
    architecture = architecture_of(name, vocab_size=len(IDS), positions=SEQ_LENGTH, pad_id=0, width=16, heads=2)
    model = build_model(architecture, seed=0)
    compiled, plain = (losses_with(backend="sdpa", dtype=None, compiled=flag) for flag in (True, False))
    seen = []
    with torch._dynamo.config.patch(error_on_recompile=True):
        for step in range(4):
            settings = Settings(whole_word=step > 1)
            numbers = np.arange(step * 5, step * 5 + 5)
            batch = read_microbatch(rows, numbers, settings=settings, step=step, vocabulary=vocabulary)
            seen.append(tuple((batch.lengths_BP > 0).sum(1).tolist()))
            model.zero_grad()
            losses = compiled(model, batch)
            losses.sum().backward()
            gradient = next(model.parameters()).grad.clone()
            model.zero_grad()
            expected = plain(model, batch)
            expected.sum().backward()
            assert torch.equal(losses, expected)
            assert torch.equal(gradient, next(model.parameters()).grad)
    assert len(set(seen)) > 1
