"""The dedup stage over whole runs: pages of one URL, exact Jaccard, earlier runs, cluster sizes."""

import json
import random
import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline import dedup, dedup_clusters, dedup_runs, dedup_shuffle
from pipeline.errors import UserError
from pipeline.gates.contamination import contamination
from pipeline.gates.files import files
from pipeline.output import Output
from tests.pipeline.corpus import WORDS, column_hashes, counts, run_stages
from transforms.commit import load_records
from transforms.committed import map_table, read_batches, read_table


def long_text(rng):
    return " ".join(rng.choices(WORDS, k=60))


def edited(text, rng, edits=1):
    words = text.split(" ")
    for _ in range(edits):
        words[rng.randrange(len(words))] = f"edit{rng.randrange(1000)}"
    return " ".join(words)


def crawl(count, rng, pool):
    """Return records: new texts, copies, and revisions of revisions, of the texts in `pool`, which grows."""
    records = []
    for number in range(count):
        kind = rng.random()
        if kind < 0.4 or not pool:
            text = long_text(rng)
        else:
            text = rng.choice(pool) if kind < 0.55 else edited(rng.choice(pool), rng, rng.randint(1, 3))
        pool.append(text)
        page = rng.randrange(count)
        date = f"20{rng.randrange(10, 30)}-01-01"
        records.append({"text": text, "url": f"https://www.e.org/{page}/", "date": date, "n": number})
    return records


