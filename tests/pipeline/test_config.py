"""The configuration: contract names, one line for a mistake, the nearest valid key."""

import json
import re

import pytest
import yaml

from pipeline.config import Config, json_schema, load_config
from pipeline.errors import UserError

MINIMAL = {"name": "n", "output": "runs/n", "sources": [{"name": "s", "format": "jsonl", "path": "x.jsonl"}]}


def load(tmp_path, changes=None, overrides=()):
    raw = json.loads(json.dumps(MINIMAL))
    raw.update(changes or {})
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(raw))
    return load_config(str(path), overrides)


def test_defaults_are_those_of_the_design(tmp_path):
    """14 bands of 8 rows over 5-word shingles at 0.75, rows of 512 by best fit, 0.5% validation."""
    config = load(tmp_path)
    assert config.dedup.minhash.model_dump() == {
        "bands": 14, "rows": 8, "permutations": None, "ngram": 5, "threshold": 0.75, "verify": "signature",
    }  # fmt: skip
    assert (config.tokenize.seq_length, config.tokenize.packing, config.tokenize.validation) == (512, "best_fit", 0.005)
    assert config.pretrain is None
    assert config.runner.engine == "local"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"clean": {"pii": ["email", "ip", "email"]}}, "clean.pii: a kind of personal data is given twice"),
        ({"sauces": []}, "unknown key 'sauces'; did you mean 'sources'?"),
        ({"clean": {"unicod": "nfc"}}, "unknown key 'clean.unicod'; did you mean 'unicode'?"),
        ({"dedup": {"minhash": {"band": 3}}}, "unknown key 'dedup.minhash.band'; did you mean 'bands'?"),
        ({"sources": [{**MINIMAL["sources"][0], "txt": "t"}]}, "did you mean 'text'?"),
        ({"pretrain": {"step": 3}}, "did you mean 'steps'?"),
        ({"clean": {"language": {"detector": "cld3"}}}, "detector 'cld3' is not langdetect, fasttext or the path of a"),
        ({"clean": {"language": {"detector": "fasttext"}}}, "needs model: the path of a .bin or .ftz file"),
        ({"clean": {"language": {"model": "lid.bin"}}}, "detector fasttext, and no other, needs model"),
        ({"clean": {"language": {"thresholds": {"de": 1.5}}}}, "clean.language.thresholds.de"),
        ({"clean": {"language": {"keep": [False]}}}, "a valid string, got False; put it into quotes"),
        ({"clean": {"pii": "email"}}, "clean.pii: input should be a list, got 'email'"),
        ({"sources": []}, "sources: list should have at least 1 item"),
        ({"clean": {"unicode": "nfd"}}, "clean.unicode: input should be 'nfc', 'nfkc' or 'none', got 'nfd'"),
        ({"clean": {"quality": [{"presett": "fineweb2"}]}}, "key 'clean.quality.0.presett'; did you mean 'preset'?"),
        ({"clean": {"rules": [{"statistics": "words"}]}}, "did you mean 'statistic'?"),
        ({"tokenize": {"seq_length": 4}}, "tokenize.seq_length: give one length of rows or several, each 8 to"),
        ({"tokenize": {"seq_length": [512, 512]}}, "tokenize.seq_length: a length is given twice, got [512, 512]"),
        ({"tokenize": {"seq_length": [512, 4]}}, "each 8 to 131072 tokens, got [512, 4]"),
        ({"tokenize": {"seq_length": []}}, "give one length of rows or several"),
        (
            {"tokenize": {"tokenizer": {"vocab_size": 4096}}},
            "give either train (wordpiece, bpe or unigram) or load (a path)",
        ),
        ({"tokenize": {"tokenizer": {"load": "x", "pad_vocab_to": 64}}}, "pad_vocab_to and temperature are for train"),
        ({"tokenize": {"tokenizer": {"load": "x", "temperature": 0.5}}}, "pad_vocab_to and temperature are for train"),
        ({"tokenize": {"tokenizer": {"train": "bpe", "temperature": 1.5}}}, "temperature: input should be less than"),
        ({"sources": []}, "sources"),
        ({"sources": MINIMAL["sources"] * 2}, "two sources are called 's'"),
        ({"output": "${nowhere}"}, "unknown placeholder ${nowhere}"),
        ({"output": "${env:GRISTMILL_NOT_SET}"}, "GRISTMILL_NOT_SET is not set"),
        ({"seed": -1}, "seed"),
        ({"seed": True}, "seed: true and false are no value here, got True"),
        ({"output": ""}, "output"),
        ({"sources": [{**MINIMAL["sources"][0], "name": ".hidden"}]}, "no dot in front"),
        ({"version": 1}, "there are name, output"),
        ({"pretrain": {"model": "bert-huge"}}, "bert-huge"),
        ({"pretrain": {"shards": "shards-512"}}, "pretrain.shards: tokenize makes shards, not shards-512"),
        ({"pretrain": {"objective": "mlm+nsp"}}, "set tokenize.packing to pairs, not best_fit"),
        (
            {"dedup": {"minhash": {"permutations": 128, "bands": 14}}},
            "permutations 128 at threshold 0.75 choose 11 bands of 11 rows; give either permutations or bands and rows",
        ),
        ({"dedup": {"lines": {"units": "line"}}}, "unknown key 'dedup.lines.units'; did you mean 'unit'?"),
        ({"dedup": {"substrings": {"min_length": 8}}}, "dedup.substrings.min_length: input should be greater than"),
        ({"dedup": {"minhash": {"permutations": 128, "threshold": 1.0}}}, "no bands for threshold 1.0"),
    ],
)
def test_a_mistake_is_one_line_that_helps(tmp_path, changes, line):
    """What, where, and the nearest valid key or value."""
    with pytest.raises(UserError) as caught:
        load(tmp_path, changes)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_member_makes_no_second_mistake_of_its_list(tmp_path):
    """A source that is refused leaves a list without sources; that is not counted as one more."""
    with pytest.raises(UserError, match=r"unknown key 'sources.0.txt'; did you mean 'text'\?$"):
        load(tmp_path, {"sources": [{**MINIMAL["sources"][0], "txt": "t"}]})


