"""A long compressed file: committed in parts while it is read, or in ranges, resumed inside, the same in the end."""

import gzip
import json
import os
import signal
import time

import pytest
import zstandard

from pipeline.errors import RunFailed
from pipeline.explain import explain
from pipeline.output import Output
from tests.pipeline.corpus import column_hashes, counts, records, run_stages, write_config
from tests.pipeline.processes import start, workers
from transforms import storage
from transforms.commit import load_records, table_path
from transforms.committed import read_table
from transforms.schema import split_doc_id

UNIT_BYTES = 4096
PART = "units/clean/long-000000.?????.json"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run over one long gzip file between short ones: its directory, hashes and counts."""
    directory = tmp_path_factory.mktemp("stream")
    (directory / "corpus").mkdir()
    for name, seed, count in (("long", 1, 240), ("short", 2, 4)):
        lines = "".join(json.dumps(record) + "\n" for record in records(count + 10, seed=seed)).encode()
        (directory / "corpus" / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines, mtime=0))
    run_stages(configured(directory, directory / "out"))
    return directory, column_hashes(directory / "out"), counts(directory / "out")


def configured(directory, out, **changes):
    sources = [
        {"name": name, "format": "jsonl", "path": f"{directory}/corpus/{name}.jsonl.gz", "priority": priority}
        for name, priority in (("long", 1), ("short", 2))
    ]
    return write_config(directory, output=str(out), sources=sources, unit_bytes=UNIT_BYTES, **changes)


def parts(out):
    return sorted(out.glob(PART))


def times(out):
    """Return the time of change of every file that belongs to a committed part."""
    names = [path.stem for path in parts(out)]
    tables = [table_path(table, name, "clean") for name in names for table in ("documents", "signatures", "rejected")]
    return {path: path.stat().st_mtime_ns for path in [*(out / table for table in tables), *parts(out)]}


def test_parts_are_units_of_the_later_stages(undisturbed):
    """Every part has its records, ids rise with the numbers of the records, and the stages behind see them all."""
    out = undisturbed[0] / "out"
    committed = load_records(str(out), "clean")
    assert len(parts(out)) > 15
    assert {"long-000000", "short-000001", "long-000000.00000"} < set(committed)
    assert (committed["long-000000"].counts["input"], committed["long-000000"].counts["kept"]) == (0, 0)
    ids = [i for r in committed.values() for i in read_table(str(out), r, "documents").column("doc_id").to_pylist()]
    assert ids == sorted(set(ids))
    assert len(ids) == 264
    for number, path in enumerate(parts(out)):
        rows = read_table(str(out), committed[path.stem], "documents")
        offsets = [int(location.rpartition("#")[2]) for location in rows.column("location").to_pylist()]
        assert {offset // UNIT_BYTES for offset in offsets} <= {number}
        assert {split_doc_id(doc_id).part for doc_id in rows.column("doc_id").to_pylist()} <= {number}
    for stage in ("dedup", "tokenize"):
        assert load_records(str(out), stage).keys() == committed.keys()
    assert undisturbed[2]["clean"]["input"] == undisturbed[2]["dedup"]["input"] == 264
    assert undisturbed[2]["dedup"]["rejected"]["exact"] >= 20
    output = Output(str(out))
    assert {name: source for name, source in output.source_of.items() if name.startswith("short")} == {
        "short-000001": "short"
    }
    for doc_id in (ids[0], ids[100], ids[-1]):
        assert output.find([doc_id])[doc_id]["doc_id"] == doc_id
        assert output.records("clean")[output.unit_of(doc_id)].rows("documents") > 0


@pytest.mark.parametrize("after", [1, 9])
def test_a_failure_inside_the_file(undisturbed, tmp_path, monkeypatch, after):
    """A disk that is full after some parts: these are not written again, and the result is that of a quiet run."""
    out = tmp_path / "out"
    path = configured(undisturbed[0], out)
    publish = storage.publish

    def full(private, final):
        if len(parts(out)) == after and "/signatures/" in final:
            raise OSError(28, "No space left on device", final)
        publish(private, final)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "publish", full)
        with pytest.raises(RunFailed, match="No space left on device"):
            run_stages(path, last="clean")
    before = times(out)
    assert len(before) == 4 * after
    run_stages(path, last="clean")
    assert before.items() <= times(out).items()
    assert column_hashes(out)["clean"] == undisturbed[1]["clean"]
    assert counts(out)["clean"] == undisturbed[2]["clean"]


def wait_for_parts(process, out, wanted):
    while len(parts(out)) < wanted:
        assert process.poll() is None
        time.sleep(0.005)


def test_sigkill_inside_the_file(undisturbed, tmp_path):
    """Kill -9 of the worker, then of the run: the next worker, and the next run, go on inside the file."""
    out = tmp_path / "out"
    path = configured(undisturbed[0], out)
    process = start(path, out, "--to", "clean")
    wait_for_parts(process, out, 2)
    for worker in workers(process.pid):
        os.kill(worker, signal.SIGKILL)
    before = times(out)
    wait_for_parts(process, out, len(parts(out)) + 2)
    process.kill()
    process.wait()
    assert before.items() <= (later := times(out)).items()
    assert 0 < len(before) < len(later)
    process = start(path, out, "--to", "clean")
    assert process.wait(timeout=120) == 0, process.stderr.read()
    assert later.items() <= times(out).items()
    assert column_hashes(out)["clean"] == undisturbed[1]["clean"]
    assert counts(out)["clean"] == undisturbed[2]["clean"]
    assert not list(out.rglob(".*.private"))


@pytest.mark.parametrize(
    ("engine", "options"),
    [("FnApiRunner", ["--direct_runner_bundle_repeat=1"]), ("BundleBasedDirectRunner", [])],
    ids=["repeated-bundles", "unfused-runner"],
)
def test_runners(undisturbed, tmp_path, engine, options):
    """Bundles that run twice, and a runner that fuses nothing, change nothing."""
    out = tmp_path / "out"
    run_stages(configured(undisturbed[0], out, runner={"engine": engine}), last="clean", options=options)
    assert column_hashes(out)["clean"] == undisturbed[1]["clean"]


def test_lost_and_stale_parts(undisturbed, tmp_path):
    """A lost part alone is made again; parts of another key are removed before, so that none is taken for the new."""
    out = tmp_path / "out"
    path = configured(undisturbed[0], out)
    run_stages(path, last="clean")
    before = times(out)
    (out / "documents" / "long-000000.00004.arrow").unlink()
    (out / "documents" / "long-000000.00007.arrow").unlink()
    run_stages(path, last="clean")
    changed = {file.name[:17] for file, time in times(out).items() if time != before[file]}
    assert changed == {"long-000000.00004", "long-000000.00007"}
    assert column_hashes(out)["clean"] == undisturbed[1]["clean"]

    run_stages(path, last="clean")  # nothing to do
    parts(out)[-1].unlink()
    (out / "units/clean/long-000000.json").unlink()
    run_stages(path, last="clean", overrides=["clean.unicode=nfkc"])
    assert len({record.key for name, record in load_records(str(out), "clean").items() if "long" in name}) == 1
    run_stages(path, last="clean")
    assert column_hashes(out)["clean"] == undisturbed[1]["clean"]


def test_a_file_that_becomes_shorter_leaves_no_part(undisturbed, tmp_path):
    """Parts behind the new end are gone, also for the stages behind."""
    (tmp_path / "corpus").mkdir()
    lines = gzip.decompress((undisturbed[0] / "corpus" / "long.jsonl.gz").read_bytes()).splitlines(keepends=True)
    file, out = tmp_path / "corpus" / "a.jsonl.gz", tmp_path / "out"
    path = write_config(tmp_path, unit_bytes=UNIT_BYTES)
    seen = []
    for count in (250, 120):
        file.write_bytes(gzip.compress(b"".join(lines[:count]), mtime=0))
        run_stages(path, last="dedup")
        found = load_records(str(out), "clean")
        assert load_records(str(out), "dedup").keys() == found.keys()
        assert counts(out)["clean"]["input"] == count
        seen.append(len(found))
    assert seen[1] < seen[0]


def test_a_file_in_frames_is_cut(undisturbed, tmp_path):
    """Its ranges have the documents of the stream, are made again one by one, and a document is found in the file."""
    lines = gzip.decompress((undisturbed[0] / "corpus" / "long.jsonl.gz").read_bytes())
    frames = [zstandard.compress(lines[at : at + 1000]) for at in range(0, len(lines), 1000)]
    (tmp_path / "corpus").mkdir()
    file, out = tmp_path / "corpus" / "a.jsonl.zst", tmp_path / "out"
    file.write_bytes(b"".join(frames))
    path = write_config(tmp_path, unit_bytes=len(file.read_bytes()) // 3)
    run_stages(path, last="clean")
    units = load_records(str(out), "clean")
    assert sorted(units) == [f"web-{number:06d}" for number in range(13)]
    found = [row for r in units.values() for row in read_table(str(out), r, "documents").to_pylist()]
    committed = load_records(str(undisturbed[0] / "out"), "clean")
    of_stream = [read_table(str(undisturbed[0] / "out"), r, "documents") for n, r in committed.items() if "long" in n]
    assert [row["text"] for row in found] == [text for t in of_stream for text in t.column("text").to_pylist()]
    assert counts(out)["clean"]["input"] == 250

    hashes = column_hashes(out)
    before = {file: file.stat().st_mtime_ns for file in out.glob("documents/*")}
    (out / "units/clean/web-000005.json").unlink()
    run_stages(path, last="clean")
    changed = {file.stem for file, time in before.items() if file.stat().st_mtime_ns != time}
    assert (changed, column_hashes(out)) == ({"web-000005"}, hashes)
    for row in (found[30], found[-1]):
        member, _, offset = row["location"].rpartition("#")[2].partition("+")
        reader = zstandard.ZstdDecompressor().stream_reader(file.read_bytes()[int(member) :], read_across_frames=True)
        record = json.loads(reader.read()[int(offset) :].partition(b"\n")[0])
        assert (record["url"], record["text"]) == (row["url"], row["text"])
        assert any(line.split() == ["location", row["location"]] for line in explain(str(out), row["doc_id"]))
