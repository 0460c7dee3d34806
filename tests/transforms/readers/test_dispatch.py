"""transforms.readers.dispatch: slices in, batches in flight out."""

import ast
import gzip
import os
import subprocess
import sys

import pyarrow as pa
import pytest

from tests.transforms.readers.reading import read, source_of, texts_and_rules, whole
from transforms.readers import dispatch
from transforms.readers.dispatch import read_slice
from transforms.readers.listing import list_files, slices
from transforms.readers.rows import MAX_BATCH_BYTES, within_limits
from transforms.schema import IN_FLIGHT, split_doc_id


def test_schema_and_ids(tmp_path):
    """Batches have the schema in flight, and ids count records as read, broken ones too."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"text": "a"}\noops\n\n{"text": "b"}\n' * 5000)
    batches = list(read_slice(source_of(path), whole(path)._replace(file=7, part=2)))
    assert all(batch.schema == IN_FLIGHT for batch in batches)
    for batch in batches:
        batch.validate(full=True)
    ids = [split_doc_id(doc_id) for batch in batches for doc_id in batch.column("doc_id").to_pylist()]
    assert ids == [(7, 2, ordinal) for ordinal in range(15_000)]


def test_vanished_file_is_an_error(tmp_path):
    """A file that was planned and is gone stops the run: it is no damage."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"{}")
    part = whole(path)
    path.unlink()
    for form in ("jsonl", "text", "parquet", "python"):
        with pytest.raises(FileNotFoundError):
            list(read_slice(source_of(path, form), part))


def test_changed_file_is_an_error(tmp_path):
    """A file that is another one than planned would give documents other ids."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"text": "a"}\n')
    source = source_of(path)
    (part,) = slices(source, list_files(source)[0], file=0, unit_bytes=100)
    assert [batch.num_rows for batch in read_slice(source, part)] == [1]
    os.utime(path, ns=(5, 5))
    with pytest.raises(OSError, match="changed since the plan"):
        list(read_slice(source, part))


def test_too_many_records(tmp_path, monkeypatch):
    """More records than a doc_id can count are refused, never renumbered."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"text": "a"}\n' * 30)
    monkeypatch.setattr(dispatch, "MAX_ORDINALS", 29)
    with pytest.raises(ValueError, match="more than 29 records in one part of"):
        list(read_slice(source_of(path), whole(path)))


def test_path_that_is_not_utf8(tmp_path):
    """Linux allows names that no Arrow string holds; the location escapes them."""
    path = tmp_path / os.fsdecode(b"\xff.jsonl")
    path.write_bytes(b'{"text": "a"}\n')
    (row,) = read(path)
    assert row["location"] == f"{tmp_path}/\\xff.jsonl#0"


def test_issue_two(tmp_path):
    """Broken JSON, a line that is not UTF-8, an empty file, a truncated gzip, a record without text: one row each."""
    good = b'{"text": "good"}\n'
    (tmp_path / "a.jsonl").write_bytes(
        good + b'{"text": \n' + good + b'{"text": "\xe9"}\n' + good + b'{"title": "x"}\n' + good
    )
    (tmp_path / "b.jsonl").write_bytes(b"")
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(good + b'{"text": "cut off"}\n', mtime=0)[:-14])
    rows = read(tmp_path / "*.jsonl*")
    assert texts_and_rules(rows)[:8] == [
        "good", "<bad_json>", "good", "<bad_utf8>", "good", "<missing_text>", "good", "<empty_file>",
    ]  # fmt: skip
    assert texts_and_rules(rows)[8:] == ["good", "<truncated_gzip>"]
    assert all(row["location"] for row in rows)


def test_within_limits_of_slices():
    """A slice of a batch is cut by its own text, not its parent's."""
    some = MAX_BATCH_BYTES // 16
    texts = ["x" * (9 * some), "y", "z" * (15 * some), "w" * (20 * some), "", "v"]
    batch = pa.record_batch({"text": pa.array(["lead", *texts])}).slice(1)
    sizes = [[len(text) for text in piece.column("text").to_pylist()] for piece in within_limits(batch)]
    assert sizes == [[9 * some, 1], [15 * some], [20 * some], [0, 1]]
    batch = pa.record_batch({"text": pa.array(["x" * (10 * some), "y" * (6 * some), "", "z"])})
    assert [piece.num_rows for piece in within_limits(batch)] == [3, 1]
    assert list(within_limits(batch.slice(0, 0))) == []


@pytest.mark.parametrize(("modules", "loaded"), [("dispatch listing", []), ("jsonl", ["numba"])])
def test_no_beam_and_no_datasets(modules, loaded):
    """Reading JSON Lines loads neither Beam nor datasets nor torch, and planning no compiler: both start at once."""
    program = f"""import sys, {", ".join(f"transforms.readers.{module}" for module in modules.split())}
print([name for name in ('apache_beam', 'datasets', 'torch', 'numba') if name in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == loaded
