"""Commit records and the logical column hash."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms import storage
from transforms.column_hash import ColumnHash, column_hashes
from transforms.commit import UnitWriter, is_intact, load_record, load_records, remove_unit
from transforms.committed import read_batches, read_table
from transforms.unit import WorkUnit

UNIT = WorkUnit("u-000000", 0, "key")
TABLE = pa.table({"doc_id": pa.array([1, 2, 3]), "text": ["a", None, "\u4e2d"]})


def committed(out, table="documents", rows=TABLE):
    writer = UnitWriter(str(out), "clean", UNIT)
    writer.write(table, rows)
    return writer.commit({"input": 3, "kept": 3, "rejected": {}})


@pytest.mark.parametrize("table", ["documents", "signatures", "tokens"])
def test_a_committed_table_reads_back(tmp_path, table):
    """File format, plain file format and stream format all come back with the record that was written."""
    record = committed(tmp_path, table)
    assert load_records(str(tmp_path), "clean") == {"u-000000": record}
    assert load_record(str(tmp_path), "clean", "u-000000") == record
    assert read_table(str(tmp_path), record, table).equals(TABLE)
    assert sum(batch.num_rows for batch in read_batches(str(tmp_path), record, table)) == 3
    assert record.tables[table].columns == column_hashes(TABLE)


def test_nothing_is_visible_before_the_commit(tmp_path):
    """Until commit() there are only private files, and those are swept up by the next run."""
    writer = UnitWriter(str(tmp_path), "clean", UNIT)
    writer.write("documents", TABLE)
    assert storage.list_names(str(tmp_path / "documents")) == []
    assert load_records(str(tmp_path), "clean") == {}
    assert storage.remove_private(str(tmp_path)) == 1


def test_counts_that_do_not_add_up_are_refused(tmp_path):
    """input = kept + rejected, or no commit."""
    writer = UnitWriter(str(tmp_path), "clean", UNIT)
    writer.write("documents", TABLE)
    with pytest.raises(RuntimeError, match="input 4 is not kept 3"):
        writer.commit({"input": 4, "kept": 3, "rejected": {}})
    assert load_records(str(tmp_path), "clean") == {}


def test_remove_unit_forgets_record_and_tables(tmp_path):
    """A unit that is no longer planned leaves nothing behind that a glob would find."""
    remove_unit(str(tmp_path), committed(tmp_path))
    assert load_records(str(tmp_path), "clean") == {}
    assert storage.list_names(str(tmp_path / "documents")) == []


def test_object_stores_take_uploads(monkeypatch):
    """The same writer works on an fsspec URL: uploaded under the final name, read back through fsspec."""
    record = committed("memory://bucket/run")
    assert read_table("memory://bucket/run", record, "documents").equals(TABLE)
    assert is_intact("memory://bucket/run", record)


VALUES = {
    pa.string(): st.text(max_size=5),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.binary(2): st.binary(min_size=2, max_size=2),
    pa.list_(pa.uint16()): st.lists(st.integers(0, 65535), max_size=4),
    pa.list_(pa.uint32(), 2): st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=2),
}


def digest(arrays):
    column = ColumnHash("c")
    for array in arrays:
        column.update(array)
    return column.hexdigest()


@pytest.mark.parametrize("kind", VALUES, ids=str)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_hash_depends_on_values_alone(kind, data):
    """Slicing and batch borders change nothing; any changed value, null or order does."""
    values = data.draw(st.lists(st.none() | VALUES[kind], max_size=6))
    cut = data.draw(st.integers(0, len(values)))
    padded = pa.array([None, *values, None], kind)
    whole = digest([pa.array(values, kind)])
    assert whole == digest([padded.slice(1, cut), padded.slice(1 + cut, len(values) - cut)])
    other = data.draw(st.lists(st.none() | VALUES[kind], max_size=6))
    same = pa.array(values, kind).equals(pa.array(other, kind))
    signed_zero = kind == pa.float32() and np.any([v == 0 for v in [*values, *other] if v is not None])
    assert signed_zero or same == (whole == digest([pa.array(other, kind)]))
