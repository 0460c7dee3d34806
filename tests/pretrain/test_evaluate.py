"""The evaluation of a pretrained model: it says what the run said, and refuses what cannot be compared."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from pipeline.pretrain.architecture import architecture_of
from pipeline.pretrain.evaluate import evaluate_masked_lm
from pipeline.pretrain.export import export_model
from pipeline.pretrain.model import build_model
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.train import train
from tests.pretrain.shards import IDS, SPECIAL_IDS, make_pairs, write_pairs, write_tokenizer


def test_evaluation_of_a_masked_model(out):
    """At the run's own rate and seed the loss is the run's, and what it means is said beside it."""
    settings = Settings(
        model="modernbert-demo", width=32, heads=2, steps=10, batch_rows=8, optimizer="muon", lr=0.01, threads=1, seed=5
    )
    summary = train(settings, out, say=lambda line: None)
    report = evaluate_masked_lm(out / "model", out, mask_rate=settings.mask_rate, seed=5)
    assert report["loss"] == pytest.approx(summary["validation_loss"], rel=1e-6)
    assert report["accuracy"] == pytest.approx(summary["validation_accuracy"], rel=1e-6)
    assert report["unigram_entropy"] == pytest.approx(summary["unigram_entropy"], rel=1e-9)
    assert report["nats_below_unigram"] == pytest.approx(report["unigram_entropy"] - report["loss"])
    assert report["perplexity"] == pytest.approx(np.exp(report["loss"]))
    assert report["uniform_entropy"] == pytest.approx(np.log(len(IDS) - 5))
    assert json.dumps(report)


def test_evaluation_on_sentence_pairs(tmp_path):
    """A model that learned next sentences sees which is which, as in its run, and its labels are counted, too."""
    write_tokenizer(tmp_path / "tokenizer")
    for split, count in (("train", 200), ("validation", 60)):
        write_pairs(tmp_path / "shards" / split, make_pairs(count, count))
    settings = Settings(
        model="bert-tiny", objective="mlm+nsp", width=32, heads=2, steps=20, batch_rows=16, lr=0.005, threads=1
    )
    summary = train(settings, tmp_path, say=lambda line: None)
    report = evaluate_masked_lm(tmp_path / "model", tmp_path)
    assert report["loss"] == pytest.approx(summary["validation_loss"], rel=1e-6)
    assert report["next_sentence_accuracy"] == pytest.approx(summary["next_sentence_accuracy"], rel=1e-6)
    plain = dataclasses.replace(settings, objective="mlm")
    shutil.rmtree(tmp_path / "checkpoints")
    summary = train(plain, tmp_path, say=lambda line: None)
    report = evaluate_masked_lm(tmp_path / "model", tmp_path)
    assert report["loss"] == pytest.approx(summary["validation_loss"], rel=1e-6)
    assert "next_sentence_accuracy" not in report


def test_evaluation_with_another_tokenizer_is_refused(out):
    """Ids of another tokenizer would give a loss that means nothing."""
    model = out / "model"
    fresh = architecture_of("bert-tiny", vocab_size=len(IDS), positions=32, pad_id=0, width=32, heads=2)
    export_model(build_model(fresh, seed=0), out / "tokenizer", model, special_ids=SPECIAL_IDS)
    (out / "tokenizer").rename(out / "theirs")
    swapped = {**IDS, "kada": IDS["kafe"], "kafe": IDS["kada"]}
    write_tokenizer(out / "tokenizer", swapped)
    with pytest.raises(ValueError, match="^--model: .* maps tokens to other ids"):
        evaluate_masked_lm(model, out)
    (model / "tokenizer.json").unlink()
    (model / "vocab.txt").write_text("\n".join(IDS) + "\n")  # all that an older BERT brings
    with pytest.raises(ValueError, match="^--model: .*vocab.txt maps tokens to other ids"):
        evaluate_masked_lm(model, out)
    (model / "vocab.txt").write_text("\n".join(sorted(swapped, key=swapped.__getitem__)) + "\n")
    assert evaluate_masked_lm(model, out)["rows"] == 20
    (out / "tokenizer" / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match=r"tokenizer/tokenizer\.json: not readable as a tokenizer"):
        evaluate_masked_lm(model, out)


@pytest.mark.parametrize("rate", [0.0, 1.0, 2.0, float("nan")])
def test_a_mask_rate_that_is_no_share_is_refused(out, rate):
    """Nothing can be predicted of no token, nor from none."""
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        evaluate_masked_lm(out / "model", out, mask_rate=rate)
