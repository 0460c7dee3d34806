"""What is committed is valid for its key alone: crashes, changed keys and changed sources never mix two runs."""

import json
import sys

import pytest

import pipeline.context
import pipeline.dedup_spans
import pipeline.dedup_takedown
import pipeline.dedup_units
from pipeline.errors import RunFailed, UserError
from pipeline.run_state import differences, summarise
from tests.pipeline.corpus import column_hashes, counts, run_stages, write_config, write_corpus
from transforms import storage
from transforms.commit import Record, load_records
from transforms.committed import read_table
from transforms.unit import WorkUnit


@pytest.fixture
def directory(tmp_path):
    write_corpus(tmp_path / "corpus", files=2, per_file=40)
    return tmp_path


def every_dedup_option(directory):
    """What makes dedup run all of its jobs, for a run beside an earlier one in `old`."""
    (directory / "takedown.txt").write_text("https://example.org/0/3\n")
    evaluation = f"{{name: eval, format: jsonl, path: {directory / 'corpus' / 'part-0.jsonl'}}}"
    return [
        f"dedup.against=[{directory / 'old'}]",
        "dedup.policy=new",
        f"dedup.decontaminate={{sets: [{evaluation}], action: mark}}",
        f"dedup.takedown={directory / 'takedown.txt'}",
        "dedup.lines={}",
        "dedup.substrings={}",
    ]


def assert_files_are_those_of_their_records(out):
    """Read every table of every record; reading compares bytes, hash and rows."""
    for stage in (out / "units").iterdir():
        for record in load_records(str(out), stage.name).values():
            for name, table in record.tables.items():
                if table.columns:
                    read_table(str(out), record, name)


@pytest.mark.parametrize(
    ("stage", "override"), [("clean", "dedup.minhash.ngram=4"), ("shards", "seed=1")], ids=["signatures", "shards"]
)
def test_a_crash_under_another_key_leaves_no_record_of_the_old_one(directory, monkeypatch, stage, override):
    """Killed between the tables and the record under a changed key, the run with the old key makes them again."""
    path, out = write_config(directory), directory / "out"
    run_stages(path)
    undisturbed = column_hashes(out)
    real = storage.write_json

    def crash(target, value):
        if f"units/{stage}/" in target:
            raise OSError(5, "killed here")
        real(target, value)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_json", crash)
        with pytest.raises(RunFailed, match="killed here"):
            run_stages(path, overrides=[override])
    run_stages(path)
    assert column_hashes(out) == undisturbed
    assert_files_are_those_of_their_records(out)


def test_a_table_that_the_new_key_does_not_make_is_removed(directory):
    """Without MinHash there are no band runs any more."""
    path, out = write_config(directory), directory / "out"
    run_stages(path)
    assert list((out / "work" / "bands").glob("*.arrow"))
    run_stages(path, overrides=["dedup.minhash=null"])
    assert not list((out / "work" / "bands").glob("*.arrow"))


def test_options_that_are_switched_off_leave_nothing(directory):
    """Tables and records of jobs that the configuration does not have look as if they were of this run."""
    path, out = write_config(directory), directory / "out"
    run_stages(path)
    before = {file.relative_to(out) for file in out.rglob("*") if file.is_file()}
    old = write_config(directory, output=str(directory / "old"))
    run_stages(old, last="dedup")
    write_config(directory)
    options = every_dedup_option(directory)
    run_stages(path, last="dedup", overrides=options)
    run_stages(path, last="dedup", overrides=["dedup.minhash.verify=jaccard"])
    run_stages(path, last="dedup", overrides=["dedup.shuffle=true"])
    run_stages(path)
    assert {file.relative_to(out) for file in out.rglob("*") if file.is_file()} == before


