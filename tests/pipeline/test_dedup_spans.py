"""Lines and substrings over whole runs: what is read back is what brute force leaves, and every cut names its twin."""

import functools
import json
import random

import pyarrow as pa
import pytest

from pipeline import dedup_spans
from pipeline.explain import explain
from tests.pipeline.corpus import column_hashes, counts, run_stages
from tests.pipeline.test_dedup import configure, long_text, read, write
from tests.reference import spans as reference
from transforms.commit import load_records
from transforms.documents import surviving_batches
from transforms.normalise import cleaned
from transforms.spans import REPEATS

MENU = "home about us contact the authors imprint\nall rights reserved by the authors of this"


def pages(count, rng):
    """Return pages with a menu, a quotation that several share, and their own text; some are nothing but the menu."""
    quotations = [long_text(rng)[:150] + " \u4e2d\u6587" for _ in range(3)]
    texts = []
    for number in range(count):
        body = f"{long_text(rng)} {rng.choice(quotations)} {long_text(rng)}\n\n{rng.choice(quotations)}"
        texts.append(MENU if number in (5, 9) else f"{MENU}\n{body}\n{number}" if number % 2 else body)
    return texts


@pytest.fixture(scope="module")
def crawl(tmp_path_factory):
    """Two sources, the second of the higher priority: its documents come first."""
    directory, rng = tmp_path_factory.mktemp("crawl"), random.Random(3)
    for name in "ab":
        write(directory / f"{name}.jsonl", [{"text": text} for text in pages(24, rng)])
    return directory


def survivors(out):
    """Return doc_id -> text of everything that is read back."""
    batches = [batch for unit in load_records(str(out), "clean") for batch in surviving_batches(str(out), unit)]
    return {row["doc_id"]: row["text"] for batch in batches for row in batch.to_pylist()}


def expected(documents, cuts):
    """Return doc_id -> text without the bytes of `cuts` (number of the document, start, stop); nothing left is gone."""
    texts = {}
    for number, (doc_id, text) in enumerate(documents):
        encoded = text.encode()
        gone = {i for n, start, stop in cuts if n == number for i in range(start, stop)}
        left = pa.array([bytes(byte for i, byte in enumerate(encoded) if i not in gone).decode()])
        left = cleaned(left, as_is_N=pa.array([not gone]).to_numpy(zero_copy_only=False))
        if left[0].as_py():
            texts[doc_id] = left[0].as_py()
    return texts


def in_order(out, first, second):
    """Return (doc_id, text) of the documents that only exact duplicates were removed from, by priority."""
    rows = read(out, "clean", "documents")
    gone = {row["doc_id"] for row in read(out, "dedup", "deletions") if row["reason"] == "exact"}
    rows = [row for row in rows if row["doc_id"] not in gone]
    return [(row["doc_id"], row["text"]) for name in (first, second) for row in rows if row["source"] == name]


