"""transforms.readers.json_rows: rows of whole blocks and single ones in one batch."""

import gzip
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from transforms.readers.json_rows import JsonRows
from transforms.readers.lines import TooLong
from transforms.readers.ranges import ByteRange
from transforms.readers.rows import MAX_BATCH_BYTES, MAX_BATCH_ROWS, ROWS
from transforms.readers.stream import Damage


@pytest.fixture
def rows():
    return JsonRows(ByteRange("a/\u044f.jsonl"), text="text", url="url", max_line_bytes=100 << 20)


def block(*texts):
    return memoryview(b"".join(b'{"text": "%s", "url": "u", "k": "%s"}\n' % (text, text) for text in texts))


def test_lines_and_single_rows_in_order(rows):
    """What the kernel leaves is told with its place; rows added one by one stand between those of a block."""
    good = b'{"text": "a", "n": 1.50}\n'
    left = []
    for found in rows.read(memoryview(good + b"oops\n" + good), 1000):
        left.append(found)
        rows.add("\u00e9", url="", metadata=b"{}", offset=found[0], num_bytes=3)
        rows.add_broken("bad", offset=found[0], value=1.0, threshold=2.0, excerpt=b"\xff" + b"x" * 300)
    assert left == [(1025, b"oops")]
    assert len(rows) == 4
    batch = rows.take()
    batch.validate(full=True)
    assert batch.schema == ROWS
    name = "a/\u044f.jsonl#"
    assert [tuple(row.values()) for row in batch.to_pylist()] == [
        ("a", None, '{"n":1.5}', f"{name}1000", None, None, None),
        ("\u00e9", "", "{}", f"{name}1025", None, None, None),
        ("\ufffd" + "x" * 255, None, None, f"{name}1025", "bad", 1.0, 2.0),
        ("a", None, '{"n":1.5}', f"{name}1030", None, None, None),
    ]
    assert len(rows) == 0


def test_a_batch_that_was_taken_is_not_written_to(rows):
    """Its buffers are given away or copied: the next batch has others, also where both are nearly full."""
    taken = []
    for byte in b"abcd":
        assert not list(rows.read(block(*[b"%c" % byte * 1000] * 1000), 0))
        taken.append(rows.take())
    for byte, batch in zip("abcd", taken, strict=True):
        assert batch.column("text").to_pylist() == [byte * 1000] * 1000
        assert batch.column("metadata").to_pylist() == [f'{{"k":"{byte * 1000}"}}'] * 1000


def test_room_grows_with_what_comes_and_is_given_back(rows):
    """Blocks and single rows of any size fit; a long line is taken with its block, and what it took is not kept."""
    sizes, taken = [1, 1000, 1_000_000, 30, 20_000_000, 7], []
    for size in sizes:
        taken += [rows.take() for _ in rows.read(block(b"x" * size), 0)]
        rows.add("y" * size, offset=0, num_bytes=0)
    taken.append(rows.take())
    assert [len(text) for batch in taken for text in batch.column("text").to_pylist()] == [
        size for size in sizes for _ in range(2)
    ]
    assert [batch.num_rows for batch in taken] == [8, 1, 3]
    tracemalloc.start()
    try:
        assert list(rows.read(block(b"x"), 0)) == []
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_the_batch_closes_in_time(rows):
    """It is told to be full in front of the line that does not fit, by rows or by the bytes of their lines."""
    line = b'{"text": "a"}\n'
    full = [number for number, _ in enumerate(rows.read(memoryview(line * (2 * MAX_BATCH_ROWS + 5)), 0)) if rows.take()]
    assert full == [0, 1]
    assert rows.take().num_rows == 5
    for more, num_full in ((0, 0), (1, 1)):
        some = b'{"text": "' + b"x" * (MAX_BATCH_BYTES // 2 - 12)
        pair = memoryview(some + b'"}\n' + some + b"x" * more + b'"}\n')
        assert [found for found in rows.read(pair, 0) if rows.take()] == [None] * num_full
        rows.take()
    rows.add("a", offset=0, num_bytes=MAX_BATCH_BYTES - 5)
    assert rows.fits(5)
    assert not rows.fits(6)
    rows.take()
    assert rows.fits(MAX_BATCH_BYTES + 1)


def test_damage_lies_where_it_was_met(tmp_path):
    """Not in the member that begins at the same offset, which is read before the batch is taken."""
    first, second = gzip.compress(b'{"text": "a"}\n', mtime=0), gzip.compress(b'{"text": "b"}\n', mtime=0)
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(first + b"damage" + second + second)
    stored = ByteRange(str(path), 0, len(first) + 7)
    rows = JsonRows(stored, text="text", url="url", max_line_bytes=100)
    offset = 0
    for item in stored:
        if isinstance(item, Damage):
            rows.add_broken(item.rule, offset=offset)
        else:
            assert list(rows.read(memoryview(item), offset)) == []
            offset += len(item)
    members = [0, len(first) + 6, len(first) + 6 + len(second)]
    places = [f"{path}#{place}" for place in ("0+0", "0+14", f"{members[1]}+0", f"{members[2]}+0")]
    assert rows.take().column("location").to_pylist() == places
    offsets = np.arange(3 * 14)
    assert stored.places(offsets).to_pylist() == [stored.place(offset) for offset in offsets.tolist()]


def test_a_line_above_the_limit_is_left(rows):
    """Only its length and its beginning are told, though it lay in the block."""
    short = JsonRows(ByteRange("x"), text="text", url="url", max_line_bytes=40)
    long = b'{"text": "' + b"x" * 29 + b'"}'
    assert list(short.read(memoryview(long + b"\n"), 7)) == [(7, TooLong(41, long))]
    assert list(short.read(memoryview(b"\r" * 41 + b"\n"), 7)) == [(7, TooLong(41, b"\r" * 41))]
    assert isinstance(short.take(), pa.RecordBatch)
