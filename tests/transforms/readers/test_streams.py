"""Parts of a stream: whatever has been committed before, the others are those of a reading without interruption."""

import gzip
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.readers.reading import source_of, whole
from transforms.read import read_stream
from transforms.readers import dispatch
from transforms.readers.dispatch import read_parts, read_slice
from transforms.readers.json_rows import JsonRows
from transforms.schema import MAX_PARTS, split_doc_id
from transforms.unit import Slice, WorkUnit, planned_name

COLUMNS = ("text", "url", "metadata", "location", "rule", "value", "threshold")


def jsonl(count):
    lines = [b'{"text": "%s", "n": %d}\n' % (b"w " * (number * 7 % 40), number) for number in range(count)]
    lines[count // 2] = b"\n\n{broken\n"
    return b"".join(lines)


def csv(count):
    rows = [f'"text of\n{"row " * (number * 5 % 30)}{number}",u{number}\n' for number in range(count)]
    rows[count // 2] = 'broken "quotes" here,x,y\n'
    return ("text,url\n" + "".join(rows)).encode()


def warc(count):
    blocks = []
    for number in range(count):
        block = f"text {number} {'w ' * (number * 11 % 50)}".encode()
        length = len(block) if number != count // 2 else 7
        head = f"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: u{number}\r\nContent-Length: {length}\r\n\r\n"
        blocks.append(head.encode() + block + b"\r\n\r\n")
    return b"".join(blocks)


def mediawiki(count):
    pages = []
    for number in range(count):
        text = "#REDIRECT [[x]]" if number == count // 2 else f"'''Page''' {number} {'[[word]]s ' * (number % 20)}"
        redirect = "<redirect title='x'/>" if number == count // 2 else ""
        pages.append(
            f"<page><title>T{number}</title><ns>0</ns><id>{number}</id>{redirect}"
            f"<revision><id>1</id><text>{text}</text></revision></page>\n"
        )
    site = "<siteinfo><base>https://xx.example.org/wiki/Main</base></siteinfo>"
    return f"<mediawiki>{site}{''.join(pages)}</mediawiki>".encode()


MAKE = {"jsonl": jsonl, "csv": csv, "wet": warc, "mediawiki": mediawiki}


@pytest.fixture(scope="module", params=MAKE)
def stored(request, tmp_path_factory):
    """A file of each format, in gzip members of which one is damaged, and its records read as one slice."""
    data = MAKE[request.param](60)
    pieces = [gzip.compress(data[at : at + 1500], mtime=0) for at in range(0, len(data), 1500)]
    hurt = len(pieces) * 3 // 4
    pieces[hurt] = pieces[hurt][:30] + b"\xff" * 10 + pieces[hurt][40:]
    path = tmp_path_factory.mktemp("stream") / "x.gz"
    path.write_bytes(b"".join(pieces))
    source = source_of(path, request.param)
    rows = [row for batch in read_slice(source, whole(path)) for row in batch.to_pylist()]
    assert sum(row["rule"] is None for row in rows) > 40
    assert any(row["rule"] == "corrupt_gzip" for row in rows)
    return source, whole(path), rows


def stream(part: Slice, stream_bytes: int) -> Slice:
    return part._replace(stream_bytes=stream_bytes)


def rows_of(found):
    return [(number, row) for number, batch in found for row in batch.to_pylist()]


@settings(max_examples=25, deadline=None)
@given(data=st.data(), stream_bytes=st.integers(1, 6000))
def test_parts_do_not_depend_on_what_is_done(stored, data, stream_bytes):
    """All parts are all records in order, each in the part of its offset; leaving some out leaves the others as is."""
    source, part, expected = stored
    found = rows_of(read_parts(source, stream(part, stream_bytes), done=frozenset()))
    assert [[row[name] for name in COLUMNS] for _, row in found] == [[row[n] for n in COLUMNS] for row in expected]
    ordinals: dict[int, int] = {}
    for number, row in found:
        assert number == int(row["location"].rpartition("#")[2]) // stream_bytes
        assert split_doc_id(row["doc_id"]) == (part.file, number, ordinals.setdefault(number, 0))
        ordinals[number] += 1
    done = frozenset(data.draw(st.sets(st.integers(0, found[-1][0] + 2))))
    again = rows_of(read_parts(source, stream(part, stream_bytes), done=done))
    assert again == [item for item in found if item[0] not in done]


@settings(max_examples=25, deadline=None)
@given(data=st.data(), stream_bytes=st.integers(200, 9000))
def test_batches_of_a_stream(stored, data, stream_bytes):
    """Each part that is not done has keys of its own that tile it, the unit comes last, and its number counts them."""
    source, part, expected = stored
    unit = WorkUnit("web-000007", 7 * MAX_PARTS, "key", (stream(part, stream_bytes),))
    num_parts = 1 + max(int(row["location"].rpartition("#")[2]) // stream_bytes for row in expected)
    done = frozenset(data.draw(st.sets(st.integers(0, num_parts - 1))))
    keyed = list(read_stream(unit, {"test": source}, done=done))
    names = [name for name, _ in itertools.groupby(key.unit for key, _ in keyed)]
    assert names == [f"web-000007.{number:05d}" for number in range(num_parts) if number not in done] + ["web-000007"]
    assert {planned_name(name) for name in names} == {"web-000007"}
    for name, group in itertools.groupby(keyed, key=lambda item: item[0].unit):
        pieces = list(group)
        assert [key.start for key, _ in pieces] == [0, *(key.stop for key, _ in pieces[:-1])]
        assert [key.last for key, _ in pieces] == [False] * (len(pieces) - 1) + [True]
        number = num_parts if name == unit.name else int(name[-5:])
        assert {key.number - unit.number for key, _ in pieces} == {number}
    assert keyed[-1][1].num_rows == 0


def test_what_is_done_is_not_parsed(tmp_path, monkeypatch):
    """Reading over a part frames its records and parses none of them."""
    path = tmp_path / "x.jsonl.gz"
    line = b'{"text": "a"}\n'
    path.write_bytes(gzip.compress(line * 1000))
    parsed = []
    read = JsonRows.read
    monkeypatch.setattr(JsonRows, "read", lambda *args: parsed.append(bytes(args[1])) or read(*args))
    found = rows_of(read_parts(source_of(path), stream(whole(path), 1400), done=frozenset(range(8))))
    assert len(found) == 200
    assert b"".join(parsed) == line * 200


@pytest.mark.parametrize(("form", "data"), [("jsonl", b"\n" * 99), ("csv", b"text\n"), ("mediawiki", b"<x>" * 99)])
def test_files_without_records(tmp_path, form, data):
    """One row says so, in part 0; a file of other records only has no row and no part."""
    path = tmp_path / "x"
    path.write_bytes(data)
    ((number, row),) = rows_of(read_parts(source_of(path, form), stream(whole(path), 10), done=frozenset()))
    assert (number, row["rule"] in ("empty_file", "not_mediawiki")) == (0, True)
    assert rows_of(read_parts(source_of(path, form), stream(whole(path), 10), done=frozenset([0]))) == []
    path.write_bytes(b"WARC/1.0\r\nWARC-Type: request\r\nContent-Length: 1\r\n\r\nx\r\n\r\n")
    unit = WorkUnit("web-000007", 7 * MAX_PARTS, "key", (stream(whole(path), 10),))
    ((key, batch),) = read_stream(unit, {"test": source_of(path, "warc")}, done=frozenset())
    assert (key.unit, key.number, batch.num_rows) == (unit.name, unit.number, 0)


def test_the_last_part_takes_what_is_left(tmp_path, monkeypatch):
    """A file of more parts than a doc_id can count ends in a long one."""
    monkeypatch.setattr(dispatch, "MAX_PARTS", 4)
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "a"}\n' * 10))
    found = rows_of(read_parts(source_of(path), stream(whole(path), 14), done=frozenset()))
    assert [number for number, _ in found] == [0, 1, *[2] * 8]
