"""`gristmill check`: each gate fails on what it is for and passes otherwise; what is not measured says so."""

import json
import random
import re
import shutil
import weakref
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.check import check
from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.gates import duplicates
from pipeline.gates.contamination import contamination, contamination_again
from pipeline.gates.drift import drift, stability_index, tokens_changed
from pipeline.gates.duplicates import duplicates_left
from pipeline.gates.files import files
from pipeline.gates.kept import kept_language, kept_source
from pipeline.gates.sample import language_purity, pii_left
from pipeline.gates.tokens import encoded, fertility, row_fill, validation_rows
from pipeline.gates.verdict import Verdict
from pipeline.output import Output
from tests.pipeline.corpus import records, run_stages, write_config, write_corpus
from transforms import storage
from transforms.commit import load_records
from transforms.committed import read_table

GERMAN = "Der Hund und die Katze sitzen auf der Bank, und sie warten auf den Mann mit dem Brot. " * 5
HOSTILE = "https://example.org/\x1b[31m|<script>alert(1)</script>`"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A finished run: 320 English documents in pairs of equal files, one of unknown characters, one broken source."""
    directory = tmp_path_factory.mktemp("check")
    write_corpus(directory / "corpus", per_file=80)
    han = "".join(chr(0x4E00 + 7 * i) for i in range(600))
    odd = [{"text": han, "url": HOSTILE}, {"text": "A short one.", "url": "https://example.org/short"}]
    (directory / "corpus" / "odd.jsonl").write_text("".join(json.dumps(row) + "\n" for row in odd))
    (directory / "broken.jsonl").write_text('{"body": "in another field", "url": "u"}\n' * 4)
    examples = [{"text": records(80, seed=0)[3]["text"]}, {"text": "None of the documents holds this sentence. " * 5}]
    (directory / "exam.jsonl").write_text("".join(json.dumps(row) + "\n" for row in examples))
    exam = {"name": "exam", "format": "jsonl", "path": str(directory / "exam.jsonl")}
    sources = [
        {"name": "web", "format": "jsonl", "path": str(directory / "corpus" / "*.jsonl*")},
        {"name": "broken", "format": "jsonl", "path": str(directory / "broken.jsonl")},
    ]
    path = write_config(
        directory,
        sources=sources,
        clean={"language": {"keep": []}},
        dedup={"decontaminate": {"sets": [exam], "action": "mark"}},
        checks={"contamination": 1.0},
    )
    run_stages(path)
    return str(directory / "out")


@pytest.fixture
def run(out):
    return Output(out)


@pytest.fixture
def sample(run):
    return run.sample(1000)


def only(verdicts) -> Verdict:
    [verdict] = verdicts
    return verdict


def with_texts(table, texts):
    return table.set_column(table.schema.get_field_index("text"), table.schema.field("text"), pa.array(texts))


def test_the_sample_is_of_survivors_and_the_same_every_time(run, sample):
    """All survivors if they are fewer than asked for; a smaller sample is part of a larger one."""
    deleted = np.concatenate([run.deleted(unit) for unit in run.records("clean")])
    assert sample.num_rows == run.stages["dedup"]["counts"]["kept"]
    assert not np.isin(sample.column("doc_id").to_numpy(), deleted).any()
    smaller = run.sample(7).column("doc_id").to_pylist()
    assert len(smaller) == 7
    assert smaller == Output(run.out).sample(7).column("doc_id").to_pylist()
    assert set(smaller) < set(run.sample(20).column("doc_id").to_pylist())


def test_a_sample_is_bounded_in_bytes(run, sample, monkeypatch):
    """Of the documents as drawn the first that fit, wherever they lie, and one at least; the verdicts say so."""
    assert "too much text" not in only(fertility(run, sample, 5.0)).what
    for most in (60_000, 20_000, 1):
        monkeypatch.setattr("pipeline.output.SAMPLE_BYTES", most)
        cut = run.sample(1000)
        num_bytes = [len(text.encode()) for text in cut.column("text").to_pylist()]
        assert sum(num_bytes) <= most or cut.num_rows == 1
        monkeypatch.undo()
        more = run.sample(cut.num_rows + 1).column("text").to_pylist()
        assert sum(len(text.encode()) for text in more) > most
        assert run.sample(cut.num_rows).column("doc_id").equals(cut.column("doc_id"))
        told = f"{cut.num_rows:,} sampled documents (the first of {sample.num_rows:,} drawn; with more"
        assert told in only(fertility(run, cut, 5.0)).what
        assert told in only(language_purity(run, cut, 0.0)).what
        assert told in only(pii_left(run, cut, 0.0)).what
        assert told in only(contamination_again(run, cut, 1.0)).what


def test_each_source_is_looked_at(run, sample):
    """Also where fewer units are drawn than there are sources; of whom no document is drawn is said."""
    units = list(run.records("clean"))
    assert [run.source_of[unit] for unit in Output(run.out, most_units=1).drawn(units)] == ["web", "broken"]
    assert len(Output(run.out, most_units=3).drawn(units)) == 3
    assert "none of source" not in only(fertility(run, sample, 5.0)).what
    place = sample.schema.get_field_index("source")
    others = sample.set_column(place, sample.schema.field(place), pa.array(["other"] * sample.num_rows))
    assert "sampled documents (none of source web)" in only(fertility(run, others, 5.0)).what


def test_a_document_is_looked_for_in_its_own_unit(run, monkeypatch):
    """Of a file that is cut into units the plan knows which of them has an id."""
    read, documents = [], Output.documents
    monkeypatch.setattr(
        Output, "documents", lambda self, unit, *more: read.append(unit) or documents(self, unit, *more)
    )
    units = [unit for unit in run.records("clean") if run.source_of[unit] == "web"]
    assert len({slices[2] for unit in run.run["plan"]["units"] for slices in unit["slices"]}) < len(units)
    for unit in units:
        doc_id = read_table(run.out, run.records("clean")[unit], "signatures").column("doc_id")[0].as_py()
        read.clear()
        assert run.find([doc_id])[doc_id]["doc_id"] == doc_id
        assert read == [unit]
    assert run.unit_of((1 << 62) + 1) is None


def test_kept_source(run):
    """A source whose text is in another field keeps nothing and fails; the good one passes."""
    verdicts = {verdict.subject: verdict for verdict in kept_source(run, 0.01)}
    assert verdicts["web"].status == "passed"
    assert (verdicts["broken"].status, verdicts["broken"].value) == ("failed", 0.0)
    assert len(verdicts["broken"].examples) == 3
    assert "0 of 4 records of source broken" in verdicts["broken"].message


def test_kept_language(run):
    """Half of the English documents are copies: enough for a limit of 0.1, too few for 0.9."""
    assert only(kept_language(run, 0.1)).status == "passed"
    failed = only(kept_language(run, 0.9))
    assert (failed.status, failed.subject, len(failed.examples)) == ("failed", "web/en", 3)
    assert failed.examples[0].doc_id in run.deleted(run.unit_of(failed.examples[0].doc_id))


def test_kept_language_counts_what_rules_reject(tmp_path):
    """A rule for English takes nearly all German pages: told where German is asked for, with three of them."""
    rng = random.Random(7)
    texts = [" ".join(rng.choices(GERMAN.replace(",", "").split(), k=60)) for _ in range(120)]
    (tmp_path / "corpus").mkdir()
    rows = [{"text": text, "url": f"https://example.org/de/{n}"} for n, text in enumerate(texts)]
    rows += records(100, seed=1)
    (tmp_path / "corpus" / "pages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rule = {"statistic": "stop_words", "min": 2, "name": "english"}
    run_stages(write_config(tmp_path, clean={"language": {}, "rules": [rule]}), last="dedup")
    run = Output(str(tmp_path / "out"))
    rejected = [run.stages[stage]["counts"]["rejected"] for stage in ("clean", "dedup")]
    assert rejected[0] == {"english": 120}
    found = {verdict.subject: verdict for verdict in kept_language(run, 0.01)}
    assert (found["de"].status, found["de"].value) == ("failed", 0.0)
    assert "0 of 120 records of source web in de are left" in found["de"].message
    assert {example.url.split("/")[3] for example in found["de"].examples} == {"de"}
    assert len(found["de"].examples) == 3
    assert (found["en"].status, found["en"].value) == ("passed", 1 - sum(rejected[1].values()) / 100)
    run.config["clean"]["language"]["keep"] = ["en", "fr"]
    assert [verdict.subject for verdict in kept_language(run, 0.01)] == ["en"]


def test_language_purity(run, sample):
    """Labels that still hold pass; German text under English labels fails and is named."""
    assert only(language_purity(run, sample, 0.95)).status == "passed"
    failed = only(language_purity(run, with_texts(sample, [GERMAN] * sample.num_rows), 0.95))
    assert failed.status == "failed"
    assert failed.value < 0.05
    assert len(failed.examples) == 3
    run.config["clean"]["language"] = {"keep": ["de"], "threshold": 0.65}
    assert only(language_purity(run, with_texts(sample, [GERMAN] * sample.num_rows), 0.95)).value == 1.0
    assert only(language_purity(run, sample, 0.95)).status == "failed"
    run.config["clean"]["language"] = None
    assert only(language_purity(run, sample, 0.95)).status == "not measured"


@pytest.mark.parametrize("verify", ["signature", "jaccard"])
def test_duplicates_left(run, monkeypatch, verify):
    """After dedup none is left; with the deletions ignored every copy is found again, with its place."""
    run.config["dedup"]["minhash"]["verify"] = verify
    assert only(duplicates_left(run, 0.001)).value == 0.0
    removed = sum(run.stages["dedup"]["counts"]["rejected"].values())
    monkeypatch.setattr(Output, "deleted", lambda *_: np.zeros(0, np.int64))
    failed = only(duplicates_left(run, 0.001))
    assert failed.status == "failed"
    assert failed.value == removed / run.stages["clean"]["counts"]["kept"]
    assert len(failed.examples) == 3
    run.config["dedup"]["minhash"] = None
    exact = only(duplicates_left(run, 0.001))
    assert 0.001 < exact.value < failed.value
    assert "exactly" in exact.message


@pytest.mark.parametrize("verify", ["signature", "jaccard"])
def test_duplicates_left_in_passes(run, monkeypatch, verify):
    """However many keys are sorted and held and units mapped, the same documents are found, in as few scans."""
    run.config["dedup"]["minhash"]["verify"] = verify
    monkeypatch.setattr(Output, "deleted", lambda *_: np.zeros(0, np.int64))
    whole = only(duplicates_left(run, 0.001))
    tables, mapped, most = [], duplicates.map_table, [0]
    scans, batches = [], duplicates._Signatures.batches
    monkeypatch.setattr(duplicates._Signatures, "batches", lambda self: scans.append(self) or batches(self))

    def counted(*place):
        most[0] = max(most[0], sum(table() is not None for table in tables))
        table = mapped(*place)
        tables.append(weakref.ref(table))
        return table

    monkeypatch.setattr(duplicates, "map_table", counted)
    num_alive, bands = run.stages["clean"]["counts"]["kept"], run.config["dedup"]["minhash"]["bands"]
    for most_keys, most_held, most_maps in ((1 << 24, 1 << 27, 1 << 14), (100, num_alive // 2, 2), (40, 1 << 27, 1)):
        tables.clear()
        scans.clear()
        most[0] = 0
        monkeypatch.setattr(duplicates, "_MOST_KEYS", most_keys)
        monkeypatch.setattr(duplicates, "_MOST_HELD", most_held)
        monkeypatch.setattr(duplicates, "_MOST_MAPS", most_maps)
        assert only(duplicates_left(run, 0.001)) == whole
        assert most[0] <= most_maps + 1  # and the one that is being read
        held = -(-num_alive // most_held)
        assert held * bands < len(scans) <= held * bands + 2 * held + 1  # keys of texts have two words


def test_texts_are_compared_in_one_pass(run, monkeypatch):
    """With verify: jaccard each unit is read once at most, however many pairs there are."""
    run.config["dedup"]["minhash"]["verify"] = "jaccard"
    monkeypatch.setattr(Output, "deleted", lambda *_: np.zeros(0, np.int64))
    monkeypatch.setattr(duplicates, "_CHUNK", 8)
    read, documents = [], Output.documents
    monkeypatch.setattr(Output, "documents", lambda self, *words: read.append(words[0]) or documents(self, *words))
    assert only(duplicates_left(run, 1.0)).value > 0.1
    assert len(read) == len(set(read)) > 1


@pytest.mark.parametrize(("name", "most"), [("_MOST_DRAWN", 8), ("_MOST_SHINGLES", 3000), ("_MOST_PAIRS", 4)])
def test_texts_are_compared_of_so_many(run, monkeypatch, name, most):
    """Of more candidates some are drawn: the verdict says that it is an estimate, and of how many."""
    run.config["dedup"]["minhash"]["verify"] = "jaccard"
    monkeypatch.setattr(Output, "deleted", lambda *_: np.zeros(0, np.int64))
    exact = only(duplicates_left(run, 1.0))
    assert "estimate" not in exact.what
    if name == "_MOST_PAIRS":  # drawn while they are collected
        monkeypatch.setattr(duplicates, "_MOST_DRAWN", 8)
    monkeypatch.setattr(duplicates, name, most)
    verdict = only(duplicates_left(run, 1.0))
    told = re.search(r"an estimate: of ([0-9]+) that are likely to the texts of ([0-9]+) were compared", verdict.what)
    likely, drawn = map(int, told.groups())
    assert 1 <= drawn < likely
    if name != "_MOST_SHINGLES":
        assert drawn == 8
    assert abs(verdict.value - exact.value) <= 0.5 * likely / run.stages["clean"]["counts"]["kept"]
    assert verdict == only(duplicates_left(run, 1.0))


class _Four:
    """Four documents whose signatures are equal, in one unit: as much of an output as texts are read of."""

    def __init__(self, texts):
        self._texts = texts
        self.alive_N = np.ones(4, np.bool_)

    def batches(self):
        columns = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(4 * 112, np.uint32)), 112)
        yield pa.RecordBatch.from_arrays([columns], ["minhash"]), 0

    def minhash(self, dense, num_perm):
        return np.zeros((len(dense), num_perm), np.uint32)

    def ids(self, dense):
        yield "all", {place + 100: place for place in dense.tolist()}

    def documents(self, unit, columns):
        yield pa.RecordBatch.from_pydict({"doc_id": [100, 101, 102, 103], "text": self._texts})


def test_a_false_candidate_does_not_hide_a_true_one():
    """With verify: jaccard each document goes on to its other candidates when the texts of one differ."""
    one = " ".join("abcdefghijklmnop")
    other = " ".join("qrstuvwxyzabcdef")
    four = _Four([one, other, f"{one} z", f"{other} z"])
    minhash = {"bands": 14, "rows": 8, "threshold": 0.75, "ngram": 5, "verify": "jaccard"}
    repeats_N = np.zeros(4, np.bool_)
    likely = duplicates._Likely(4)
    duplicates._near(four, minhash, repeats_N, likely)
    assert likely.verified(four, four, minhash, repeats_N) == (0, "")
    assert repeats_N.tolist() == [False, False, True, True]


def test_pii_left(run, sample):
    """An address fails and is named; the replacements that masking writes are nobody's and pass."""
    assert only(pii_left(run, sample, None)).status == "not measured"
    clean = ["Write to email@example.com or 22.214.171.124."] * sample.num_rows
    assert only(pii_left(run, with_texts(sample, clean), 0.0)).status == "passed"
    failed = only(pii_left(run, with_texts(sample, [*clean[1:], "Mail john.doe@company-mail.de now."]), 0.0))
    assert failed.status == "failed"
    assert [example.doc_id for example in failed.examples] == [sample.column("doc_id")[-1].as_py()]
    run.config["clean"]["pii"] = ["ip"]
    mail = with_texts(sample, ["Mail john.doe@company-mail.de now."] * sample.num_rows)
    assert only(pii_left(run, mail, None)).status == "passed"


