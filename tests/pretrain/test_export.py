"""The exported model in a process that has never heard of Gristmill."""

import json
import subprocess
import sys

import pytest
import torch

from pipeline.pretrain.architecture import architecture_of
from pipeline.pretrain.attention import layout_of
from pipeline.pretrain.export import export_model
from pipeline.pretrain.fill_mask import fill_prompts
from pipeline.pretrain.model import build_model
from tests.pretrain.shards import IDS, SPECIAL_IDS

# Run by `python -c` in an empty directory: stock transformers only.
_OPEN = """
import json, sys, torch
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer, pipeline
path, text = sys.argv[1:]
model, keys = AutoModelForMaskedLM.from_pretrained(path, output_loading_info=True)
assert not keys["missing_keys"] and not keys["unexpected_keys"] and not keys["mismatched_keys"], keys
tokenizer = AutoTokenizer.from_pretrained(path)
assert tokenizer.mask_token == "[MASK]", tokenizer.mask_token
_, keys = AutoModelForSequenceClassification.from_pretrained(path, num_labels=3, output_loading_info=True)
new = [key for key in keys["missing_keys"] if not key.startswith(("classifier.", "bert.pooler."))]
assert not new, new
inputs = tokenizer(text, return_tensors="pt")
with torch.no_grad():
    logits = model.eval()(**inputs).logits[0]
best = pipeline("fill-mask", model=model, tokenizer=tokenizer)(text)
print(json.dumps({"ids": inputs["input_ids"][0].tolist(), "logits": logits.tolist(),
                  "best": [[b["token_str"], b["score"]] for b in best],
                  "inputs": sorted(inputs), "longest": tokenizer.model_max_length}))
"""


@pytest.mark.parametrize("name", ["bert-tiny", "modernbert-demo"])
def test_stock_transformers_opens_it(out, name):
    """AutoModelForMaskedLM, AutoTokenizer and fill-mask load it with no missing or surplus key and equal logits."""
    model = build_model(architecture_of(name, vocab_size=len(IDS), positions=32, pad_id=0), seed=4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0)
    export_model(model, out / "tokenizer", out / "model", special_ids=SPECIAL_IDS)
    export_model(model, out / "tokenizer", out / "model", special_ids=SPECIAL_IDS)  # replaces the first
    assert sorted(path.name for path in out.iterdir()) == ["model", "shards", "tokenizer"]
    text = "kada [MASK] lofe mi nugo"
    result = subprocess.run(
        [sys.executable, "-c", _OPEN, str(out / "model"), text], cwd=out, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    theirs = json.loads(result.stdout.splitlines()[-1])
    ids = torch.tensor([theirs["ids"]])
    with torch.no_grad():
        ours = model(ids, layout_of(torch.tensor([[ids.shape[1]]]), ids.shape[1], 128)).token_BQV[0]
    expected = torch.tensor(theirs["logits"])
    assert (ours - expected).abs().max() / expected.abs().max() < 1e-5
    own = fill_prompts(model, out / "tokenizer" / "tokenizer.json", (text,), 4)[0]["predictions"]
    assert [prediction["token"] for prediction in own] == [token for token, _ in theirs["best"]]
    assert theirs["longest"] == 32
    # ModernBERT takes no token types; older versions of `transformers` fail on them.
    assert ("token_type_ids" in theirs["inputs"]) == (name == "bert-tiny")
