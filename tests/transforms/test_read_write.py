"""From reader to writer without Beam's help: keyed batches tile the unit, the sink refuses what does not."""

import numpy as np
import pyarrow as pa
import pytest

from transforms.batch import BatchKey
from transforms.commit import load_record, load_records
from transforms.committed import read_table
from transforms.fingerprint import MinHashParameters
from transforms.ledger import CleanSplit
from transforms.read import keyed_batches, merge_small
from transforms.readers.rows import MAX_BATCH_BYTES, MAX_BATCH_ROWS
from transforms.schema import IN_FLIGHT, REJECTED
from transforms.signing import Sign, sign
from transforms.unit import WorkUnit
from transforms.write import _WriteUnit

UNIT = WorkUnit("u-000000", 3, "key")


def rows(first, count, *, dead=(), text="w o r d s here are enough"):
    return pa.RecordBatch.from_pylist(
        [
            {
                "doc_id": n, "text": f"{text} {n}", "url": f"u{n}", "source": "s", "location": f"f#{n}",
                "rule": "bad" if n in dead else None, "value": 1.0 if n in dead else None,
            }
            for n in range(first, first + count)
        ],
        schema=IN_FLIGHT,
    )  # fmt: skip


def test_keys_tile_the_unit_and_the_last_batch_is_marked():
    """Row ranges follow each other from 0; a unit without rows is one empty batch."""
    keyed = list(keyed_batches(UNIT, [rows(0, 3), rows(3, 2)], schema=IN_FLIGHT))
    assert [(key.start, key.stop, key.last) for key, _ in keyed] == [(0, 3, False), (3, 5, True)]
    [(key, batch)] = keyed_batches(UNIT, [], schema=IN_FLIGHT)
    assert key == BatchKey("u-000000", 3, "key", 0, 0, last=True)
    assert batch.num_rows == 0


def test_small_batches_are_joined_within_the_limits():
    """A thousand files of one document are one element, never more than 8192 rows or 4 MiB."""
    merged = list(merge_small(rows(n * 10, 10) for n in range(1000)))
    assert [batch.num_rows for batch in merged] == [8190, 1810]
    large = list(merge_small(rows(n, 1, text="x" * (MAX_BATCH_BYTES // 3)) for n in range(4)))
    assert [batch.num_rows for batch in large] == [2, 2]
    assert all(batch.num_rows <= MAX_BATCH_ROWS for batch in merged)
    assert pa.Table.from_batches(merged).column("doc_id").to_pylist() == list(range(10_000))


def sink(out):
    signing = Sign(parameters=MinHashParameters(bands=2, rows=2, ngram=2))
    split = CleanSplit(stage="clean", signatures=signing.schema, keep_text=False)
    writer = _WriteUnit(str(out), "clean", split)
    writer.start_bundle()
    return writer, signing.parameters


def keys(*ranges):
    return [BatchKey("u-000000", 3, "key", start, stop, last) for start, stop, last in ranges]


def test_the_last_batch_commits(tmp_path):
    """Alive rows and signatures side by side, dead rows in the ledger, nothing before the last batch."""
    writer, parameters = sink(tmp_path)
    first, last = keys((0, 3, False), (3, 5, True))
    assert list(writer.process((first, sign(rows(0, 3, dead=[1]), parameters)))) == []
    assert load_records(str(tmp_path), "clean") == {}
    assert list(writer.process((last, sign(rows(3, 2, dead=[3, 4]), parameters)))) == ["u-000000"]
    writer.finish_bundle()
    record = load_record(str(tmp_path), "clean", "u-000000")
    assert (record.number, record.key) == (3, "key")
    assert record.counts["input"] == 5
    assert record.counts["rejected"] == {"bad": 3}
    assert read_table(str(tmp_path), record, "documents").column("doc_id").to_pylist() == [0, 2]
    signatures = read_table(str(tmp_path), record, "signatures")
    assert signatures.column("doc_id").to_pylist() == [0, 2]
    assert signatures.schema.metadata[b"num_perm"] == b"4"
    ledger = read_table(str(tmp_path), record, "rejected")
    assert ledger.schema.equals(REJECTED)
    assert ledger.column("doc_id").to_pylist() == [1, 3, 4]
    assert ledger.column("location").to_pylist() == ["f#1", "f#3", "f#4"]


def test_a_unit_of_rejections_alone_has_all_its_tables(tmp_path):
    """Readers never meet a missing table."""
    writer, parameters = sink(tmp_path)
    list(writer.process((*keys((0, 2, True)), sign(rows(0, 2, dead=[0, 1]), parameters))))
    record = load_record(str(tmp_path), "clean", "u-000000")
    assert {name: table.rows for name, table in record.tables.items()} == {
        "documents": 0,
        "rejected": 2,
        "signatures": 0,
    }


@pytest.mark.parametrize("ranges", [[(1, 2, True)], [(0, 2, False), (3, 4, True)], [(0, 3, True)]])
def test_a_gap_is_refused(tmp_path, ranges):
    """Rows that do not tile the unit, or a batch of another length than its key, raise instead of committing."""
    writer, parameters = sink(tmp_path)
    *fitting, gap = keys(*ranges)
    for key in fitting:
        list(writer.process((key, sign(rows(key.start, key.stop - key.start), parameters))))
    size = 1 if ranges == [(0, 3, True)] else gap.stop - gap.start
    with pytest.raises(RuntimeError, match="came after"):
        list(writer.process((gap, sign(rows(gap.start, size), parameters))))
    assert load_records(str(tmp_path), "clean") == {}


def test_a_bundle_that_ends_early_raises_and_leaves_nothing(tmp_path):
    """An open unit at the end of a bundle is an error of the runner, told and cleaned up."""
    writer, parameters = sink(tmp_path)
    list(writer.process((*keys((0, 2, False)), sign(rows(0, 2), parameters))))
    with pytest.raises(RuntimeError, match="before the last batch of u-000000"):
        writer.finish_bundle()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_rejected_rows_are_not_signed():
    """The signature columns are null where the rule is set, and equal to signing alone where it is not."""
    parameters = MinHashParameters(bands=2, rows=2, ngram=2)
    signed = sign(rows(0, 4, dead=[1, 3]), parameters)
    alone = sign(rows(0, 4), parameters)
    for name in ("exact", "minhash"):
        column, expected = signed.column(name).to_pylist(), alone.column(name).to_pylist()
        assert [column[1], column[3]] == [None, None]
        assert [column[0], column[2]] == [expected[0], expected[2]]
        assert None not in expected
    assert np.unique(alone.column("exact").to_numpy(zero_copy_only=False)).size == 4
