"""The tokenize stage: which tokenizer is made, and that tokens/ holds its ids."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

import pipeline.tokenize
from tests.pipeline.corpus import WORDS, run_stages, write_config, write_corpus
from transforms.commit import load_records
from transforms.committed import read_table
from transforms.documents import surviving_batches
from transforms.tokenizer import SPECIAL_TOKENS


@pytest.fixture
def directory(tmp_path):
    write_corpus(tmp_path / "corpus", files=2, per_file=30)
    return tmp_path


@pytest.mark.parametrize("model", ["wordpiece", "bpe", "unigram"])
def test_tokens_are_the_ids_of_the_tokenizer_that_was_trained(directory, model):
    """What lies in tokenizer/ gives the ids in tokens/, for every document that survived; nothing is said."""
    choice = {"train": model, "vocab_size": 400, "pad_vocab_to": 64}
    path = write_config(directory, tokenize={"tokenizer": choice, "seq_length": 64})
    _, said = run_stages(path)
    out = str(directory / "out")
    tokenizer = Tokenizer.from_file(f"{out}/tokenizer/tokenizer.json")
    tokenizer.encode_special_tokens = True
    assert tokenizer.get_vocab_size() % 64 == 0
    assert not [line for line in said if "kernel" in line]
    num = 0
    for name, record in load_records(out, "tokenize").items():
        texts = [text for batch in surviving_batches(out, name) for text in batch.column("text").to_pylist()]
        ids = read_table(out, record, "tokens").column("ids").to_pylist()
        assert ids == [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        num += len(texts)
    assert num > 20


def test_a_tokenizer_of_another_kind_is_told_once(directory, monkeypatch):
    """A run that encodes says that it is slow; one that finds all units done does not even look."""
    vocabulary = {name: number for number, name in enumerate([*SPECIAL_TOKENS, *sorted({*WORDS, "changed", "."})])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.save(str(directory / "tokenizer.json"))
    choice = {"load": str(directory / "tokenizer.json")}
    path = write_config(directory, tokenize={"tokenizer": choice, "seq_length": 64})
    _, said = run_stages(path)
    assert len([line for line in said if "no kernel knows this tokenizer" in line]) == 1
    monkeypatch.setattr(pipeline.tokenize, "Encoder", None)
    _, said = run_stages(path)
    assert said == []
