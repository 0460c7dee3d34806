"""A file as a stream of decompressed bytes, damage included.

Every decoder yields chunks of at most CHUNK_BYTES whatever the ratio: a decompression bomb costs time and no memory.
Damage does not raise: all bytes before it come out, then a `Damage`, and where the format allows it (a later gzip
member, zstd or lz4 frame, bzip2 or xz stream) the rest of the file follows.
"""

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

import zstandard

from transforms.readers.codec import (
    CHUNK_BYTES,
    CODECS,
    START_BYTES,
    ZSTD_WINDOW,
    Codec,
    DecodeError,
    Decoder,
    decode,
    looks_like_text,
    suffix_codec,
)
from transforms.readers.remote import is_url, open_remote

# Bytes read at once from a compressed file. bz2 and lzma keep the output of a call that fails to themselves, so a call
# is kept small; gzip at 64 KiB is as fast as at 256 KiB.
_INPUT_BYTES = 1 << 16
_SEEK_BYTES = 1 << 21  # at most, where nothing is found: a server is asked 20 times for 8 MiB, not 70
# A member, or a file, whose output passes both is a bomb, and the rest of it is not decompressed. Text reaches 10:1,
# logs 100:1. Deflate ends at 1032:1, but the others make a terabyte of a few MB.
BOMB_RATIO = 1000
BOMB_BYTES = 1 << 30

NO_END = 1 << 63  # of a range that has none

_TOO_MUCH_MEMORY = "decompression_memory"


class Damage(NamedTuple):
    """What is wrong with a file, and the offset in it (as stored) at which reading could not go on.

    `between` says that nothing came out of the damaged member, if it lies in one: what came out before is sound.
    """

    rule: str
    offset: int
    between: bool = False


class Member(NamedTuple):
    """What comes next is decompressed from the member (of `codec.Codec`) at an offset in the file as stored."""

    offset: int


class _BombError(Exception):
    """Decompressing goes on and on."""


class _Meter:
    """Compares what came out of a file, and of its current member, with what went in."""

    def __init__(self, raw: "StoredBytes") -> None:
        self._raw = raw
        self._first = self._start = raw.offset
        self._member_bytes = self._file_bytes = 0

    def begin(self) -> None:
        self._start = self._raw.offset
        self._member_bytes = 0

    def add(self, num_bytes: int) -> None:
        """Raise _BombError if the member is one."""
        self._member_bytes += num_bytes
        self._file_bytes += num_bytes
        if self._is_bomb(self._member_bytes, self._raw.offset - self._start):
            raise _BombError

    @property
    def file_is_bomb(self) -> bool:
        return self._is_bomb(self._file_bytes, self._raw.offset - self._first)

    @staticmethod
    def _is_bomb(out: int, consumed: int) -> bool:
        return out > BOMB_BYTES and out > BOMB_RATIO * consumed


class _EndError(Exception):
    """The file ends within a member or frame."""


def open_path(path: str, *, block_bytes: int | None = None) -> BinaryIO:
    """Open a local path or an fsspec URL as stored, seekable.

    Local paths do not go through fsspec: it reads `::`, `*` and `#` in a name as syntax. `block_bytes` is what is asked
    of a server at once, for who wants a few bytes here and there.

    Raises:
        OSError: the file is gone or unreadable.
        ValueError: nobody knows the protocol, or the package that does is not installed.
    """
    return open_remote(path, block_bytes) if is_url(path) else open(path, "rb")  # noqa: PTH123


def decompressed(path: str, *, start: int = 0, block_bytes: int | None = None) -> Iterator[bytes | Damage]:
    """Yield the bytes of a file in chunks of at most CHUNK_BYTES, decompressed if its first bytes say so.

    The bytes decide, not the name: servers decompress silently and files are misnamed. A file that is named as
    compressed and is neither that nor text is one Damage.

    Args:
        path: local path or fsspec URL.
        start: offset from which to read; only 0 for a compressed file.
        block_bytes: as for `open_path`.

    Raises:
        OSError: the file is gone or unreadable.
    """
    with open_path(path, block_bytes=block_bytes) as file:
        stored = StoredBytes(file)
        codec = codec_of(stored, path)
        if codec is None:
            yield from _plain(file, start, head=stored.ahead(0))
        else:
            assert start == 0, f"{path} is compressed and cannot be read from {start}"
            for item in decoded(stored, codec):
                if not isinstance(item, Member):
                    yield item


