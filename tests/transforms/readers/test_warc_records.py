"""transforms.readers.warc_records: every whole record, whatever stands around it."""

import gzip
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.transforms.readers.reading import COMPRESS, SUFFIX
from transforms.readers.ranges import ByteRange
from transforms.readers.stream import decompressed
from transforms.readers.warc_records import BrokenRecord, WarcRecord, warc_records

TYPES = ("response", "conversion")


def record(block: bytes, kind: str = "response", *, length: int | str | None = None, newline: str = "\r\n") -> bytes:
    length = len(block) if length is None else length
    lines = ["WARC/1.0", f"WARC-Type: {kind}", "X-Folded: a", " b", f"content-LENGTH:  {length} ", "", ""]
    return newline.join(line for line in lines if "None" not in line).encode() + block + b"\r\n\r\n"


BLOCKS = [b"one", b"", b"\r\n\r\n", b"two\nWARC/1.0\nnot a header", b"x" * 3000, b"WARC/1.0\r\nWARC-Type: x\r\n\r\n"]


def write(tmp_path: Path, data: bytes, name: str = "x.warc") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def read(path: Path, *, max_bytes: int = 1 << 20) -> list[WarcRecord | BrokenRecord]:
    return list(warc_records(ByteRange(str(path)), types=TYPES, max_bytes=max_bytes))


def blocks_and_rules(found: list[WarcRecord | BrokenRecord]) -> list[bytes | str]:
    return [item.block if isinstance(item, WarcRecord) else item.rule for item in found]


@pytest.mark.parametrize("codec", [None, *COMPRESS])
@pytest.mark.parametrize("each", [False, True], ids=["whole", "each"])
def test_records(tmp_path, codec, each):
    """Records of the wanted types come out with fields and place, compressed whole or each on its own."""
    stored = [record(b"info", "warcinfo"), *(record(block) for block in BLOCKS), record(b"text", "Conversion")]
    compress = COMPRESS[codec] if codec else bytes
    data = b"".join(map(compress, stored)) if each else compress(b"".join(stored))
    found = read(write(tmp_path, data, "x.warc" + SUFFIX.get(codec, "")))
    assert blocks_and_rules(found) == [*BLOCKS, b"text"]
    whole = b"".join(stored)
    for item in found:
        assert whole[item.offset :].startswith(b"WARC/1.0")
        assert item.block in whole[item.offset : item.offset + 120 + len(item.block)]
    assert found[0].header["x-folded"] == "a b"
    assert found[0].header["content-length"] == "3"
    assert found[-1].header["warc-type"] == "Conversion"


def test_what_others_write(tmp_path):
    """Headers that end in newlines alone, version 0.18, no blank lines between, many, and padding: no damage."""
    data = record(b"a", newline="\n") + b"\r\n" * 300 + record(b"b").replace(b"WARC/1.0", b"WARC/0.18")
    data += record(b"c")[:-4] + record(b"d") + b"\0" * 3000 + record(b"e")[:-4] + b"\n" + record(b"f")[:-2]
    assert blocks_and_rules(read(write(tmp_path, data))) == [b"a", b"b", b"c", b"d", b"e", b"f"]
    assert blocks_and_rules(read(write(tmp_path, data[:-2]))) == [b"a", b"b", b"c", b"d", b"e", b"f"]
    last = record(b"metadata\r\n\r\n").rstrip()  # who strips the file strips the block
    assert blocks_and_rules(read(write(tmp_path, last))) == [b"metadata"]
    assert blocks_and_rules(read(write(tmp_path, last[:-1]))) == ["truncated_warc"]


BAD = {
    "bad_content_length": [
        record(b"bad" * 100, length=150),
        record(b"bad" * 100, length=1),
        record(b"bad" * 100, length=305),
        record(b"bad" * 100, length=900_000),
        record(b"bad" * 100, length=10**9),
        record(b"bad" * 100, length=10**17),
        record(b"bad" * 100, length="None"),
        record(b"bad" * 100, length="12a"),
        record(b"bad" * 100, length=-1),
        record(b"bad" * 100, "request", length=17),
    ],
    "bad_warc_header": [
        record(b"bad" * 100, "None"),
        b"WARC/1.0\r\nWARC-Type: response\r\n" + b"X-Long: y\r\n" * 10_000 + b"\r\n\r\n",
    ],
    "not_warc": [b"junk", b"\xef\xbb\xbf", b"<html>" * 100_000, b"WARC/1.0\r\n\r\n", b"WARC/1.0 "],
}