def write(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def configure(directory, out, dedup, **paths):
    """Write a configuration over named sources, the first of the highest priority."""
    sources = [
        {"name": name, "format": "jsonl", "path": str(path), "priority": -number}
        for number, (name, path) in enumerate(paths.items())
    ]
    config = {
        "name": "test", "output": str(directory / out), "sources": sources, "unit_bytes": 20_000, "dedup": dedup,
        "runner": {"engine": "FnApiRunner"},
    }  # fmt: skip
    path = directory / f"{out}.yaml"
    path.write_text(json.dumps(config))
    return path


def read(out, stage, table):
    """Return the rows of a table of all units, in order."""
    records = load_records(str(out), stage)
    return [row for record in records.values() for row in read_table(str(out), record, table).to_pylist()]


def locations(out, run=None):
    """Return where each document lies, by run and doc_id."""
    return {(run, row["doc_id"]): row["location"] for row in read(out, "clean", "documents")}


def removed(out, earlier=None):
    """Return location -> (location of the twin, reason, similarity) of everything that a run removed."""
    places = locations(out) | (earlier or {})
    return {
        places[None, row["doc_id"]]: (places[row["twin_run"], row["twin_id"]], row["reason"], row["similarity"])
        for row in read(out, "dedup", "deletions")
    }


@pytest.fixture(scope="module")
def crawls(tmp_path_factory):
    """Two crawls that share pages and texts; the second one revises the first."""
    directory, rng, pool = tmp_path_factory.mktemp("crawls"), random.Random(5), []
    for name in ("old", "new"):
        write(directory / f"{name}.jsonl", crawl(250, rng, pool))
    chain = [long_text(rng)]
    while len(chain) < 60:
        chain.append(edited(chain[-1], rng, 2))
    write(directory / "chain.jsonl", [{"text": text} for text in rng.sample(chain, len(chain))])
    return directory


SMALL = {"ngram": 2, "threshold": 0.75, "bands": 10, "rows": 4}


@pytest.mark.parametrize("verify", ["signature", "none"])
@pytest.mark.parametrize("url", [False, True], ids=["texts", "urls"])
def test_against_an_earlier_run_equals_everything_at_once(crawls, tmp_path, url, verify):
    """Old wins: the same documents are removed as in one run over both, with the same twins in the old run."""
    dedup = {"url": url, "minhash": {**SMALL, "verify": verify}}
    old, new = crawls / "old.jsonl", crawls / "new.jsonl"
    run_stages(configure(tmp_path, "first", dedup, old=old), last="dedup")
    run_stages(configure(tmp_path, "whole", dedup, old=old, new=new), last="dedup")
    earlier, before = locations(tmp_path / "first", str(tmp_path / "first")), removed(tmp_path / "first")
    shutil.rmtree(tmp_path / "first" / "work")
    if not url:
        shutil.rmtree(tmp_path / "first" / "documents")  # the text of the earlier run is not read
    against = {**dedup, "against": [str(tmp_path / "first")]}
    run_stages(configure(tmp_path, "second", against, new=new), last="dedup")

    whole, second = removed(tmp_path / "whole"), removed(tmp_path / "second", earlier)
    assert second == {place: twin for place, twin in whole.items() if place.startswith(str(new))}
    assert sum(twin.startswith(str(old)) for twin, _, _ in second.values()) > 40
    assert {reason for _, reason, _ in second.values()} == {"exact", "minhash"} | ({"url"} if url else set())
    if verify == "signature":  # without verification a later document may join two old clusters, which stay apart
        assert before == {place: twin for place, twin in whole.items() if place.startswith(str(old))}


def test_new_wins(crawls, tmp_path):
    """Nothing of the new run gives way to the old one; what it replaces there is listed, twin and all."""
    old, new = crawls / "old.jsonl", crawls / "new.jsonl"
    dedup = {"minhash": SMALL}
    run_stages(configure(tmp_path, "first", dedup, old=old), last="dedup")
    against = {**dedup, "against": [str(tmp_path / "first")], "policy": "new"}
    run_stages(configure(tmp_path, "second", against, new=new), last="dedup")
    run_stages(configure(tmp_path, "alone", dedup, new=new), last="dedup")
    assert removed(tmp_path / "second") == removed(tmp_path / "alone")

    survivors = {*locations(tmp_path / "alone").values()} - {*removed(tmp_path / "alone")}
    old_places, new_places = locations(tmp_path / "first"), locations(tmp_path / "second")
    superseded = {
        old_places[None, row["doc_id"]]: new_places[None, row["twin_id"]]
        for row in read(tmp_path / "second", "dedup-superseded", "superseded")
    }
    assert len(superseded) > 20
    assert not superseded.keys() & removed(tmp_path / "first").keys()
    assert set(superseded.values()) <= survivors
    run_stages(configure(tmp_path, "whole", dedup, new=new, old=old), last="dedup")
    whole = removed(tmp_path / "whole")
    assert all(whole[place][0] == twin for place, twin in superseded.items())


def test_twins_follow_when_another_file_changes(tmp_path):
    """A line put before the first file numbers its documents anew: the other file's twins are those ids, also cut."""
    rng = random.Random(9)
    texts = [f"{long_text(rng)}\nthis line is found in every one of the documents" for _ in range(8)]
    write(tmp_path / "a.jsonl", [{"text": text} for text in texts[:5]])
    write(tmp_path / "b.jsonl", [{"text": text} for text in texts[3:]])
    path = configure(tmp_path, "out", {"lines": {}}, a=tmp_path / "a.jsonl", b=tmp_path / "b.jsonl")
    run_stages(path, last="dedup")
    (tmp_path / "a.jsonl").write_text("no json\n" + (tmp_path / "a.jsonl").read_text())
    run_stages(path, last="dedup")
    whole, own = tmp_path / "out", tmp_path / "anew"
    anew = configure(tmp_path, "anew", {"lines": {}}, a=tmp_path / "a.jsonl", b=tmp_path / "b.jsonl")
    run_stages(anew, last="dedup")
    assert len(read(own, "dedup", "deletions")) == 2
    for table in ("deletions", "cuts"):
        assert read(whole, "dedup", table) == read(own, "dedup", table)


def test_superseded_follows_the_earlier_run(tmp_path):
    """What the earlier run deletes later is not superseded there any more; a lost record of it is damage."""
    rng = random.Random(4)
    records = [{"text": long_text(rng), "url": f"https://e.org/{number}"} for number in range(6)]
    write(tmp_path / "a.jsonl", records)
    first = configure(tmp_path, "first", {}, old=tmp_path / "a.jsonl")
    run_stages(first, last="dedup")
    against = {"against": [str(tmp_path / "first")], "policy": "new"}
    second = configure(tmp_path, "second", against, new=tmp_path / "a.jsonl")
    run_stages(second, last="dedup")
    assert len(read(tmp_path / "second", "dedup-superseded", "superseded")) == 6
    (tmp_path / "takedown.txt").write_text("https://e.org/3\n")
    run_stages(first, last="dedup", overrides=[f"dedup.takedown={tmp_path / 'takedown.txt'}"])
    run_stages(second, last="dedup")
    assert len(read(tmp_path / "second", "dedup-superseded", "superseded")) == 5
    assert [verdict.status for verdict in files(Output(str(tmp_path / "second")))] == ["passed"]
    next((tmp_path / "second" / "units" / "dedup-superseded").glob("*.json")).unlink()
    [damage] = files(Output(str(tmp_path / "second")))
    assert (damage.value, "units/dedup-superseded: holds 0 commit records" in damage.message) == (1, True)


def test_earlier_runs_that_do_not_fit_are_refused(crawls, tmp_path, monkeypatch):
    """One line: no run, other settings, another chain of runs, other signatures, no text."""
    old, new = crawls / "old.jsonl", crawls / "new.jsonl"
    run_stages(configure(tmp_path, "first", {"minhash": SMALL}, old=old), last="dedup")
    first = str(tmp_path / "first")

    def refusal(dedup):
        with pytest.raises(UserError) as caught:
            run_stages(configure(tmp_path, "second", dedup, new=new), last="dedup")
        return str(caught.value)

    assert "no finished dedup there" in refusal({"minhash": SMALL, "against": [str(tmp_path)]})
    (tmp_path / "run.json").write_text('{"a": 1}')  # of another program
    assert "no finished dedup there" in refusal({"minhash": SMALL, "against": [str(tmp_path)]})
    run_stages(configure(tmp_path, "second", {"minhash": SMALL}, new=new), last="dedup")
    (tmp_path / "link").symlink_to(tmp_path / "second")
    for name in ("second", "first/../second/", "link"):
        assert "this is the output of the run itself" in refusal({"minhash": SMALL, "against": [f"{tmp_path}/{name}"]})
    assert "its dedup.minhash is" in refusal({"minhash": {**SMALL, "rows": 5}, "against": [first]})
    assert "its dedup.url is False" in refusal({"minhash": SMALL, "url": True, "against": [first]})
    assert "against earlier runs use signature" in refusal(
        {"minhash": {**SMALL, "verify": "jaccard"}, "against": [first]}
    )
    run = json.loads((Path(first) / "run.json").read_text())
    (Path(first) / "run.json").write_text(
        json.dumps({**run, "config": {**run["config"], "dedup": {**run["config"]["dedup"], "against": ["runs/zero"]}}})
    )
    assert "deduplicated against runs/zero; name that run too" in refusal({"minhash": SMALL, "against": [first]})
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tmp_path / "first", tmp_path / "runs" / "zero")
    theirs = {**run["config"]["dedup"], "against": [f"{tmp_path}/link"]}  # which is this run
    (Path(first) / "run.json").write_text(json.dumps({**run, "config": {**run["config"], "dedup": theirs}}))
    assert "it was deduplicated against this run" in refusal({"minhash": SMALL, "against": [first]})
    (Path(first) / "run.json").write_text(json.dumps(run))
    run["config"]["dedup"]["against"] = []
    (tmp_path / "runs" / "zero" / "run.json").write_text(json.dumps(run))
    both = [first, str(tmp_path / "runs" / "zero")]  # the same run by its full path
    run_stages(configure(tmp_path, "second", {"minhash": SMALL, "against": both}, new=new), last="dedup")