KEYS = [
    ("dedup", f"dedup.takedown={__file__}"),
    ("clean", "clean.unicode=nfkc"),
    ("clean", "clean.language={keep: [en]}"),
    ("clean", "clean.language={keep: [en], threshold: 0.1}"),
    ("clean", "clean.language={keep: [en], thresholds: {en: 0.1}}"),
    ("clean", "clean.quality=[gopher-quality]"),
    ("clean", "clean.quality=[{preset: gopher-quality, thresholds: {gopher_short_doc: 9}}]"),
    ("clean", "clean.rules=[{statistic: words, min: 9}]"),
    ("clean", "clean.keep_statistics=true"),
    ("clean", "clean.url_filter={}"),
    ("clean", "clean.repair=[mojibake]"),
    ("clean", "clean.stop_words=en"),
    ("clean", "clean.pii=[email]"),
    ("clean", "rejected.keep_text=true"),
    ("clean", "sources.0.text=body"),
    ("clean", "dedup.minhash.ngram=4"),
    ("clean", "dedup.minhash.rows=7"),
    ("dedup", "dedup.exact=false"),
    ("dedup", "dedup.minhash.threshold=0.8"),
    ("dedup", "dedup.minhash.verify=none"),
    ("dedup", "dedup.lines={}"),
    ("dedup", "dedup.substrings={}"),
    ("tokenizer", "tokenize.tokenizer.train=unigram"),
    ("tokenizer", "tokenize.tokenizer.vocab_size=400"),
    ("tokenizer", "tokenize.tokenizer.sample_bytes=1000"),
    ("tokenizer", "tokenize.tokenizer.temperature=0.3"),
    ("tokenizer", "tokenize.tokenizer.pad_vocab_to=64"),
    ("tokenizer", "tokenize.seq_length=32"),
    ("shards", "tokenize.packing=concat"),
    ("tokenize", "tokenize.packing=pairs"),
    ("validation", "tokenize.validation=0.9"),
    ("shards", "sources.0.weight=2.5"),
    ("shards", "tokenize.seq_length=[64, 32]"),
    ("shards", "seed=5"),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, and a way to learn which jobs a changed configuration would run again."""
    directory = tmp_path_factory.mktemp("finished")
    write_corpus(directory / "corpus", files=1, per_file=30)
    path = write_config(directory)
    run_stages(path)
    return path


@pytest.mark.parametrize(("stage", "override"), KEYS)
def test_every_key_that_changes_output_makes_its_stage_stale(finished, monkeypatch, stage, override):
    """The first job with pending units is that of the stage that the key belongs to."""

    class StoppedError(Exception):
        pass

    def stop(engine, out, job, units, say, found):
        if found.pending:
            raise StoppedError(job.stage)
        return found.committed

    monkeypatch.setattr("pipeline.context.run_job", stop)
    with pytest.raises(StoppedError) as caught:
        run_stages(finished, overrides=[override])
    assert str(caught.value).split("-")[0] == stage


def test_bands_and_rows_of_equal_product_sign_nothing_again(finished, monkeypatch):
    """Only their product is in the signatures, and no threshold is in the runs: each makes again what depends on it."""
    pending = {}

    def look(engine, out, job, units, say, found):
        pending[job.stage] = len(found.pending)
        return {unit.name: found.committed.get(unit.name) or load_records(out, job.stage)[unit.name] for unit in units}

    monkeypatch.setattr("pipeline.context.run_job", look)
    run_stages(finished, last="dedup", overrides=["dedup.minhash.bands=8", "dedup.minhash.rows=14"])
    assert (pending["clean"], pending["dedup-runs"], pending["dedup"]) == (0, 1, 1)
    run_stages(finished, last="dedup", overrides=["dedup.minhash.threshold=0.9"])
    assert (pending["clean"], pending["dedup-runs"], pending["dedup-links"], pending["dedup"]) == (0, 0, 1, 1)


# What is told apart by unit, and so is part of a unit's own key and not of what its job reads.
BY_UNIT = {
    "dedup-lines": {"dedup-contaminated", "dedup-takedown"},
    "dedup-anchors": {"dedup-contaminated", "dedup-takedown"},
    "dedup-windows": {"dedup-contaminated", "dedup-takedown"},
    "dedup": {"dedup-contaminated", "dedup-takedown"},
}


@pytest.mark.parametrize("given", [[], ["dedup.minhash.verify=jaccard"], ["dedup.shuffle=true", "dedup.url=true"]])
def test_a_dedup_job_reads_what_it_says(directory, monkeypatch, given):
    """Its key is made of that: a table that it read in silence could change and leave what it made as it is."""
    (directory / "takedown.txt").write_text("https://example.org/0/3\n")
    evaluation = f"{{name: eval, format: jsonl, path: {directory / 'corpus' / 'part-0.jsonl'}}}"
    options = [
        f"dedup.decontaminate={{sets: [{evaluation}], action: drop}}",
        f"dedup.takedown={directory / 'takedown.txt'}",
        "dedup.lines={}",
        "dedup.substrings={}",
        "runner.engine=FnApiRunner",
        *given,
    ]
    read, jobs = set(), set()
    read_json, real = storage.read_json, pipeline.context.run_job

    def noted(path):
        if "/units/" in path:
            read.add(path.split("/units/")[1].split("/")[0])
        return read_json(path)

    def run_job(engine, out, job, units, say, found):
        for module in (
            pipeline.dedup_spans,
            pipeline.dedup_takedown,
            pipeline.dedup_units,
        ):  # what an earlier job has read already
            for value in vars(module).values():
                getattr(value, "cache_clear", int)()
        read.clear()
        records = real(engine, out, job, units, say, found)
        if job.stage.startswith("dedup") and units:
            jobs.add(job.stage)
            said = {name for name, _ in job.reads}
            assert read - {job.stage, "clean"} - BY_UNIT.get(job.stage, set()) <= said, job.stage
            assert said <= read, job.stage
        return records

    monkeypatch.setattr(storage, "read_json", noted)
    monkeypatch.setattr("pipeline.context.run_job", run_job)
    run_stages(write_config(directory), last="dedup", overrides=options)
    assert len(jobs) >= 15


@pytest.mark.parametrize("given", [[], ["dedup.shuffle=true"]])
def test_a_new_version_makes_every_dedup_job_again(directory, monkeypatch, given):
    """What a job reads may stay as it is while what it makes of that changes."""
    old = write_config(directory, output=str(directory / "old"))
    run_stages(old, last="dedup")
    options = [*every_dedup_option(directory), *given]
    path = write_config(directory)
    run_stages(path, last="dedup", overrides=options)
    left = {}

    def look(engine, out, job, units, say, found):
        if units and job.stage.startswith("dedup"):
            left[job.stage] = list(found.committed)
        committed = load_records(out, job.stage)
        return {unit.name: committed[unit.name] for unit in units}

    monkeypatch.setattr("pipeline.context.run_job", look)
    run_stages(path, last="dedup", overrides=options)
    assert len(left) >= 15
    assert all(left.values())
    for name in list(sys.modules):
        if name.startswith("pipeline.de"):
            monkeypatch.setattr(f"{name}.DEDUP_VERSION", 999, raising=False)
    jobs = set(left)
    left.clear()
    run_stages(path, last="dedup", overrides=options)
    assert left == {job: [] for job in jobs}


def test_what_changes_no_output_makes_nothing_stale(finished):
    """Workers, another pattern for the same files, priority of the only source."""
    corpus = str(finished.parent / "corpus")
    harmless = ("sources.0.priority=9", "runner.workers=7", "name=other", "checks.drift=0.1")
    for override in (f"sources.0.path={corpus}/part-*.jsonl", *harmless):
        _, said = run_stages(finished, overrides=[override])
        assert said == []


def test_a_key_that_makes_nothing_stale_is_stored_and_shown(directory):
    """`check` and the report go by run.json: limits that were changed count without anything to be made again."""
    path, out = write_config(directory), directory / "out"
    run_stages(path)
    before = json.loads((out / "run.json").read_text())
    run_stages(path, overrides=["checks.row_fill=0.123", "name=renamed"])
    after = json.loads((out / "run.json").read_text())
    assert after["config"]["checks"]["row_fill"] == 0.123
    assert after["stages"] == before["stages"]
    assert "renamed" in (out / "README.md").read_text()
    run_stages(path, last="clean", overrides=["dedup.minhash.threshold=0.9"])  # the entry of dedup has another one
    assert json.loads((out / "run.json").read_text()) == after


def test_what_has_changed_is_told_before_it_costs(directory):
    """Keys with the old and the new value, once, and nothing where nothing is made again."""
    path = write_config(directory)
    run_stages(path)
    _, said = run_stages(path, overrides=["name=renamed"])
    assert said == []
    _, said = run_stages(path, overrides=["dedup.minhash.threshold=0.9", "sources.0.weight=2"])
    told = 'changed since the last run: name ("renamed" -> "test"), sources.0.weight (1.0 -> 2.0),'
    assert [line for line in said if "changed since" in line] == [f"{told} dedup.minhash.threshold (0.75 -> 0.9)"]
    assert said[0].startswith("changed since")
    _, said = run_stages(path, overrides=["dedup.minhash.threshold=0.9", "sources.0.weight=2"])
    assert said == []


def test_differences_of_configurations():
    """Lists are one value, but for lists of sections of equal length; long values are cut, new keys have defaults."""
    before = {"a": 1, "b": {"c": [1, 2]}, "d": [{"e": 1}, {"e": 2}], "f": [{"g": 1}], "h": "x" * 99, "i": None}
    now = {"a": 1, "b": {"c": [1]}, "d": [{"e": 1}, {"e": 3}], "f": [], "h": "x", "i": {"j": 1}, "new": 5}
    assert list(differences(before, now)) == [
        "b.c ([1, 2] -> [1])",
        "d.1.e (2 -> 3)",
        'f ([{"g": 1}] -> [])',
        f'h ("{"x" * 59}... -> "x")',
        'i (null -> {"j": 1})',
    ]
    assert list(differences(None, now)) == []


def test_files_that_vanish_are_told_and_their_units_removed(directory):
    """The run says so and is not called complete; stages before --from refuse; a dangling link is a mistake."""
    path, out = write_config(directory, unit_bytes=1024), directory / "out"
    run_stages(path)
    before = counts(out)["clean"]["input"]
    (directory / "corpus" / "part-1.jsonl.gz").unlink()
    with pytest.raises(UserError, match="to be removed"):
        run_stages(path, first="dedup", last="dedup")
    _, said = run_stages(path)
    assert any("no longer planned" in line for line in said)
    assert counts(out)["clean"]["input"] < before
    assert_files_are_those_of_their_records(out)
    (directory / "corpus" / "part-9.jsonl").symlink_to("/no/such/file")
    with pytest.raises(UserError, match=r"part-9\.jsonl"):
        run_stages(path)


def test_later_entries_go_when_an_earlier_stage_changes(directory):
    """run.json never shows a stage's counts beside a configuration that did not make them."""
    path, out = write_config(directory), directory / "out"
    run_stages(path)
    run_stages(path, first="clean", last="clean", overrides=["clean.unicode=nfkc"])
    assert set(json.loads((out / "run.json").read_text())["stages"]) == {"clean"}


def test_a_changed_tokenizer_file_is_noticed(directory):
    """The vocabulary that is used is the one that was committed."""
    path = write_config(directory)
    run_stages(path)
    tokenizer = directory / "out" / "tokenizer" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace('"the"', '"thx"'))
    with pytest.raises(RuntimeError, match="not what was committed"):
        run_stages(path)


