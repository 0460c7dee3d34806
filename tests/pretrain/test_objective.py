"""The objective as one compiled graph."""

import dataclasses
import functools

import numpy as np
import pytest
import torch

from pipeline.pretrain.architecture import architecture_of
from pipeline.pretrain.model import build_model, compile_blocks
from pipeline.pretrain.objective import losses_with, read_microbatch
from pipeline.pretrain.rows import Rows
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.vocabulary import read_vocabulary
from tests.pretrain.shards import IDS, SEQ_LENGTH


@pytest.mark.parametrize("name", ["bert-tiny", "modernbert-demo"])
def test_one_graph_for_all_microbatches(out, monkeypatch, name):
    """Rows with other numbers and lengths of documents never break the graph and never compile it again."""
    # The graph is traced and guarded as on a GPU; only the code generator, which costs minutes, is left out.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    torch._dynamo.reset()
    rows = Rows(out / "shards" / "train")
    vocabulary = read_vocabulary(rows.metadata, out / "tokenizer" / "tokenizer.json")
    architecture = architecture_of(name, vocab_size=len(IDS), positions=SEQ_LENGTH, pad_id=0, width=16, heads=2)
    model = build_model(architecture, seed=0)
    compiled, plain = (losses_with(attention="sdpa", dtype=None, compiled=flag) for flag in (True, False))
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


def _batches(out, count):
    rows = Rows(out / "shards" / "train")
    vocabulary = read_vocabulary(rows.metadata, out / "tokenizer" / "tokenizer.json")
    for step in range(count):
        numbers = np.arange(step * 5, step * 5 + 5)
        yield read_microbatch(rows, numbers, settings=Settings(), step=step, vocabulary=vocabulary)


def _model(name):
    """Layers of both kinds, with a window smaller than a row."""
    architecture = architecture_of(
        name, vocab_size=len(IDS), positions=SEQ_LENGTH, pad_id=0, width=32, heads=2, layers=3
    )
    return build_model(dataclasses.replace(architecture, window=6), seed=0).requires_grad_(False)


@pytest.mark.parametrize("name", ["bert-tiny", "modernbert-demo"])
def test_flex_is_one_graph(out, monkeypatch, name):
    """With block masks the losses are those of dense masks, in one graph that new masks do not compile again."""
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    model = _model(name)
    losses, dense = (losses_with(attention=kind, dtype=None, compiled=kind == "flex") for kind in ("flex", "sdpa"))
    with torch._dynamo.config.patch(error_on_recompile=True):
        for batch in _batches(out, 3):
            assert torch.allclose(losses(model, batch), dense(model, batch), rtol=1e-5)


@pytest.mark.parametrize("name", ["bert-tiny", "modernbert-demo"])
def test_stream_kernel_is_traced(out, monkeypatch, name):
    """Variable-length attention, which a CPU cannot run, is at least traced into one graph, once a layer."""
    torch._dynamo.reset()
    graphs = []

    def keep(graph, inputs):
        graphs.append([str(node.target) for node in graph.graph.nodes if node.op == "call_function"])
        raise InterruptedError("traced")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=keep))
    losses = losses_with(attention="varlen", dtype=torch.bfloat16, compiled=True)
    with pytest.raises(Exception, match="traced"):
        losses(_model(name), next(_batches(out, 1)))
    assert len(graphs) == 1
    assert sum("varlen_attn" in target for target in graphs[0]) == 3


@pytest.mark.parametrize(
    ("name", "backend"), [("bert-tiny", "sdpa"), ("modernbert-demo", "sdpa"), ("modernbert-demo", "flex")]
)
def test_blocks_are_compiled_once_a_kind(out, monkeypatch, name, backend):
    """Five blocks are at most four graphs (first, global, local, last), none more for new rows; results are the same.

    The parameters keep their names, so checkpoints fit compiled and plain models alike.
    """
    torch._dynamo.reset()
    architecture = architecture_of(
        name, vocab_size=len(IDS), positions=SEQ_LENGTH, pad_id=0, width=32, heads=2, layers=5
    )
    plain, compiled = (build_model(dataclasses.replace(architecture, window=6), seed=0) for _ in range(2))
    for model in (plain, compiled):
        model.requires_grad_(backend == "sdpa")  # FlexAttention has no backward pass on a CPU
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph

    real = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", functools.partialmethod(real, backend=count))
    compile_blocks(compiled)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    losses = losses_with(attention=backend, dtype=None, compiled=False)
    seen = []
    for batch in _batches(out, 3):
        results = []
        for model in (plain, compiled):
            model.zero_grad()
            loss = losses(model, batch).sum()
            if backend == "sdpa":
                loss.backward()
            results.append((loss.detach(), next(model.parameters()).grad))
        assert torch.allclose(results[0][0], results[1][0], rtol=1e-6)
        assert backend == "flex" or torch.allclose(results[0][1], results[1][1], rtol=1e-5, atol=1e-7)
        seen.append(len(graphs))
    assert 1 <= seen[0] <= 4
    assert set(seen) == {seen[0]}