def test_more_documents_than_can_be_numbered_are_refused(crawls, tmp_path, monkeypatch):
    """One line before any job, those of earlier runs counted: in a job it was an OverflowError."""
    for name in ("old", "new"):
        run_stages(configure(tmp_path, name, {}, source=crawls / f"{name}.jsonl"), last="clean")
    run_stages(configure(tmp_path, "old", {}, source=crawls / "old.jsonl"), last="dedup")
    against = configure(tmp_path, "new", {"against": [str(tmp_path / "old")]}, source=crawls / "new.jsonl")
    monkeypatch.setattr(dedup, "MAX_DOCUMENTS", 499)
    with pytest.raises(UserError, match=r"dedup: 500 documents in 2 runs, those of dedup.against included, and .* 499"):
        run_stages(against, last="dedup")
    assert not load_records(str(tmp_path / "new"), "dedup-runs")
    monkeypatch.setattr(dedup, "MAX_DOCUMENTS", 500)
    run_stages(against, last="dedup")


def test_one_page_of_a_url_is_kept(tmp_path):
    """The source of the highest priority, then the newest, then the first; what has no URL is left alone."""
    rng = random.Random(0)
    texts = [long_text(rng) for _ in range(8)]
    write(
        tmp_path / "a.jsonl",
        [
            {"text": texts[0], "url": "http://e.org/1", "date": "2020"},
            {"text": texts[1], "url": "https://www.e.org/1/", "date": "2021"},
            {"text": texts[2]},
            {"text": texts[3]},
            {"text": texts[0], "url": "http://e.org/2", "date": "2020"},
            {"text": texts[7], "url": "http://e.org/3"},
            {"text": texts[4], "url": "http://e.org/3"},
        ],
    )
    write(tmp_path / "b.jsonl", [{"text": texts[5], "url": "http://e.org/1", "date": "2025"}, {"text": texts[0]}])
    path = configure(tmp_path, "out", {"url": True}, a=tmp_path / "a.jsonl", b=tmp_path / "b.jsonl")
    run_stages(path, last="dedup")
    place = {
        run_id: i
        for i, run_id in enumerate(sorted(row["doc_id"] for row in read(tmp_path / "out", "clean", "documents")))
    }
    found = {
        place[row["doc_id"]]: (place[row["twin_id"]], row["reason"])
        for row in read(tmp_path / "out", "dedup", "deletions")
    }
    # 0 gives way to 1 (newer); its text lives on in 4, of which 8 is a copy; 6 ties with 5; 7 has less priority
    assert found == {0: (1, "url"), 6: (5, "url"), 7: (1, "url"), 8: (4, "exact")}
    ledger = {row["rule"]: (row["value"], row["threshold"]) for row in read(tmp_path / "out", "dedup", "rejected")}
    assert ledger == {"url": (None, None), "exact": (1.0, 1.0)}
    # Equal priorities leave the order of the documents as it was, but now 7, the newest, is kept.
    run_stages(path, last="dedup", overrides=["sources.1.priority=0"])
    rows = [row for row in read(tmp_path / "out", "dedup", "deletions") if row["reason"] == "url"]
    assert {place[row["doc_id"]]: place[row["twin_id"]] for row in rows} == {0: 7, 1: 7, 6: 5}


