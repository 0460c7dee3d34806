"""transforms.readers.parquet and columns: rows out of columns."""

import datetime as dt
import itertools
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.readers.reading import read, source_of, texts_and_rules, whole
from transforms.readers import columns, parquet
from transforms.readers.dispatch import read_slice
from transforms.readers.rows import MAX_BATCH_BYTES
from transforms.unit import Slice


def write(path, table, **options):
    pq.write_table(table, path, **options)
    return path


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int32(), pa.string())],
    ids=str,
)
def test_text_types(tmp_path, kind):
    """Text may be of any type that holds text; null is a missing text."""
    texts = ["a", "b\u00e9", None, "", "a"]
    if pa.types.is_dictionary(kind):
        column = pa.array(texts).dictionary_encode()
    else:
        column = pa.array([text and text.encode() if kind == pa.binary() else text for text in texts], kind)
    rows = read(write(tmp_path / "x.parquet", pa.table({"text": column})), "parquet")
    assert texts_and_rules(rows) == ["a", "b\u00e9", "<missing_text>", "", "a"]
    assert [row["location"] for row in rows] == [f"{tmp_path}/x.parquet#{row}" for row in range(5)]


def test_other_columns(tmp_path):
    """The other columns become metadata, but for binary ones; the address is the one the config names."""
    table = pa.table(
        {
            "body": ["a", "b"],
            "link": ["u", None],
            "n": [1, None],
            "when": [dt.datetime(2024, 1, 2, tzinfo=dt.UTC), None],
            "tags": [["x"], []],
            "s": [{"k": 1.5}, None],
            "blob": [b"\xff", b""],
        }
    )
    rows = read(write(tmp_path / "x.parquet", table), "parquet", text="body", url="link")
    assert [row["url"] for row in rows] == ["u", None]
    assert json.loads(rows[0]["metadata"]) == {
        "n": 1,
        "when": "2024-01-02T00:00:00+00:00",
        "tags": ["x"],
        "s": {"k": 1.5},
    }
    assert json.loads(rows[1]["metadata"]) == {"n": None, "when": None, "tags": [], "s": None}


def test_missing_and_wrong_columns(tmp_path):
    """Without the text column every record is rejected, and so is a column of numbers."""
    path = write(tmp_path / "x.parquet", pa.table({"title": ["a", "b"]}))
    assert texts_and_rules(read(path, "parquet")) == ["<missing_text>"] * 2
    path = write(tmp_path / "x.parquet", pa.table({"text": [1, None], "url": [5, 6]}))
    rows = read(path, "parquet")
    assert texts_and_rules(rows) == ["<text_not_string>", "<missing_text>"]
    assert rows[0]["metadata"] == '{"url":5}'


def test_not_utf8(tmp_path):
    """Parquet does not check text: one bad cell is one row, and a bad cell elsewhere is null."""
    raw = pa.array([b"a", b"b\xff", None, b"c"])
    bad = pa.Array.from_buffers(pa.string(), 4, raw.buffers())
    rows = read(write(tmp_path / "x.parquet", pa.table({"text": bad, "url": bad, "title": bad})), "parquet")
    assert texts_and_rules(rows) == ["a", "<bad_utf8>", "<missing_text>", "c"]
    assert [row["url"] for row in rows] == ["a", None, None, "c"]
    assert [json.loads(row["metadata"])["title"] for row in rows] == ["a", None, None, "c"]
    assert rows[1]["value"] == 2


