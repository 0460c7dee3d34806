"""The estimate of `plan`: what follows from stored bytes and measured rates."""

import pytest

from pipeline.cli import main
from pipeline.config import load_config
from pipeline.estimate import describe_plan, estimate
from pipeline.plan import make_plan
from tests.pipeline.corpus import write_config


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