def test_the_path_of_a_language_model_is_a_detector(tmp_path):
    """`detector: lid.176.bin` is short for detector fasttext with that model."""
    short = load(tmp_path, {"clean": {"language": {"detector": "models/lid.176.bin"}}}).clean.language
    long = load(
        tmp_path, {"clean": {"language": {"detector": "fasttext", "model": "models/lid.176.bin"}}}
    ).clean.language
    assert short == long
    assert short.options["model"] == "models/lid.176.bin"


def test_files_that_are_no_configuration(tmp_path):
    """A missing file, broken YAML, a list, and YAML that would construct objects."""
    for content in (None, "a: [", "- 1", "!!python/object/apply:os.system ['true']"):
        path = tmp_path / "bad.yaml"
        if content is not None:
            path.write_text(content)
        with pytest.raises(UserError) as caught:
            load_config(str(path))
        assert "bad.yaml" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", ["path: *.jsonl", "path: @list.txt", "- {path: *.jsonl}", "- [a, @b]", "- *.jsonl"])
def test_a_pattern_without_quotes(tmp_path, line):
    """The most likely reason is told beside what YAML says, and only where there is such a value."""
    path = tmp_path / "bad.yaml"
    path.write_text(f"sources:\n  {line}\n")
    with pytest.raises(UserError, match=r"needs quotes$"):
        load_config(str(path))
    path.write_text("a: [ # the rest, as in path: *.jsonl\n")
    with pytest.raises(UserError, match="is not YAML") as caught:
        load_config(str(path))
    assert "needs quotes" not in str(caught.value)


def test_a_key_given_twice(tmp_path):
    """YAML would take the last one in silence."""
    path = tmp_path / "twice.yaml"
    path.write_text("name: n\nclean:\n  unicode: nfc\n  unicode: nfkc\n")
    with pytest.raises(UserError, match=r"the key 'unicode' is given twice.*line 4"):
        load_config(str(path))


def test_overrides_reach_sections_that_the_file_leaves_out(tmp_path):
    """--set makes missing sections, indexes lists, and reads values as YAML."""
    config = load(tmp_path, overrides=["clean.language.keep=[de, en]", "sources.0.text=body", "dedup.minhash=null"])
    assert config.clean.language.keep == ("de", "en")
    assert config.sources[0].text == "body"
    assert config.dedup.minhash is None
    for path in ("@list.txt", "*.jsonl", "*"):  # quotes of the shell are gone
        assert load(tmp_path, overrides=[f"sources.0.path={path}"]).sources[0].path == path
    with pytest.raises(UserError, match="the value is not YAML"):
        load(tmp_path, overrides=["clean.language.keep=[de"])
    with pytest.raises(UserError, match="no such place"):
        load(tmp_path, overrides=["sources.5.text=body"])
    with pytest.raises(UserError, match=r"key\.path=value"):
        load(tmp_path, overrides=["seed"])


