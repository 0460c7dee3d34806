"""transforms.readers.jsonl and lines: every record once, every broken one told."""

import itertools
import json
import re
import tracemalloc

import orjson
import pyarrow as pa
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tests.reference.jsonl import Row, batches, records
from tests.transforms.json_text import LINES
from tests.transforms.readers.reading import COMPRESS, SUFFIX, read, source_of, texts_and_rules, whole
from transforms.readers import json_rows, stream
from transforms.readers.dispatch import read_slice
from transforms.readers.jsonl import read_jsonl
from transforms.readers.lines import Cut, TooLong, blocks, line_range, lines
from transforms.readers.rows import MAX_BATCH_BYTES, MAX_BATCH_ROWS, ROWS, Rows
from transforms.unit import Slice


def write(tmp_path, data: bytes, name: str = "x.jsonl"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_good_records(tmp_path):
    """Text, address, position and the other fields of each record arrive; blank lines are no records."""
    data = b'{"text": "a", "url": "u", "n": 1, "t": [1.5, null]}\n\n  \r\n'
    data += b'{"text": "b\\u00e9\\ud83d\\ude00"}\r\n{"text": ""}'
    path = write(tmp_path, data)
    rows = read(path)
    assert [row["text"] for row in rows] == ["a", "b\u00e9\U0001f600", ""]
    assert [row["url"] for row in rows] == ["u", None, None]
    assert [row["metadata"] for row in rows] == ['{"n":1,"t":[1.5,null]}', None, None]
    assert [row["location"] for row in rows] == [f"{path}#{offset}" for offset in (0, 57, 90)]
    assert [row["doc_id"] for row in rows] == [0, 1, 2]
    assert {row["source"] for row in rows} == {"test"}
    assert {row["rule"] for row in rows} == {None}


def test_one_bad_line_costs_one_record(tmp_path):
    """Each kind of broken line is a row with its rule, place and beginning, and all others come out."""
    bad = {
        b'{"text": "cut': "bad_json",
        b"not json": "bad_json",
        b'["text"]': "bad_json",
        b'"bad_utf8"': "bad_json",
        b"12": "bad_json",
        b"null": "bad_json",
        b'{"text": "a\tb"}': "bad_json",
        b"[" * 100_000: "bad_json",
        b'{"text": "a\xffb"}': "bad_utf8",
        b'{"text": "\xed\xa0\x80"}': "bad_utf8",
        b'{"text": "half \\ud800"}': "bad_utf8",
        '{"text": "utf-16"}'.encode("utf-16"): "bad_utf8",
        b"{}": "missing_text",
        b'{"Text": "a"}': "missing_text",
        b'{"text": null}': "missing_text",
        b'{"text": 5}': "text_not_string",
        b'{"text": ["a"]}': "text_not_string",
        b'{"text": true}': "text_not_string",
    }
    data = b"".join(line + b'\n{"text": "good"}\n' for line in bad)
    rows = read(write(tmp_path, data))
    assert texts_and_rules(rows) == [cell for rule in bad.values() for cell in (f"<{rule}>", "good")]
    assert [row["doc_id"] for row in rows] == list(range(len(rows)))
    for line, row in zip(bad, rows[::2], strict=True):
        assert data[int(row["location"].rsplit("#", 1)[1]) :].startswith(line)
        assert row["value"] == len(line)
        assert row["text"] == line[:256].decode(errors="replace")


def test_what_others_write(tmp_path):
    """A byte order mark, NaN, huge numbers, deep metadata and half a surrogate beside the text cost nothing."""
    deep = b"[" * 300 + b"]" * 300
    data = (
        b'\xef\xbb\xbf{"text": "mark"}\n{"text": "nan", "score": NaN, "x": Infinity}\n'
        b'{"text": "big", "n": 123456789012345678901234567890}\n{"text": "deep", "d": ' + deep + b"}\n"
        b'{"text": "half", "title": "\\ud83d", "url": "a\\ude00"}\n{"text": "nul\\u0000"}\n'
        b'{"text": "twice", "text": "last"}\n'
    )
    rows = read(write(tmp_path, data))
    assert texts_and_rules(rows) == ["mark", "nan", "big", "deep", "half", "nul\0", "last"]
    assert json.loads(rows[1]["metadata"]) == {"score": None, "x": None}
    assert json.loads(rows[3]["metadata"]) == {"d": json.loads(deep)}
    assert rows[4]["url"] == "a?"
    assert json.loads(rows[4]["metadata"]) == {"title": "?"}  # readable for everybody, as the address


def test_field_names(tmp_path):
    """The config names the fields; an address that is no string stays in metadata."""
    rows = read(write(tmp_path, b'{"content": "a", "text": "b", "link": 5}\n'), text="content", url="link")
    assert (rows[0]["text"], rows[0]["url"]) == ("a", None)
    assert json.loads(rows[0]["metadata"]) == {"text": "b", "link": 5}


@pytest.mark.parametrize("data", [b"", b"\n", b" \r\n\n"])
def test_empty_file(tmp_path, data):
    """A file without a record is one row that says so."""
    (row,) = read(write(tmp_path, data))
    assert (row["rule"], row["location"]) == ("empty_file", f"{tmp_path}/x.jsonl#0")


@pytest.mark.parametrize("codec", COMPRESS)
def test_empty_compressed_file(tmp_path, codec):
    """So is a compressed file of nothing, and one of no bytes at all."""
    assert texts_and_rules(read(write(tmp_path, COMPRESS[codec](b""), "a" + SUFFIX[codec]))) == ["<empty_file>"]
    assert texts_and_rules(read(write(tmp_path, b"", "b" + SUFFIX[codec]))) == ["<empty_file>"]


@pytest.mark.parametrize("codec", COMPRESS)
def test_compressed(tmp_path, codec):
    """Members of any codec are one stream of lines, and locations count decompressed bytes."""
    data = b"".join(b'{"text": "%d"}\n' % number for number in range(5000))
    stored = COMPRESS[codec](data[:1000]) + COMPRESS[codec](data[1000:])
    rows = read(write(tmp_path, stored, "x.jsonl" + SUFFIX[codec]))
    assert [row["text"] for row in rows] == [str(number) for number in range(5000)]
    assert rows[4000]["location"].endswith(f"#{data.index(b'4000') - 10}")


def test_truncated_gzip(tmp_path):
    """All whole records before the cut come out, then one row for what was cut."""
    data = b"".join(b'{"text": "%d"}\n' % (number * 7919) for number in range(5000))
    stored = COMPRESS["gzip"](data)
    path = write(tmp_path, stored[:-3000], "x.jsonl.gz")
    rows = read(path)
    assert len(rows) > 1000
    assert [row["text"] for row in rows[:-1]] == [str(number * 7919) for number in range(len(rows) - 1)]
    last = rows[-1]
    assert (last["rule"], last["value"]) == ("truncated_gzip", len(stored) - 3000)
    offset = int(last["location"].rsplit("#", 1)[1])
    assert data[offset:].startswith(last["text"].encode())
    assert data[:offset].count(b"\n") == len(rows) - 1


def test_wrong_checksum_keeps_the_last_record(tmp_path):
    """A last record without newline is whole even if the checksum behind it is not."""
    stored = bytearray(COMPRESS["gzip"](b'{"text": "a"}\n{"text": "b"}'))
    stored[-6] ^= 1
    assert texts_and_rules(read(write(tmp_path, bytes(stored), "x.gz"))) == ["a", "b", "<corrupt_gzip>"]


def test_record_too_large(tmp_path):
    """A line above the limit is a row with its length, wherever it lies, and its neighbours come out."""
    long = b'{"text": "' + b"x" * 1_900_000 + b'"}'
    short = b'{"text": "a"}'
    for order in ([long, short], [short, long, short], [short, long], [long], [long, long]):
        path = write(tmp_path, b"\n".join(order))
        part = whole(path)
        rows = [
            row for batch in read_jsonl(source_of(path), part, max_record_bytes=1_899_999) for row in batch.to_pylist()
        ]
        assert texts_and_rules(rows) == ["<record_too_large>" if line is long else "a" for line in order]
        told = [(row["value"], row["threshold"]) for row in rows if row["rule"]]
        assert told == [(len(long), 1_899_999)] * order.count(long)
        assert len(list(read_jsonl(source_of(path), part))) == 1


def test_record_at_the_limit(tmp_path):
    """A line as long as the limit passes, one byte more does not."""
    path = write(tmp_path, b'{"text": "abc"}\n')
    for limit, expected in ((15, ["abc"]), (14, ["<record_too_large>"])):
        rows = [
            row
            for batch in read_jsonl(source_of(path), whole(path), max_record_bytes=limit)
            for row in batch.to_pylist()
        ]
        assert texts_and_rules(rows) == expected


def test_line_without_end_is_not_held(tmp_path):
    """A line far above the limit is read through without being held."""
    path = write(tmp_path, b'{"text": "' + b"x" * 64_000_000, "x.jsonl")
    tracemalloc.start()
    try:
        ((offset, line),) = lines(line_range(str(path), 0, -1), max_bytes=2_000_000)
        assert not list(lines(line_range(str(path), 5, -1), max_bytes=2_000_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert offset == 0
    assert isinstance(line, TooLong)
    assert line.num_bytes == 64_000_010
    assert peak < 12_000_000


def test_a_long_line_is_held_once(tmp_path):
    """Its pieces while it is collected, then its block and the buffers of its row, and nothing of the line before."""
    size = 16_000_000
    path = write(tmp_path, (b'{"text": "' + b"x" * (size - 13) + b'"}\n') * 3, "x.jsonl")

    def collected():
        for _, block in blocks(line_range(str(path), 0, -1), max_bytes=2 * size):
            assert len(block) == size
            del block

    def in_rows():
        for batch in read_jsonl(source_of(path), whole(path)):
            assert batch.num_rows == 1
            del batch

    for reading, most in ((collected, 2.3), (in_rows, 5.3)):  # three buffers of which two are never touched
        reading()
        tracemalloc.start()
        try:
            reading()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < most * size


LINE = st.one_of(
    st.sampled_from(
        [
            b"",
            b"\r",
            b"{}",
            b"oops",
            b'{"text": 1}',
            b"\xff",
            b'{"text":"\\ud800"}',
            b"NaN",
            b'\xef\xbb\xbf{"text":"m"}',
        ]
    ),
    st.text(max_size=20).map(lambda text: orjson.dumps({"text": text, "k": 1}) if text.isprintable() else b""),
    st.binary(max_size=12),
)

COMPRESSED = re.compile(rb"\x1f\x8b\x08|BZh|\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18|\xfd7zXZ|\x04\x22\x4d\x18")


@settings(max_examples=300, deadline=None)
@given(pieces=st.lists(LINE, max_size=12), final=st.booleans(), cuts=st.lists(st.integers(0, 400), max_size=5))
@example(pieces=[b'{"text":"a"}', b'{"text":"b"}'], final=True, cuts=[13])
@example(pieces=[b'{"text":"a"}', b'{"text":"b"}'], final=False, cuts=[12, 13, 14, 25])
def test_ranges_tile(tmp_path_factory, pieces, final, cuts):
    """Any cutting into ranges gives the records of the reference reader, each once and in order."""
    data = b"\n".join(pieces) + b"\n" * final
    assume(not COMPRESSED.match(data))  # hypothesis finds these constants in the reader; such a file is compressed
    path = write(tmp_path_factory.mktemp("ranges"), data)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    if len(edges) < 2:
        edges = [0, 0]
    rows = []
    for part, (start, stop) in enumerate(itertools.pairwise(edges)):
        batches = list(read_slice(source_of(path), Slice("test", str(path), 3, part, start, stop, len(data), "")))
        rows += [row for batch in batches for row in batch.to_pylist()]
    expected = records(data)
    if not expected and len(edges) == 2:  # a whole file; an empty range of a larger one says nothing
        expected = [(0, None, "empty_file")]
    assert [int(row["location"].rsplit("#", 1)[1]) for row in rows] == [offset for offset, _, _ in expected]
    assert [row["rule"] for row in rows] == [rule for _, _, rule in expected]
    assert [row["text"] for row in rows if not row["rule"]] == [text for _, text, rule in expected if not rule]


@settings(max_examples=300, deadline=None)
@given(
    lines=st.lists(LINES, max_size=10),
    final=st.booleans(),
    cut=st.tuples(st.integers(0, 300), st.integers(0, 600)),
    limits=st.tuples(st.integers(1, 8), st.integers(1, 300), st.integers(1, 200)),
    chunk_bytes=st.integers(7, 200),
    unwanted=st.none() | st.tuples(st.integers(1, 60), st.integers(0, 2)),
)
def test_any_line_becomes_what_orjson_and_the_standard_library_make_of_it(
    tmp_path_factory, lines, final, cut, limits, chunk_bytes, unwanted
):
    """Rows, batches and all values equal those of one line after the other, whatever the kernel reads of them."""
    data = b"\n".join(lines) + b"\n" * final
    assume(not COMPRESSED.match(data))
    path = write(tmp_path_factory.mktemp("any"), data)
    start, stop = min(cut[0], len(data)), min(cut[1], len(data))
    part = whole(path) if start >= stop else whole(path)._replace(start=start, stop=stop)
    span = {} if start >= stop else {"start": start, "stop": stop}
    wanted = lambda offset: offset // unwanted[0] % 3 != unwanted[1]  # noqa: E731
    wanted = None if span or unwanted is None else wanted  # asked for streams, which are whole
    max_rows, max_bytes, max_record_bytes = limits
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "CHUNK_BYTES", chunk_bytes)
        patch.setattr(stream, "_INPUT_BYTES", chunk_bytes)
        patch.setattr(json_rows, "MAX_BATCH_ROWS", max_rows)
        patch.setattr(json_rows, "MAX_BATCH_BYTES", max_bytes)
        found = list(read_jsonl(source_of(path), part, max_record_bytes=max_record_bytes, wanted=wanted))
    limits = {"max_rows": max_rows, "max_bytes": max_bytes, "max_record_bytes": max_record_bytes}
    expected = batches(data, str(path), wanted=wanted or (lambda _: True), **span, **limits)
    assert [[Row(**row) for row in batch.to_pylist()] for batch in found] == expected
    for batch, rows in zip(found, expected, strict=True):
        batch.validate(full=True)
        assert batch.equals(pa.RecordBatch.from_pylist([row._asdict() for row in rows], ROWS))


def test_ranges_of_a_misnamed_file(tmp_path):
    """A compressed file under a plain name is read once, by the range that begins it."""
    data = b'{"text": "a"}\n{"text": "b"}\n'
    for codec, compress in COMPRESS.items():
        path = write(tmp_path, compress(data), f"{codec}.jsonl")
        assert texts_and_rules(read(path, unit_bytes=10)) == ["a", "b"]


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=60), start=st.integers(0, 60), stop=st.integers(-1, 60), limit=st.integers(0, 20))
def test_lines_of_a_range(tmp_path_factory, data, start, stop, limit):
    """Lines are those whose first byte lies in the range; one above the limit gives its length."""
    data = data.replace(b"\x07", b"\n").replace(b"\x00", b"\n")
    path = write(tmp_path_factory.mktemp("lines"), data, "x.txt")
    end = len(data) if stop < 0 else stop
    expected, offset = [], 0
    for line in data.split(b"\n"):
        if start <= offset < min(end, len(data)):
            expected.append((str(offset), line if len(line) <= limit else len(line)))
        offset += len(line) + 1
    part = line_range(str(path), start, stop)
    found = lines(part, max_bytes=limit)
    assert [(part.place(at), line.num_bytes if isinstance(line, TooLong) else line) for at, line in found] == expected


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=60), start=st.integers(0, 60), stop=st.integers(-1, 60), chunk_bytes=st.integers(1, 40))
def test_blocks_of_a_range(tmp_path_factory, data, start, stop, chunk_bytes):
    """Blocks are whole lines, one after the other, and together those that `lines` yields."""
    data = b"x" + data.replace(b"\x07", b"\n").replace(b"\x00", b"\n")
    path = write(tmp_path_factory.mktemp("blocks"), data, "x.txt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "CHUNK_BYTES", chunk_bytes)
        patch.setattr(stream, "_INPUT_BYTES", chunk_bytes)
        found = [(at, bytes(block)) for at, block in blocks(line_range(str(path), start, stop), max_bytes=1000)]
        expected = list(lines(line_range(str(path), start, stop), max_bytes=1000))
    assert all(block.endswith(b"\n") and block in data + b"\n" for _, block in found)
    assert all(at + len(block) == after for (at, block), (after, _) in itertools.pairwise(found))
    assert b"".join(block for _, block in found) == b"".join(line + b"\n" for _, line in expected)
    assert [at for at, _ in found[:1]] == [at for at, _ in expected[:1]]


def test_lines_say_where_they_were_cut(tmp_path):
    """Damage inside a line comes with what was read of the line."""
    import zlib

    compressor = zlib.compressobj(wbits=31)
    stored = compressor.compress(b"one\ntwo") + compressor.flush(zlib.Z_SYNC_FLUSH)
    path = write(tmp_path, stored, "x.gz")
    (first, second) = lines(line_range(str(path), 0, -1), max_bytes=100)
    assert first == (0, b"one")
    assert second[0] == 4
    assert isinstance(second[1], Cut)
    assert (second[1].damage.rule, second[1].rest) == ("truncated_gzip", b"two")


def test_batches_close_in_time(tmp_path):
    """A batch has at most 8192 rows and 4 MiB of text, unless one record alone is longer."""
    path = write(tmp_path, b'{"text": "a"}\n' * 20_000)
    assert [batch.num_rows for batch in read_slice(source_of(path), whole(path))] == [8192, 8192, 3616]
    big = b'{"text": "' + b"x" * (5 << 18) + b'"}\n'
    huge = b'{"text": "' + b"y" * (17 << 18) + b'"}\n'
    path = write(tmp_path, big * 7 + huge + big)
    sizes = [
        [len(text) >> 18 for text in batch.column("text").to_pylist()]
        for batch in read_slice(source_of(path), whole(path))
    ]
    assert sizes == [[5, 5, 5], [5, 5, 5], [5], [17], [5]]
    assert (MAX_BATCH_ROWS, MAX_BATCH_BYTES) == (8192, 4 << 20)


def test_a_batch_may_be_full():
    """What makes exactly the limit still fits, one byte more does not."""
    for more, fits in ((0, True), (1, False)):
        rows = Rows()
        rows.add("a", location="x#0", num_bytes=MAX_BATCH_BYTES - 5)
        assert rows.fits(5 + more) is fits
    assert Rows().fits(MAX_BATCH_BYTES + 1)


def test_real_corpus(shared_data):
    """A real multilingual file reads the same as with the standard parser."""
    import zstandard

    path = shared_data / "text" / "wesnoth" / "ru.jsonl.zst"
    with path.open("rb") as file:
        content = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()
    expected = [json.loads(line) for line in content.splitlines()]
    rows = read(path)
    assert [row["text"] for row in rows] == [record.pop("text") for record in expected]
    assert [json.loads(row["metadata"]) for row in rows] == [
        {key: value for key, value in record.items() if key != "url"} for record in expected
    ]


@pytest.mark.parametrize(
    ("depth", "rule"), [(255, None), (510, None), (513, "bad_json"), (1000, "bad_json"), (1022, "bad_json")]
)
def test_deep_nesting(tmp_path, depth, rule):
    """There is a fixed depth: what Python's writer can do depends on how deep in calls it is, and would end the run."""
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "one", "deep": ' + "[" * depth + "]" * depth + '}\n{"text": "two"}\n')
    first, second = read(path, "jsonl")
    assert (first["rule"], second["text"]) == (rule, "two")
    if rule is None:
        assert first["metadata"] == '{"deep": ' + "[" * depth + "]" * depth + "}"
