"""`gristmill explain`: every step of a document's life is told, and nothing in it reaches the terminal as a command."""

import json
import shutil

import datasets
import pyarrow as pa
import pytest

from pipeline.cli import main
from pipeline.escape import printable
from pipeline.explain import as_words
from pipeline.output import Output
from tests.pipeline.corpus import records, run_stages, write_config
from transforms import storage
from transforms.commit import load_records
from transforms.committed import read_table
from transforms.twin import word_changes

GERMAN = "Der Hund und die Katze sitzen auf der Bank, und sie warten auf den Mann mit dem Brot. " * 5
ANSI = "\x1b[2J\x1b]0;owned\x07\u202egnp.exe"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A run over 40 documents, a copy and a near-copy among them, one in German, one with escape sequences."""
    directory = tmp_path_factory.mktemp("explain")
    rows = records(40, seed=3)
    rows += [
        {"text": GERMAN, "url": "https://example.org/german"},
        {"text": f"{ANSI} {rows[0]['text'][::-1]} {rows[2]['text']}", "url": f"https://example.org/{ANSI}"},
    ]
    (directory / "corpus").mkdir()
    (directory / "corpus" / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = write_config(directory, clean={"language": {"keep": ["en"]}}, rejected={"keep_text": True})
    run_stages(path)
    return str(directory / "out")


@pytest.fixture
def told(out, capsys):
    def explain(*words):
        assert main(["explain", out, *words]) == 0
        return capsys.readouterr().out

    return explain


def deletions(out):
    return [
        row
        for record in load_records(out, "dedup").values()
        for row in read_table(out, record, "deletions").to_pylist()
    ]


def test_a_survivor_is_told_with_its_rows(out, told):
    """Its record, its language, its copies, and every row of the shards that names it."""
    shards = datasets.load_from_disk(f"{out}/shards")
    row = next(i for i, ids in enumerate(shards["train"]["doc_ids"]) if ids)
    doc_id = shards["train"][row]["doc_ids"][0]
    life = told(str(doc_id))
    assert "language en with score" in life
    assert f"https://example.org/3/{doc_id}" in life  # the record's number is the id in the first file
    assert f"shards/train/data-00000-of-00001.arrow row {row}:" in life
    rows = sum(doc_id in ids for split in shards.values() for ids in split["doc_ids"])
    assert life.count("-of-00001.arrow row ") == rows
    survivor = deletions(out)[0]["twin_id"]
    copies = [deleted for deleted in deletions(out) if deleted["twin_id"] == survivor]
    life = told(str(survivor))
    assert f"{len(copies)} documents were deleted as its copies" in life
    assert all(f"copy {copy['doc_id']}: {copy['reason']}" in life for copy in copies)


def test_a_deleted_document_is_told_with_its_twin(out, told):
    """Rule, similarity, threshold, the twin, and the word that differs."""
    near = next(row for row in deletions(out) if row["reason"] == "minhash")
    life = told(str(near["doc_id"]))
    assert f"deleted: minhash (value {near['similarity']:.6g}, threshold 0.75)" in life
    assert f"twin       {near['twin_id']}" in life
    assert "[-changed-]" in life
    assert "shards     in no row" in life
    exact = next(row for row in deletions(out) if row["reason"] == "exact")
    assert "the texts are equal" in told(str(exact["doc_id"]))


def test_a_rejected_document_is_told_with_rule_value_and_threshold(told):
    """Found by its URL; the text is there because the run kept it."""
    life = told("--url", "example.org/german")
    assert "rejected by language (value" in life
    assert "threshold 0.65)" in life
    assert "Der Hund" in life
    assert "shards" not in life


def test_nothing_hostile_reaches_the_terminal(told):
    """Escape sequences, bidi overrides and bells in text and URL are shown as escapes."""
    life = told("--url", "\x1b")
    assert "\\x1b[2J" in life
    assert "\\u202e" in life
    assert not {"\x1b", "\x07", "\u202e"} & set(life)
    assert printable("a\u200db \u05d0\n") == "a\u200db \u05d0\\n"
    assert printable("\ud800") == "\\ud800"


def test_several_matches_are_listed(told):
    """One line a document with what became of it; at most twenty."""
    lines = told("--url", "example.org").splitlines()
    assert len(lines) == 20
    assert all("kept" in line or "deleted by dedup" in line for line in lines)
    assert any("deleted by dedup" in line for line in lines)
    words = told("--text", "Der Hund")
    assert "document" in words.splitlines()[0]  # the only one is explained at once


def test_a_ledger_of_an_earlier_version(out, tmp_path, capsys):
    """What is not told may be missing; of a column that is, one line says which file lacks it, and what to do."""
    near = next(row for row in deletions(out) if row["reason"] == "minhash")
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    [record] = [record for record in load_records(out, "dedup").values() if record.rows("rejected")]
    for column in ("language", "twin_run"):
        table = read_table(str(copy), record, "rejected").drop_columns(column)
        path = copy / record.tables["rejected"].path
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write(table)
        size, digest = storage.file_hash(str(path))
        stored = copy / "units" / "dedup" / f"{record.unit}.json"
        value = json.loads(stored.read_text())
        value["tables"]["rejected"] |= {"bytes": size, "hash": digest}
        stored.write_text(json.dumps(value))
        [record] = [record for record in load_records(str(copy), "dedup").values() if record.rows("rejected")]
        code = main(["explain", str(copy), str(near["doc_id"])])
        shown = capsys.readouterr()
        if column == "language":
            assert (code, "deleted: minhash" in shown.out) == (0, True)
    assert code == 3
    assert "has no column twin_run: an earlier version made it; repeat the run" in shown.err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["999999"], "has no document 999999"),
        (["-7"], "no document"),
        (["--text", "no such words"], "no document of"),
        (["--url", "a", "--text", "b"], "not allowed with"),
        ([], "one of the arguments"),
    ],
)
def test_a_mistake_is_one_line(out, capsys, words, line):
    """Exit code 2."""
    try:
        code = main(["explain", out, *words])
    except SystemExit as stopped:
        code = stopped.code
    told = capsys.readouterr().err
    assert (code, told.count("\n")) == (2, 1)
    assert line in told


def test_the_difference_is_one_line():
    """Words of one side in brackets, of the other in braces; what both have is cut in its middle."""
    assert (
        as_words(word_changes("one two  three\nfour six", "one 2 three\nfour five six"))
        == "one [-two-] {+2+} three four {+five+} six"
    )
    assert as_words(word_changes("a " * 99 + "b", "a " * 99 + "c")) == f"{'a ' * 8}... {'a ' * 8}[-b-] {{+c+}}"


def test_the_earlier_run_is_asked_for_its_twin(out, tmp_path, capsys):
    """A document deleted for one of an earlier run is shown beside that one's text."""
    config = Output(out).config
    path = write_config(tmp_path, sources=config["sources"], clean=config["clean"], dedup={"against": [out]})
    run_stages(path, last="dedup")
    assert main(["explain", str(tmp_path / "out"), "0"]) == 0
    life = capsys.readouterr().out
    assert "deleted: exact" in life
    assert f"of the earlier run {out}" in life
    assert "the texts are equal" in life
    earlier = tmp_path / "earlier"
    shutil.copytree(out, earlier)
    path = write_config(tmp_path, sources=config["sources"], clean=config["clean"], dedup={"against": [str(earlier)]})
    run_stages(path, last="dedup")
    earlier.rename(tmp_path / "moved")
    assert main(["explain", str(tmp_path / "out"), "0"]) == 0
    life = capsys.readouterr().out
    assert f"of the earlier run {earlier}" in life
    assert "its text is no longer there" in life
