"""A list of addresses to take down later: their pages leave everything downstream, and nothing else is made again."""

import json
import shutil

import pytest

from pipeline.errors import UserError
from pipeline.explain import explain
from tests.pipeline.corpus import counts, run_stages, write_config, write_corpus
from transforms.commit import load_records
from transforms.committed import read_table
from transforms.documents import surviving_batches


def files(out, table):
    return {path.name: path.stat().st_mtime_ns for path in (out / table).iterdir()}


@pytest.fixture
def run(tmp_path):
    """A finished run with a tokenizer of its own that does not change: the configuration and the output."""
    write_corpus(tmp_path / "corpus", files=4, per_file=30)
    run_stages(write_config(tmp_path))
    shutil.copytree(tmp_path / "out" / "tokenizer", tmp_path / "tokenizer")
    tokenize = {"tokenizer": {"load": str(tmp_path / "tokenizer" / "tokenizer.json")}, "seq_length": 64}
    path = write_config(tmp_path, tokenize=tokenize)
    run_stages(path)
    return path, tmp_path / "out"


def survivors(out):
    """Return the surviving documents by unit."""
    units = load_records(str(out), "clean")
    return {unit: [row for batch in surviving_batches(str(out), unit) for row in batch.to_pylist()] for unit in units}


def test_pages_leave_and_little_is_made_again(run, tmp_path):
    """Two pages of one unit, one address with a slash more: tokens of that unit alone are written again."""
    path, out = run
    before = survivors(out)
    unit = next(unit for unit, rows in before.items() if len(rows) > 5)
    taken = before[unit][2:4]
    (tmp_path / "takedown.txt").write_text(
        f"# asked for\n{taken[0]['url']}/\nhttp://www.{taken[1]['url'][8:]}\nhttps://x.org\n"
    )
    tokens, documents = files(out, "tokens"), files(out, "documents")
    run_stages(path, overrides=[f"dedup.takedown={tmp_path / 'takedown.txt'}"])
    after = survivors(out)
    urls = {row["url"] for row in taken}
    assert after == {name: [row for row in rows if row["url"] not in urls] for name, rows in before.items()}
    assert files(out, "documents") == documents
    written = {name for name, time in files(out, "tokens").items() if tokens[name] != time}
    assert written == {f"{name}.arrow" for name in before if before[name] != after[name]}
    assert f"{unit}.arrow" in written
    found = counts(out)["dedup"]
    assert found["rejected"]["takedown"] == sum(len(before[name]) - len(after[name]) for name in before)
    assert found["input"] == found["kept"] + sum(found["rejected"].values())
    shards = [read_table(str(out), record, "shards/train") for record in load_records(str(out), "shards").values()]
    ids = {doc_id for table in shards for row in table.column("doc_ids").to_pylist() for doc_id in row}
    assert not ids & {row["doc_id"] for row in taken}
    assert any("takedown" in line for line in explain(str(out), taken[0]["doc_id"]))


def test_a_list_that_is_not_there(run):
    """Told in one line before anything is made."""
    path, _ = run
    with pytest.raises(UserError, match=r"cannot read /no/such.txt: No such file"):
        run_stages(path, overrides=["dedup.takedown=/no/such.txt"])


@pytest.mark.parametrize("host", ["example.org", "WWW.Example.co.uk", "README.md"])
def test_a_host_is_no_page(run, tmp_path, host):
    """It may be a file too: told with what to write, and no refusal; addresses in any form and names are taken."""
    path, _ = run
    listed = tmp_path / "takedown.txt"
    listed.write_text(f"https://example.org\nexample.org/page\nurn:isbn:1\nreport-17.4\nan old page.org\n{host}\n")
    _, said = run_stages(path, last="dedup", overrides=[f"dedup.takedown={listed}"])
    (told,) = (line for line in said if "hosts" in line)
    assert f"1 of {listed} look like hosts" in told
    assert f"first '{host}'; https://{host}/ is" in told
    listed.write_text(listed.read_text().removesuffix(f"{host}\n"))
    _, said = run_stages(path, last="dedup", overrides=[f"dedup.takedown={listed}"])
    assert not any("hosts" in line for line in said)