def test_contamination(run, monkeypatch):
    """A document that repeats an evaluation example fails while it survives, and passes when it is deleted."""
    failed = only(contamination(run, 0.0))
    assert (failed.status, failed.value) == ("failed", 0.5)
    assert failed.examples[0].url == "https://example.org/0/3"
    ids = [example.doc_id for example in failed.examples]
    monkeypatch.setattr(Output, "deleted", lambda *_: np.array(ids))
    assert only(contamination(run, 0.0)).status == "passed"
    monkeypatch.setattr("pipeline.gates.contamination.read_table", lambda *_: pa.table({"ngrams": np.zeros(2)}))
    unusable = only(contamination(run, 0.0))
    assert (unusable.status, "2 are too short" in unusable.message) == ("not measured", True)
    run.config["dedup"]["decontaminate"] = None
    assert only(contamination(run, 0.0)).status == "not measured"


def test_contamination_is_measured_again(run, sample):
    """On the sample alone, from the sets as they are read now: whatever the run recorded."""
    failed = only(contamination_again(run, sample, 0.0))
    assert (failed.status, failed.value, failed.name) == ("failed", 0.5, "contamination[sample]")
    assert "https://example.org/0/3" in {example.url for example in failed.examples}
    urls = sample.column("url").to_pylist()
    guilty = {urls.index(example.url) for example in failed.examples}
    others = sample.take([row for row in range(sample.num_rows) if row not in guilty])
    assert only(contamination_again(run, others, 0.0)).value == 0.0
    assert only(contamination_again(run, sample, 0.5)).status == "passed"
    run.config["dedup"]["decontaminate"]["sets"][0]["path"] += ".gone"
    gone = only(contamination_again(run, sample, 0.0))
    assert (gone.status, "cannot be read again" in gone.what) == ("not measured", True)
    run.config["dedup"]["decontaminate"] = None
    assert list(contamination_again(run, sample, 0.0)) == []


