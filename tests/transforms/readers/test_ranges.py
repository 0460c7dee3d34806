"""transforms.readers.ranges: the ranges of a compressed file, wherever it is cut, are the file."""

import bz2
import gzip
import itertools
import lzma
import random
import re
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.readers.reading import SUFFIX, source_of, texts_and_rules, whole
from tests.transforms.readers.test_streams import jsonl, mediawiki, warc
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


def in_zstd(data):
    """Frames as pzstd writes them: behind a skippable one."""
    return b"\x50\x2a\x4d\x18\4\0\0\0size" + zstandard.ZstdCompressor(write_checksum=True).compress(data)


def places(data, step):
    """Cuts that know nothing of lines."""
    return [*range(0, len(data), step), len(data)]


WIKI, WIKI_CUTS = pages(60)
WARC = warc(60)
LINES = jsonl(120)
FILES = {
    "lines in gzip": ("jsonl", compressed(LINES, places(LINES, 300), in_gzip)),
    "lines in bgzip": ("jsonl", [*compressed(LINES, places(LINES, 70), in_gzip), in_gzip(b"")]),
    "lines in bzip2": ("jsonl", compressed(LINES, places(LINES, 400), bz2.compress)),
    "lines in zstd": ("jsonl", compressed(LINES, places(LINES, 350), in_zstd)),
    "lines in files": ("jsonl", [in_zstd(line + b"\n") for line in LINES.split(b"\n")]),
    "multistream": ("mediawiki", compressed(WIKI, WIKI_CUTS, bz2.compress)),
    "pbzip2": ("mediawiki", compressed(WIKI, anywhere(WIKI), bz2.compress)),
    "pages in gzip": ("mediawiki", compressed(WIKI, anywhere(WIKI), in_gzip)),
    "plain": ("mediawiki", compressed(WIKI, anywhere(WIKI), bytes)),
    "records": ("wet", compressed(WARC, records(WARC), in_gzip)),
    "records in zstd": ("wet", compressed(WARC, records(WARC), in_zstd)),
    "three records": ("wet", compressed(WARC, [*records(WARC)[::3], len(WARC)], in_gzip)),
}
NAMES = {"multistream": "x.xml.bz2", "pbzip2": "x.xml.bz2", "plain": "x.xml"}
BEGINS = (b"<page>", b"WARC/1.0\r\n", b'{"text"', b"{broken")


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


def unzstd(data):
    return zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()


DECOMPRESS = {b"BZ": bz2.decompress, b"\x1f": gzip.decompress, b"\x50": unzstd}


def content_at(path, place):
    """Return the bytes at a place of a location."""
    data = path.read_bytes()
    member, _, offset = place.rpartition("+")
    if member:
        member_data = data[int(member) :]
        data = next(decompress for magic, decompress in DECOMPRESS.items() if data.startswith(magic))(member_data)
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
            assert content_at(path, place).startswith(BEGINS)


