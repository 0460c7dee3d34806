"""transforms.readers.stream: bytes out of files, damage included."""

import gzip
import lzma
import random
import subprocess
import sys
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.readers.reading import COMPRESS, SUFFIX
from transforms.readers import stream
from transforms.readers.codec import CHUNK_BYTES
from transforms.readers.stream import Damage, decompressed

LINES = b"".join(b'{"text": "line %d %d"}\n' % (i, i * 7919 % 1000) for i in range(40_000))
NOISE = random.Random(0).randbytes(300_000)


def good(path) -> bytes:
    return b"".join(chunk for chunk in decompressed(str(path)) if not isinstance(chunk, Damage))


def damage(path) -> list[Damage]:
    return [chunk for chunk in decompressed(str(path)) if isinstance(chunk, Damage)]


def write(tmp_path, name: str, data: bytes):
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("codec", COMPRESS)
@pytest.mark.parametrize("data", [b"", b"a", LINES, NOISE], ids=["empty", "byte", "lines", "noise"])
def test_roundtrip(tmp_path, codec, data):
    """What a compressor wrote comes out again, without damage, in chunks of at most 1 MiB."""
    path = write(tmp_path, "x" + SUFFIX[codec], COMPRESS[codec](data))
    chunks = list(decompressed(str(path)))
    assert b"".join(chunks) == data
    assert all(0 < len(chunk) <= CHUNK_BYTES for chunk in chunks if data)


@pytest.mark.parametrize("codec", COMPRESS)
def test_many_members(tmp_path, codec):
    """Members, streams or frames that follow each other are one file, also where one is empty."""
    parts = [LINES[:1000], b"", NOISE, LINES]
    path = write(tmp_path, "x" + SUFFIX[codec], b"".join(COMPRESS[codec](part) for part in parts))
    assert good(path) == b"".join(parts)
    assert damage(path) == []


@pytest.mark.parametrize("codec", COMPRESS)
def test_name_does_not_matter(tmp_path, codec):
    """A compressed file without the suffix is decompressed, and text with one is text."""
    assert good(write(tmp_path, "misnamed.jsonl", COMPRESS[codec](LINES))) == LINES
    assert good(write(tmp_path, "text" + SUFFIX[codec], LINES)) == LINES


@pytest.mark.parametrize("codec", COMPRESS)
def test_wrong_content_is_one_damage(tmp_path, codec):
    """Noise under a compressed name is one damage and no bytes."""
    path = write(tmp_path, "x" + SUFFIX[codec], b"\0\xff" + NOISE)
    assert good(path) == b""
    assert [(item.rule, item.offset <= 2) for item in damage(path)] == [(f"corrupt_{codec}", True)]


@pytest.mark.parametrize("codec", COMPRESS)
@pytest.mark.parametrize("fraction", [0.001, 0.3, 0.9, 1.0])
def test_truncation(tmp_path, codec, fraction):
    """A file cut anywhere gives a prefix of its content and one damage at its end."""
    stored = COMPRESS[codec](LINES)
    cut = stored[: max(1, min(int(len(stored) * fraction), len(stored) - 1))]
    path = write(tmp_path, "x" + SUFFIX[codec], cut)
    content = good(path)
    assert LINES.startswith(content)
    assert damage(path) == [Damage(f"truncated_{codec}", len(cut))] or len(cut) < 20
    if codec in ("gzip", "zstd"):  # the others decode blocks of 900 kB and more
        assert len(content) > (fraction - 0.35) * len(LINES)


def test_truncated_gzip_loses_nothing(tmp_path):
    """Every byte that zlib can decode before the cut comes out."""
    cut = gzip.compress(LINES)[:-5000]
    expected = zlib.decompressobj(31).decompress(cut)
    assert good(write(tmp_path, "x.gz", cut)) == expected
    assert len(expected) > len(LINES) // 2