@pytest.mark.parametrize(("rule", "bad"), [(rule, bad) for rule, items in BAD.items() for bad in items])
def test_damage_costs_one_record(tmp_path, rule, bad):
    """Whatever is broken, the records around it come out, and one row names rule, place and beginning."""
    before, behind = record(b"before"), [record(b"behind"), record(b"y" * 5000), record(b"last")]
    for compress in (
        bytes,
        lambda data: b"".join(gzip.compress(data[at : at + 700]) for at in range(0, len(data), 700)),
    ):
        found = read(write(tmp_path, compress(before + bad + b"".join(behind))))
        assert blocks_and_rules(found) == [b"before", rule, b"behind", b"y" * 5000, b"last"]
        assert found[1].offset == len(before)
        assert bad.startswith(found[1].excerpt[:200]) or found[1].excerpt.startswith(bad)
        offset = len(before) + len(bad)
        assert [item.offset for item in found[2:]] == [
            offset,
            offset + len(behind[0]),
            offset + len(behind[0] + behind[1]),
        ]


def test_values_of_a_wrong_length(tmp_path):
    """The row says what was declared, and how far the next header really is."""
    for length in (150, 305, 900_000, 10**9):
        (bad, _) = read(write(tmp_path, record(b"bad" * 100, length=length) + record(b"good")))
        assert (bad.value, bad.threshold) == (length, 304)
    (bad,) = read(write(tmp_path, b"junk" * 10))
    assert (bad.rule, bad.value, bad.threshold) == ("not_warc", 40, None)


@pytest.mark.parametrize("cut", [12, 40, 70, 90, 800])
def test_truncated_file(tmp_path, cut):
    """The record that a file ends in is one row; those before it come out."""
    whole = record(b"z" * 1000)
    found = read(write(tmp_path, record(b"a") + whole[:cut]))
    assert blocks_and_rules(found)[0] == b"a"
    assert [item.rule for item in found[1:]] == ["not_warc" if cut < 25 else "truncated_warc"]
    if cut == 800:
        assert (found[1].value, found[1].threshold) == (cut - len(whole) + 1004, 1000)


def test_swallowed_records(tmp_path):
    """A length beyond the end of the file swallows no record, also where compressed data is cut there."""
    data = record(b"bad", length=5000) + record(b"a") + record(b"b")
    assert blocks_and_rules(read(write(tmp_path, data))) == ["bad_content_length", b"a", b"b"]
    stored = gzip.compress(data)[:-4]
    assert blocks_and_rules(read(write(tmp_path, stored, "x.warc.gz"))) == [
        "bad_content_length",
        b"a",
        b"b",
        "truncated_gzip",
    ]


def test_records_above_the_limit(tmp_path):
    """A block above the limit is read over; one of no wanted type is no loss; lengths that lie are found out."""
    large = b"L" * 3_000_000
    inner = record(b"inner" * 20)
    warc_in_warc = inner * 20_000
    cases = {
        record(large): ["record_too_large"],
        record(large, "resource"): [],
        record(warc_in_warc): ["record_too_large"],
        record(large, length=2_500_000): ["bad_content_length"],
        record(large, length=3_500_000): ["bad_content_length"],
        record(large, length=3_500_000) + record(b"small"): ["bad_content_length", b"small"],
        record(large, length=10**12) + record(large): ["bad_content_length", "record_too_large"],
        record(b"short", length=10**12) * 3: ["bad_content_length"] * 3,
        record(b"short", length=2_000_000) + record(large) * 2: ["bad_content_length", *["record_too_large"] * 2],
    }
    for number, (stored, expected) in enumerate(cases.items()):
        for compress in (bytes, gzip.compress):
            found = read(write(tmp_path, compress(record(b"a") + stored + record(b"b")), f"{number}.warc"))
            assert blocks_and_rules(found) == [b"a", *expected, b"b"], number
            assert [item.offset for item in found] == sorted({item.offset for item in found})
    (_, item, _) = read(write(tmp_path, record(b"a") + record(large) + record(b"b")))
    assert (item.value, item.threshold) == (3_000_000, 1 << 20)
    cut = record(large)[:2_000_000]
    assert blocks_and_rules(read(write(tmp_path, record(b"a") + cut))) == [b"a", "truncated_warc"]
    stored = gzip.compress(record(b"a")) + gzip.compress(record(large))[:-700] + gzip.compress(record(b"b"))
    assert blocks_and_rules(read(write(tmp_path, stored)))[:2] == [b"a", "corrupt_gzip"]


