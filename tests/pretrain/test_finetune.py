"""Fine-tuning: the same network as in `transformers`, and it learns."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from pipeline.pretrain.architecture import architecture_of
from pipeline.pretrain.classifier import load_classifier
from pipeline.pretrain.evaluate import evaluate_masked_lm
from pipeline.pretrain.export import export_model
from pipeline.pretrain.finetune import _encode, _logits, classes_of, evaluate_directory, finetune
from pipeline.pretrain.labelled import Labelled, read_labelled
from pipeline.pretrain.model import build_model
from tests.pretrain.shards import IDS, SPECIAL_IDS, WORDS

FAMILIES = ["bert-tiny", "modernbert-demo"]


def _pretrained(out, name):
    model = build_model(architecture_of(name, vocab_size=len(IDS), positions=32, pad_id=0, width=32, heads=2), seed=0)
    export_model(model, out / "tokenizer", out / "model", special_ids=SPECIAL_IDS)
    return out / "model"


def _examples(count, seed, *, pairs=False):
    """Texts labelled by whether one word is among them, or pairs by whether they begin alike."""
    rng = np.random.default_rng(seed)
    texts, others, labels = [], [], []
    for _ in range(count):
        words = [WORDS[i] for i in rng.integers(1, len(WORDS), int(rng.integers(3, 9)))]
        yes = bool(rng.integers(2))
        if yes and not pairs:
            words[int(rng.integers(len(words)))] = WORDS[0]
        texts.append(" ".join(words))
        others.append((WORDS[0] if yes else WORDS[1]) if pairs else "")
        labels.append("yes" if yes else "no")
    return Labelled(texts, others, labels)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("pairs", [False, True])
def test_learns_and_transformers_agrees(out, name, pairs):
    """A rule is learned; AutoModelForSequenceClassification gives the same logits on the exported directory."""
    import transformers

    lines = []
    validation = _examples(60, 2, pairs=pairs)
    report = finetune(
        _pretrained(out, name), _examples(300, 1, pairs=pairs), validation, out / "tuned",
        lrs=(3e-3, 1.5e-8), epochs=4, say=lines.append,
    )  # fmt: skip
    assert report["accuracy"] > 0.9
    assert report["majority"] < 0.7
    assert report["lr"] == 3e-3
    assert len(lines) == 8
    assert lines[-1].startswith("lr 1.5e-08 ")
    # The second rate began from the pretrained weights, not from what the first had learned.
    assert float(lines[-1].split("accuracy ")[1].split("%")[0]) < 75
    again = evaluate_directory(out / "tuned", validation)
    assert again == {key: report[key] for key in again}

    theirs, keys = transformers.AutoModelForSequenceClassification.from_pretrained(
        out / "tuned", output_loading_info=True
    )
    assert not keys["missing_keys"]
    assert not keys["unexpected_keys"]
    assert theirs.config.id2label == {0: "no", 1: "yes"}
    classifier, classes = load_classifier(out / "tuned")
    assert classes == ["no", "yes"]
    encoded = _encode(Tokenizer.from_file(str(out / "tuned" / "tokenizer.json")), validation, 32)
    order_N = np.arange(10)
    with torch.no_grad():
        (_, ours), *_ = _logits(classifier.eval(), encoded, order_N, 10)
        for row in order_N:
            inputs = {"input_ids": torch.tensor([encoded.ids[row]])}
            if name == "bert-tiny":
                inputs["token_type_ids"] = torch.tensor([encoded.types[row]])
            expected = theirs.eval()(**inputs).logits[0]
            assert torch.allclose(ours[row], expected, rtol=1e-4, atol=1e-5)


def test_mistakes(out):
    """Labels that were never learned, and a model that has learned none, are refused."""
    model = _pretrained(out, "bert-tiny")
    train_examples = _examples(8, 0)
    with pytest.raises(ValueError, match="'perhaps' occurs in validation only"):
        finetune(model, train_examples, Labelled(["ka"], [""], ["perhaps"]), out / "tuned", say=print)
    with pytest.raises(ValueError, match="has learned no classes"):
        evaluate_directory(model, train_examples)


def test_questions_of_trec(shared_data, tmp_path):
    """On questions of six kinds a small fresh encoder beats the majority class and its untuned self by 30 points."""
    vocabulary = (
        (shared_data / "tokenizers" / "bert-base-uncased" / "vocab.txt").read_text(encoding="utf-8").split("\n")
    )
    ids = {token: index for index, token in enumerate(vocabulary) if token}
    special = {name: ids[f"[{name.upper()}]"] for name in SPECIAL_IDS}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", special["cls"]), ("[SEP]", special["sep"])]
    )
    (tmp_path / "tokenizer").mkdir()
    tokenizer.save(str(tmp_path / "tokenizer" / "tokenizer.json"))
    architecture = architecture_of("modernbert-demo", vocab_size=len(ids), positions=64, pad_id=0, width=64, heads=2)
    export_model(build_model(architecture, seed=0), tmp_path / "tokenizer", tmp_path / "model", special_ids=special)
    questions = shared_data / "classification" / "trec_qc"
    train_examples, test = (read_labelled(questions / f"{name}.jsonl.zst") for name in ("train", "test"))
    few = Labelled(*(column[::2] for column in train_examples))
    untuned = finetune(
        tmp_path / "model", few, test, tmp_path / "untuned", lrs=(1e-9,), epochs=1, batch_rows=512, say=print
    )
    tuned = finetune(tmp_path / "model", few, test, tmp_path / "tuned", lrs=(3e-3,), epochs=2, say=print)
    assert tuned["accuracy"] > max(tuned["majority"], untuned["accuracy"]) + 0.3
    assert tuned["f1"] > untuned["f1"] + 0.3


def test_a_loss_that_is_not_finite_is_no_result(out):
    """Such a learning rate is given up and never the best; where no other is left, nothing is written."""
    model, lines = _pretrained(out, "bert-tiny"), []
    train_examples, validation = _examples(40, 1), _examples(20, 2)
    report = finetune(model, train_examples, validation, out / "to", lrs=(1e30, 1e-8), epochs=2, say=lines.append)
    assert report["lr"] == 1e-8
    assert [line.endswith("not finite; given up") for line in lines] == [True, False, False]
    assert lines[0].startswith("lr 1e+30 ")
    assert all(value.isfinite().all() for value in load_file(out / "to" / "model.safetensors").values())
    with pytest.raises(ValueError, match="not finite at any of"):
        finetune(model, train_examples, validation, out / "none", lrs=(1e30,), epochs=2, say=lines.append)
    assert not (out / "none").exists()
    # One step an epoch: no loss has seen the weights that it spoils.
    for epochs in (1, 2):
        report = finetune(
            model, train_examples, validation, out / "to", lrs=(1e39, 1e-8), epochs=epochs, batch_rows=40,
            say=lines.append,
        )  # fmt: skip
        assert report["lr"] == 1e-8


def test_classes_without_names(out):
    """A classifier that `transformers` saved with its own two names says nothing of them; they are LABEL_0 and 1."""
    import transformers

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    theirs = transformers.BertForSequenceClassification(transformers.BertConfig(vocab_size=len(IDS), **sizes))
    theirs.save_pretrained(out / "theirs")
    assert "id2label" not in json.loads((out / "theirs" / "config.json").read_text())
    shutil.copy(out / "tokenizer" / "tokenizer.json", out / "theirs")
    examples = Labelled(["kada", "lofe"], ["", ""], ["LABEL_0", "LABEL_1"])
    assert evaluate_directory(out / "theirs", examples)["examples"] == 2


def test_classes_that_are_numbers_keep_them():
    """Of twelve classes 0 to 11 the logit 2 is class 2, not 10; other names stand in the order of their letters."""

    def classes(*labels):
        return classes_of(Labelled(["x"] * len(labels), [""] * len(labels), list(labels)))

    assert classes("11", *map(str, range(11)), "3") == [str(number) for number in range(12)]
    assert classes("1", "-1", "0") == ["-1", "0", "1"]
    assert classes("10", "2", "b") == ["10", "2", "b"]


def test_one_class_is_refused(out):
    """With one label there is nothing to learn, and an accuracy of 100% would say nothing."""
    alike = Labelled(["kada", "lofe"], ["", ""], ["a", "a"])
    with pytest.raises(ValueError, match="all examples of train have the label 'a'"):
        finetune(_pretrained(out, "bert-tiny"), alike, alike, out / "to", say=print)


@pytest.mark.parametrize(
    ("to", "epochs", "words"),
    [("shards", 1, "something else"), ("shards/train/state.json", 1, "is a file"), ("model", 1, "itself"),
     ("new", 0, "at least 1"), ("new", -1, "at least 1")],
)  # fmt: skip
def test_a_wrong_target_or_epochs_are_told_before_training(out, to, epochs, words):
    """Nothing is trained, written or removed."""
    model, lines = _pretrained(out, "bert-tiny"), []
    before = sorted(out.rglob("*"))
    with pytest.raises(ValueError, match=words):
        finetune(model, _examples(8, 1), _examples(8, 2), out / to, epochs=epochs, say=lines.append)
    assert lines == []
    assert sorted(out.rglob("*")) == before


def test_the_wrong_model_is_told_by_its_option(out):
    """Each command names --model, which is how the user gave it, and no key of a configuration."""
    model = _pretrained(out, "bert-tiny")
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-40])
    for call in (
        lambda: evaluate_masked_lm(model, out),
        lambda: evaluate_directory(model, _examples(4, 1)),
        lambda: finetune(model, _examples(8, 1), _examples(8, 2), out / "to", say=print),
    ):
        with pytest.raises(ValueError, match=r"^--model: .*model\.safetensors is damaged"):
            call()