@pytest.mark.parametrize("codec", COMPRESS)
def test_members_behind_a_damaged_one_are_read(tmp_path, codec):
    """A flipped byte costs one member at most, and what comes out of the others is whole."""
    members = [COMPRESS[codec](bytes([65 + i]) * 50 + NOISE[: 200_000 + i] + b"END") for i in range(4)]
    broken = bytearray(members[1])
    broken[len(broken) // 2] ^= 0xFF
    path = write(tmp_path, "x" + SUFFIX[codec], members[0] + bytes(broken) + members[2] + members[3])
    content = good(path)
    for i in (0, 2, 3):
        assert bytes([65 + i]) * 50 + NOISE[: 200_000 + i] + b"END" in content
    (item,) = damage(path)
    assert item.rule == f"corrupt_{codec}"
    assert len(members[0]) <= item.offset <= len(members[0]) + len(broken)


@pytest.mark.parametrize("codec", COMPRESS)
def test_junk_between_members(tmp_path, codec):
    """Junk between two members is one damage at its offset, and both members come out."""
    first, second = COMPRESS[codec](LINES[:5000]), COMPRESS[codec](LINES[5000:])
    path = write(tmp_path, "x" + SUFFIX[codec], first + b"<junk>" * 5 + second)
    assert good(path) == LINES
    assert damage(path) == [Damage(f"corrupt_{codec}", len(first), between=True)]


@pytest.mark.parametrize("system", [0, 3, 11, 19, 255])
def test_members_of_all_writers_are_found(tmp_path, system):
    """Behind junk a gzip member is found whatever system it says it was written on (macOS says 19)."""
    member = bytearray(gzip.compress(LINES, mtime=0))
    member[9] = system
    path = write(tmp_path, "x.gz", gzip.compress(b"first") + b"<junk>" * 5 + bytes(member))
    assert good(path) == b"first" + LINES


@pytest.mark.parametrize("codec", COMPRESS)
def test_damage_says_whether_it_has_touched_what_came_before(tmp_path, codec):
    """What came out before is sound if the damaged member gave nothing, and not if its checksum is wrong."""
    first, second = COMPRESS[codec](b"first"), bytearray(COMPRESS[codec](NOISE))
    second[{"gzip": 10, "xz": 12}.get(codec, 4)] = 0xFF  # in gzip a block of a kind that does not exist
    (item,) = damage(write(tmp_path, "x" + SUFFIX[codec], first + bytes(second)))
    assert (item.rule, item.between) == (f"corrupt_{codec}", True)
    if codec in ("gzip", "zstd", "lz4"):
        second = bytearray(COMPRESS[codec](NOISE))
        second[-6 if codec == "gzip" else -1] ^= 1
        (item,) = damage(write(tmp_path, "x" + SUFFIX[codec], first + bytes(second)))
        assert (item.rule, item.between) == (f"corrupt_{codec}", False)


@pytest.mark.parametrize("bit", range(8))
@pytest.mark.parametrize("count", [3, 20_000])
def test_a_flag_that_is_not_there_swallows_no_members(tmp_path, bit, count):
    """A flipped flag makes a gzip header without end, and what follows is found nevertheless."""
    members = [gzip.compress(b"%06d" % number, mtime=0) for number in range(count)]
    broken = bytearray(gzip.compress(b"broken", mtime=0))
    broken[3] ^= 1 << bit
    path = write(tmp_path, "x.gz", members[0] + bytes(broken) + b"".join(members[1:]))
    content = good(path).replace(b"broken", b"")  # a flag for text changes nothing
    assert content == b"".join(b"%06d" % number for number in range(count))
    assert [item.rule for item in damage(path)] == ["corrupt_gzip"] * (bit != 0)


def test_a_header_of_64_kib_swallows_no_members(tmp_path):
    """A gzip header that claims to be as long as one can be, over several inputs, is searched for members too."""
    members = [gzip.compress(b"%06d" % number, mtime=0) for number in range(3000)]
    claimed = b"".join(members[:2000]).ljust(0xFFFF, b"x") + b"\xff" * 9  # no deflate block begins like that
    header = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\xff\xff"
    path = write(tmp_path, "x.gz", gzip.compress(b"first") + header + claimed + b"".join(members[2000:]))
    assert good(path) == b"first" + b"".join(b"%06d" % number for number in range(3000))
    assert {item.rule for item in damage(path)} == {"corrupt_gzip"}


def test_false_starts_are_one_damage(tmp_path):
    """Noise that looks like the start of members is one damaged place, not many."""
    false = gzip.compress(b"")[:10] + b"\xff" * 20
    path = write(tmp_path, "x.gz", gzip.compress(b"one") + false * 5 + gzip.compress(b"two"))
    assert good(path) == b"onetwo"
    assert [item.rule for item in damage(path)] == ["corrupt_gzip"]


@pytest.mark.parametrize("codec", ["gzip", "bzip2", "xz"])
def test_zeros_are_padding(tmp_path, codec):
    """Zeros behind the last member are what tapes and block devices leave, no damage."""
    path = write(tmp_path, "x" + SUFFIX[codec], COMPRESS[codec](LINES) + b"\0" * 100_000)
    assert good(path) == LINES
    assert damage(path) == []


def test_wrong_checksum_keeps_the_content(tmp_path):
    """Where only the checksum is wrong, all bytes come out and the damage is told."""
    for codec, at in (("gzip", -6), ("zstd", -1)):
        stored = bytearray(COMPRESS[codec](LINES))
        stored[at] ^= 1
        path = write(tmp_path, "x" + SUFFIX[codec], bytes(stored))
        assert good(path) == LINES
        assert [item.rule for item in damage(path)] == [f"corrupt_{codec}"]


def test_zstd_skippable_frame(tmp_path):
    """Skippable frames hold no content, at any place and larger than a read."""
    skippable = b"\x5a\x2a\x4d\x18" + (200_000).to_bytes(4, "little") + NOISE[:200_000]
    frame = COMPRESS["zstd"](LINES)
    path = write(tmp_path, "x.zst", skippable + frame + skippable + frame)
    assert good(path) == LINES * 2
    assert damage(path) == []


def test_zstd_frame_headers(tmp_path):
    """Frames with every kind of header: sized or streamed, with and without checksum, of all sizes of content."""
    stored, content = b"", b""
    for size in (0, 1, 255, 256, 70_000, 700_000):
        for checksum in (False, True):
            data = LINES[:size]
            compressor = zstandard.ZstdCompressor(write_checksum=checksum, level=1 + size % 7)
            streamed = compressor.compressobj()
            stored += compressor.compress(data) + streamed.compress(data) + streamed.flush()
            content += data * 2
    path = write(tmp_path, "x.zst", stored)
    assert good(path) == content
    assert damage(path) == []


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_flip_or_cut_never_raises(tmp_path_factory, data):
    """Whatever happens to the stored bytes, reading ends, raises nothing and invents no unbounded output."""
    codec = data.draw(st.sampled_from(sorted(COMPRESS)))
    stored = bytearray(b"".join(COMPRESS[codec](LINES[i : i + 3000]) for i in range(0, 12_000, 3000)))
    for position in data.draw(st.lists(st.integers(0, len(stored) - 1), max_size=4)):
        stored[position] ^= data.draw(st.integers(1, 255))
    stored = stored[: data.draw(st.integers(1, len(stored)))]
    path = write(tmp_path_factory.mktemp("flip"), "x" + SUFFIX[codec], bytes(stored))
    assert len(good(path)) < 4_000_000


@pytest.mark.parametrize("codec", COMPRESS)
def test_bomb_is_bounded(tmp_path, codec):
    """200 MB of zeros behind a small file cost time and no memory, in a process of its own."""
    compress = {"zstd": zstandard.ZstdCompressor(level=3).compress}.get(codec, COMPRESS[codec])
    zeros = bytes(25_000_000) if codec != "gzip" else b""
    stored = compress(zeros) * 8 if zeros else zlib_zeros(200_000_000)
    path = write(tmp_path, "bomb" + SUFFIX[codec], stored)
    del zeros
    program = (
        "import sys, resource\n"
        "from transforms.readers.stream import decompressed\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "size = sum(len(chunk) for chunk in decompressed(sys.argv[1]))\n"
        "print(size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    size, grown_kb = map(int, done.stdout.split())
    assert size == 200_000_000
    assert grown_kb < 60_000


@pytest.mark.parametrize("codec", COMPRESS)
def test_a_member_that_never_ends_is_given_up(tmp_path, monkeypatch, codec):
    """A member above both limits is one damage at its offset; the next one is read, unless the whole file is a bomb."""
    monkeypatch.setattr(stream, "BOMB_BYTES", 4 << 20)
    monkeypatch.setattr(stream, "BOMB_RATIO", 200)
    before, bomb, after = COMPRESS[codec](NOISE), COMPRESS[codec](bytes(64 << 20)), COMPRESS[codec](LINES)
    path = write(tmp_path, "x" + SUFFIX[codec], before + bomb + after)
    found = list(decompressed(str(path)))
    assert [item for item in found if isinstance(item, Damage)] == [Damage("decompression_bomb", len(before))]
    content = b"".join(item for item in found if isinstance(item, bytes))
    assert content.startswith(NOISE)
    assert content.endswith(LINES)
    assert len(content) < 40 << 20
    alone = list(decompressed(str(write(tmp_path, "y" + SUFFIX[codec], bomb + after))))
    assert alone[-1] == Damage("decompression_bomb", 0)
    assert sum(len(item) for item in alone[:-1]) < 40 << 20
    assert good(write(tmp_path, "z" + SUFFIX[codec], COMPRESS[codec](bytes(3 << 20)))) == bytes(3 << 20)


def test_small_ratio_is_no_bomb(tmp_path, monkeypatch):
    """A long file of ordinary text passes the size limit: both must be passed."""
    monkeypatch.setattr(stream, "BOMB_BYTES", 1 << 20)
    assert good(write(tmp_path, "x.gz", gzip.compress(LINES * 40))) == LINES * 40


def test_headers_that_ask_for_gigabytes(tmp_path):
    """A zstd window or an xz dictionary beyond the limit is refused before it is allocated; the rest is read."""
    long = zstandard.ZstdCompressionParameters(window_log=31, compression_level=1)
    compressor = zstandard.ZstdCompressor(compression_params=long).compressobj()
    frame = compressor.compress(b"behind a window of 2 GiB") + compressor.flush()
    path = write(tmp_path, "x.zst", COMPRESS["zstd"](LINES) + frame + COMPRESS["zstd"](b"end"))
    assert good(path) == LINES + b"end"
    assert damage(path) == [Damage("decompression_memory", len(COMPRESS["zstd"](LINES)), between=True)]

    whole = lzma.compress(LINES, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}])
    header = bytearray(whole[12:24])
    header[header.index(b"\x21\x01") + 2] = 40  # 4 GiB - 1
    header[-4:] = zlib.crc32(bytes(header[:-4])).to_bytes(4, "little")
    path = write(tmp_path, "x.xz", whole[:12] + bytes(header) + whole[24:] + lzma.compress(b"end"))
    assert good(path) == b"end"
    assert damage(path) == [Damage("decompression_memory", 0, between=True)]


def zlib_zeros(size: int) -> bytes:
    compressor = zlib.compressobj(9, wbits=31)
    return b"".join(compressor.compress(bytes(10_000_000)) for _ in range(size // 10_000_000)) + compressor.flush()


def test_odd_paths(tmp_path):
    """Local names are taken as they are: fsspec would read some of these as syntax."""
    for name in ("a b#c.txt", "x::y.txt", "*[1]?.txt", "\u00e9\n\t.txt", "100%25.txt", "file:.txt"):
        assert good(write(tmp_path, name, LINES[:100])) == LINES[:100]


def test_url(tmp_path):
    """An address goes through fsspec."""
    path = write(tmp_path, "x.gz", gzip.compress(LINES))
    assert good(f"file://{path}") == LINES


def test_missing_file(tmp_path):
    """A file that is gone is an OSError, not damage."""
    with pytest.raises(FileNotFoundError):
        good(tmp_path / "gone.gz")


def test_unknown_protocol():
    """A protocol that nobody knows is one line for the user."""
    with pytest.raises(ValueError, match="cannot open nope:"):
        good("nope://x/y.jsonl")
