"""The exported model in a process that has never heard of Gristmill."""

import json
import os
import subprocess
import sys

import pytest
import torch

from pipeline.pretrain.architecture import architecture_of
from pipeline.pretrain.attention import layout_of
from pipeline.pretrain.export import check_target, export_model, replace_directory
from pipeline.pretrain.fill_mask import fill_prompts
from pipeline.pretrain.model import build_model
from tests.pretrain.shards import IDS, SPECIAL_IDS

# Run by `python -c` in an empty directory: stock transformers only, one process for all models (it is slow to start).
_OPEN = """
import json, sys, torch
from transformers import (
    AutoModelForMaskedLM, AutoModelForPreTraining, AutoModelForSequenceClassification, AutoTokenizer, pipeline
)
text, *paths = sys.argv[1:]
for path in paths:
    kind = AutoModelForPreTraining if path.endswith("nsp") else AutoModelForMaskedLM
    model, keys = kind.from_pretrained(path, output_loading_info=True)
    assert not keys["missing_keys"] and not keys["unexpected_keys"] and not keys["mismatched_keys"], keys
    masked, keys = AutoModelForMaskedLM.from_pretrained(path, output_loading_info=True)
    assert not keys["missing_keys"] and not keys["mismatched_keys"], keys
    tokenizer = AutoTokenizer.from_pretrained(path)
    assert tokenizer.mask_token == "[MASK]", tokenizer.mask_token
    _, others = AutoModelForSequenceClassification.from_pretrained(path, num_labels=3, output_loading_info=True)
    new = [key for key in others["missing_keys"] if not key.startswith(("classifier.", "bert.pooler."))]
    assert not new, new
    inputs = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        answer = model.eval()(**inputs)
        logits = masked.eval()(**inputs).logits[0]
    best = pipeline("fill-mask", model=masked, tokenizer=tokenizer)(text)
    print(json.dumps({"ids": inputs["input_ids"][0].tolist(), "logits": logits.tolist(),
                      "next": answer.seq_relationship_logits[0].tolist() if path.endswith("nsp") else None,
                      "best": [[b["token_str"], b["score"]] for b in best], "left": sorted(keys["unexpected_keys"]),
                      "inputs": sorted(inputs), "longest": tokenizer.model_max_length}))
"""
MODELS = {"bert": "bert-tiny", "bert-nsp": "bert-tiny", "modernbert": "modernbert-demo"}


def test_stock_transformers_opens_it(out):
    """AutoModelForMaskedLM, AutoTokenizer and fill-mask load it with no missing or surplus key and equal logits.

    AutoModelForPreTraining loads all of a next-sentence model; as with Google's own, AutoModelForMaskedLM has no use
    for its second head.
    """
    models = {}
    for name, preset in MODELS.items():
        architecture = architecture_of(
            preset, vocab_size=len(IDS), positions=32, pad_id=0, next_sentence=name.endswith("nsp")
        )
        model = models[name] = build_model(architecture, seed=4)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(4.0)
        export_model(model, out / "tokenizer", out / name, special_ids=SPECIAL_IDS)
    export_model(models["bert"], out / "tokenizer", out / "bert", special_ids=SPECIAL_IDS)  # replaces the first
    assert sorted(path.name for path in out.iterdir()) == sorted([*MODELS, "shards", "tokenizer"])
    text = "kada [MASK] lofe mi nugo"
    result = subprocess.run(
        [sys.executable, "-c", _OPEN, text, *(str(out / name) for name in MODELS)],
        cwd=out, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    for (name, model), line in zip(models.items(), result.stdout.splitlines()[-3:], strict=True):
        theirs = json.loads(line)
        ids = torch.tensor([theirs["ids"]])
        with torch.no_grad():
            ours = model(ids, layout_of(torch.tensor([[ids.shape[1]]]), ids.shape[1], 128))
        expected = torch.tensor(theirs["logits"])
        assert (ours.token_BQV[0] - expected).abs().max() / expected.abs().max() < 1e-5
        if name == "bert-nsp":
            assert torch.allclose(ours.next_B2[0], torch.tensor(theirs["next"]), rtol=1e-5, atol=1e-6)
            assert all(key.startswith(("bert.pooler.", "cls.seq_relationship.")) for key in theirs["left"])
        else:
            assert theirs["left"] == []
        own = fill_prompts(model, out / "tokenizer" / "tokenizer.json", (text,), 4)[0]["predictions"]
        assert [prediction["token"] for prediction in own] == [token for token, _ in theirs["best"]]
        assert theirs["longest"] == 32
        # ModernBERT takes no token types; older versions of `transformers` fail on them.
        assert ("token_type_ids" in theirs["inputs"]) == (name != "modernbert")


def _fill(to, weights=b"new"):
    with replace_directory(to) as draft:
        (draft / "config.json").write_text("{}")
        (draft / "model.safetensors").write_bytes(weights)


@pytest.mark.parametrize("name", ["notes.txt", "model.txt", "token.json/x", "optimizer.pt"])
def test_what_is_no_model_is_never_replaced(tmp_path, name):
    """A directory that holds anything but a model stays as it is, and so does a file in the place of the directory."""
    to = tmp_path / "to"
    _fill(to)
    other = to / name
    other.parent.mkdir(exist_ok=True)
    other.write_text("precious")
    for place, words in ((to, "something else than a model"), (other, "a directory" if other.is_file() else "")):
        with pytest.raises(ValueError, match=words):
            _fill(place)
    assert other.read_text() == "precious"
    (to / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="something else than a model"):
        check_target(to)
    assert [path.name for path in tmp_path.iterdir()] == ["to"]


def test_a_model_and_own_drafts_are_replaced(tmp_path):
    """A model is replaced, an empty directory filled, a draft of ours removed; others' files of such names stay."""
    to = tmp_path / "to"
    to.mkdir()
    draft, theirs, other = tmp_path / ".tmp-to-123", tmp_path / ".tmp-to-notes", tmp_path / ".tmp-to-12"
    for directory in (draft, theirs, other):
        directory.mkdir()
    (draft / "model.safetensors").write_bytes(b"half")
    (theirs / "config.json").write_text("theirs")
    (other / "diary.txt").write_text("theirs")
    _fill(to, b"first")
    _fill(to, b"second")
    assert (to / "model.safetensors").read_bytes() == b"second"
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, theirs.name, "to"]


def test_below_a_file_is_told_at_once(tmp_path):
    """A path that cannot become a directory is refused before anything is trained for it."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="is a file"):
        check_target(tmp_path / "file" / "to")


@pytest.mark.parametrize(("exists", "closed"), [(False, "."), (True, "."), (False, "above")])
def test_a_closed_directory_is_told_at_once(tmp_path, monkeypatch, exists, closed):
    """A directory that nobody may write to is refused before anything is trained for it; drafts lie beside `to`."""
    to = tmp_path / closed / "new" / "to" if closed != "." else tmp_path / "to"
    (tmp_path / closed).mkdir(exist_ok=True)
    if exists:
        to.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: path != (tmp_path / closed).resolve() or not mode & os.W_OK)
    with pytest.raises(ValueError, match=r"cannot be written to$"):
        check_target(to)
    monkeypatch.undo()
    assert check_target(to) == to