def decoded(stored: "StoredBytes", codec: Codec) -> Iterator[bytes | Damage | Member]:
    """Yield what a compressed file decompresses to from where `stored` stands, and before each member its place."""
    return _frames(stored) if codec.decoder is None else _members(stored, codec, codec.decoder)


def codec_of(raw: "StoredBytes", path: str) -> Codec | None:
    """Return the compression of a file that is open at its beginning, or None."""
    head = raw.ahead(START_BYTES)
    codec = next((codec for codec in CODECS if codec.starts(head)), None)
    promised = suffix_codec(path)
    if codec is None and promised and head and not looks_like_text(raw.ahead(_INPUT_BYTES)):
        return next(codec for codec in CODECS if codec.name == promised)
    return codec


def _plain(file: BinaryIO, start: int, *, head: bytes) -> Iterator[bytes]:
    if start:
        file.seek(start)
    elif head:
        yield head
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


class StoredBytes:
    """The stored bytes, with a look ahead."""

    def __init__(self, file: BinaryIO, offset: int = 0) -> None:
        self._file = file
        self._ahead = b""
        self.offset = offset  # in the file, of the first byte ahead
        if file.tell() != offset:
            file.seek(offset)

    def ahead(self, num_bytes: int) -> bytes:
        """Return all bytes that lie ready, at least `num_bytes` of them unless the file ends."""
        while len(self._ahead) < num_bytes:
            more = self._file.read(max(_INPUT_BYTES, num_bytes - len(self._ahead)))
            if not more:
                break
            self._ahead += more
        return self._ahead

    def skip(self, num_bytes: int) -> None:
        self.offset += num_bytes
        self._ahead = self._ahead[num_bytes:]

    def push_back(self, data: bytes) -> None:
        """Undo the skip over `data`."""
        self.offset -= len(data)
        self._ahead = data + self._ahead

    def seek_member(self, codec: Codec, *, stop: int = NO_END) -> bool:
        """Move to the next member start; False if there is none before `stop` or the end of the file."""
        num_bytes = _INPUT_BYTES
        while len(ready := self.ahead(num_bytes)) >= START_BYTES and self.offset < stop:
            if found := re.search(codec.restart, ready, re.DOTALL):
                self.skip(found.start())
                return self.offset < stop
            self.skip(len(ready) - START_BYTES + 1)
            num_bytes = max(min(2 * num_bytes, _SEEK_BYTES, stop - self.offset), _INPUT_BYTES)
        return False


def _members(raw: StoredBytes, codec: Codec, new_decoder: Callable[[], Decoder]) -> Iterator[bytes | Damage | Member]:
    """Decode gzip members, bzip2 or xz streams that follow each other; zeros between them are padding."""
    fresh = True  # something good came out since the last damage: one damaged place is one Damage
    meter = _Meter(raw)
    while ready := raw.ahead(START_BYTES):
        if ready[0] == 0:
            raw.skip(len(ready) - len(ready.lstrip(b"\0")))
            continue
        if not codec.starts(ready):
            if fresh:
                kind = "corrupt" if len(ready) >= START_BYTES else "truncated"
                yield Damage(f"{kind}_{codec.name}", raw.offset, between=True)
                fresh = False
            if not raw.seek_member(codec):
                return
        decoder = new_decoder()
        start = raw.offset
        yield Member(start)
        meter.begin()
        held = b""  # the last input, or all of it while nothing has come out: where the search for a member begins
        is_first = True
        try:
            while not decoder.eof:
                more = b""
                if decoder.needs_input:
                    more = _need(raw, 1, most=_INPUT_BYTES)
                    raw.skip(len(more))
                    held = held + more if is_first else more
                if out := decode(decoder, more):
                    fresh, is_first = True, False
                    yield out
                    meter.add(len(out))
            raw.push_back(decoder.unused_data or b"")  # lz4 says None
        except DecodeError as error:
            if error.good:
                fresh, is_first = True, False
                yield error.good
            if fresh:
                rule = _TOO_MUCH_MEMORY if error.is_memory else f"corrupt_{codec.name}"
                yield Damage(rule, raw.offset - len(held), between=is_first)
                fresh = False
            # The decoder may have run into the next member.
            raw.push_back(held)
            raw.skip(raw.offset == start)
            if not raw.seek_member(codec):
                return
        except _BombError:
            yield Damage("decompression_bomb", start)
            if meter.file_is_bomb:
                return
            raw.push_back(held)  # a small bomb has the next member in its last input
            raw.skip(raw.offset == start)
            if not raw.seek_member(codec):
                return
        except _EndError:
            end = raw.offset
            if is_first:  # a flipped bit in its header may have made it swallow others
                raw.push_back(held[1:])
                if raw.seek_member(codec):
                    yield Damage(f"corrupt_{codec.name}", start, between=True)
                    fresh = False
                    continue
            yield Damage(f"truncated_{codec.name}", end)
            return


