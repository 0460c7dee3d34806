"""What only a GPU can show; collected everywhere, skipped with a reason where there is none."""

import json

import pytest
import torch
from safetensors.torch import load_file

from pipeline.pretrain import checkpoint
from pipeline.pretrain.architecture import architecture_of
from pipeline.pretrain.attention import attend, layout_of
from pipeline.pretrain.checkpoint import CheckpointWriter, collect_tensors, load_checkpoints
from pipeline.pretrain.evaluate import evaluate_masked_lm
from pipeline.pretrain.finetune import evaluate_directory, finetune
from pipeline.pretrain.labelled import Labelled
from pipeline.pretrain.log import read_log
from pipeline.pretrain.masking import mask_rows
from pipeline.pretrain.model import build_model
from pipeline.pretrain.optimizer import build_optimizers
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.train import train
from pipeline.pretrain.vocabulary import Vocabulary
from pipeline.pretrain.watch import TrainingStoppedError
from pipeline.pretrain.world import World
from tests.reference.attention import attend_by_document

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
GPU = torch.device("cuda")


@pytest.fixture(autouse=True)
def _leave_no_mode():
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("is_global", [True, False])
@pytest.mark.parametrize("backend", ["sdpa", "varlen", "flex"])
def test_attention_kernels(backend, is_global):
    """In bfloat16 forward and backward are within 2% of the largest value of the twin in float64, empty tails too."""
    lengths_BP = torch.tensor([[50, 1, 77, 0], [128, 0, 0, 0], [1, 1, 1, 90]])
    generator = torch.Generator().manual_seed(0)
    parts = torch.randn((4, 3, 128, 2, 64), generator=generator, dtype=torch.float64).bfloat16()
    heads, gradient = parts[:3], parts[3].flatten(2)
    layout = layout_of(lengths_BP.to(GPU), 128, 32, backend)
    real_BS1 = (layout.document_BS < 4).unsqueeze(2)
    results = []
    for path in ("own", "twin"):
        q, k, v = (part.to(GPU if path == "own" else "cpu").clone() for part in heads)
        if path == "twin":
            q, k, v = q.double(), k.double(), v.double()
        for part in (q, k, v):
            part.requires_grad_()
        if path == "own":
            mixed = attend(q, k, v, layout, is_global=is_global, slots_BQ=None) * real_BS1
        else:
            mixed = attend_by_document(q, k, v, lengths_BP, None if is_global else 32)
        mixed.backward(gradient.to(mixed))
        results.append([value.detach().double().cpu() for value in (mixed, q.grad, k.grad, v.grad)])
    for own, twin in zip(*results, strict=True):
        assert (own - twin).abs().max() < 0.02 * twin.abs().max()


@pytest.mark.parametrize("whole_word", [False, True])
def test_masks_are_those_of_a_cpu(whole_word):
    """The hash decides: both devices mask the same tokens in the same way."""
    ids_BS = torch.randint(5, 200, (16, 512), generator=torch.Generator().manual_seed(0))
    flags = torch.arange(200)
    vocabulary = Vocabulary(4, flags >= 5, flags % 2 == 0, torch.arange(5, 200))
    masked = [
        mask_rows(
            ids_BS.to(device), torch.arange(16, device=device), seed=1, step=2, mask_rate=0.3, whole_word=whole_word,
            vocabulary=vocabulary.to(device),
        )
        for device in (torch.device("cpu"), GPU)
    ]  # fmt: skip
    for one, other in zip(*masked, strict=True):
        assert torch.equal(one, other.cpu())


@pytest.mark.parametrize("compile_mode", ["no", "block", "model"])
@pytest.mark.parametrize("backend", ["sdpa", "varlen", "flex", "varlen+flex"])
def test_stop_and_go_is_bit_equal(out, tmp_path_factory, backend, compile_mode):
    """With deterministic kernels a run that was stopped equals an undisturbed one, and learns as on a CPU."""
    twin = tmp_path_factory.mktemp("twin")
    for name in ("shards", "tokenizer"):
        (twin / name).symlink_to(out / name)
    settings = Settings(
        model="modernbert-demo", width=64, heads=2, steps=20, batch_rows=8, micro_rows=4, attention=backend,
        compile=compile_mode, deterministic=True, checkpoint_every=20, eval_every=20,
    )  # fmt: skip
    world = World(0, 1, GPU)
    train(settings, out, say=lambda line: None, world=world)
    asked = iter([False] * 6 + [True])
    with pytest.raises(TrainingStoppedError):
        train(settings, twin, say=lambda line: None, stop=lambda: next(asked), world=world)
    train(settings, twin, say=lambda line: None, world=world)
    curves = [
        [(line["step"], line["loss"]) for line in read_log(run / "pretrain" / "log.jsonl") if "loss" in line]
        for run in (out, twin)
    ]
    assert curves[0] == curves[1]
    ours, theirs = (load_file(run / "model" / "model.safetensors") for run in (out, twin))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    summary = json.loads((out / "pretrain" / "summary.json").read_text())
    assert summary["execution"]["attention"] == backend


def test_evaluation_is_that_of_a_cpu(out, monkeypatch):
    """A model is measured where it is trained, in float32, and the figures are those of a CPU."""
    settings = Settings(
        model="modernbert-demo", width=64, heads=2, steps=20, batch_rows=8, precision="float32", compile="no"
    )
    train(settings, out, say=lambda line: None, world=World(0, 1, GPU))
    on_gpu = evaluate_masked_lm(out / "model", out)
    examples = Labelled(["kada lofe", "mida rago"] * 20, [""] * 40, ["a", "b"] * 20)
    finetune(out / "model", examples, examples, out / "tuned", lrs=(1e-3,), epochs=1, say=lambda line: None)
    tuned_on_gpu = evaluate_directory(out / "tuned", examples)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    on_cpu = evaluate_masked_lm(out / "model", out)
    assert on_gpu["loss"] == pytest.approx(on_cpu["loss"], rel=1e-4)
    assert on_gpu["unigram_entropy"] == pytest.approx(on_cpu["unigram_entropy"])
    assert evaluate_directory(out / "tuned", examples) == tuned_on_gpu


def test_checkpoints_leave_by_a_stream_of_their_own(tmp_path, monkeypatch):
    """What is written is what was collected, though the weights change at once and the copy waits."""
    model = build_model(architecture_of("bert-mini", vocab_size=30_000, positions=8, pad_id=0), seed=0).to(GPU)
    expected = {key: value.cpu() for key, value in collect_tensors(model, []).items()}
    real = checkpoint._on_cpu

    def late(*arguments):
        torch.cuda._sleep(50_000_000)
        return real(*arguments)

    monkeypatch.setattr(checkpoint, "_on_cpu", late)
    writer = CheckpointWriter(tmp_path, keep=1)
    writer.save(collect_tensors(model, build_optimizers(model, "adamw", lr=1.0, weight_decay=0.0)), {"step": 1})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    writer.wait()
    tensors = next(load_checkpoints(tmp_path, [])).tensors
    assert all(torch.equal(tensors[key], value) for key, value in expected.items())
