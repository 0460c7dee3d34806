"""The tokenize stage: which tokenizer is made, and that tokens/ holds its ids."""

import pytest
from tokenizers import Tokenizer

from tests.pipeline.corpus import run_stages, write_config, write_corpus
from transforms.commit import load_records, read_table
from transforms.documents import surviving_batches


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