def test_placeholders_expand(tmp_path, monkeypatch):
    """Paths of this environment's packages and variables."""
    monkeypatch.setenv("GRISTMILL_TEST_OUT", "/there")
    changes = {"output": "${env:GRISTMILL_TEST_OUT}/run"}
    changes["sources"] = [{"name": "p", "format": "python", "path": "${site_packages}"}]
    config = load(tmp_path, changes)
    assert config.output == "/there/run"
    assert config.sources[0].path.endswith("site-packages")


def keys_of(schema, node, prefix=""):
    """Return the dotted keys of a JSON Schema."""
    found = set()
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    for part in node.get("anyOf", []):
        found |= keys_of(schema, part, prefix)
    if isinstance(node.get("items"), dict):
        found |= keys_of(schema, node["items"], prefix)
    for name, value in node.get("properties", {}).items():
        found.add(prefix + name)
        found |= keys_of(schema, value, f"{prefix}{name}.")
    return found


def test_the_set_of_keys_is_frozen():
    """Adding a knob needs a deletion or a measured reason; the trainer's own keys are frozen by its dataclass."""
    schema = json_schema()
    keys = {
        key for key in keys_of(schema, schema) if not re.match(r"pretrain\.|(dedup\.decontaminate\.set|source)s\.", key)
    }
    assert keys == {
        "name", "output", "seed", "sources", "unit_bytes", "pretrain",
        "clean", "clean.unicode", "clean.quality", "clean.language", "clean.pii",
        "clean.quality.preset", "clean.quality.thresholds", "clean.quality.languages", "clean.quality.words",
        "clean.rules", "clean.rules.statistic", "clean.rules.min", "clean.rules.max", "clean.rules.name",
        "clean.keep_statistics", "clean.bad_words", "clean.bad_words.path", "clean.bad_words.fraction",
        "clean.repair", "clean.stop_words", "clean.classifier", "clean.classifier.model",
        "clean.classifier.label", "clean.classifier.threshold",
        "clean.url_filter", "clean.url_filter.domains", "clean.url_filter.urls", "clean.url_filter.words",
        "clean.url_filter.soft_words", "clean.url_filter.subwords",
        "clean.language.keep", "clean.language.detector", "clean.language.model", "clean.language.threshold",
        "clean.language.thresholds",
        "dedup", "dedup.exact", "dedup.url", "dedup.against", "dedup.policy", "dedup.shuffle", "dedup.minhash",
        "dedup.takedown",
        "dedup.decontaminate", "dedup.decontaminate.sets", "dedup.decontaminate.ngram", "dedup.decontaminate.action",
        "dedup.lines", "dedup.lines.unit", "dedup.lines.keep", "dedup.lines.min_words",
        "dedup.substrings", "dedup.substrings.min_length",
        "dedup.minhash.bands", "dedup.minhash.rows", "dedup.minhash.ngram",
        "dedup.minhash.permutations", "dedup.minhash.threshold", "dedup.minhash.verify",
        "tokenize", "tokenize.tokenizer", "tokenize.tokenizer.train", "tokenize.tokenizer.load",
        "tokenize.tokenizer.vocab_size", "tokenize.tokenizer.sample_bytes", "tokenize.tokenizer.temperature",
        "tokenize.tokenizer.pad_vocab_to", "tokenize.seq_length", "tokenize.packing",
        "tokenize.validation",
        "checks", "checks.sample", "checks.kept_source", "checks.kept_language", "checks.language_purity",
        "checks.duplicates_left", "checks.pii_left", "checks.contamination", "checks.fertility",
        "checks.unknown_tokens", "checks.short_documents", "checks.row_fill", "checks.drift", "checks.tokens_changed",
        "rejected", "rejected.keep_text", "runner", "runner.engine", "runner.workers", "runner.worker_bytes",
    }  # fmt: skip
    assert schema["additionalProperties"] is False
    assert Config.model_config["extra"] == "forbid"
