"""transforms.readers.ranges: the ranges of a compressed file, wherever it is cut, are the file."""

import bz2
import gzip
import itertools
import lzma
import random
import re
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.readers.reading import source_of, texts_and_rules, whole
from tests.transforms.readers.test_streams import mediawiki, warc
from transforms.readers import ranges
from transforms.readers.dispatch import read_slice
from transforms.readers.ranges import ByteRange, has_member
from transforms.readers.stream import Damage

COLUMNS = ("text", "url", "metadata", "rule", "value", "threshold")
FOREIGN = random.Random(5).randbytes(300_000)  # nothing in it begins like a member


def in_gzip(data):
    return gzip.compress(data, mtime=0)


def pages(count):
    """A dump cut behind each third page, with its head and its end in streams of their own."""
    data = mediawiki(count)
    cuts = [0, data.index(b"<page>"), *(found.end() for found in re.finditer(rb"(?:</page>\n?)", data))][::3]
    return data, [*cuts, data.rindex(b"</mediawiki>"), len(data)]


def anywhere(data):
    """Cuts at places that mean nothing, and some within a tag."""
    tags = [found.start() for found in re.finditer(b"<page>", data)]
    inside = [*(tags[5 * place] + place for place in range(7)), *(tags[40] + place for place in range(6))]
    return sorted({*range(0, len(data), 700), len(data), *inside})


def compressed(data, cuts, compress):
    return [compress(data[start:stop]) for start, stop in itertools.pairwise(cuts)]


def records(data):
    return [found.start() for found in re.finditer(rb"WARC/1.0\r\n", data)] + [len(data)]


WIKI, WIKI_CUTS = pages(60)
WARC = warc(60)
FILES = {
    "multistream": ("mediawiki", compressed(WIKI, WIKI_CUTS, bz2.compress)),
    "pbzip2": ("mediawiki", compressed(WIKI, anywhere(WIKI), bz2.compress)),
    "pages in gzip": ("mediawiki", compressed(WIKI, anywhere(WIKI), in_gzip)),
    "plain": ("mediawiki", compressed(WIKI, anywhere(WIKI), bytes)),
    "records": ("wet", compressed(WARC, records(WARC), in_gzip)),
    "three records": ("wet", compressed(WARC, [*records(WARC)[::3], len(WARC)], in_gzip)),
}
NAMES = {"multistream": "x.xml.bz2", "pbzip2": "x.xml.bz2", "plain": "x.xml"}


def rows_of(path, form, start=0, stop=-1):
    part = whole(path)._replace(start=start, stop=stop)
    return [row for batch in read_slice(source_of(path, form), part) for row in batch.to_pylist()]


def ranges_of(path, form, cuts):
    return [rows_of(path, form, start, stop) for start, stop in itertools.pairwise(cuts)]


def without_place(rows):
    return [[row[name] for name in COLUMNS] for row in rows]


@pytest.fixture(scope="module", params=FILES)
def stored(request, tmp_path_factory):
    """A file in members, the rows of it read whole, and each of them by its place."""
    form, members = FILES[request.param]
    path = tmp_path_factory.mktemp("ranges") / NAMES.get(request.param, "x.gz")
    path.write_bytes(b"".join(members))
    rows = rows_of(path, form)
    assert sum(row["rule"] is None for row in rows) > 40
    return path, form, rows, {}


def content_at(path, place):
    """Return the bytes at a place of a location."""
    data = path.read_bytes()
    member, _, offset = place.rpartition("+")
    if member:
        member_data = data[int(member) :]
        data = bz2.decompress(member_data) if data[:2] == b"BZ" else gzip.decompress(member_data)
    return data[int(offset) :]


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_ranges_are_the_file(stored, data):
    """However a file is cut, its ranges give its rows in order, each once and at one place for all cuts."""
    path, form, expected, places = stored
    size = path.stat().st_size
    inner = data.draw(st.lists(st.integers(1, size - 1), max_size=6, unique=True).map(sorted))
    found = [row for rows in ranges_of(path, form, [0, *inner, size]) for row in rows]
    assert without_place(found) == without_place(expected)
    if inner:
        for number, row in enumerate(found):
            place = row["location"].rpartition("#")[2]
            assert places.setdefault(number, place) == place
            assert content_at(path, place).startswith((b"<page>", b"WARC/1.0\r\n"))


