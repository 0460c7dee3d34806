"""Mistakes that can be known at once are told before anything is read."""

import json
import shutil

import pytest

from pipeline.config import load_config
from pipeline.errors import UserError
from pipeline.estimate import describe_plan
from pipeline.inputs import check_inputs
from tests.pipeline.corpus import run_stages, write_config, write_corpus
from transforms.tokenizer import load_tokenizer

BERT = {
    "model_type": "bert", "vocab_size": 512, "max_position_embeddings": 32, "hidden_size": 32,
    "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
}  # fmt: skip
SETS = '[{"name": "exam", "format": "jsonl", "path": "/no/such.jsonl"}]'


@pytest.fixture
def path(tmp_path):
    write_corpus(tmp_path / "corpus", files=1, per_file=10)
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text(json.dumps(BERT))
    return write_config(tmp_path, pretrain={"model": "bert-tiny", "steps": 1, "batch_rows": 1})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("dedup.against=[/no/such]", "dedup.against /no/such: no finished dedup there"),
        ("dedup.takedown=/no/such.txt", "dedup.takedown: cannot read /no/such.txt"),
        (f"dedup.decontaminate.sets={SETS}", "dedup.decontaminate exam: "),
        ("tokenize.tokenizer={load: /no/such}", "tokenize.tokenizer.load: no tokenizer at /no/such"),
        ("tokenize.tokenizer={load: PATH/decoder.json}", "lacks special tokens"),
        ("pretrain.init_from=/no/such", "pretrain.init_from: '/no/such' is no directory"),
        ("pretrain.init_from=PATH", "has no config.json"),
        ("pretrain.init_from=PATH/bert", "32 positions, the rows 64 tokens"),
        ("tokenize.seq_length=32768", "rows of 32768 tokens, at most 16384"),
    ],
)
def test_told_before_anything_is_read(path, tmp_path, change, words):
    """By the run and by its plan; a run that ends before that stage has no need of it."""
    from tokenizers import Tokenizer, models

    Tokenizer(models.BPE()).save(str(tmp_path / "decoder.json"))
    change = change.replace("PATH", str(tmp_path))
    with pytest.raises(UserError, match=words) as caught:
        run_stages(path, last="pretrain", overrides=[change])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match=words):
        describe_plan(load_config(str(path), [change]))
    if change.startswith("dedup.against"):  # one of them, for the time it takes
        run_stages(path, last="clean", overrides=[change])


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.txt"])
def test_a_checkpoint_brings_its_own_ids(path, tmp_path, name):
    """A loaded tokenizer of other ids is told before the corpus is tokenized with it; a trained one only later."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    for place, pieces in (("bert", ["a", "b"]), ("same", ["a", "b"]), ("other", ["b", "a"])):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "vocab.txt").write_text("\n".join([*special, *pieces]) + "\n")
    if name == "tokenizer.json":
        load_tokenizer(tmp_path / "bert").save(str(tmp_path / "bert" / name))
        (tmp_path / "bert" / "vocab.txt").write_text("")
    begun = [f"pretrain.init_from={tmp_path}/bert", "tokenize.seq_length=32"]
    check_inputs(load_config(str(path), begun), ["pretrain"])
    check_inputs(load_config(str(path), [*begun, f"tokenize.tokenizer={{load: {tmp_path}/same}}"]), ["pretrain"])
    config = load_config(str(path), [*begun, f"tokenize.tokenizer={{load: {tmp_path}/other}}"])
    with pytest.raises(UserError, match=f"pretrain.init_from: .*bert/{name} maps tokens to other ids than .*/other$"):
        check_inputs(config, ["pretrain"])
    check_inputs(config, ["tokenize"])


def test_a_checkpoint_is_needed_at_the_start_only(path, tmp_path):
    """A training that has begun has its own; `init_from` may be gone when the command is repeated."""
    changes = [f"pretrain.init_from={tmp_path}/bert", "tokenize.seq_length=32"]
    for out in ("out", "bert/config.json"):  # of an output that cannot be, somebody else tells
        check_inputs(load_config(str(path), [*changes, f"output={tmp_path}/{out}"]), ["pretrain"])
    (tmp_path / "out" / "pretrain").mkdir(parents=True)
    (tmp_path / "out" / "pretrain" / "settings.json").write_text(json.dumps({"init_from": f"{tmp_path}/bert"}))
    shutil.rmtree(tmp_path / "bert")
    check_inputs(load_config(str(path), changes), ["pretrain"])
    with pytest.raises(UserError, match="other' is no directory"):
        check_inputs(load_config(str(path), [f"pretrain.init_from={tmp_path}/other"]), ["pretrain"])
