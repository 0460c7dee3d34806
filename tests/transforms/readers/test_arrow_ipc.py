"""transforms.readers.arrow_ipc: record batches of files and streams, damage included."""

import itertools
import json
import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.readers.reading import read, source_of, texts_and_rules, whole
from transforms.readers import columns
from transforms.readers import rows as rows_module
from transforms.readers.arrow_ipc import read_arrow
from transforms.readers.dispatch import read_slice
from transforms.unit import Slice


def stored(table, *, stream=False, rows=3, **options):
    sink = pa.BufferOutputStream()
    write = pa.ipc.new_stream if stream else pa.ipc.new_file
    with write(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue().to_pybytes()


def table(num_rows):
    return pa.table({"text": [f"text {row}" for row in range(num_rows)], "n": range(num_rows)})


@pytest.mark.parametrize("stream", [False, True], ids=["file", "stream"])
@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
def test_rows(tmp_path, stream, compression):
    """Text, address and the other columns of each row arrive; a place is batch and row."""
    cells = pa.table({"body": ["a", None, "b\u00e9", "c"], "link": ["u", None, "", "v"], "n": [1, 2, 3, 4]})
    path = tmp_path / "x.arrow"
    path.write_bytes(stored(cells, stream=stream, rows=3, compression=compression))
    rows = read(path, "arrow", text="body", url="link")
    assert texts_and_rules(rows) == ["a", "<missing_text>", "b\u00e9", "c"]
    assert [row["url"] for row in rows] == ["u", None, "", "v"]
    assert [row["location"] for row in rows] == [f"{path}#{place}" for place in ("0.0", "0.1", "0.2", "1.0")]
    assert json.loads(rows[3]["metadata"]) == {"n": 4}


@settings(max_examples=100, deadline=None)
@given(
    num_rows=st.integers(0, 20),
    rows=st.integers(1, 5),
    cuts=st.lists(st.integers(1, 3000), max_size=5),
    stream=st.booleans(),
)
def test_ranges_tile(tmp_path_factory, num_rows, rows, cuts, stream):
    """Any cutting into ranges gives each row once, in order."""
    path = tmp_path_factory.mktemp("arrow") / "x.arrow"
    path.write_bytes(stored(table(num_rows), rows=rows, stream=stream))
    size = path.stat().st_size
    edges = sorted({0, size, *(cut for cut in cuts if cut < size)})
    found = []
    for part, (start, stop) in enumerate(itertools.pairwise(edges)):
        batches = read_slice(source_of(path, "arrow"), Slice("test", str(path), 0, part, start, stop, size, ""))
        found += [row for batch in batches for row in batch.to_pylist()]
    expected = [f"text {row}" for row in range(num_rows)] or ["<empty_file>"]
    assert texts_and_rules(found) == expected


def test_a_batch_stands_in_the_middle_of_its_share(tmp_path):
    """The first of two batches stands at a quarter of the file, and belongs to the range that begins there."""
    path = tmp_path / "x.arrow"
    path.write_bytes(stored(table(6)))
    size = path.stat().st_size
    for cut, first in ((size // 4, 0), (size // 4 + 1, 3), (3 * size // 4, 3)):
        parts = (Slice("test", str(path), 0, 0, 0, cut, size, ""), Slice("test", str(path), 0, 1, cut, size, size, ""))
        counts = [sum(batch.num_rows for batch in read_slice(source_of(path, "arrow"), part)) for part in parts]
        assert counts == [first, 6 - first]


def test_large_batches_are_cut(tmp_path):
    """A batch of more rows than fit into one of ours comes out in pieces, numbered through."""
    path = tmp_path / "x.arrow"
    path.write_bytes(stored(table(20_000), rows=20_000))
    batches = list(read_slice(source_of(path, "arrow"), whole(path)))
    assert [batch.num_rows for batch in batches] == [8192, 8192, 3616]
    assert batches[2].column("location")[-1].as_py() == f"{path}#0.19999"


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.large_binary(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
)
def test_long_texts_are_cut_by_their_bytes(tmp_path, monkeypatch, kind):
    """8192 books would be more than a column of ours can hold, however their file stores them."""
    monkeypatch.setattr(rows_module, "MAX_BATCH_BYTES", 100)
    monkeypatch.setattr(columns, "_MOST_BYTES", 200)
    texts = ["x" * 40, "y" * 60, None, "z" * 300, "w", "v" * 99]
    encoded = [None if text is None else text.encode() for text in texts]
    column = pa.array(encoded if pa.types.is_large_binary(kind) else texts, kind)
    path = tmp_path / "x.arrow"
    path.write_bytes(stored(pa.table({"text": column}), rows=6))
    batches = list(read_arrow(source_of(path, "arrow"), whole(path)))
    assert [batch.num_rows for batch in batches] == [3, 1, 2]
    assert [row for batch in batches for row in batch.column("text").to_pylist()] == [text or "" for text in texts]
    assert batches[2].column("location").to_pylist() == [f"{path}#0.4", f"{path}#0.5"]


def test_two_columns_of_one_name(tmp_path):
    """The last is taken, as by whoever makes a dictionary of the columns."""
    path = tmp_path / "x.arrow"
    path.write_bytes(stored(pa.table([["a"], ["b"]], names=["text", "text"])))
    assert texts_and_rules(read(path, "arrow")) == ["b"]


def test_cells_that_are_not_utf8(tmp_path):
    """A bad cell costs one row, not its batch."""
    raw = pa.array([b"a", b"b\xff", b"c"])
    bad = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    path = tmp_path / "x.arrow"
    path.write_bytes(stored(pa.table({"text": bad, "title": bad})))
    rows = read(path, "arrow")
    assert texts_and_rules(rows) == ["a", "<bad_utf8>", "c"]
    assert json.loads(rows[2]["metadata"]) == {"title": "c"}


def test_damaged_batch_of_a_file(tmp_path):
    """Offsets that point anywhere cost their batch; the others are read."""
    data = bytearray(stored(table(9)))
    lengths = pa.array([f"text {row}" for row in range(3, 6)]).buffers()[1].to_pybytes()
    at = data.index(lengths, data.index(b"text 0text 1"))
    data[at + 4 : at + 8] = b"\xff\xff\xff\x7f"
    path = tmp_path / "x.arrow"
    path.write_bytes(data)
    rows = read(path, "arrow")
    assert texts_and_rules(rows) == [
        *(f"text {row}" for row in (0, 1, 2)),
        "<corrupt_arrow>",
        "text 6",
        "text 7",
        "text 8",
    ]
    assert (rows[3]["location"], rows[3]["value"]) == (f"{path}#1", 1)


@pytest.mark.parametrize("stream", [False, True], ids=["file", "stream"])
def test_truncated(tmp_path, stream):
    """What lies before the cut comes out, also of a file whose footer is gone; then one row for the cut."""
    data = stored(table(9), stream=stream)
    path = tmp_path / "x.arrow"
    path.write_bytes(data[: data.rindex(b"text 6text 7") + 5])
    rows = read(path, "arrow")
    assert texts_and_rules(rows) == [*(f"text {row}" for row in range(6)), "<corrupt_arrow>"]
    assert (rows[-1]["location"], rows[-1]["value"]) == (f"{path}#2", 2)


@pytest.mark.parametrize(
    ("data", "rule"),
    [(b"", "empty_file"), (b"ARROW1\0\0", "corrupt_arrow"), (b"not arrow at all" * 9, "corrupt_arrow")],
)
def test_no_arrow(tmp_path, data, rule):
    """A file that is none of both is one row."""
    (tmp_path / "x.arrow").write_bytes(data)
    assert texts_and_rules(read(tmp_path / "x.arrow", "arrow")) == [f"<{rule}>"]


def test_any_flip_or_cut_never_raises(tmp_path):
    """Whatever happens to the stored bytes, reading ends, raises nothing and does not crash."""
    rng = random.Random(0)
    path = tmp_path / "x.arrow"
    for trial in range(300):
        data = bytearray(stored(table(9), stream=bool(trial % 2)))
        for _ in range(3):
            data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
        path.write_bytes(data[: rng.randrange(1, len(data) * 2)])
        assert len(read(path, "arrow")) <= 12


@pytest.mark.parametrize("new", [pa.ipc.new_file, pa.ipc.new_stream])
def test_names_that_are_not_utf8(tmp_path, new):
    """A damaged column name is damage of the file."""
    table = pa.table({"text": ["a"], "unheard": [1]})
    path = tmp_path / "x.arrow"
    with pa.OSFile(str(path), "wb") as sink, new(sink, table.schema) as out:
        out.write_table(table)
    path.write_bytes(path.read_bytes().replace(b"unheard", b"unh\xffard"))
    assert {row["rule"] for row in read(path, "arrow")} == {"corrupt_arrow"}
