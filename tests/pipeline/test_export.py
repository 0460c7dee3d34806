"""`gristmill export`: what survives, once, whole, and again only where something changed."""

import json
import random
import shutil
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from pipeline import export as export_module
from pipeline.cli import main
from pipeline.engine import BeamEngine
from pipeline.errors import RunFailed, UserError
from pipeline.export import export
from tests.pipeline.corpus import counts, document, run_stages, write_config, write_corpus
from transforms import storage
from transforms.commit import load_records
from transforms.documents import surviving_batches
from transforms.schema import DOCUMENT


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run up to dedup over several units; the second file repeats the first."""
    directory = tmp_path_factory.mktemp("finished")
    write_corpus(directory / "corpus", files=3, per_file=40)
    run_stages(write_config(directory, unit_bytes=20_000), last="dedup")
    return directory / "out"


@pytest.fixture
def out(finished, tmp_path):
    """A copy of the run, to be damaged at will."""
    return Path(shutil.copytree(finished, tmp_path / "out"))


def export_here(out, to, file_format="parquet"):
    engine = BeamEngine("apache_beam.runners.portability.fn_api_runner.FnApiRunner", [])
    return export(str(out), str(to), file_format=file_format, engine=engine, say=lambda _: None)


def survivors(out):
    """Every surviving row of the run, by the reading side of the stages."""
    return [
        row
        for unit in load_records(str(out), "clean")
        for batch in surviving_batches(str(out), unit)
        for row in batch.to_pylist()
    ]


def state(directory):
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_size) for path in directory.rglob("*.*")}


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.glob("*.jsonl")}


def test_parquet_is_documents_without_deletions(out, tmp_path):
    """One file a unit with every column of documents/; deleted documents are in none."""
    done = export_here(out, tmp_path / "to")
    files = sorted((tmp_path / "to").glob("*"))
    assert [path.suffix for path in files if not path.name.startswith(".")] == [".parquet"] * done.files
    assert done.files > 2
    tables = [pq.read_table(path) for path in files if path.suffix == ".parquet"]
    assert all(table.schema.equals(DOCUMENT) for table in tables)
    rows = [row for table in tables for row in table.to_pylist()]
    assert sorted(rows, key=lambda row: row["doc_id"]) == sorted(survivors(out), key=lambda row: row["doc_id"])
    assert len(rows) == done.documents == counts(out)["dedup"]["kept"] < counts(out)["clean"]["kept"]


def test_jsonl_holds_the_same_with_metadata_as_objects(out, tmp_path):
    """A line a document; others load the directory as it is."""
    from datasets import load_dataset

    export_here(out, tmp_path / "to", "jsonl")
    lines = [line for path in sorted((tmp_path / "to").glob("*.jsonl")) for line in path.read_text().splitlines()]
    rows = [json.loads(line) for line in lines]
    expected = survivors(out)
    for row in expected:
        row["metadata"] = row["metadata"] and json.loads(row["metadata"])
    assert any(row["metadata"] for row in rows)
    assert sorted(rows, key=lambda row: row["doc_id"]) == sorted(expected, key=lambda row: row["doc_id"])
    loaded = load_dataset(str(tmp_path / "to"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == len(rows)
    assert set(loaded["text"]) == {row["text"] for row in expected}


def test_a_repeated_export_does_nothing(out, tmp_path):
    """Nothing is written again; a file that is gone or cut is."""
    to = tmp_path / "to"
    export_here(out, to)
    before = state(to)
    assert export_here(out, to).written == 0
    assert state(to) == before
    first, second, *_ = sorted(to.glob("*.parquet"))
    whole = first.read_bytes()
    first.write_bytes(whole[:-9])
    second.unlink()
    assert export_here(out, to).written == 2
    assert first.read_bytes() == whole
    assert second.exists()


def test_only_what_changed_is_written_again(tmp_path):
    """A stricter dedup rewrites the units that lose documents; another format replaces all; foreign files stay."""
    write_corpus(tmp_path / "corpus", files=2, per_file=30)
    unlike = [{"text": document(random.Random(100 + n))} for n in range(60)]
    (tmp_path / "corpus" / "unlike.jsonl").write_text("".join(json.dumps(record) + "\n" for record in unlike))
    path, out, to = write_config(tmp_path, unit_bytes=20_000), tmp_path / "out", tmp_path / "to"
    run_stages(path, last="dedup", overrides=["dedup.exact=false", "dedup.minhash=null"])
    to.mkdir()
    (to / "mine.txt").write_text("kept")
    everything = export_here(out, to)
    run_stages(path, last="dedup")
    fewer = export_here(out, to)
    assert 0 < fewer.written < everything.written
    assert fewer.documents < everything.documents
    assert export_here(out, to, "jsonl").written == everything.written
    assert not list(to.glob("*.parquet"))
    assert len(list(to.glob("*.jsonl"))) == fewer.files
    (tmp_path / "corpus" / "part-1.jsonl.gz").unlink()
    run_stages(path, last="dedup")
    left = export_here(out, to, "jsonl")
    assert len(list(to.glob("*.jsonl"))) == left.files
    assert {path.stem for path in (to / ".export").glob("*")} == set(load_records(str(out), "clean"))
    assert (to / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize("where", ["publish", "write_json"])
def test_a_crash_leaves_whole_files_and_the_next_call_finishes(out, tmp_path, monkeypatch, where):
    """Killed before a file or before its record: no half file, and the result is that of an undisturbed export."""
    export_here(out, tmp_path / "undisturbed", "jsonl")
    to, real, calls = tmp_path / "to", getattr(storage, where), []

    def crash(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(28, "no space left")
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(export_module.storage, where, crash)
        with pytest.raises(RunFailed, match="no space left"):
            export_here(out, to, "jsonl")
    whole = contents(tmp_path / "undisturbed")
    assert len(contents(to)) < len(whole)
    assert contents(to).items() <= whole.items()
    export_here(out, to, "jsonl")
    assert contents(to) == whole
    assert not list(to.rglob("*.private"))


def test_a_unit_without_survivors_has_no_file(tmp_path):
    """Readers of Parquet and JSON trip over empty files, so there is none, and it is not tried again."""
    (tmp_path / "corpus").mkdir()
    text = json.dumps({"text": "the same words again and again " * 40}) + "\n"
    for name in ("a", "b"):
        (tmp_path / "corpus" / f"{name}.jsonl").write_text(text)
    run_stages(write_config(tmp_path, unit_bytes=1500), last="dedup")
    done = export_here(tmp_path / "out", tmp_path / "to", "jsonl")
    assert (done.files, done.documents, done.written) == (1, 1, 2)
    assert len(list((tmp_path / "to").glob("*.jsonl"))) == 1
    assert export_here(tmp_path / "out", tmp_path / "to", "jsonl").written == 0


def test_object_stores_take_an_export(out, tmp_path):
    """A URL gets the files of a directory, once."""
    export_here(out, tmp_path / "to", "jsonl")
    memory = fsspec.filesystem("memory")
    try:
        assert export_here(out, "memory://bucket/to", "jsonl").written > 2
        for name, content in contents(tmp_path / "to").items():
            assert memory.cat(f"/bucket/to/{name}") == content
        assert export_here(out, "memory://bucket/to", "jsonl").written == 0
    finally:
        memory.rm("/bucket", recursive=True)


def test_mistakes_are_one_line(out, tmp_path, capsys):
    """No run, a run that stopped early, a run that was changed half way, the run itself, a file in the way."""
    assert main(["export", str(tmp_path), "--to", str(tmp_path / "to")]) == 2
    assert main(["export", str(out), "--to", str(out)]) == 2
    assert main(["export", str(out), "--to", str(out / "documents")]) == 2
    (tmp_path / "file").write_text("")
    assert main(["export", str(out), "--to", str(tmp_path / "file")]) == 2
    assert main(["export", str(out), "--to", str(tmp_path / "to"), "--workers", "0"]) == 2
    run = json.loads((out / "run.json").read_text())
    del run["stages"]["dedup"]
    (out / "run.json").write_text(json.dumps(run))
    assert main(["export", str(out), "--to", str(tmp_path / "to")]) == 2
    lines = capsys.readouterr().err.splitlines()
    told = [
        "holds no run.json",
        "is the run itself",
        "inside it",
        "cannot write to",
        "at least 1",
        "dedup is not complete",
    ]
    assert len(lines) == len(told)
    for line, words in zip(lines, told, strict=True):
        assert words in line


def test_documents_of_an_interrupted_clean_are_not_mixed(out, tmp_path):
    """A unit that was cleaned again without the others is noticed, not exported."""
    record = next(iter(load_records(str(out), "clean").values()))
    path = out / "units" / "clean" / f"{record.unit}.json"
    told = json.loads(path.read_text())
    told["tables"]["documents"]["columns"]["text"] = "0" * 32
    path.write_text(json.dumps(told))
    with pytest.raises(UserError, match="clean is not complete"):
        export_here(out, tmp_path / "to")


def test_the_command_runs_in_processes(out, tmp_path, capsys):
    """As a user calls it: the pool of the local engine, a summary line, and nothing to do the second time."""
    command = ["export", str(out), "--to", str(tmp_path / "to"), "--format", "jsonl"]
    assert main(command) == 0
    assert f"{counts(out)['dedup']['kept']} documents" in capsys.readouterr().out
    assert main(command) == 0
    assert "nothing to do" in capsys.readouterr().out