_REPEATED_BYTE = 1  # the kind of block that holds one byte and a count


def _frames(raw: StoredBytes) -> Iterator[bytes | Damage | Member]:
    """Decode zstd frames that follow each other, block by block (RFC 8878, section 3.1.1).

    Feeding one block at a time bounds the output to 128 KiB a call, at 1321 MB/s. Of zstandard's own objects one has no
    limit, and the other (1423 MB/s) keeps to itself what it decoded before an error.
    """
    codec = CODECS[-1]
    fresh = True
    meter = _Meter(raw)
    while raw.ahead(1):
        is_first = True
        start = raw.offset
        yield Member(start)
        meter.begin()
        try:
            for out in _frame(raw):
                fresh, is_first = fresh or bool(out), is_first and not out
                yield out
                meter.add(len(out))
        except _BombError:
            yield Damage("decompression_bomb", start)
            if meter.file_is_bomb or not raw.seek_member(codec):
                return
        except _EndError:
            end = raw.offset + len(raw.ahead(0))
            raw.skip(1)
            if not raw.seek_member(codec):
                yield Damage("truncated_zstd", end)
                return
            if fresh:  # it is cut, and took the next one for its own
                yield Damage("corrupt_zstd", start, between=is_first)
                fresh = False
        except (zstandard.ZstdError, DecodeError) as error:
            if fresh:
                rule = _TOO_MUCH_MEMORY if isinstance(error, DecodeError) else "corrupt_zstd"
                yield Damage(rule, raw.offset, between=is_first)
                fresh = False
            raw.skip(1)
            if not raw.seek_member(codec):
                return


def _need(raw: StoredBytes, num_bytes: int, *, most: int | None = None) -> bytes:
    if len(ready := raw.ahead(num_bytes)) < num_bytes:
        raise _EndError
    return ready[: most or num_bytes]


def _frame(raw: StoredBytes) -> Iterator[bytes]:
    magic = _need(raw, 4)
    if magic[0] >> 4 == 5 and magic[1:] == b"\x2a\x4d\x18":  # a skippable frame
        num_bytes = 8 + int.from_bytes(_need(raw, 8)[4:], "little")
        while num_bytes:
            num_bytes -= (step := min(num_bytes, _INPUT_BYTES))
            _need(raw, step)
            raw.skip(step)
        return
    flags = _need(raw, 5)[4]
    single_segment = flags >> 5 & 1
    num_bytes = 5 + (1 - single_segment) + (0, 1, 2, 4)[flags & 3] + (single_segment, 2, 4, 8)[flags >> 6]
    header = _need(raw, num_bytes)
    if zstandard.get_frame_parameters(header).window_size > ZSTD_WINDOW:
        raise DecodeError(is_memory=True)
    decoder = zstandard.ZstdDecompressor().decompressobj()
    decoder.decompress(header)
    last = 0
    while not last:
        raw.skip(num_bytes)
        block = int.from_bytes(_need(raw, 3), "little")
        last, kind, size = block & 1, block >> 1 & 3, block >> 3
        num_bytes = 3 + (1 if kind == _REPEATED_BYTE else size)
        yield decoder.decompress(_need(raw, num_bytes))
    raw.skip(num_bytes)
    if flags >> 2 & 1:
        decoder.decompress(_need(raw, 4))
        raw.skip(4)
