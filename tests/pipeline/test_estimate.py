"""The estimate of `plan`: what follows from stored bytes and measured rates."""

import json
import re

import pytest

import pipeline.plan
from pipeline.cli import main
from pipeline.config import Config, load_config
from pipeline.estimate import describe_plan, estimate
from pipeline.plan import make_plan
from tests.conftest import ROOT
from tests.pipeline.corpus import run_stages, write_config, write_corpus
from transforms.readers.listing import FileEntry


def needs_of(tmp_path, source, **changes):
    config = load_config(str(write_config(tmp_path, sources=[source], **changes)))
    return config, estimate(config, make_plan(config.sources, config.unit_bytes))


@pytest.fixture
def source(tmp_path):
    """A source of one JSONL file of 40 MB that holds nothing: a plan opens no file."""
    with (tmp_path / "a.jsonl").open("wb") as handle:
        handle.truncate(40_000_000)
    return {"name": "s", "format": "jsonl", "path": str(tmp_path / "a.jsonl")}


def test_needs_grow_with_the_bytes(tmp_path, source):
    """Text, documents, hours, disk and files of 40 MB in 40 units; a gzip file unpacks to three times its bytes."""
    _, needs = needs_of(tmp_path, source, unit_bytes=1_000_000)
    assert (needs.text_bytes, needs.documents) == (40e6, 10_000)
    assert needs.disk_bytes["signatures/"] == 10_000 * (24 + 4 * 112)
    assert needs.objects == 40 * 12
    assert needs.shuffle_bytes == 0
    _, twice = needs_of(tmp_path, source, tokenize={"seq_length": [512, 8192]})
    assert twice.disk_bytes["tokens/ + shards/"] == pytest.approx(1.5 * needs.disk_bytes["tokens/ + shards/"])
    packed = tmp_path / "a.jsonl.gz"
    (tmp_path / "a.jsonl").rename(packed)
    _, unpacked = needs_of(tmp_path, {**source, "path": str(packed)}, unit_bytes=1_000_000)
    assert unpacked.text_bytes == 3 * needs.text_bytes
    assert unpacked.core_hours == pytest.approx({stage: 3 * hours for stage, hours in needs.core_hours.items()})


def test_words_of_a_trained_tokenizer_take_disk(tmp_path, source):
    """Of the sample alone, more where words are not parted at blanks, and none where a tokenizer is loaded."""
    found = {}
    for chosen in (
        {"train": "wordpiece"},
        {"train": "bpe"},
        {"train": "unigram", "sample_bytes": 1_000_000},
        {"load": "tokenizer.json"},
    ):
        config, needs = needs_of(tmp_path, source, tokenize={"tokenizer": chosen})
        found[next(iter(chosen.values()))] = needs.disk_bytes.get("work/words")
        if "train" in chosen:
            assert f"work/words {'':>9} {found[chosen['train']] / 1e6:>12,.0f} MB" in describe_plan(config)
    assert found == {"wordpiece": 0.45 * 40e6, "bpe": 40e6, "unigram": 1e6, "tokenizer.json": None}


def test_pages_cost_more_and_give_less(tmp_path, source):
    """Of a WARC most bytes are markup, and parsing it takes most of the time."""
    _, text = needs_of(tmp_path, source)
    _, pages = needs_of(tmp_path, {**source, "format": "warc"})
    assert pages.text_bytes < text.text_bytes
    assert pages.core_hours["clean"] > text.core_hours["clean"]


def test_a_shuffle_moves_hashes(tmp_path, source):
    """14 hashes of bands and one of the content, each with an index: 188 bytes a document."""
    config, needs = needs_of(tmp_path, source, dedup={"shuffle": True})
    assert needs.shuffle_bytes == 188 * 10_000
    assert "shuffled by dedup: 2 MB of hashes, no text" in describe_plan(config)