@pytest.mark.parametrize("name", ["multistream", "records"])
@pytest.mark.parametrize("kind", ["corrupt", "truncated", "junk"])
@pytest.mark.parametrize("hurt", [2, 9, -2, -1])
def test_damage_costs_its_member(tmp_path, monkeypatch, name, kind, hurt):
    """Whatever is cut where: the records of one member are lost, a row says so, and all others are read once."""
    monkeypatch.setattr(ranges, "_PROOF_BYTES", 400)
    form, members = FILES[name]
    members = list(members)
    hurt %= len(members)
    expected = [row["text"] for row in rows_of_members(tmp_path, form, members) if not row["rule"]]
    kept = [row["text"] for row in rows_of_members(tmp_path, form, without(members, hurt)) if not row["rule"]]
    assert len(kept) < len(expected) or name == "multistream"
    middle = len(members[hurt]) // 2
    members[hurt] = {
        "corrupt": members[hurt][:middle] + b"\xff" * 8 + members[hurt][middle + 8 :],
        "truncated": members[hurt][:middle],
        "junk": FOREIGN[:50] + members[hurt],
    }[kind]
    path = tmp_path / NAMES.get(name, "x.gz")
    path.write_bytes(b"".join(members))
    size = path.stat().st_size
    for step in (size // 2, size // 5, size // 23):
        rows = [row for found in ranges_of(path, form, [*range(0, size, step), size]) for row in found]
        good = [row["text"] for row in rows if not row["rule"]]
        assert set(kept) <= set(good) <= set(expected)
        assert len(good) == len(set(good))
        if kind == "junk":
            assert good == expected
        assert [row["rule"] for row in rows if re.match("corrupt|truncated_[gb]", row["rule"] or "")]


@pytest.mark.parametrize("name", ["multistream", "pbzip2"])
@pytest.mark.parametrize("hurt", [[9], [9, 10], [7, 9], [-1]])
def test_damage_where_a_range_begins_is_told_once(tmp_path, name, hurt):
    """Whether or not a page goes on into it, and however many ranges begin with damage: as read whole."""
    form, members = FILES[name]
    members = list(members)
    for number in hurt:
        members[number] = members[number][:10] + b"\xff" * (len(members[number]) - 10)
    path = tmp_path / "x.xml.bz2"
    path.write_bytes(b"".join(members))
    starts = [0, *itertools.accumulate(map(len, members))]
    expected = without_place(rows_of(path, form))
    assert [row for row in expected if row[3]]
    cuts = [[0, starts[place % len(members)], starts[-1]] for place in range(1, len(members))]
    for cut in ([*starts], [*range(0, starts[-1], 50), starts[-1]], *cuts[6:11], cuts[-1]):
        found = [row for rows in ranges_of(path, form, cut) for row in rows]
        assert without_place(found) == expected


def without(members, number):
    return [member for index, member in enumerate(members) if index != number]


def rows_of_members(tmp_path, form, members):
    path = tmp_path / "expected"
    path.write_bytes(b"".join(members))
    return rows_of(path, form)


@pytest.mark.parametrize(
    ("name", "compress"),
    [("x.xml.bz2", bz2.compress), ("x.xml.gz", in_gzip), ("x.xml", bz2.compress), ("x.xml", lzma.compress)],
)
def test_a_file_of_one_member_is_its_first_range(tmp_path, name, compress):
    """Also where the plan thought otherwise: no range starts within a member."""
    path = tmp_path / name
    path.write_bytes(compress(WIKI))
    size = path.stat().st_size
    first, *others = ranges_of(path, "mediawiki", [0, size // 3, size // 2, size])
    assert without_place(first) == without_place(rows_of(path, "mediawiki"))
    assert others == [[], []]


def nested():
    """A record that holds a WARC file as its server sent it, and one behind it."""
    noise = random.Random(7)
    inner = b"".join(in_gzip(record(noise.randbytes(1000))) for _ in range(700))
    assert len(inner) > 2 * ranges._PROOF_BYTES
    return [record(b"before"), record(inner), record(b"behind")], inner


def record(block):
    return b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: %d\r\n\r\n%s\r\n\r\n" % (len(block), block)


def test_a_warc_file_within_a_record_is_no_place_to_begin(tmp_path):
    """Deflate stores what it cannot compress, so the members of the inner file lie in the outer one as they are."""
    contents, inner = nested()
    members = [in_gzip(content) for content in contents]
    stored = zlib.compressobj(0, wbits=31)  # every byte of the inner file is there
    members[1] = stored.compress(contents[1]) + stored.flush()
    path = tmp_path / "x.warc.gz"
    path.write_bytes(b"".join(members))
    size = path.stat().st_size
    assert path.read_bytes().count(inner[:10]) > 600
    assert has_member(str(path), 0, 1, begins=b"WARC/")
    for step in (size // 2 + 1, size // 7):
        rows = [row for found in ranges_of(path, "wet", [*range(0, size, step), size]) for row in found]
        assert texts_and_rules(rows) == ["before", "<bad_utf8>", "behind"]


@pytest.mark.parametrize(("start", "stop", "found"), [(0, 1, True), (1, 100, False), (1, 1 << 30, True)])
def test_probing(tmp_path, start, stop, found):
    """A member counts if it starts in the range and begins as it should; a file that is gone is an error."""
    path = tmp_path / "x.gz"
    path.write_bytes(in_gzip(b"WARC/1.0 " + FOREIGN[:200]) + in_gzip(b"WARC/1.0 second"))
    assert has_member(str(path), start, stop, begins=b"WARC/") == found
    assert not has_member(str(path), start, stop, begins=b"<page>")
    with pytest.raises(FileNotFoundError, match="gone"):
        has_member(str(tmp_path / "gone"), start, stop, begins=b"")


@pytest.mark.parametrize(("name", "compress"), [("x.bz2", bz2.compress), ("x", bytes)])
def test_a_range_to_the_end(tmp_path, name, compress):
    """A range without a stop is the rest of the file."""
    members = [compress(text) for text in (b"first", b"second", b"third")]
    path = tmp_path / name
    path.write_bytes(b"".join(members))
    part = ByteRange(str(path), len(members[0]))
    assert b"".join(part) == b"secondthird"
    assert part.end > len(b"secondthird")


def test_a_range_reads_on(tmp_path):
    """What lies behind a range comes too, for a record that begins in it, and `end` says where that begins."""
    members = [bz2.compress(text) for text in (b"first", b"second", b"third")]
    path = tmp_path / "x.bz2"
    path.write_bytes(b"".join(members))
    part = ByteRange(str(path), 1, len(members[0]) + 1)
    chunks = list(part)
    assert chunks == [b"second", b"third"]
    assert part.end == len(b"second")
    assert [part.place(offset) for offset in (0, 5, 6)] == [
        f"{len(members[0])}+0",
        f"{len(members[0])}+5",
        f"{len(members[0] + members[1])}+0",
    ]
    assert not [chunk for chunk in chunks if isinstance(chunk, Damage)]
