"""Kernel and twin of transforms.kernels.json_lines side by side."""

import json

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.reference import json_lines as twin
from tests.reference.json_lines import Record
from tests.transforms.json_text import GOOD, LINES
from transforms.kernels.json_lines import (
    FLAGS,
    FULL,
    HAS_METADATA,
    HAS_URL,
    LEFT,
    MAX_KEYS,
    METADATA,
    OFFSET,
    REWRITE,
    ROW_COLUMNS,
    SLACK,
    Buffers,
    read_lines,
)


def read_with_kernel(data, *, max_rows=100, max_bytes=1 << 20, max_line_bytes=1 << 20, rewritten=None):
    """Call the kernel until the block is read; `rewritten` collects the metadata that orjson has to write again."""
    block_M, names_M = np.frombuffer(data, np.uint8), np.frombuffer(b"texturl", np.uint8)
    room, canary = len(data) + SLACK, 0xA5
    buffers = Buffers(*(np.full(room + 8, canary, np.uint8) for _ in range(3)))
    short = Buffers(*(buffer[:room] for buffer in buffers))
    rows_N5, keys_K = np.zeros((max_rows + 1, ROW_COLUMNS), np.int64), np.zeros(MAX_KEYS, np.uint64)
    left_L2 = np.zeros((3, 2), np.int64)
    found, at, num_rows, num_bytes, told = [], 0, 0, 0, 0
    while at < len(data):
        before = at
        why, at, num_rows, num_bytes, num_left = read_lines(
            block_M,
            at,
            1000,
            names_M,
            4,
            short,
            rows_N5,
            keys_K,
            left_L2,
            num_rows,
            num_bytes,
            max_bytes,
            max_line_bytes,
        )
        assert at > before or why == FULL
        assert (num_left > 0) == (why == LEFT)
        found += [("row", *_row(short, rows_N5, row, rewritten)) for row in range(told + 1, num_rows + 1)]
        found += [("left", start, data[start:stop]) for start, stop in left_L2[:num_left].tolist()]
        told = num_rows
        if why == FULL:
            found.append(("full", at, None))
            num_rows = num_bytes = told = 0
    assert all((buffer[room:] == canary).all() for buffer in buffers)
    return found


def _row(buffers, rows_N5, row, rewritten):
    starts, ends = rows_N5[row - 1].tolist(), rows_N5[row].tolist()
    text, url, metadata = (buffers[k][starts[k] : ends[k]].tobytes() for k in range(METADATA + 1))
    flags = ends[FLAGS]
    assert flags & HAS_URL or not url
    assert flags & HAS_METADATA or not metadata
    if flags & HAS_METADATA and flags & REWRITE:
        if rewritten is not None:
            rewritten.append(metadata)
        metadata = orjson.dumps(orjson.loads(metadata))
    made = Record(text.decode(), url.decode() if flags & HAS_URL else None, metadata if flags & HAS_METADATA else None)
    return ends[OFFSET] - 1000, made


def read_with_twin(data, *, max_rows=100, max_bytes=1 << 20, max_line_bytes=1 << 20):
    return twin.read_lines(data, max_rows=max_rows, max_bytes=max_bytes, max_line_bytes=max_line_bytes)


@pytest.fixture(params=[read_with_kernel, read_with_twin], ids=["kernel", "twin"])
def read(request):
    return request.param