def test_the_price_of_a_run(tmp_path, source, capsys):
    """The cost of the core-hours, and of a terabyte of text."""
    _, needs = needs_of(tmp_path, source)
    assert main(["plan", str(write_config(tmp_path, sources=[source])), "--price", "0.04"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("cost")]
    total = sum(needs.core_hours.values())
    assert line.startswith(f"cost: {0.04 * total:,.2f} at 0.04")
    assert line.endswith(f"{0.04 * total / 40e6 * 1e12:,.2f} a TB of text")


def test_a_machine_has_a_price(tmp_path, source, capsys):
    """Hours of one machine with a worker on each vCPU, its list price, and what there is instead."""
    config, needs = needs_of(tmp_path, source)
    total = sum(needs.core_hours.values())
    shown = describe_plan(config, "m6i.2xlarge")
    assert f"holds 8 workers; {total / 8:,.2f} hours of one" in shown
    assert f"{total / 8 * 0.384 / 40e6 * 1e12:,.2f} a TB of text; 0.384 an hour, list price of " in shown
    assert "0.8 an hour\n" in describe_plan(config, "m6i.2xlarge", price=0.1)
    path = str(write_config(tmp_path, sources=[source]))
    assert main(["plan", path, "--machine", "m6i.3xlarge"]) == 2
    assert "is 'm6i.2xlarge'" in capsys.readouterr().err
    assert main(["plan", path, "--machine", "m6i.2xlarge", "--set", "runner.engine=dataflow"]) == 2
    assert "machines of Google" in capsys.readouterr().err


def test_the_worked_dump_of_the_readme(monkeypatch):
    """90,000 WET files of 8 TB: every figure of the table in both languages is what `plan` says for 3 billion pages."""
    entries = [FileEntry(f"crawl/CC-MAIN-{file:05d}.warc.wet.gz", 8 * 10**12 // 90_000, "") for file in range(90_000)]
    monkeypatch.setattr(pipeline.plan, "list_files", lambda source: entries)
    monkeypatch.setattr("pipeline.estimate._MEAN_DOCUMENT_BYTES", 17.6e12 / 3e9)
    run = {"name": "dump", "output": "dump", "sources": [{"name": "crawl", "format": "wet", "path": "crawl/*.gz"}]}
    config = Config.model_validate({**run, "dedup": {"shuffle": True}})
    needs = estimate(config, make_plan(config.sources, config.unit_bytes))
    disk = needs.disk_bytes
    figures = [
        f"{needs.text_bytes / 1e12:.1f} TB",
        f"{sum(needs.core_hours.values()):.0f} ",
        *(f"{stage} {needs.core_hours[stage]:.1f}" for stage in ("clean", "dedup")),
        f" {needs.core_hours['tokenize']:.1f}",
        *(f"`{name}` {disk[name] / 1e12:.1f} TB" for name in ("documents/", "signatures/")),
        f" {disk['work for dedup'] / 1e12:.1f} TB",
        f" {disk['tokens/ + shards/'] / 1e12:.1f} TB",
        f"{needs.objects:,} ",
        f"{needs.documents * 16 / 1e9:.0f} GB",
        f"{needs.shuffle_bytes / 1e12:.2f} TB",
    ]
    alone = describe_plan(Config.model_validate(run), "n2-standard-8")
    assert "not the index of dedup" in alone
    runner = config.runner.model_copy(update={"engine": "dataflow"})
    dataflow = describe_plan(config.model_copy(update={"runner": runner}), "n2-standard-8")
    for shown in (alone, dataflow):
        figures += re.search(r"cost: ([\d.]+) US dollars, ([\d.]+) a TB", shown).groups()
    figures += [re.search(r" and ([\d.]+) for the shuffle", dataflow)[1]]
    figures += [f"{float(re.search(r'workers; ([0-9.]+) hours', alone)[1]):.0f} "]
    for readme in ("README.md", "README.zh-CN.md"):
        page = (ROOT / readme).read_text(encoding="utf-8")
        table = page[page.index(" WET ", page.index("HTML", page.index("0.38 TB"))) :][:2500]
        assert [figure for figure in figures if figure not in table] == []


def test_files_that_one_worker_reads(tmp_path, source):
    """Who plans a run learns that a long file occupies one worker, and how long it is."""
    packed = {**source, "path": f"{source['path']}.gz"}
    plain = describe_plan(load_config(str(write_config(tmp_path, sources=[source], unit_bytes=1_000_000))))
    (tmp_path / "a.jsonl").rename(packed["path"])
    alone = describe_plan(load_config(str(write_config(tmp_path, sources=[packed], unit_bytes=40_000_000))))
    assert "cannot be split" not in plain + alone
    stream = describe_plan(load_config(str(write_config(tmp_path, sources=[packed], unit_bytes=1_000_000))))
    assert "1 long files cannot be split, each is read by one worker; the longest has 40.0 MB" in stream


def test_memory_grows_with_the_shards_and_with_validation(tmp_path, source, monkeypatch):
    """4,096 shards hold 137 billion tokens; above it each grows, and its worker by 5 bytes a token."""
    _, needs = needs_of(tmp_path, source)
    assert needs.validation_bytes == pytest.approx(0.05 * 10_000 * 14 * 16)
    monkeypatch.setattr("pipeline.estimate._UNPACKED", {".jsonl": 10_000.0})  # 95 billion tokens
    _, below = needs_of(tmp_path, source)
    assert below.worker_bytes == needs.worker_bytes
    config, above = needs_of(tmp_path, {**source, "weight": 3.0}, tokenize={"validation": 0.0})
    tokens = 3 * 40e6 * 10_000 / 4.2 / 4096
    assert above.worker_bytes - needs.worker_bytes == pytest.approx(5 * (tokens - (1 << 25)))
    assert f"{above.worker_bytes / 1e9:.1f} GB each;" in describe_plan(config)
    assert "near-duplicates of validation" not in describe_plan(config)


def test_many_units_have_their_signatures_twice(tmp_path, source, monkeypatch):
    """More files than a process can map are copied into few."""
    _, needs = needs_of(tmp_path, source, unit_bytes=1_000_000)
    monkeypatch.setattr("pipeline.estimate.MOST_MAPPED", 39)
    _, copied = needs_of(tmp_path, source, unit_bytes=1_000_000)
    more = copied.disk_bytes["work for dedup"] - needs.disk_bytes["work for dedup"]
    assert more == needs.disk_bytes["signatures/"]


def test_what_is_trained(tmp_path, source, monkeypatch):
    """A preset of `model` is named beside the others; a checkpoint that goes on takes its place."""
    monkeypatch.setattr("pipeline.estimate.check_inputs", lambda *_: None)
    for settings, told in (
        ({"model": "bert-tiny", "steps": 2000}, "bert-tiny, 2,000 steps; presets: bert-tiny, "),
        ({"init_from": "checkpoints/theirs", "steps": 3}, "checkpoints/theirs goes on, 3 steps"),
    ):
        plan = describe_plan(load_config(str(write_config(tmp_path, sources=[source], pretrain=settings))))
        assert plan.splitlines()[-1].startswith(f"pretrain: {told}")


def test_what_is_left_to_do(tmp_path):
    """Beside a run that lies in the output: units of clean that are done, stale and gone, and what has changed."""
    write_corpus(tmp_path / "corpus", files=3, per_file=10)
    path = write_config(tmp_path, unit_bytes=1024)

    def told(*overrides):
        lines = describe_plan(load_config(str(path), overrides)).split("\n\n")[0].splitlines()
        return [line.strip() for line in lines[2:] if "cannot be split" not in line]

    assert told() == []
    run_stages(path, last="clean")
    number = len(json.loads((tmp_path / "out" / "run.json").read_text())["plan"]["units"])
    assert told() == [f"of {number} units {number} are clean, 0 are to do"]
    assert told("clean.pii=[email]", "dedup.exact=false") == [
        f"of {number} units 0 are clean, {number} are to do, {number} of them again",
        'changed since the last run: clean.pii ([] -> ["email"]), dedup.exact (true -> false)',
    ]
    before = sorted(path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*"))
    (tmp_path / "corpus" / "part-2.jsonl").write_text('{"text": "new"}\n')
    next((tmp_path / "corpus").glob("part-1*")).unlink()
    [done, gone] = told()
    assert ", 1 are to do" in done
    assert gone.endswith("units are no longer planned, a run removes them")
    assert sorted(path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")) == before
    assert told(f"output={tmp_path}/corpus/part-2.jsonl") == []  # a file