def test_runs_in_segments_give_the_same(crawls, tmp_path, monkeypatch):
    """However few entries are sorted together, the tables that others read are the same."""
    settings = {"url": True, "minhash": SMALL}
    run_stages(configure(tmp_path, "whole", settings, old=crawls / "old.jsonl"), last="dedup")

    def few_rows(*args, **options):
        for batch in read_batches(*args, **options):
            yield from (batch.slice(row, 7) for row in range(0, batch.num_rows, 7))

    monkeypatch.setattr(dedup_runs, "read_batches", few_rows)
    path = configure(tmp_path, "segments", settings, old=crawls / "old.jsonl")
    run_stages(path, last="dedup")
    for table in ("work/exact", "work/bands", "work/url"):  # one segment: to the byte
        assert read(tmp_path / "segments", "dedup-runs", table) == read(tmp_path / "whole", "dedup-runs", table)
    shutil.rmtree(tmp_path / "segments")
    monkeypatch.setattr(dedup_runs, "SEGMENT", 50)
    monkeypatch.setattr(dedup_clusters, "_PARTITION_ENTRIES", 64)
    run_stages(path, last="dedup")
    record = next(iter(load_records(str(tmp_path / "segments"), "dedup-runs").values()))
    assert map_table(str(tmp_path / "segments"), record, "work/bands").column("key").num_chunks > 5
    assert column_hashes(tmp_path / "segments") == column_hashes(tmp_path / "whole")
    one, many = (counts(tmp_path / name)["dedup"] for name in ("whole", "segments"))
    assert many.pop("minhash_edges") > one.pop("minhash_edges")  # a pair counts in each partition where a band finds it
    assert many == one


def test_jaccard_reads_the_text_of_candidates_only(crawls, tmp_path):
    """Every deletion is similar enough by its shingles, which exist for candidates alone; the outcome is repeatable."""
    dedup = {"minhash": {**SMALL, "verify": "jaccard"}}
    run_stages(configure(tmp_path, "out", dedup, old=crawls / "old.jsonl"), last="dedup")
    out = tmp_path / "out"
    texts = {row["doc_id"]: row["text"].split() for row in read(out, "clean", "documents")}
    sets = {doc_id: {*pairwise(words)} for doc_id, words in texts.items()}
    near = [row for row in read(out, "dedup", "deletions") if row["reason"] == "minhash"]
    assert len(near) > 20
    for row in near:
        left, right = sets[row["doc_id"]], sets[row["twin_id"]]
        assert row["similarity"] == pytest.approx(len(left & right) / len(left | right))
        assert row["similarity"] >= 0.75
    assert 0 < len(read(out, "dedup-shingles", "work/shingles")) < len(texts)