@pytest.mark.parametrize(
    "settings",
    [{"unit": "line"}, {"unit": "paragraph", "min_words": 2}, {"unit": "line", "keep": 0}, {"keep": 2, "min_words": 1}],
    ids=str,
)
def test_lines_equal_brute_force(crawl, tmp_path, monkeypatch, settings):
    """Cut from what is read back, counted, each with a twin; documents of which nothing is left are deleted."""
    monkeypatch.setattr(dedup_spans, "SEGMENT", 128)  # several segments and partitions
    path = configure(tmp_path, "out", {"lines": settings, "minhash": None}, b=crawl / "b.jsonl", a=crawl / "a.jsonl")
    run_stages(path, last="dedup")
    out = tmp_path / "out"
    documents = in_order(out, "b", "a")
    options = {"unit": "line", "keep": 1, "min_words": 5, **settings}
    texts = [text.encode() for _, text in documents]
    cuts = reference.line_cuts(
        texts, paragraphs=options["unit"] == "paragraph", min_words=options["min_words"], keep=options["keep"]
    )
    assert len(cuts) > 10
    left = expected(documents, [cut[:3] for cut in cuts])
    assert survivors(out) == left
    ids = [doc_id for doc_id, _ in documents]
    found = {(row["doc_id"], row["start"], row["stop"], row["twin_id"]) for row in read(out, "dedup", "cuts")}
    assert found == {(ids[n], start, stop, ids[twin]) for n, start, stop, twin in cuts if ids[n] in left}
    doc_id, start, stop, twin_id = min(found)
    told = f"bytes {start} to {stop} are repeated lines and stay in {twin_id}, "
    assert any(told in line for line in explain(str(out), doc_id))
    emptied = [row for row in read(out, "dedup", "deletions") if row["reason"] == "lines"]
    assert [row["doc_id"] for row in emptied] == [doc_id for doc_id in sorted(ids) if doc_id not in left]
    twins = {ids[n]: ids[twin] for n, _, _, twin in reversed(cuts)}
    assert all((row["twin_id"], row["similarity"]) == (twins[row["doc_id"]], None) for row in emptied)
    entry = counts(out)["dedup"]
    assert entry["input"] == entry["kept"] + sum(entry["rejected"].values())
    assert entry["rejected"].get("lines", 0) == len(emptied)
    assert entry["cuts"] == {"lines": len(found), "substrings": 0}
    whole = {doc_id: text for doc_id, text in documents if doc_id in left}
    assert entry["cut_bytes"] == sum(len(text.encode()) - len(left[i].encode()) for i, text in whole.items())


def test_substrings_equal_brute_force(crawl, tmp_path, monkeypatch):
    """Quotations stay where they stand first, to the character; the menu of the later pages goes."""
    monkeypatch.setattr(dedup_spans, "SEGMENT", 4096)
    settings = {"substrings": {"min_length": 40}, "minhash": None}
    run_stages(configure(tmp_path, "out", settings, b=crawl / "b.jsonl", a=crawl / "a.jsonl"), last="dedup")
    out = tmp_path / "out"
    documents = in_order(out, "b", "a")
    cuts = reference.window_cuts([text.encode() for _, text in documents], 40)
    assert len(cuts) > 50
    assert survivors(out) == expected(documents, cuts)
    assert len(list((out / "work" / "window-repeats").iterdir())) > 1
    assert counts(out)["dedup"]["rejected"] == {
        "exact": 3,
        "substrings": counts(out)["dedup"]["rejected"]["substrings"],
    }


def test_both_in_any_form(crawl, tmp_path, monkeypatch):
    """Segments, repeated bundles and the shuffled form give the same cuts; switched off, nothing is left."""
    dedup = {"lines": {}, "substrings": {"min_length": 60}}
    sources = {"a": crawl / "a.jsonl", "b": crawl / "b.jsonl"}
    run_stages(configure(tmp_path, "passes", dedup, **sources), last="dedup")
    expected_hashes, expected_counts = column_hashes(tmp_path / "passes"), counts(tmp_path / "passes")
    assert expected_counts["dedup"]["cuts"]["lines"] > 5
    assert expected_counts["dedup"]["cuts"]["substrings"] > 20
    monkeypatch.setattr(dedup_spans, "SEGMENT", 4096)
    shuffled = configure(tmp_path, "shuffled", {**dedup, "shuffle": True}, **sources)
    run_stages(shuffled, last="dedup", options=["--direct_runner_bundle_repeat=1"])
    assert column_hashes(tmp_path / "shuffled") == expected_hashes
    assert counts(tmp_path / "shuffled") == expected_counts
    run_stages(shuffled, last="dedup", overrides=["dedup.lines=null", "dedup.substrings=null"])
    assert "cuts" not in column_hashes(tmp_path / "shuffled")["dedup"]