COMPRESS = {"gzip": in_gzip, "bzip2": bz2.compress, "zstd": in_zstd}
HURT = {
    "zeros": lambda member: member[: len(member) // 2] + bytes(8) + member[len(member) // 2 + 8 :],
    "noise": lambda member: member[:10] + b"\xff" * (len(member) - 10),
    "cut": lambda member: member[: len(member) // 2],
    "junk": lambda member: FOREIGN[:50] + member,
    "checksum": lambda member: member[:-5] + bytes([member[-5] ^ 1]) + member[-4:],
}


@settings(max_examples=150, deadline=None)
@given(data=st.data(), codec=st.sampled_from(sorted(COMPRESS)), hurt=st.sampled_from([None, None, *sorted(HURT)]))
def test_lines_of_any_members_in_any_ranges(tmp_path_factory, data, codec, hurt):
    """Members end within lines and between them, are empty or shorter than a line, one is damaged: as read whole."""
    words = data.draw(st.lists(st.integers(0, 60), min_size=1, max_size=30))
    content = b"".join(b'{"text": "%d %s"}\n' % (number, b"x" * length) for number, length in enumerate(words))
    content += data.draw(st.sampled_from([b"", b"\n\n", b'{"text": "end"}', b"no json"]))
    at_lines = [found.end() for found in re.finditer(rb"\n", content)]
    anywhere = st.one_of(st.integers(0, len(content)), st.sampled_from(at_lines))
    cuts = sorted(data.draw(st.lists(anywhere, max_size=20)))
    members = compressed(content, [0, *cuts, len(content)], COMPRESS[codec])
    if hurt:
        number = data.draw(st.integers(0, len(members) - 1))
        members[number] = HURT[hurt](members[number])
    path = tmp_path_factory.mktemp("members") / f"x.jsonl{SUFFIX[codec]}"
    path.write_bytes(b"".join(members))
    expected = rows_of(path, "jsonl")
    starts = list(itertools.accumulate(map(len, members)))
    size = starts[-1]
    near = st.builds(lambda start, by: min(max(start + by, 1), size - 1), st.sampled_from(starts), st.integers(-1, 1))
    stops = data.draw(st.lists(st.one_of(st.integers(1, size - 1), near), max_size=8, unique=True).map(sorted))
    found = [row for rows in ranges_of(path, "jsonl", [0, *stops, size]) for row in rows]
    if hurt in (None, "junk", "checksum"):
        assert without_place(found) == without_place(expected)
        return
    good, of_whole = ([row["text"] for row in rows if not row["rule"]] for rows in (found, expected))
    assert len(good) == len(set(good))
    assert set(good) >= set(of_whole)  # a range may begin in what damage before it ran over
    assert any(row["rule"] for row in found) == any(row["rule"] for row in expected)


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


@pytest.mark.parametrize("name", ["multistream", "pbzip2", "lines in bzip2"])
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


@pytest.mark.parametrize("hurt", [[6], [15, 18], [14, 15, 16, 20], [23], [0], [-1]])
def test_damage_in_a_page_of_many_members_is_told_once(tmp_path, hurt):
    """By the range that the page began in, however many ranges begin inside the page, before or behind the damage."""
    data = mediawiki(12)
    members = compressed(data, places(data, 70), bz2.compress)
    assert len(members) > 25
    for number in hurt:
        members[number] = members[number][:10] + b"\xff" * (len(members[number]) - 10)
    path = tmp_path / "x.xml.bz2"
    path.write_bytes(b"".join(members))
    expected = without_place(rows_of(path, "mediawiki"))
    starts = [0, *itertools.accumulate(map(len, members))]
    cuts = [[0, start, starts[-1]] for start in starts[1:-1]]
    for cut in (starts, starts[::2], *cuts):
        found = [row for rows in ranges_of(path, "mediawiki", sorted({*cut, starts[-1]})) for row in rows]
        assert without_place(found) == expected


def test_members_that_damage_ran_over_belong_to_the_next_range(tmp_path):
    """A block that is cut takes what follows for its own; the next range begins there, and no line comes twice."""
    long, short = (b'{"text": "%s"}\n' % (b"x" * length) for length in (200_000, 7))
    stored = zlib.compressobj(0, wbits=31)
    block = stored.compress(long * 2) + stored.flush()
    lines = [b'{"text": "line %d"}\n' % number for number in range(3000)]
    members = [in_gzip(short), block[:300_000], *map(in_gzip, lines)]
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(b"".join(members))
    size, cut = path.stat().st_size, sum(map(len, members[:2]))
    whole_file = texts_and_rules(rows_of(path, "jsonl"))
    found = texts_and_rules([row for rows in ranges_of(path, "jsonl", [0, cut, size]) for row in rows])
    texts = [text for text in found if text.startswith("line")]
    assert len(whole_file) < 2990
    # The first belongs to the range before, as it began behind the last byte of that: it is lost with what ran over it.
    assert texts == [f"line {number}" for number in range(1, 3000)]
    assert [text for text in found if text.startswith("<corrupt")] == ["<corrupt_gzip>"]


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