def test_cluster_sizes_are_written(crawls, tmp_path):
    """Every survivor that stands for others, and for how many, those of all reasons counted."""
    out = tmp_path / "out"
    run_stages(configure(tmp_path, "out", {"url": True, "minhash": SMALL}, old=crawls / "old.jsonl"), last="dedup")
    expected = Counter(row["twin_id"] for row in read(out, "dedup", "deletions"))
    sizes = {row["doc_id"]: row["size"] for row in read(out, "dedup", "clusters")}
    assert sizes == {doc_id: copies + 1 for doc_id, copies in expected.items()}
    histogram = counts(out)["dedup"]["cluster_sizes"]
    assert histogram == {str(size): count for size, count in sorted(Counter(sizes.values()).items())}


def test_no_documents_and_no_rules(tmp_path):
    """A run whose documents are all rejected, and one that removes nothing, are runs."""
    write(tmp_path / "a.jsonl", [{"text": long_text(random.Random(n % 2))} for n in range(4)])
    run_stages(configure(tmp_path, "out", {"exact": False, "minhash": None}, a=tmp_path / "a.jsonl"), last="dedup")
    assert counts(tmp_path / "out")["dedup"]["kept"] == 4
    (tmp_path / "b.jsonl").write_text("{}\n")
    run_stages(configure(tmp_path, "none", {"url": True, "shuffle": True}, b=tmp_path / "b.jsonl"), last="dedup")
    assert counts(tmp_path / "none")["dedup"] | {"cluster_sizes": {}} == counts(tmp_path / "none")["dedup"]


@pytest.mark.parametrize("verify", ["signature", "none", "jaccard"])
def test_shuffled_equals_passes(crawls, tmp_path, monkeypatch, verify):
    """GroupByKey and stars give the deletions, cluster sizes and ledger of the passes, in any number of partitions."""
    monkeypatch.setattr(dedup_clusters, "_PARTITION_ENTRIES", 1 << 9)
    monkeypatch.setattr(dedup_shuffle, "ROUNDS", 1)  # so that it takes several jobs
    monkeypatch.setattr(dedup_shuffle, "LEAST_GROUPS", 4)  # and several runs make one element
    settings = {"url": True, "minhash": {**SMALL, "verify": verify}}
    sources = {name: crawls / f"{name}.jsonl" for name in ("old", "new", "chain")}
    run_stages(configure(tmp_path, "passes", settings, **sources), last="dedup")
    shuffled = configure(tmp_path, "shuffled", {**settings, "shuffle": True}, **sources)
    run_stages(shuffled, last="dedup", options=["--direct_runner_bundle_repeat=1"])
    assert column_hashes(tmp_path / "shuffled") == column_hashes(tmp_path / "passes")
    assert counts(tmp_path / "shuffled") == counts(tmp_path / "passes")
    assert len(list((tmp_path / "shuffled" / "work" / "edges").iterdir())) > 4
    assert counts(tmp_path / "passes")["dedup"]["rejected"]["minhash"] > 50
    next((tmp_path / "shuffled" / "work" / "edges").iterdir()).unlink()  # one lost part is made again
    run_stages(shuffled, last="dedup")
    assert column_hashes(tmp_path / "shuffled") == column_hashes(tmp_path / "passes")


def test_shuffle_needs_a_runner_of_its_own(crawls, tmp_path):
    """The local engine has no shuffle over units."""
    path = configure(tmp_path, "out", {"shuffle": True}, old=crawls / "old.jsonl")
    with pytest.raises(UserError, match=r"dedup\.shuffle needs a Beam runner"):
        run_stages(path, last="dedup", overrides=["runner.engine=local"])


@pytest.fixture
def contaminated(tmp_path):
    """A crawl in which some pages quote an evaluation set, one of them twice; and the configuration of the set."""
    rng = random.Random(9)
    examples = [long_text(rng) for _ in range(5)] + ["too short to be found"]
    records = [{"text": long_text(rng)} for _ in range(20)]
    half = " ".join(examples[2].split()[:36])
    records[4]["text"] += " " + examples[1].upper()
    records[9]["text"] += " " + half
    records.append({"text": records[4]["text"]})  # a copy is gone before
    write(tmp_path / "crawl.jsonl", records)
    write(tmp_path / "eval.jsonl", [{"question": text} for text in examples])
    return {"sets": [{"name": "quiz", "format": "jsonl", "path": str(tmp_path / "eval.jsonl"), "text": "question"}]}