@pytest.mark.parametrize(("segment", "most_looks"), [(10, 128), (300, 40), (1 << 20, 2)])
def test_repeats_are_gathered_for_many_batches(monkeypatch, segment, most_looks):
    """Each batch gets what lies in all partitions, in order; into each of them is looked twice where memory allows."""
    monkeypatch.setattr(dedup_spans, "SEGMENT", segment)
    rng, num_documents, num_partitions = random.Random(segment), 640, 16
    places = [(rng.randrange(num_documents), rng.randrange(50)) for _ in range(2000)]
    places += [(333, start) for start in range(400)]  # more than a segment in one batch
    rows = [(dense, start, start + 9, rng.randrange(dense + 1), number) for number, (dense, start) in enumerate(places)]
    parts = [sorted(rows[part::num_partitions], key=lambda row: row[:2]) for part in range(num_partitions)]
    looks = []

    def opens(number):
        looks.append(number)
        table = pa.table([list(column) for column in zip(*parts[number], strict=True)], schema=REPEATS)
        return pa.Table.from_batches(table.to_batches(max_chunksize=40))

    partitions = [functools.partial(opens, number) for number in range(num_partitions)]
    gathered, most = dedup_spans.RepeatsInOrder(partitions, REPEATS, num_documents), 0
    for first in range(0, num_documents, 10):
        found = [tuple(row.values()) for row in gathered.between(first, first + 10).to_pylist()]
        wanted = [row for part in parts for row in part if first <= row[0] < first + 10]
        assert found == sorted(wanted, key=lambda row: row[:2])
        most = max(most, len(gathered._rows))
    assert most <= max(segment, 500)
    assert len(looks) <= most_looks * num_partitions


def test_tokens_are_those_of_the_text_that_is_left(crawl, tmp_path):
    """Cuts make tokenize stale and leave fewer tokens of the same documents; the validation split follows the text."""
    path = configure(tmp_path, "out", {"minhash": None}, a=crawl / "a.jsonl")
    options = ["tokenize.tokenizer={train: wordpiece, vocab_size: 400}", "tokenize.seq_length=32"]
    run_stages(path, overrides=options)
    before = counts(tmp_path / "out")
    _, said = run_stages(path, overrides=[*options, "dedup.substrings={min_length: 40}"])
    after = counts(tmp_path / "out")
    assert any("tokenize" in line and "stale" in line for line in said)
    assert after["tokenize"]["text_bytes"] == before["tokenize"]["text_bytes"] - after["dedup"]["cut_bytes"] - sum(
        len(row["text"].encode())
        for row in read(tmp_path / "out", "clean", "documents")
        if row["doc_id"]
        in {d["doc_id"] for d in read(tmp_path / "out", "dedup", "deletions") if d["reason"] != "exact"}
    )
    assert after["tokenize"]["tokens"] < before["tokenize"]["tokens"]


def test_what_is_kept_open_is_what_this_run_repeats(crawl, tmp_path):
    """A process that runs twice cuts what the evaluation set of the second run leaves, and not what the first left."""
    source, hashes = crawl / "a.jsonl", []
    bodies = [json.loads(line)["text"].splitlines()[2] for line in source.read_text().splitlines()[1:4:2]]
    quoted = [" ".join(body.split()[:30]) for body in bodies]  # of the first pages with the menu, theirs alone
    for out, texts in (("both", quoted[:1]), ("both", quoted[1:]), ("fresh", quoted[1:])):
        write(tmp_path / "exam.jsonl", [{"text": text} for text in texts])
        exam = {"sets": [{"name": "exam", "format": "jsonl", "path": str(tmp_path / "exam.jsonl")}], "action": "drop"}
        dedup = {"minhash": None, "lines": {}, "decontaminate": exam}
        run_stages(configure(tmp_path, out, dedup, a=source), last="dedup")
        hashes.append(column_hashes(tmp_path / out)["dedup"])
    assert hashes[1] == hashes[2] != hashes[0]


def test_of_earlier_runs_no_lines_are_known(crawl, tmp_path):
    """Said once, since everything else against an earlier run is as in one run over both."""
    run_stages(configure(tmp_path, "first", {"minhash": None}, a=crawl / "a.jsonl"), last="dedup")
    dedup = {"minhash": None, "against": [str(tmp_path / "first")]}
    path = configure(tmp_path, "second", {**dedup, "lines": {}}, b=crawl / "b.jsonl")
    _, said = run_stages(path, last="dedup")
    assert [line for line in said if "compared within this run" in line]
    _, said = run_stages(configure(tmp_path, "second", dedup, b=crawl / "b.jsonl"), last="dedup")
    assert not [line for line in said if "within this run" in line]
