"""The clean stage with its options: what they do to documents, to the ledger, and to the counts of the run."""

import json
import re

import pytest

from pipeline.cli import main
from pipeline.errors import UserError
from tests.pipeline.corpus import counts, run_stages, write_config
from tests.transforms.fasttext_model import write_model
from transforms.commit import load_records
from transforms.committed import read_table
from transforms.presets import PRESETS

GOOD = "They went to the house by the river that day, and all of them had something to say about it. " * 3
RECORDS = [
    {"text": f"{GOOD}Write to bob@example.net or +49 30 1234567.", "url": "https://example.org/a"},
    {"text": f"{GOOD}Nothing here.", "url": "https://example.org/b"},
    {"text": f"{GOOD}Ask eve@example.net.", "url": "https://example.org/c"},
]


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "corpus").mkdir()
    write_records(tmp_path, RECORDS)
    return tmp_path


def write_records(directory, records):
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (directory / "corpus" / "part-0.jsonl").write_text(lines)


def documents(out, table="documents"):
    """The rows of a table of all units."""
    records = load_records(str(out), "clean").values()
    return [row for record in records for row in read_table(str(out), record, table).to_pylist()]


def tried(path, capsys):
    """What `gristmill try` says about the corpus itself."""
    assert main(["try", str(path), str(path.parent / "corpus" / "part-0.jsonl")]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def assert_tried_like_run(path, capsys):
    """`try` decides as the graph does; return its verdicts."""
    verdicts = tried(path, capsys)
    out = path.parent / "out"
    assert [v["text"] for v in verdicts if v["keep"]] == [row["text"] for row in documents(out)]
    rejected = [(v["rule"], v["value"], v["threshold"]) for v in verdicts if not v["keep"]]
    rows = sorted(documents(out, "rejected"), key=lambda row: row["doc_id"])
    assert rejected == [(row["rule"], row["value"], row["threshold"]) for row in rows]
    return verdicts


def test_personal_data_is_masked_before_signing_and_counted(directory, capsys):
    """Documents hold the replacements, run.json counts findings by kind once, also when bundles are repeated."""
    path, out = write_config(directory, clean={"pii": ["email", "phone", "iban"]}), directory / "out"
    run_stages(path, last="clean", options=["--direct_runner_bundle_repeat=1"])
    text = " ".join(row["text"] for row in documents(out))
    assert "example.net" not in text
    assert "+1-202-555-0100" in text
    assert counts(out)["clean"]["edits"] == {"pii.email": 2, "pii.iban": 0, "pii.phone": 1}
    verdicts = assert_tried_like_run(path, capsys)
    assert [v["edits"] for v in verdicts] == [{"pii.email": 1, "pii.phone": 1}, {}, {"pii.email": 1}]


def test_the_report_shows_what_was_done_to_texts(directory, capsys):
    """The page and the closing words of a run name each edit with its count."""
    path = write_config(directory, clean={"pii": ["email"]})
    assert main(["run", str(path), "--to", "clean"]) == 0
    assert "pii.email" in capsys.readouterr().out
    assert "pii.email" in (directory / "out" / "report" / "index.html").read_text()


def test_lines_cut_are_counted_in_the_record(directory, capsys):
    """run.json and `try` name the rule of every line that a preset cut."""
    write_records(directory, [{"text": f"{GOOD}\nshort\nwe use cookies here", "url": "u"}, {"text": "one line"}])
    path = write_config(directory, clean={"quality": ["c4-fineweb"]})
    run_stages(path, last="clean", options=["--direct_runner_bundle_repeat=1"])
    assert {k: v for k, v in counts(directory / "out")["clean"]["edits"].items() if v} == {
        "lines.policy": 1, "lines.too_few_words": 2,
    }  # fmt: skip
    assert assert_tried_like_run(path, capsys)[0]["edits"] == {"lines.too_few_words": 1, "lines.policy": 1}


def test_rules_and_statistics(directory, capsys):
    """A rule of one's own decides by a statistic, and the table holds it for kept and rejected documents."""
    rules = [{"statistic": "words", "max": 60, "name": "too_wordy"}]
    path = write_config(directory, clean={"rules": rules, "keep_statistics": True})
    run_stages(path, last="clean")
    rows = documents(directory / "out", "statistics")
    assert [row["words"] for row in rows] == [67, 62, 62]
    assert [row["rule"] for row in documents(directory / "out", "rejected")] == ["too_wordy"] * 3
    verdicts = assert_tried_like_run(path, capsys)
    assert [v["statistics"]["words"] for v in verdicts] == [67, 62, 62]
    run_stages(path, last="clean", overrides=["clean.rules.0.max=63"])
    assert len(documents(directory / "out")) == 2


def test_values_by_language_come_from_files(directory):
    """A file of values is read, is part of the key by its content, and its mistakes are told in one line."""
    values = directory / "eng_Latn.yml"
    values.write_text("stopwords: [something, nowhere]\ntop_n_grams: [[2, 0.9], [3, 0.9], [4, 0.9]]\n")
    thresholds = {name: None for name, _ in PRESETS["gopher-repetition"].rules[1:]}
    preset = {"preset": "fineweb2", "languages": {"en": str(values)}, "thresholds": thresholds}
    path = write_config(directory, clean={"language": {}, "quality": [preset]})
    rejected = [("gopher_enough_stop_words", 1, 2)] * 3
    for stop_words, expected in (("[something, nowhere]", rejected), ("[something, river]", [])):
        values.write_text(f"stopwords: {stop_words}\nline_punct_thr: 0\n")
        run_stages(path, last="clean")
        rows = documents(directory / "out", "rejected")
        assert [(row["rule"], row["value"], row["threshold"]) for row in rows] == expected
    for content, line in (("stop: 1", "values of language en: unknown value 'stop'"), ("- 1", "is not a mapping")):
        values.write_text(content)
        with pytest.raises(UserError, match=line):
            run_stages(path, last="clean")
    with pytest.raises(UserError, match="language 'eng' is not one of the"):
        run_stages(path, last="clean", overrides=[f"clean.quality.0.languages={{eng: {values}}}"])
    with pytest.raises(UserError, match=r"clean\.language is not set"):
        run_stages(path, last="clean", overrides=["clean.language=null"])
    values.write_text("line_punct_thr: 0")
    with pytest.raises(UserError, match="cannot read the values nowhere"):
        run_stages(path, last="clean", overrides=["clean.quality.0.languages.en=nowhere"])
    with pytest.raises(UserError, match="statistic 'wordz' is not known; the nearest is 'words'"):
        run_stages(path, last="clean", overrides=["clean.rules=[{statistic: wordz, min: 1}]"])


def test_lists_are_part_of_the_key_by_their_content(directory, capsys):
    """URL filter and bad words reject by rule; a changed list makes the stage stale; `try` decides alike."""
    domains, words = directory / "domains.txt", directory / "en"
    domains.write_text("other.org\n")
    words.write_text("nothing\n")
    clean = {"url_filter": {"domains": str(domains)}, "bad_words": {"path": str(words)}}
    path, out = write_config(directory, clean=clean), directory / "out"
    run_stages(path, last="clean")
    assert [row["rule"] for row in documents(out, "rejected")] == ["badwords"]
    domains.write_text("example.org\n")
    run_stages(path, last="clean")
    assert [row["rule"] for row in documents(out, "rejected")] == ["domain"] * 3
    assert_tried_like_run(path, capsys)


def test_mistakes_with_lists_are_one_line(directory):
    """A missing list, and lists by language without languages, are told before anything is read."""
    path = write_config(directory, clean={"url_filter": {"words": str(directory / "nowhere.txt")}})
    with pytest.raises(UserError, match=r"cannot read .*nowhere\.txt: No such file"):
        run_stages(path, last="clean")
    (directory / "lists").mkdir()
    (directory / "lists" / "de").write_text("w")
    path = write_config(directory, clean={"bad_words": {"path": str(directory / "lists")}})
    with pytest.raises(UserError, match=r"lists by language, but clean\.language is not set"):
        run_stages(path, last="clean")


def test_what_a_later_stage_or_a_worker_would_miss_is_told_first(directory, monkeypatch):
    """A takedown list that is no text, an extractor that is not installed: nothing is read, nothing is written."""
    (directory / "list.txt").write_bytes(b"http://caf\xe9.org\n")
    path = write_config(directory, dedup={"takedown": str(directory / "list.txt")})
    with pytest.raises(UserError, match=r"list\.txt is no list of words in UTF-8 \(byte 10\)"):
        run_stages(path, last="clean")
    (directory / "page.warc").write_bytes(b"")
    pages = {"name": "web", "format": "warc", "path": str(directory / "page.warc"), "extractor": "trafilatura"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"source web needs trafilatura; pip install 'gristmill\[trafilatura\]'"):
        run_stages(write_config(directory, sources=[pages]), last="clean")
    assert not (directory / "out" / "documents").exists()


def test_a_classifier_scores_what_the_rules_keep(directory, capsys):
    """The score is in statistics/ also where nothing else is kept there, and `try` shows it."""
    model = write_model(directory / "tiny.bin")
    clean = {
        "classifier": {"model": model, "label": "good", "threshold": 0.4},
        "rules": [{"statistic": "words", "max": 2}],
    }
    write_records(directory, [{"text": text, "url": "u"} for text in ("good", "bad", "good bad good")])
    path = write_config(directory, clean=clean)
    run_stages(path, last="clean")
    rows = documents(directory / "out", "statistics")
    assert [set(row) for row in rows] == [{"doc_id", "classifier_score"}] * 2
    assert [row["classifier_score"] > 0.4 for row in rows] == [True, False]
    assert [row["rule"] for row in documents(directory / "out", "rejected")] == ["classifier", "words"]
    verdicts = assert_tried_like_run(path, capsys)
    assert [v["statistics"]["classifier_score"] is None for v in verdicts] == [False, False, True]
    with pytest.raises(UserError, match="no label 'better'"):
        run_stages(path, last="clean", overrides=["clean.classifier.label=better"])


def test_repairs_come_before_everything_else(directory, capsys):
    """A broken text is repaired before its language is told and its words are counted; run.json counts repairs."""
    write_records(directory, [{"text": f"{GOOD}\ncaf\xc3\xa9 au lait [1]\nRead more", "url": "u"}, {"text": "fine"}])
    path = write_config(directory, clean={"repair": ["citations", "mojibake", "boilerplate"]})
    run_stages(path, last="clean", options=["--direct_runner_bundle_repeat=1"])
    assert [row["text"].split("\n")[-1] for row in documents(directory / "out")] == ["caf\xe9 au lait", "fine"]
    expected = {"repair.mojibake": 1, "repair.boilerplate": 1, "repair.citations": 1}
    assert counts(directory / "out")["clean"]["edits"] == expected
    assert assert_tried_like_run(path, capsys)[0]["edits"] == expected


def test_stop_words_go_last(directory, capsys):
    """The rules see whole sentences, the documents do not; a list that is nowhere is told in one line."""
    path = write_config(directory, clean={"rules": [{"statistic": "words", "min": 60}], "stop_words": "en"})
    run_stages(path, last="clean")
    assert documents(directory / "out")[1]["text"].endswith("Nothing .")
    assert all("the" not in row["text"].split() for row in documents(directory / "out"))
    assert counts(directory / "out")["clean"]["edits"]["stop_words"] > 60
    assert_tried_like_run(path, capsys)
    with pytest.raises(UserError, match="cannot read eng"):
        run_stages(path, last="clean", overrides=["clean.stop_words=eng"])


def test_rules_that_reject_nothing_are_named(directory, capsys):
    """The closing words and the report name every rule that was asked for and never decided; disabled ones are not."""
    thresholds = {"gopher_short_doc": 63, "gopher_long_doc": None}
    rules = [{"statistic": "words", "min": 1, "name": "no_words"}]
    clean = {"rules": rules, "quality": [{"preset": "gopher-quality", "thresholds": thresholds}, "mc4-paragraph"]}
    assert main(["run", str(write_config(directory, clean=clean)), "--to", "clean"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    [silent] = re.findall("rejected nothing: (.*?) (?:Everything|done)", said)
    names = [name for name, _ in PRESETS["gopher-quality"].rules[2:]]
    assert silent.split(", ") == ["no_words", *names]
    page = (directory / "out" / "report" / "index.html").read_text()
    assert f"Rules that rejected nothing: {silent}." in page