CASES = [
    (b'{"text":"a"}', Record("a", None, None)),
    (b' {"text" : "a" , "url" : "u" } \r', Record("a", "u", None)),
    (b'{"url":null,"text":""}', Record("", None, None)),
    (b'{"text":"a","url":""}', Record("a", "", None)),
    (
        rb'{"text":"\"\\\/\b\f\n\r\t\u0041\u00e9\u4E2D\ud83d\ude00"}',
        Record('"\\/\b\f\n\r\tA\xe9\u4e2d\U0001f600', None, None),
    ),
    (b'{"text":"\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80"}', Record("\xe9\u4e2d\U0001f600", None, None)),
    (rb'{"\u0074ext":"a"}', Record("a", None, None)),
    (b'{"b": 1, "text": "x", "a": [1.5, null, true]}', Record("x", None, b'{"b":1,"a":[1.5,null,true]}')),
    (rb'{"text":"x","t":"\n\u0041\/"}', Record("x", None, rb'{"t":"\nA/"}')),
    (b'{"text":"x","a":1,"b":2,"a":3}', Record("x", None, b'{"a":3,"b":2}')),
    (rb'{"text":"x","a":1,"\u0061":3}', Record("x", None, b'{"a":3}')),
    (b'{"text":"x","a":{"b":1,"b":{}}}', Record("x", None, b'{"a":{"b":{}}}')),
    (b'{"text":"x","n":1.50}', Record("x", None, b'{"n":1.5}')),
    (b'{"text":"x","n":0.10000000000000001}', Record("x", None, b'{"n":0.1}')),
    (b'{"text":"x","n":9007199254740993.0}', Record("x", None, b'{"n":9007199254740992.0}')),
    (b'{"text":"x","n":[-0,-0.0]}', Record("x", None, b'{"n":[0,-0.0]}')),
    (b'{"text":"x","n":1e2}', Record("x", None, b'{"n":100.0}')),
    (b'{"text":"x","n":123456789012345678901}', Record("x", None, b'{"n":1.2345678901234568e+20}')),
    (b'{"text":"x","n":' + b"[" * 64 + b"]" * 64 + b"}", Record("x", None, b'{"n":' + b"[" * 64 + b"]" * 64 + b"}")),
]
LEFT_LINES = [
    b"{}", b'{"url":"u"}', b'{"text":1}', b'{"text":null}', b'{"text":"a","text":"b"}', rb'{"text":"","te\u0078t":""}',
    b'{"text":"a","url":5}', b'{"text":"a","url":"u","url":"v"}', b'["text"]', b'{"text":"a"} x', b'{"text":"a"}{}',
    b'{"text":"a",}', b'{,"text":"a"}', b'{"text":"a" "b":1}', b'{"text":"a"', b'{"text":"', b'\xef\xbb\xbf{"text":""}',
    b'{"text":"\x01"}', b'{"text":"\xff"}', b'{"text":"\xed\xa0\x80"}', b'{"text":"\xc0\x80"}', b'{"text":"\xf5"}',
    rb'{"text":"\ud800"}', rb'{"text":"\ude00"}', rb'{"text":"\ud800\u0041"}', rb'{"text":"\x"}', rb'{"text":"\u00g0"}',
    rb'{"text":"a","b":"\ud800"}', b'{"text":"a","b":NaN}', b'{"text":"a","b":01}', b'{"text":"a","b":1e400}',
    b'{"text":"a","b":' + b"7" * 41 + b"}", b'{"text":"a","b":[1,]}', b'{"text":"a","b":[1}}', b'{"text":"a","b":tru}',
    rb'{"text":"\ude00\ude00"}', b'{"text":"\xf4\x90\x80\x80"}', b'{"text":"\xf0\x8f\xbf\xbf"}',
    b'{"text":"\xe0\x9f\xbf"}',
    b'{"text":"a","n":' + b"[" * 65 + b"]" * 65 + b"}", b"\x0b", b"text",
]  # fmt: skip


@pytest.mark.parametrize(("line", "made"), CASES)
def test_lines_that_are_read(read, line, made):
    """Each kind of line on its own, at both ends of a block."""
    assert read(line + b"\n") == [("row", 0, made)]
    assert read(line + b"\n" + line + b"\n") == [("row", 0, made), ("row", len(line) + 1, made)]


@pytest.mark.parametrize("line", LEFT_LINES)
def test_lines_that_are_left(read, line):
    """They stand in their place between rows."""
    good = b'{"text":"good"}'
    row = Record("good", None, None)
    second, third = len(good) + 1, len(good) + len(line) + 2
    assert read(b"\n".join([good, line, good, b""])) == [("row", 0, row), ("left", second, line), ("row", third, row)]


@settings(max_examples=300, deadline=None)
@given(
    lines=st.lists(LINES, min_size=1, max_size=8),
    max_rows=st.integers(1, 5),
    max_bytes=st.integers(1, 200),
    max_line_bytes=st.integers(20, 200),
)
def test_kernel_equals_twin(lines, max_rows, max_bytes, max_line_bytes):
    """Rows, lines that are left and full batches come in the same order with the same contents."""
    data = b"\n".join([*lines, b""])
    limits = {"max_rows": max_rows, "max_bytes": max_bytes, "max_line_bytes": max_line_bytes}
    assert read_with_kernel(data, **limits) == read_with_twin(data, **limits)


@settings(max_examples=200, deadline=None)
@given(line=GOOD)
@example(line=b'{"text":"","a":0.009}')
@example(line=b'{"text":"","a":-0}')
def test_good_lines_are_what_orjson_makes_of_them(line):
    """Without the twin: every good line with a text is read, with the text, address and metadata of orjson."""
    fields = orjson.loads(line)
    text, url = fields.pop("text", None), fields.pop("url", None)
    (found,) = read_with_kernel(line + b"\n")
    if text is None:
        assert found == ("left", 0, line)
    else:
        assert found == ("row", 0, Record(text, url, orjson.dumps(fields) if fields else None))


def test_what_programs_write_is_not_written_again():
    """Metadata with unique keys, strings, integers and decimals is copied, with or without spaces in the line."""
    record = {"text": "a", "id": "<x>\n\t\"'", "n": -12, "score": 0.25, "ok": [True, None, ["b"]], "empty": ""}
    for line in (json.dumps(record).encode(), orjson.dumps(record)):
        rewritten = []
        assert [kind for kind, _, _ in read_with_kernel(line + b"\n", rewritten=rewritten)] == ["row"]
        assert rewritten == []


def test_many_keys():
    """Keys are compared up to a number; orjson is asked about lines with more, and about any that are equal."""
    for num_keys in (MAX_KEYS, MAX_KEYS + 1):
        record = {f"k{key}": key for key in range(num_keys)}
        rewritten = []
        read_with_kernel(orjson.dumps({"text": "a"} | record) + b"\n", rewritten=rewritten)
        assert rewritten == [orjson.dumps(record)] * (num_keys > MAX_KEYS)
