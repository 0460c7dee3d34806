"""Thousands of units: their hashes lie in few files, of which a process keeps few mapped, and nothing else changes."""

import gc
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pipeline import dedup_clusters, dedup_context, dedup_spans
from pipeline.dedup_context import Group
from tests.pipeline.corpus import column_hashes, counts, run_stages
from tests.pipeline.test_dedup import SMALL, configure, crawl, write
from tests.pipeline.test_dedup_units import DOCUMENTS, context_of, signed
from transforms.commit import load_records
from transforms.spans import REPEATS


@pytest.mark.parametrize(("num_units", "sizes"), [(1, [1]), (3, [1] * 3), (4, [2, 2]), (8, [3, 3, 2])])
def test_groups_are_few_and_of_units_that_follow_each_other(tmp_path, monkeypatch, num_units, sizes):
    """At most MOST_FILES; one unit each while there are no more units than that."""
    monkeypatch.setattr(dedup_context, "MOST_FILES", 3)
    units = [signed(tmp_path, number) for number in range(num_units)]
    context = context_of(units)
    groups: list[Group] = context.groups()
    assert [len(group.units) for group in groups] == sizes
    assert [unit for group in groups for unit in group.units] == units
    assert [group.num_documents for group in groups] == [DOCUMENTS * size for size in sizes]
    assert [context.group(group.label).first_dense for group in groups] == [group.first_dense for group in groups]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Two crawls of a dozen units, with a line and a sentence that many of their documents have."""
    directory, rng, pool = tmp_path_factory.mktemp("units"), random.Random(8), []
    menu = "the same menu is on every page of the site and long enough for windows of sixty bytes anywhere"
    for name in ("first", "second"):
        records = crawl(250, rng, pool)
        write(directory / f"{name}.jsonl", [{**r, "text": f"{r['text']}\n{menu}\n{r['n'] % 90}"} for r in records])
    return {name: directory / f"{name}.jsonl" for name in ("first", "second")}


def open_maps(out):
    """Return how often each table of a run is mapped in this process."""
    gc.collect()
    paths = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if str(out) in line}
    return Counter(path.removeprefix(f"{out}/").rsplit("/", 1)[0] for path in paths)


@pytest.mark.parametrize(("verify", "shuffle"), [("signature", False), ("jaccard", True)])
def test_units_that_share_files_give_the_same(sources, tmp_path, monkeypatch, verify, shuffle):
    """Hashes, shingles, spans and signatures of a dozen units in three files of each kind, few of them open."""
    settings = {
        "url": True,
        "minhash": {**SMALL, "verify": verify},
        "lines": {},
        "substrings": {"min_length": 60},
        "shuffle": shuffle,
    }
    monkeypatch.setattr(dedup_clusters, "_PARTITION_ENTRIES", 1 << 9)
    monkeypatch.setattr(dedup_spans, "SEGMENT", 64)
    run_stages(configure(tmp_path, "alone", settings, **sources), last="dedup")
    alone = tmp_path / "alone"
    if not Path("/proc/self/maps").exists():
        pytest.skip("maps of a process are counted where Linux lists them")
    assert open_maps(alone)["signatures"] == len(load_records(str(alone), "clean")) > 8

    for module, name, most in ((dedup_context, "MOST_FILES", 3), (dedup_context, "MOST_MAPPED", 6),
                               (dedup_spans, "_MOST_KEPT_OPEN", 2)):  # fmt: skip
        monkeypatch.setattr(module, name, most)
    run_stages(configure(tmp_path, "shared", settings, **sources), last="dedup")
    shared = tmp_path / "shared"
    found = open_maps(shared)
    assert column_hashes(shared)["dedup"] == column_hashes(alone)["dedup"]
    assert counts(shared)["dedup"] == counts(alone)["dedup"]
    assert counts(shared)["dedup"]["cuts"]["lines"] > 50
    made = ["dedup-runs", "dedup-lines", "dedup-anchors", "dedup-windows"]
    made += ["dedup-shingles"] if verify == "jaccard" else []
    assert {stage: len(load_records(str(shared), stage)) for stage in made} == dict.fromkeys(made, 3)
    assert found["signatures"] == 0
    assert found["work/signatures"] == 3
    assert all(number <= 3 for table, number in found.items()), found

    context = context_of([signed(shared, 0)])
    rows = [record.rows("work/window-repeats") for record in load_records(str(shared), "dedup-window-repeats").values()]
    for most, num_open in ((2, 0), (len(rows), np.count_nonzero(rows))):
        monkeypatch.setattr(dedup_spans, "_MOST_KEPT_OPEN", most)
        dedup_spans._repeats_of.cache_clear()
        opened = dedup_spans._repeats_of(context, "window")
        assert dedup_spans.RepeatsInOrder(opened, REPEATS, 1 << 31).between(0, 1 << 31).num_rows == sum(rows)
        assert open_maps(shared)["work/window-repeats"] == num_open
    assert num_open > 4


def test_a_group_without_a_document(tmp_path, monkeypatch):
    """Units of which nothing survives are a group like another, also where signatures are copied."""
    monkeypatch.setattr(dedup_context, "MOST_FILES", 4)
    monkeypatch.setattr(dedup_context, "MOST_MAPPED", 1)
    rng, pool = random.Random(3), []
    write(tmp_path / "full.jsonl", crawl(100, rng, pool))
    write(tmp_path / "none.jsonl", [{"text": " " * 500} for _ in range(400)])
    settings = {"minhash": {**SMALL, "verify": "signature"}}
    run_stages(configure(tmp_path, "out", settings, full=tmp_path / "full.jsonl", none=tmp_path / "none.jsonl"),
               last="dedup")  # fmt: skip
    records = load_records(str(tmp_path / "out"), "dedup-runs")
    assert 0 in [record.rows("work/signatures") for record in records.values()]
    assert sum(record.rows("work/signatures") for record in records.values()) == 100
