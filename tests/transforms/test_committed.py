"""Readers of committed tables that compare before they trust."""

import dataclasses

import pytest

from tests.transforms.test_commit import TABLE, committed
from transforms import storage
from transforms.commit import is_intact
from transforms.committed import map_table, read_batches


@pytest.mark.parametrize("table", ["documents", "signatures", "tokens"])
def test_a_column_of_a_later_version_is_told(tmp_path, table):
    """A file without it is named, with what to do."""
    record = committed(tmp_path, table)
    with pytest.raises(RuntimeError, match=rf"^{table}/u-000000.arrow has no column language: .*; repeat the run$"):
        next(read_batches(str(tmp_path), record, table, columns=("doc_id", "language")))


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
@pytest.mark.parametrize("table", ["documents", "tokens"])
def test_a_changed_file_is_refused(tmp_path, table, damage):
    """A flipped byte, a cut tail and a missing file are each noticed before a row is used."""
    record = committed(tmp_path, table)
    path = tmp_path / record.tables[table].path
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:-8])
    else:
        path.unlink()
    assert is_intact(str(tmp_path), record) == (damage == "flip")
    with pytest.raises(RuntimeError, match=f"{path.name}.*repeat the run"):
        next(read_batches(str(tmp_path), record, table))


def test_rows_are_compared_with_the_record(tmp_path):
    """A stream that ends early at a message border reads as complete, so the row count is compared too."""
    record = committed(tmp_path, "tokens")
    table = dataclasses.replace(record.tables["tokens"], rows=4)
    with pytest.raises(RuntimeError, match="has 3 rows, committed were 4"):
        list(read_batches(str(tmp_path), dataclasses.replace(record, tables={"tokens": table}), "tokens"))


def test_remote_tables_are_copied_once_and_mapped(monkeypatch):
    """However often a table is mapped, it is fetched once; a file that is not what was committed is told."""
    record = committed("memory://bucket/mapped")
    opened, real = [], storage.open_binary
    monkeypatch.setattr(storage, "open_binary", lambda path: opened.append(path) or real(path))
    tables = [map_table("memory://bucket/mapped", record, "documents") for _ in range(3)]
    assert all(table.equals(TABLE) for table in tables)
    assert len(opened) == 1
    changed = dataclasses.replace(record.tables["documents"], hash="0" * 32)
    with pytest.raises(RuntimeError, match="not what was committed"):
        map_table("memory://bucket/mapped", dataclasses.replace(record, tables={"documents": changed}), "documents")
    storage.remove("memory://bucket/mapped/documents/" + record.tables["documents"].path.rpartition("/")[2])
    with pytest.raises(RuntimeError, match="not what was committed"):
        map_table("memory://bucket/mapped", dataclasses.replace(record, tables={"documents": changed}), "documents")
