"""Going on with an existing Hugging Face checkpoint."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.pretrain.architecture import architecture_of
from pipeline.pretrain.attention import layout_of
from pipeline.pretrain.evaluate import evaluate_masked_lm
from pipeline.pretrain.export import export_model
from pipeline.pretrain.model import build_model
from pipeline.pretrain.pretrained import read_pretrained, take_weights
from pipeline.pretrain.pretrained_config import find_pretrained
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.train import train
from pipeline.pretrain.watch import TrainingStoppedError
from tests.pretrain.shards import IDS, MAX_PIECES, SEQ_LENGTH, SPECIAL_IDS, make_rows, write_split, write_tokenizer

SETTINGS = {
    "model": "modernbert-demo", "layers": 2, "width": 32, "heads": 2, "steps": 12, "batch_rows": 8, "threads": 1,
    "optimizer": "muon", "lr": 0.01, "eval_every": 50, "checkpoint_every": 50,
}  # fmt: skip


def _theirs(name, directory):
    """A small model of `transformers` with weights of some size, saved by it."""
    import transformers

    common = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2}
    common |= {"intermediate_size": 48, "max_position_embeddings": 40, "pad_token_id": 0}
    if name == "bert":
        model = transformers.BertForPreTraining(transformers.BertConfig(**common))
    else:
        config = transformers.ModernBertConfig(
            **common, local_attention=8, global_attn_every_n_layers=2, cls_token_id=2, sep_token_id=3, bos_token_id=2,
            eos_token_id=3, global_rope_theta=80_000.0,
        )  # fmt: skip
        model = transformers.ModernBertForMaskedLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    model.save_pretrained(directory)
    return model.eval()


def _read(directory, **changed):
    given = {"vocab_size": 50, "seq_length": 24, "next_sentence": False, **changed}
    architecture, tensors = read_pretrained(directory, **given)
    model = build_model(architecture, seed=0)
    take_weights(model, tensors)
    return model


@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_logits_of_saved_models(tmp_path, name):
    """A model that `transformers` saved gives the same logits here, window, angles and padded vocabulary included."""
    theirs = _theirs(name, tmp_path)
    model = _read(tmp_path, next_sentence=name == "bert")
    ids = torch.arange(5, 29).unsqueeze(0)
    with torch.no_grad():
        ours = model(ids, layout_of(torch.tensor([[24]]), 24, model.architecture.window))
        expected = theirs(ids)
    logits = expected.prediction_logits if name == "bert" else expected.logits
    assert (ours.token_BQV - logits).abs().max() < 1e-5 * logits.abs().max()
    if name == "bert":
        assert torch.allclose(ours.next_B2, expected.seq_relationship_logits, rtol=1e-4, atol=1e-5)


def test_old_names_and_missing_heads(tmp_path):
    """Norms named gamma and beta are understood; a missing next-sentence head is fresh, another weight refused."""
    _theirs("bert", tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    old = {key.replace("LayerNorm.weight", "LayerNorm.gamma"): value for key, value in tensors.items()}
    headless = {key: value for key, value in old.items() if "pooler" not in key and "seq_relationship" not in key}
    save_file(headless, path)
    model = _read(tmp_path, next_sentence=True)
    assert torch.equal(model.bert.embeddings.LayerNorm.weight, tensors["bert.embeddings.LayerNorm.weight"])
    assert model.bert.pooler.dense.weight.std() > 0
    save_file({key: value for key, value in headless.items() if "predictions" not in key}, path)
    with pytest.raises(ValueError, match="needs its masked language model head"):
        _read(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match=r"has no model\.safetensors"):
        _read(tmp_path)


@pytest.mark.parametrize(
    ("name", "config", "shards", "words"),
    [
        ("bert", {"hidden_act": "relu"}, {}, "hidden_act 'relu', only 'gelu'"),
        ("bert", {"model_type": "gpt2"}, {}, "is a 'gpt2', not one of bert, modernbert"),
        ("bert", {}, {"seq_length": 48}, "40 positions, the rows 48 tokens"),
        ("bert", {}, {"vocab_size": 61}, "60 ids, the shards 61"),
        ("modernbert", {"norm_bias": True}, {}, "norm_bias True"),
        ("modernbert", {"layer_types": ["full_attention"] * 4}, {}, "layer_types"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, name, config, shards, words):
    """Another architecture, too few ids or positions are each refused in one line."""
    _theirs(name, tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    with pytest.raises(ValueError, match=words):
        _read(tmp_path, **shards)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("config.json", "{", "not readable as JSON"),
        ("config.json", "[1]", "no configuration"),
        ("config.json", '{"model_type": "bert"}', "has no vocab_size"),
        ("model.safetensors", "x" * 40, "damaged or incomplete"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, text, words):
    """A file that is no configuration, or cut weights: one line with the name of the file."""
    _theirs("bert", tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=words) as caught:
        _read(tmp_path)
    assert str(tmp_path / name) in str(caught.value)


def test_modernbert_takes_longer_rows(tmp_path):
    """Rotary positions know no longest row: a second phase on longer rows is allowed."""
    _theirs("modernbert", tmp_path)
    assert _read(tmp_path, seq_length=400).architecture.positions == 400


def test_unknown_name(tmp_path, monkeypatch):
    """A name that is no directory, with the hub out of reach, is refused in one line."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="is no directory") as caught:
        find_pretrained("nobody/nothing")
    assert "\n" not in str(caught.value)