def test_weights_repeat_the_documents_of_a_source(directory):
    """Twice a source is twice its training tokens; validation documents are never repeated or left out."""
    path, out = write_config(directory), directory / "out"
    run_stages(path)
    once = counts(out)["shards"]
    run_stages(path, overrides=["sources.0.weight=2"])
    assert counts(out)["shards"]["train"]["tokens"] == 2 * once["train"]["tokens"]
    assert counts(out)["shards"]["validation"] == once["validation"]
    run_stages(path, overrides=["sources.0.weight=0.5"])
    assert 0.2 < counts(out)["shards"]["train"]["tokens"] / once["train"]["tokens"] < 0.8
    assert counts(out)["shards"]["validation"]["tokens"] == once["validation"]["tokens"]


def test_the_sum_of_all_units_must_add_up():
    """A record that lies makes the stage fail, not only its unit."""
    unit = WorkUnit("u", 0, "k")
    lying = {"input": 3, "kept": 1, "rejected": {"bad": 1}}
    record = Record(
        stage="clean", unit=unit.name, number=0, key="k", counts=lying, tables={}, seconds=0.0, peak_rss_bytes=0
    )
    with pytest.raises(RuntimeError, match="sum of all units"):
        summarise([record])


def test_rejected_duplicates_have_the_address_that_they_have_now(directory):
    """Signatures stay as they were when only an address changes; what dedup writes of a document names it too."""
    corpus, path = directory / "corpus" / "part-9.jsonl", write_config(directory)
    for address in ("http://old.example/", "http://new.example/"):
        corpus.write_text(
            "".join(json.dumps({"text": "the same words " * 30, "url": address}) + "\n" for _ in range(2))
        )
        run_stages(path, last="dedup")
        records = load_records(str(directory / "out"), "dedup").values()
        rows = [row for r in records for row in read_table(str(directory / "out"), r, "rejected").to_pylist()]
        assert [row["url"] for row in rows if "example/" in row["url"]] == [address]