def test_fertility(run, sample):
    """Some two tokens a word with 512 tokens: a limit of one fails, of five passes."""
    assert only(fertility(run, sample, 5.0)).status == "passed"
    failed = only(fertility(run, sample, 1.0))
    assert failed.status == "failed"
    assert 1.0 < failed.value < 5.0
    assert len(failed.examples) == 3


def test_unknown_tokens_and_short_documents(run):
    """The document of Han characters that the vocabulary lacks is named first; so is the shortest one."""
    assert [verdict.status for verdict in encoded(run, 0.5, 0.5)] == ["passed", "passed"]
    unknown, short = encoded(run, 0.0001, 0.0)
    assert (unknown.status, short.status) == ("failed", "failed")
    assert [example.url for example in unknown.examples] == [HOSTILE]
    assert "\x1b" not in unknown.message
    assert short.examples[0].url == "https://example.org/short"
    assert "half" in short.message


def test_row_fill(run):
    """Best fit fills nearly all of each row; nothing fills more than all."""
    assert only(row_fill(run, 0.6)).status == "passed"
    failed = only(row_fill(run, 1.0))
    assert failed.status == "failed"
    assert failed.examples
    run.config["tokenize"]["packing"] = "none"
    assert only(row_fill(run, 1.0)).status == "not measured"
    run.stages["shards"]["counts"]["train"] |= {"rows": 0, "tokens": 0, "capacity": 0}
    for packing in ("none", "best_fit"):  # nobody can train on that
        run.config["tokenize"]["packing"] = packing
        assert (only(row_fill(run, 0.6)).status, only(row_fill(run, 0.6)).value) == ("failed", 0)


