"""What the report draws: thresholds of presets and own rules on the statistics that they look at."""

from math import isnan

from pipeline.config import load_config
from pipeline.gates.files import files
from pipeline.gates.tokens import row_fill
from pipeline.measured import _RULES, ALWAYS, survivors_statistics, thresholds
from pipeline.output import Output
from pipeline.report import render
from tests.pipeline.corpus import run_stages, write_config, write_corpus
from transforms.kernels.statistics import STATISTICS
from transforms.presets import PRESETS


def test_thresholds_stand_on_the_statistic_of_their_rule(tmp_path):
    """Two on the length of words, one's own beside them, a changed one as changed, a disabled one nowhere."""
    quality = [
        "gopher-repetition",
        {"preset": "gopher-quality", "thresholds": {"gopher_short_doc": 7, "gopher_long_doc": None}},
    ]
    rules = [{"statistic": "characters", "min": 10, "max": 99, "name": "size"}]
    clean = {"language": {"keep": ["en"]}, "quality": quality, "rules": rules}
    config = load_config(str(write_config(tmp_path, clean=clean))).model_dump(mode="json")
    limits = thresholds(config)
    assert limits["words"] == [("short_doc", 7.0)]
    assert [limit.value for limit in limits["mean_word_length"]] == [3.0, 10.0]
    assert limits["characters"] == [("size", 10.0), ("size", 99.0)]
    assert limits["top_2_gram"] == [("top_2_gram", 0.2)]
    assert limits["language_score"] == [("language", 0.65)]
    config["clean"]["quality"] = ["no-such-preset"]
    assert thresholds(config) == {}
    assert thresholds({"name": "of another version"}) == {}


def test_every_rule_with_a_threshold_has_its_statistic():
    """No preset's rule is forgotten, but those of C4, which count sentences and lines that no statistic knows."""
    known = {*STATISTICS, *(rule for rules in _RULES.values() for rule in rules)}
    for name, preset in PRESETS.items():
        if not name.startswith("c4"):
            rules = {rule for part in (preset, *preset.then) for rule, value in part.rules if not isnan(value)}
            assert rules <= known, name
    assert set(_RULES) <= set(STATISTICS)


def test_rows_of_two_lengths_are_checked_and_shown(tmp_path):
    """Both directories are read by the gates and named on the page; statistics that a rule looks at are drawn."""
    write_corpus(tmp_path / "corpus", files=1, per_file=40)
    tokenize = {"tokenizer": {"train": "wordpiece", "vocab_size": 512}, "seq_length": [64, 32], "validation": 0.05}
    path = write_config(tmp_path, tokenize=tokenize, clean={"quality": ["gopher-quality"]})
    run_stages(path)
    run = Output(str(tmp_path / "out"))
    assert [verdict.subject for verdict in row_fill(run, 0.1)] == ["", "shards-32"]
    [whole] = files(run)
    assert whole.status == "passed"
    page = render(run)
    assert "shards-32/ train" in page
    drawn = survivors_statistics(run, run.sample(100))
    assert list(drawn)[:3] == [*ALWAYS[:3]]
    assert [limit.name for limit in drawn["mean_word_length"][1]] == ["below_avg_threshold", "above_avg_threshold"]
    shard = next((tmp_path / "out" / "shards-32" / "train").glob("*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-1])
    [damaged] = files(Output(run.out))
    assert "shards-32/train" in damaged.message
