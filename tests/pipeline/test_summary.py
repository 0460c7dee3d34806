"""The closing words of a run."""

import json
import shlex
import sys
from types import SimpleNamespace

from pipeline.summary import summary_lines
from tests.pipeline.corpus import run_stages, write_config, write_corpus


def test_what_to_type_next_can_be_typed(tmp_path, monkeypatch, capsys):
    """The command that fills a gap asks the tokenizer for its mask: RoBERTa's is none of BERT's."""

    class FillMask:
        tokenizer = SimpleNamespace(mask_token="<mask>")

        def __call__(self, text):
            return f"filled {text}"

    def pipeline(task, model):
        assert (task, model) == ("fill-mask", f"{tmp_path}/model")
        return FillMask()

    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(pipeline=pipeline))
    monkeypatch.setattr("pipeline.summary._training", lambda _: [])
    [line] = [line for line in summary_lines(str(tmp_path), {}, {"pretrain": {"summary": {}}}) if "fill-mask" in line]
    program, option, code = shlex.split(line)
    assert (program, option) == ("python", "-c")
    exec(code)
    assert capsys.readouterr().out == "filled A <mask>.\n"


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