def test_contaminated_documents_are_dropped(contaminated, tmp_path):
    """Each document that shares 13 words in a row goes, with set, example and share; every example is reported."""
    path = configure(tmp_path, "out", {"decontaminate": contaminated}, crawl=tmp_path / "crawl.jsonl")
    run_stages(path, last="dedup")
    out = tmp_path / "out"
    number = {row["doc_id"]: n for n, row in enumerate(read(out, "clean", "documents"))}
    deleted = {number[row["doc_id"]]: row for row in read(out, "dedup", "deletions")}
    assert {n: row["reason"] for n, row in deleted.items()} == {4: "contaminated", 9: "contaminated", 20: "exact"}
    assert (deleted[4]["twin_run"], deleted[4]["twin_id"], deleted[4]["similarity"]) == ("evaluation:quiz", 1, 1.0)
    assert (deleted[9]["twin_id"], deleted[9]["similarity"]) == (2, pytest.approx(24 / 48))
    report = read(out, "dedup-evaluation", "evaluation")
    assert [row["documents"] for row in report] == [0, 1, 1, 0, 0, 0]
    assert [row["ngrams"] for row in report] == [48, 48, 48, 48, 48, 0]
    found = counts(out)["dedup"]
    assert found["rejected"] == {"contaminated": 2, "exact": 1}
    assert (found["examples"], found["examples_found"], found["examples_too_short"]) == (6, 2, 1)
    assert found["evaluation_sets"] == {"quiz": {"read": 6, "unreadable": 0, "too_short": 1}}
    [verdict] = contamination(Output(str(out)), 0.0)
    assert verdict.what.startswith("0 of 5 evaluation examples")
    assert verdict.what.endswith("; 1 are too short")
    assert read(out, "dedup", "clusters") == []  # the cluster of 4 and 20 is gone as a whole


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"text": "query"}, "6 records read, 6 without text in the field 'query', 0 shorter"),
        ({"path": "short.jsonl"}, "1 records read, 0 without text in the field 'question', 1 shorter than 13 words"),
        ({"path": "empty.jsonl"}, "1 records read, 1 without text"),
    ],
)
def test_an_evaluation_set_without_examples_is_a_mistake(contaminated, tmp_path, change, told):
    """Nothing could ever be found by it; the set and its field are named, the first time and again."""
    write(tmp_path / "short.jsonl", [{"question": "too short to be found"}])
    (tmp_path / "empty.jsonl").write_text("")
    if "path" in change:
        change = {"path": str(tmp_path / change["path"])}
    unusable = {**contaminated["sets"][0], "name": "other", **change}
    settings = {"sets": [*contaminated["sets"], unusable]}
    path = configure(tmp_path, "out", {"decontaminate": settings}, crawl=tmp_path / "crawl.jsonl")
    for _ in range(2):
        with pytest.raises(UserError, match=r"dedup\.decontaminate other: no example") as found:
            run_stages(path, last="dedup")
        assert told in str(found.value)


def test_contaminated_documents_are_marked(contaminated, tmp_path):
    """With action: mark they stay, and only the tables tell; a changed set makes again what depends on it."""
    settings = {**contaminated, "action": "mark"}
    path = configure(tmp_path, "out", {"decontaminate": settings}, crawl=tmp_path / "crawl.jsonl")
    run_stages(path, last="dedup")
    assert counts(tmp_path / "out")["dedup"]["rejected"] == {"exact": 1}
    assert len(read(tmp_path / "out", "dedup-contaminated", "contaminated")) == 2
    run_stages(path, last="dedup", overrides=["dedup.decontaminate.action=drop"])
    assert counts(tmp_path / "out")["dedup"]["rejected"] == {"contaminated": 2, "exact": 1}
    write(
        tmp_path / "eval.jsonl", [{"question": "nothing of the kind is to be found in any of the pages of this crawl"}]
    )
    run_stages(path, last="dedup", overrides=["dedup.decontaminate.action=drop"])
    assert counts(tmp_path / "out")["dedup"]["rejected"] == {"exact": 1}
    assert read(tmp_path / "out", "dedup-contaminated", "contaminated") == []
    with pytest.raises(UserError, match=r"dedup\.decontaminate quiz: "):
        run_stages(path, last="dedup", overrides=[f"dedup.decontaminate.sets.0.path={tmp_path}/none.jsonl"])
