"""The exported model in a process that has never heard of Gristmill."""

import json
import subprocess
import sys

import torch

from pipeline.pretrain.architecture import architecture_of
from pipeline.pretrain.attention import layout_of
from pipeline.pretrain.export import export_model
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