def test_limit_is_inclusive(tmp_path):
    """A block as long as the limit passes, one byte more does not."""
    path = write(tmp_path, record(b"x" * 1000) + record(b"b"))
    assert blocks_and_rules(read(path, max_bytes=1000)) == [b"x" * 1000, b"b"]
    assert blocks_and_rules(read(path, max_bytes=999)) == ["record_too_large", b"b"]


def test_gigabyte_records_are_not_held(tmp_path):
    """A record of a gigabyte behind a small file, and one that only says so, cost no memory."""
    import zlib

    compressor = zlib.compressobj(1, wbits=31)
    pieces = [
        compressor.compress(record(b"a") + b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 1000000000\r\n\r\n")
    ]
    pieces += [compressor.compress(bytes(10_000_000)) for _ in range(100)]
    path = write(tmp_path, b"".join([*pieces, compressor.compress(b"\r\n\r\n" + record(b"b")), compressor.flush()]))
    tracemalloc.start()
    try:
        found = read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert blocks_and_rules(found) == [b"a", "record_too_large", b"b"]
    assert peak < 16_000_000


def test_hostile_lengths_cost_linear_time(tmp_path, monkeypatch):
    """Records that each claim a terabyte have the file read again once, not for each of them."""
    times_read = []

    def counted(path):
        times_read.append(path)
        return decompressed(path)

    monkeypatch.setattr("transforms.readers.ranges.decompressed", counted)
    path = write(tmp_path, gzip.compress(record(b"x" * 10_000, length=10**12) * 1000))
    assert blocks_and_rules(read(path)) == [*["bad_content_length"] * 999, "truncated_warc"]
    assert len(times_read) == 2


@pytest.mark.parametrize("at", [-130, -128, -70, -30, -5, 0, 5])
def test_headers_across_steps(tmp_path, at):
    """A header is found wherever it lies in the pieces in which a block above the limit is read over."""
    behind = record(b"behind")
    for claim in (6_000_000, 10**9):
        pieces_end = (1 << 16) + (1 << 20)
        stored = record(b"x" * (pieces_end + at - len(record(b"", length=claim))), length=claim)
        found = read(write(tmp_path, stored + behind + record(b"y" * 700_000) * 9))
        assert blocks_and_rules(found)[:3] == ["bad_content_length", b"behind", b"y" * 700_000]


def test_tiny_pieces(tmp_path):
    """Where every few bytes are a member of their own, headers are found across members."""
    long = b"X-Folded: " + b"y" * 150
    data = b"".join(record(b"x%d" % number).replace(b"X-Folded: ", long) for number in range(20))
    for size in (1, 2, 3, 5):
        stored = b"".join(gzip.compress(data[at : at + size], 0) for at in range(0, len(data), size))
        assert blocks_and_rules(read(write(tmp_path, stored))) == [b"x%d" % number for number in range(20)]


def test_damage_within_a_record_is_one_row(tmp_path):
    """What is left of a record behind the damage that cut it is part of the same damage."""
    data = b"".join(record(b"%d" % number * 2000) for number in range(5))
    members = [gzip.compress(data[at : at + 700]) for at in range(0, len(data), 700)]
    members[7] = members[7][:-20] + b"\xff" * 12 + members[7][-8:]  # in the third record
    found = blocks_and_rules(read(write(tmp_path, b"".join(members))))
    assert found == [b"0" * 2000, b"1" * 2000, "corrupt_gzip", b"3" * 2000, b"4" * 2000]
    records = [record(b"a"), record(b"b" * 900), record(b"c")]
    stored = [records[0], records[1][:500], records[1][500:], records[2]]
    members = [gzip.compress(piece, mtime=0) for piece in stored]
    members[1] = members[1][:10] + b"\xff" * 20  # nothing comes out of it
    assert blocks_and_rules(read(write(tmp_path, b"".join(members)))) == [b"a", "corrupt_gzip", b"c"]


@pytest.mark.parametrize("codec", ["gzip", "zstd", "lz4"])
def test_damaged_members(tmp_path, codec):
    """A record whose compressed data is damaged is not given out, even where only its checksum tells."""
    stored = [COMPRESS[codec](record(block * 40)) for block in (b"aaaa%d" % n for n in range(5))]
    expected = [block * 40 for block in (b"aaaa%d" % n for n in range(5))]
    tail = -6 if codec == "gzip" else -1
    broken = bytearray(stored[2])
    broken[tail] ^= 1
    path = write(tmp_path, b"".join([*stored[:2], bytes(broken), *stored[3:]]), "x.warc" + SUFFIX[codec])
    rules = [*expected[:2], f"corrupt_{codec}", *expected[3:]]
    assert blocks_and_rules(read(path)) == rules
    path = write(tmp_path, b"".join([*stored[:3], b"<junk>" * 9, *stored[3:]]), "y.warc" + SUFFIX[codec])
    assert blocks_and_rules(read(path)) == [*expected[:3], f"corrupt_{codec}", *expected[3:]]
    path = write(tmp_path, b"".join([*stored[:3], stored[3][:-9]]), "z.warc" + SUFFIX[codec])
    assert blocks_and_rules(read(path))[-1] == f"truncated_{codec}"
    assert blocks_and_rules(read(path))[:3] == expected[:3]


def test_empty_file(tmp_path):
    """An empty file has no records and no damage; so has one of blank lines."""
    assert read(write(tmp_path, b"")) == []
    assert read(write(tmp_path, b"\r\n" * 5000)) == []


@settings(max_examples=150, deadline=None)
@given(
    blocks=st.lists(st.sampled_from([*BLOCKS, b"y" * 90_000]), max_size=8),
    junk=st.lists(st.sampled_from([b"", b"junk", b"WARC/1.0", b"\r\nWARC/1.0\r\n", b"\0"]), min_size=9, max_size=9),
    members=st.integers(50, 5000),
)
@example(blocks=[b"one", b"two"], junk=[b"\r\nWARC/1.0\r\n"] * 9, members=50)
def test_junk_between_records(tmp_path_factory, blocks, junk, members):
    """With junk between any of them, however the file is compressed, the records are all there, at their places."""
    data, places = junk[0], []
    for block, behind in zip(blocks, junk[1:], strict=False):
        places.append(len(data))
        data += record(block) + behind
    stored = b"".join(gzip.compress(data[at : at + members], 1) for at in range(0, len(data), members))
    folder = tmp_path_factory.mktemp("junk")
    for path in (write(folder, data), write(folder, stored, "x.warc.gz")):
        found = [item for item in read(path) if isinstance(item, WarcRecord)]
        assert [item.block for item in found] == blocks
        assert [item.offset for item in found] == places


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_damage_ends_and_spares_what_is_far(tmp_path_factory, data):
    """Whatever is flipped or cut, reading ends, offsets rise, and records in whole members are there."""
    stored = [gzip.compress(record(b"%d" % number * 100), mtime=0) for number in range(12)]
    whole = bytearray(b"".join(stored))
    touched = set()
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] ^= data.draw(st.integers(1, 255))
        ends = [len(b"".join(stored[: number + 1])) for number in range(12)]
        touched.add(next(number for number, end in enumerate(ends) if at < end))
    path = write(tmp_path_factory.mktemp("flip"), bytes(whole), "x.warc.gz")
    found = read(path)
    offsets = [item.offset for item in found]
    assert offsets == sorted(offsets)
    good = [item.block for item in found if isinstance(item, WarcRecord)]
    # A flipped bit may hide the member behind it, whose start the search for the next one passes.
    for number in range(12):
        if not {number, number - 1} & touched:
            assert b"%d" % number * 100 in good