def test_second_run_starts_where_the_first_ended(out, tmp_path_factory):
    """With a learning rate near zero the second run ends at the first one's validation loss: its weights were taken."""
    second = tmp_path_factory.mktemp("second")
    for name in ("shards", "tokenizer"):
        (second / name).symlink_to(out / name)
    first = train(Settings(**{**SETTINGS, "steps": 40}), out, say=lambda line: None)
    near = {"steps": 1, "batch_rows": 8, "threads": 1, "lr": 1e-9, "init_from": str(out / "model")}
    again = train(Settings(**near), second, say=lambda line: None)
    assert again["validation_loss"] == pytest.approx(first["validation_loss"], rel=1e-6)
    assert first["validation_loss"] < first["first_loss"]
    (second / "tokenizer").unlink()
    changed = dict(IDS)
    changed["kada"], changed["kafe"] = changed["kafe"], changed["kada"]
    write_tokenizer(second / "tokenizer", changed)
    shutil.rmtree(second / "checkpoints")
    with pytest.raises(ValueError, match="maps tokens to other ids"):
        train(Settings(**near, seed=1), second, say=print)


def test_a_checkpoint_is_a_start_as_well(out, tmp_path_factory):
    """What a run had learned half way is measured and gone on from, with another rate if it failed at the first one."""
    second = tmp_path_factory.mktemp("second")
    for name in ("shards", "tokenizer"):
        (second / name).symlink_to(out / name)
    summary = train(Settings(**{**SETTINGS, "checkpoint_every": 6}), out, say=lambda line: None)
    half, end = (out / "checkpoints" / f"step-{step:08d}" for step in (6, 12))
    assert evaluate_masked_lm(end, out)["loss"] == pytest.approx(summary["validation_loss"], rel=1e-6)
    measured = evaluate_masked_lm(half, out)["loss"]
    assert abs(measured - summary["validation_loss"]) > 1e-3
    near = Settings(steps=1, batch_rows=8, threads=1, lr=1e-9, init_from=str(half))
    assert train(near, second, say=lambda line: None)["validation_loss"] == pytest.approx(measured, rel=1e-6)
    (second / "tokenizer").unlink()
    write_tokenizer(second / "tokenizer", {**IDS, "kada": IDS["kafe"], "kafe": IDS["kada"]})
    with pytest.raises(ValueError, match="maps tokens to other ids"):
        evaluate_masked_lm(half, second)
    with pytest.raises(ValueError, match="43 ids, the shards 1000"):
        _read(half, vocab_size=1000)
    weights = half / "state.safetensors"
    weights.write_bytes(weights.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"^--model: .*step-00000006: damaged checkpoint refused"):
        evaluate_masked_lm(half, out)


def test_resumes_without_the_checkpoint_it_began_with(out, tmp_path_factory):
    """The weights are in the run's own checkpoint: what `init_from` names may be deleted meanwhile, or overwritten."""
    second = tmp_path_factory.mktemp("second")
    for name in ("shards", "tokenizer"):
        (second / name).symlink_to(out / name)
    train(Settings(**SETTINGS), out, say=lambda line: None)
    settings = Settings(steps=4, batch_rows=8, threads=1, init_from=str(out / "model"))
    with pytest.raises(TrainingStoppedError):
        train(settings, second, say=lambda line: None, stop=lambda: True)
    shutil.rmtree(out / "model")
    summary = train(settings, second, say=lambda line: None)
    assert summary["steps"] == 4
    (second / "pretrain" / "summary.json").unlink()
    _theirs("bert", out / "model")
    train(settings, second, say=lambda line: None)
    assert json.loads((second / "model" / "config.json").read_text())["model_type"] == "modernbert"


def test_second_phase_on_longer_rows(out):
    """ModernBERT goes on with longer rows, from where the first phase ended; BERT's positions do not reach."""
    first = train(Settings(**{**SETTINGS, "steps": 60}), out, say=lambda line: None)
    (out / "model").rename(out / "first")
    (out / "pretrain").rename(out / "pretrain-first")
    (out / "checkpoints").rename(out / "checkpoints-first")
    for split, seed in (("train", 1), ("validation", 2)):
        rows = make_rows(80, seed)
        longer = [one + other for one, other in zip(rows[::2], rows[1::2], strict=True)]
        write_split(
            out / "shards-64" / split, longer, num_files=1, seq_length=2 * SEQ_LENGTH, max_pieces=2 * MAX_PIECES
        )
    second = {"shards": "shards-64", "steps": 4, "batch_rows": 4, "lr": 1e-6, "threads": 1}
    phase = train(Settings(init_from=str(out / "first"), **second), out, say=lambda line: None)
    assert first["validation_loss"] < first["first_loss"] - 0.2
    assert phase["first_loss"] == pytest.approx(first["validation_loss"], abs=0.1)
    assert phase["validation_loss"] == pytest.approx(first["validation_loss"], abs=0.1)
    assert json.loads((out / "model" / "config.json").read_text())["max_position_embeddings"] == 2 * SEQ_LENGTH
    shutil.rmtree(out / "checkpoints")
    bert = architecture_of("bert-tiny", vocab_size=len(IDS), positions=SEQ_LENGTH, pad_id=0)
    export_model(build_model(bert, seed=0), out / "tokenizer", out / "bert", special_ids=SPECIAL_IDS)
    with pytest.raises(ValueError, match=r"has 32 positions, the rows 64 tokens"):
        train(Settings(init_from=str(out / "bert"), **{**second, "seed": 1}), out, say=lambda line: None)