def test_validation_rows(run):
    """A run that asked for validation and has none fails; who asked for none is not told off."""
    assert only(validation_rows(run)).status == "passed"
    run.stages["shards"]["counts"]["validation"]["rows"] = 0
    failed = only(validation_rows(run))
    assert (failed.status, failed.value) == ("failed", 0)
    assert "asks for 0.05 of the documents" in failed.message
    run.config["tokenize"]["validation"] = 0.0
    assert only(validation_rows(run)).status == "not measured"


def test_files(out, tmp_path):
    """A flipped byte in a shard and a missing table are found and named; then no other gate is asked."""
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    assert only(files(Output(str(copy)))).status == "passed"
    record = next(iter(load_records(out, "shards").values()))
    shard = copy / record.tables["shards/train"].path
    damaged = bytearray(shard.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    shard.write_bytes(damaged)
    failed = only(files(Output(str(copy))))
    assert (failed.status, failed.value) == ("failed", 1)
    assert failed.examples
    assert record.tables["shards/train"].path in failed.message
    unit = next(iter(load_records(out, "clean")))
    (copy / "documents" / f"{unit}.arrow").unlink()
    verdicts = check(str(copy), config=None, overrides=[], baseline=None)
    assert [(verdict.gate, verdict.value) for verdict in verdicts] == [("files", 2)]


@pytest.mark.parametrize("job", ["dedup-contaminated", "dedup-evaluation"])
def test_files_of_decontamination(out, tmp_path, job):
    """Its tables are part of the output: a flipped byte, a missing file and a missing record are found."""
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    name, record = next(iter(load_records(out, job).items()))
    [table] = [table for table in record.tables.values() if not table.path.startswith("work/")]
    whole = (copy / table.path).read_bytes()
    (copy / table.path).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert table.path in only(files(Output(str(copy)))).message
    (copy / table.path).unlink()
    assert only(files(Output(str(copy)))).value == 1
    (copy / table.path).write_bytes(whole)
    assert only(files(Output(str(copy)))).status == "passed"
    (copy / "units" / job / f"{name}.json").unlink()
    assert f"units/{job}: holds" in only(files(Output(str(copy)))).message


def test_missing_commit_records_are_damage(out, tmp_path, capsys):
    """Of any stage; who reads the run anyway gets one line that names the unit, and exit code 3."""
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    for stage in ("clean", "dedup", "tokenize", "tokenizer", "shards"):
        record = next((copy / "units" / stage).glob("*.json"))
        text = record.read_text()
        record.unlink()
        failed = only(files(Output(str(copy))))
        assert (failed.status, failed.value >= 1) == ("failed", True)
        assert f"units/{stage}: holds" in failed.message
        capsys.readouterr()
        assert main(["report", str(copy)]) == (0 if stage == "shards" else 3)
        told = capsys.readouterr().err
        assert (f"first {record.stem}" in told) == (stage in ("clean", "dedup", "tokenize"))
        record.write_text("{")
        assert only(files(Output(str(copy)))).status == "failed"
        record.write_text(text)
    assert only(files(Output(str(copy)))).status == "passed"


@pytest.mark.parametrize("command", ["check", "report"])
def test_a_ledger_of_an_earlier_version_is_one_line(out, tmp_path, capsys, command):
    """The rejected rows had no language once: the file is named, with what to do."""
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    for record in load_records(str(copy), "clean").values():
        if record.rows("rejected"):
            table = read_table(str(copy), record, "rejected").drop_columns("language")
            path = copy / record.tables["rejected"].path
            with pa.ipc.new_file(str(path), table.schema) as writer:
                writer.write(table)
            size, digest = storage.file_hash(str(path))
            stored = copy / "units" / "clean" / f"{record.unit}.json"
            value = json.loads(stored.read_text())
            value["tables"]["rejected"] |= {"bytes": size, "hash": digest}
            stored.write_text(json.dumps(value))
    assert main([command, str(copy)]) == 3
    told = capsys.readouterr().err
    assert re.fullmatch(r"gristmill: rejected/.* has no column language: .*; repeat the run\n", told)


@pytest.mark.parametrize("name", ["dataset_dict.json", "train/state.json", "validation/dataset_info.json"])
def test_shards_that_cannot_be_opened_are_damage(out, tmp_path, name):
    """The JSON files of `datasets` are gone, damaged, or name other files."""
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    path = copy / "shards" / name
    other = path.read_text().replace("00000-of", "00007-of").replace('"validation"', '"test"')
    for text in (None, "{", "{}", "[]", other):
        if text is None:
            path.unlink()
        else:
            path.write_text(text)
        failed = only(files(Output(str(copy))))
        assert (failed.status, failed.value) == ("failed", 1)
        assert f"shards/{name}" in failed.message


def test_drift(run, sample):
    """Nothing drifts against itself; longer documents and other languages do, each statistic by itself."""
    assert {verdict.status for verdict in drift(sample, sample, 0.25)} == {"passed"}
    longer = with_texts(sample, [text * 4 for text in sample.column("text").to_pylist()])
    verdicts = {verdict.subject: verdict for verdict in drift(longer, sample, 0.25)}
    assert verdicts["bytes"].status == verdicts["words"].status == "failed"
    assert len(verdicts["bytes"].examples) == 3
    assert verdicts["languages"].status == "passed"
    german = sample.set_column(4, sample.schema.field(4), pa.array(["de"] * sample.num_rows))
    verdicts = {verdict.subject: verdict for verdict in drift(german, sample, 0.25)}
    assert verdicts["languages"].status == "failed"
    assert verdicts["bytes"].status == "passed"
    assert only(drift(sample.slice(0, 20), sample, 0.25)).status == "not measured"


def test_drift_of_what_most_documents_lack(sample):
    """A statistic that is 0 in nearly all of the baseline drifts when it is not, also where none had it."""
    lines = [text.replace("\n", " ... ...\n") for text in sample.column("text").to_pylist()]
    verdicts = {verdict.subject: verdict for verdict in drift(with_texts(sample, lines), sample, 0.25)}
    assert verdicts["ellipsis_line_ratio"].status == "failed"
    score = sample.schema.get_field_index("language_score")
    none = sample.set_column(score, sample.schema.field(score), pa.nulls(sample.num_rows, pa.float32()))
    for now, before in ((none, sample), (sample, none)):
        verdicts = {verdict.subject: verdict for verdict in drift(now, before, 0.25)}
        assert verdicts["language_score"].status == "failed"
    assert {v.subject: v for v in drift(none, none, 0.25)}["language_score"].status == "not measured"


def test_stability_index_by_hand():
    """Half and half against a quarter and three quarters: (1/4) ln 3, whatever the direction."""
    one, other = np.array([2, 2]), np.array([1, 3])
    assert stability_index(one, other) == pytest.approx(0.25 * np.log(3))
    assert stability_index(one, other) == pytest.approx(stability_index(other, one))
    assert stability_index(one, one * 50) == 0.0


def test_tokens_changed(run, out):
    """As many tokens as the baseline pass, three times as many fail."""
    before = Output(out)
    assert only(tokens_changed(run, before, 0.1)).status == "passed"
    run.stages["tokenize"]["counts"]["tokens"] *= 3
    failed = only(tokens_changed(run, before, 0.5))
    assert (failed.status, failed.value) == ("failed", 2.0)


def test_the_command(out, tmp_path, capsys):
    """Exit code 1 with a failed gate, 0 without; three files that agree; hostile addresses are shown, not obeyed."""
    assert main(["check", out, "--set", "checks.unknown_tokens=0.0001", "--baseline", out]) == 1
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "failed        kept_source[broken]: 0, limit 0.01: 0 of 4" in shown
    verdicts = json.loads((Path(out) / "check.json").read_text())["verdicts"]
    status = [verdict["status"] for verdict in verdicts]
    assert "drift" in {verdict["gate"] for verdict in verdicts if verdict["status"] == "passed"}
    suite = ET.parse(f"{out}/check.xml").getroot().find("testsuite")
    assert (len(suite), len(suite.findall(".//failure")), len(suite.findall(".//skipped"))) == (
        len(status), status.count("failed"), status.count("not measured"),
    )  # fmt: skip
    assert suite.get("failures") == str(status.count("failed"))
    markdown = (Path(out) / "check.md").read_text()
    assert "gates failed" in markdown.splitlines()[0]
    assert "<script" not in markdown
    assert "https://" not in markdown
    assert all(line.count(" | ") == 4 for line in markdown.splitlines() if line.startswith(("| failed", "| passed")))
    assert main(["check", out, "--set", "checks.kept_source=0", "--set", "checks.unknown_tokens=null"]) == 0
    assert "all" in (Path(out) / "check.md").read_text().splitlines()[0]


def test_a_run_that_is_not_finished_is_measured_as_far_as_it_goes(tmp_path, capsys):
    """After clean alone the gates of dedup and tokens say that they measured nothing, and none of them passes."""
    write_corpus(tmp_path / "corpus", files=1, per_file=20)
    path = write_config(tmp_path)
    run_stages(path, last="clean")
    assert main(["check", str(tmp_path / "out"), "--config", str(path)]) == 0
    capsys.readouterr()
    verdicts = json.loads((tmp_path / "out" / "check.json").read_text())["verdicts"]
    status = {verdict["gate"]: verdict["status"] for verdict in verdicts}
    assert {gate for gate, found in status.items() if found == "passed"} == {"files", "kept_source"}
    assert status["duplicates_left"] == status["row_fill"] == status["fertility"] == "not measured"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--set", "checks.duplicate_left=0"], "unknown key 'duplicate_left'; did you mean 'duplicates_left'?"),
        (["--set", "checks.row_fill=2"], "row_fill: input should be less than or equal to 1, got 2"),
        (["--set", "seed=1"], "check takes checks.KEY=VALUE only"),
        (["--baseline", "nowhere"], "nowhere holds no run.json"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_mistake_is_one_line(out, capsys, words, line):
    """Exit code 2 and what was wrong."""
    assert main(["check", out, *words]) == 2
    told = capsys.readouterr().err
    assert line in told
    assert told.count("\n") == 1
    with pytest.raises(UserError, match="no run"):
        Output("/nowhere")