def test_cell_too_large(tmp_path, monkeypatch):
    """A cell above the limit is a row with its length."""
    monkeypatch.setattr(columns, "MAX_RECORD_BYTES", 5)
    rows = read(write(tmp_path / "x.parquet", pa.table({"text": ["12345", "123456", None]})), "parquet")
    assert texts_and_rules(rows) == ["12345", "<record_too_large>", "<missing_text>"]
    assert [(row["value"], row["threshold"]) for row in rows] == [(None, None), (6, 5), (None, None)]


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(1, 3000), max_size=4), groups=st.integers(1, 7), midpoints=st.booleans())
def test_ranges_tile(tmp_path_factory, cuts, groups, midpoints):
    """Any cutting into ranges gives each row once, in order, and a range reads whole row groups."""
    table = pa.table({"text": [f"row {number} " * 3 for number in range(40)]})
    path = write(tmp_path_factory.mktemp("parquet") / "x.parquet", table, row_group_size=-(-40 // groups))
    size = path.stat().st_size
    if midpoints:
        cuts = [middle + move for middle in _midpoints(path) for move in (0, 1)]
    edges = sorted({0, size, *(cut for cut in cuts if cut < size)})
    texts = []
    for part, (start, stop) in enumerate(itertools.pairwise(edges)):
        for batch in read_slice(source_of(path, "parquet"), Slice("test", str(path), 0, part, start, stop, size, "")):
            texts += batch.column("text").to_pylist()
    assert texts == table.column("text").to_pylist()


def _midpoints(path):
    for index in range((metadata := pq.read_metadata(path)).num_row_groups):
        column = metadata.row_group(index).column(0)
        yield column.dictionary_page_offset + column.total_compressed_size // 2


def test_batches_close_in_time(tmp_path):
    """Rows of any width come in batches of at most 8192 rows and 4 MiB."""
    path = write(tmp_path / "x.parquet", pa.table({"text": ["a"] * 20_000}))
    assert max(batch.num_rows for batch in read_slice(source_of(path, "parquet"), whole(path))) == 8192
    path = write(tmp_path / "y.parquet", pa.table({"text": [str(number) * (3 << 18) for number in range(10)]}))
    sizes = [
        sum(map(len, batch.column("text").to_pylist())) for batch in read_slice(source_of(path, "parquet"), whole(path))
    ]
    assert sum(sizes) == 30 << 18
    assert max(sizes) <= MAX_BATCH_BYTES


def test_damage(tmp_path):
    """A broken row group costs its own rows, a broken footer the file; an empty file is told apart."""
    table = pa.table({"text": [f"row {number} of many" for number in range(300)]})
    path = write(tmp_path / "x.parquet", table, row_group_size=100, compression="zstd", use_dictionary=False)
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    stored = bytearray(path.read_bytes())
    middle = column.data_page_offset + column.total_compressed_size // 2
    stored[middle : middle + 40] = b"\xff" * 40
    path.write_bytes(stored)
    rows = read(path, "parquet")
    assert texts_and_rules(rows) == [
        *(f"row {number} of many" for number in range(100)),
        "<corrupt_parquet>",
        *(f"row {number} of many" for number in range(200, 300)),
    ]
    assert (rows[100]["location"], rows[100]["value"]) == (f"{path}#100", 100)
    assert rows[-1]["location"] == f"{path}#299"
    path.write_bytes(stored[:-10])
    (row,) = read(path, "parquet")
    assert (row["rule"], row["location"]) == ("corrupt_parquet", f"{path}#0")
    path.write_bytes(b"")
    assert texts_and_rules(read(path, "parquet")) == ["<empty_file>"]


@pytest.mark.parametrize("encoding", [None, "DELTA_BYTE_ARRAY"])
def test_values_that_are_stored_once(tmp_path, monkeypatch, encoding):
    """A file of a few KB whose rows repeat a long value is read in small batches, and nothing is lost."""
    text = "x" * 200_000
    path = tmp_path / "x.parquet"
    options = {"use_dictionary": False, "column_encoding": encoding} if encoding else {}
    pq.write_table(pa.table({"text": [text] * 300}), path, compression="zstd", **options)
    assert path.stat().st_size < 20_000
    sizes = []
    rows_of_columns = parquet.rows_of_columns

    def counted(batch, *args):
        sizes.append(batch.nbytes)
        return rows_of_columns(batch, *args)

    monkeypatch.setattr(parquet, "rows_of_columns", counted)
    monkeypatch.setattr(parquet, "_REPEATED_BYTES", 2_000_000)
    assert [row["text"] == text for row in read(path, "parquet")] == [True] * 300
    assert max(sizes) < 2_100_000
    monkeypatch.undo()
    monkeypatch.setattr(parquet, "rows_of_columns", counted)
    pq.write_table(pa.table({"text": [f"text {number}" for number in range(9000)]}), path)
    sizes.clear()
    assert len(read(path, "parquet")) == 9000
    assert len(sizes) == 2  # its dictionary has 118 KB


def test_size_of_a_dictionary(tmp_path):
    """The bytes of a dictionary page are read from its own header."""
    path = tmp_path / "x.parquet"
    for size in (1, 100, 9000, 700_000):
        pq.write_table(pa.table({"text": ["y" * size] * 5, "n": range(5)}), path)
        with path.open("rb") as file:
            group = pq.ParquetFile(path).metadata.row_group(0)
            assert parquet._repeated_bytes(file, group) == size + 4


def test_names_that_are_not_utf8(tmp_path):
    """A damaged column name is damage of the file."""
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"text": ["a"], "unheard": [1]}), path)
    path.write_bytes(path.read_bytes().replace(b"unheard", b"unh\xffard"))
    assert {row["rule"] for row in read(path, "parquet")} == {"corrupt_parquet"}


@pytest.mark.parametrize("rows", [1, 1000])
def test_a_cell_that_is_a_bomb_is_not_decoded(tmp_path, monkeypatch, rows):
    """A row group that says so in the footer costs itself and no memory; those beside it are read."""
    monkeypatch.setattr(parquet, "BOMB_BYTES", 32 << 20)
    path = tmp_path / "x.parquet"
    schema = pa.schema({"text": pa.string()})
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False) as writer:
        for texts in (["before"], ["small"] * (rows - 1) + ["x" * (64 << 20)], ["behind"]):
            writer.write_table(pa.table({"text": texts}, schema))
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    try:
        found = read(path, "parquet")
    finally:
        pa.set_memory_pool(before)
    assert pool.max_memory() < 8 << 20
    assert texts_and_rules(found) == ["before", "<decompression_bomb>", "behind"]
    assert (found[1]["value"], found[1]["location"]) == (rows, f"{path}#1")
