"""The closing words of a run."""

import json

from pipeline.summary import summary_lines
from tests.pipeline.corpus import run_stages, write_config, write_corpus


def test_a_vocabulary_that_is_not_full_is_told(tmp_path):
    """A small corpus does not fill the vocabulary that was asked for, and a model would have the smaller one."""
    write_corpus(tmp_path / "corpus", files=1, per_file=20)
    run_stages(write_config(tmp_path))
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    size = run["stages"]["tokenizer"]["counts"]["vocab_size"]
    choice = run["config"]["tokenize"]["tokenizer"]

    def told(**changes):
        choice.update(changes)
        return [line.strip() for line in summary_lines("out", run["config"], run["stages"]) if "vocabulary" in line]

    assert told(vocab_size=size + 1000) == [
        f"{size} tokens in the vocabulary of the {size + 1000:,} asked for: the texts have no more"
    ]
    assert told(vocab_size=size) == []
    assert told(vocab_size=size + 1000, load="theirs.json") == []