def test_addresses_of_no_document_are_told(run, tmp_path):
    """Each that no document of the run has, as it stands on the list; an address given twice is found for both."""
    path, out = run
    rows = [row for rows in survivors(out).values() for row in rows]
    url = rows[0]["url"]
    listed = tmp_path / "takedown.txt"
    listed.write_text(f"{url}/\nhttps://x.org/1\n{url}\n# no address\nhttps://X.org/2\n")
    _, said = run_stages(path, last="dedup", overrides=[f"dedup.takedown={listed}"])
    (told,) = (line for line in said if "no document" in line)
    assert f"2 of 4 addresses of {listed} " in told
    assert told.endswith("first 'https://x.org/1'")
    listed.write_text(f"{url}\n")
    _, said = run_stages(path, last="dedup", overrides=[f"dedup.takedown={listed}"])
    assert not any("no document" in line for line in said)


def test_nothing_is_cut_from_a_page_that_is_taken_down(tmp_path):
    """Lines that repeat are cut from the others only; the ledger adds up."""
    (tmp_path / "corpus").mkdir()
    lines = "\n".join(f"this is line number {number} of several that repeat" for number in range(3))
    records = [
        {"text": f"{lines}\nand this is the text of page {n} alone", "url": f"https://a.org/{n}"} for n in range(6)
    ]
    (tmp_path / "corpus" / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "takedown.txt").write_text("https://a.org/3\n")
    dedup = {"minhash": None, "lines": {"unit": "line"}, "takedown": str(tmp_path / "takedown.txt")}
    run_stages(write_config(tmp_path, dedup=dedup), last="dedup")
    out = tmp_path / "out"
    [record] = load_records(str(out), "dedup").values()
    [rows] = survivors(out).values()
    assert [row["url"][-1] for row in rows] == ["0", "1", "2", "4", "5"]
    assert len(read_table(str(out), record, "cuts")) == 4 * 3
    assert counts(out)["dedup"]["rejected"] == {"takedown": 1}


@pytest.mark.parametrize("kind", ["lines", "substrings"])
def test_what_is_taken_down_holds_no_line(tmp_path, kind):
    """The lines stay in the first document that is left, not in none."""
    (tmp_path / "corpus").mkdir()
    lines = "\n".join(f"this is line number {number} of several that repeat" for number in range(3))
    records = [{"text": f"{lines}\nthe text of page {n} alone", "url": f"https://a.org/{n}"} for n in range(4)]
    (tmp_path / "corpus" / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "takedown.txt").write_text("# nothing yet\n")
    settings = {"lines": {"unit": "line"}} if kind == "lines" else {"substrings": {"min_length": 60}}
    dedup = {"minhash": None, **settings, "takedown": str(tmp_path / "takedown.txt")}
    path = write_config(tmp_path, dedup=dedup)
    run_stages(path, last="dedup")
    (tmp_path / "takedown.txt").write_text("https://a.org/0\n")
    run_stages(path, last="dedup")
    [rows] = survivors(tmp_path / "out").values()
    assert [row["url"][-1] for row in rows] == ["1", "2", "3"]
    assert [row["text"].count("several that repeat") for row in rows] == [3, 0, 0]


def test_the_survivor_of_a_listed_copy_goes_too(tmp_path):
    """Its text is that of the listed page; scheme and host are compared in any case, paths are not."""
    (tmp_path / "corpus").mkdir()
    texts = ["the same text under two addresses " * 3, "another text of a page " * 3]
    urls = [["https://a.org/first", "https://A.org/Second"], ["https://b.org/third", "https://b.org/Fourth"]]
    for number, name in enumerate("ab"):  # the copy is in another unit than its survivor
        records = [{"text": text, "url": pair[number]} for text, pair in zip(texts, urls, strict=True)]
        (tmp_path / "corpus" / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "takedown.txt").write_text("HTTP://www.a.ORG/Second\nhttps://b.org/fourth\n")
    path = write_config(tmp_path, unit_bytes=1024, dedup={"takedown": str(tmp_path / "takedown.txt")})
    run_stages(path, last="dedup")
    out = tmp_path / "out"
    assert [row["url"] for rows in survivors(out).values() for row in rows] == ["https://b.org/third"]
    assert counts(out)["dedup"]["rejected"] == {"exact": 2, "takedown": 1}
    records = load_records(str(out), "dedup").values()
    deleted = [row for record in records for row in read_table(str(out), record, "deletions").to_pylist()]
    [gone] = [row for row in deleted if row["reason"] == "takedown"]
    [copy] = [row for row in deleted if row["twin_id"] == gone["doc_id"]]
    assert gone["twin_id"] == copy["doc_id"]
    assert any("A.org/Second" in line for line in explain(str(out), gone["doc_id"]))
