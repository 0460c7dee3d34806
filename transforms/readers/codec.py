"""The compressions: how a member of each begins and what decodes it, a bounded piece at a time."""

import bz2
import lzma
import re
from collections.abc import Callable
from pathlib import PurePath
from typing import Any, NamedTuple, Protocol

import lz4.frame
from zlib_ng import zlib_ng

from transforms.readers.remote import is_url

CHUNK_BYTES = 1 << 20
# What a decoder may allocate because a header of a few bytes says so: xz -9 needs 65 MiB, zstd --ultra 128 MiB, and the
# command line of zstd, too, refuses more unless told otherwise.
_XZ_MEMORY = 256 << 20
ZSTD_WINDOW = 128 << 20


class Decoder(Protocol):
    """What bz2, lzma, lz4 and our gzip have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class GzipDecoder:
    """One gzip member, with the interface of bz2 and lzma.

    WARC with a member for each page: zlib-ng 795 MB/s, zlib 460, isal 920; but isal cannot copy its state, and without
    a copy what a damaged call could still decode is lost.
    """

    def __init__(self) -> None:
        self._zlib = zlib_ng.decompressobj(wbits=31)
        self._rest = b""
        self._silent = 0  # bytes of input without output
        self.eof = False
        self.needs_input = True
        self.unused_data = b""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        self._silent += len(data)
        if self._silent > _GZIP_SILENT:
            raise DecodeError
        data = self._rest + data if self._rest else data
        before = self._zlib.copy()  # 40 KB: not measurable beside decoding 64 KiB
        try:
            out = self._zlib.decompress(data, max_length)
        except zlib_ng.error:
            raise DecodeError(_salvage(before, data, max_length)) from None
        if out:
            self._silent = 0
        self._rest = self._zlib.unconsumed_tail
        self.eof, self.unused_data = self._zlib.eof, self._zlib.unused_data
        # A full output may hide more of it in the window even where all input is taken.
        self.needs_input = not self._rest and len(out) < max_length
        return out


def _salvage(decoder: Any, data: bytes, max_length: int) -> bytes:
    """Repeat a call that failed on a copy of its decoder, byte by byte, and return what comes out before the damage."""
    good = bytearray()
    for position in range(len(data)):
        try:
            good += decoder.decompress(decoder.unconsumed_tail + data[position : position + 1], max_length - len(good))
        except zlib_ng.error:
            break
        if len(good) >= max_length:
            break
    return bytes(good)


class DecodeError(Exception):
    """The stream is damaged, or asks for too much memory; `good` is what the failing call could still decode."""

    def __init__(self, good: bytes = b"", *, is_memory: bool = False) -> None:
        super().__init__()
        self.good = good
        self.is_memory = is_memory


def decode(decoder: Decoder, data: bytes) -> bytes:
    """Return at most CHUNK_BYTES of what a decoder makes of more data.

    Raises:
        DecodeError: the data is damaged.
    """
    try:
        return decoder.decompress(data, CHUNK_BYTES)
    except (OSError, EOFError, ValueError, RuntimeError, lzma.LZMAError) as error:  # bz2: OSError, lz4: RuntimeError
        raise DecodeError(is_memory="Memory usage limit" in str(error)) from error  # lzma has no class for it


class Codec(NamedTuple):
    """One compression; a member is a gzip member, a bzip2 or xz stream, a zstd or lz4 frame."""

    name: str
    suffixes: tuple[str, ...]
    start: bytes  # pattern of a member's first bytes
    restart: bytes  # the same, strict enough to find a member behind damage
    decoder: Callable[[], Decoder] | None  # of one member; zstd is decoded block by block

    def starts(self, data: bytes) -> bool:
        """Whether a member begins like this."""
        return re.match(self.start, data, re.DOTALL) is not None


# Method 8, no reserved flag, and XFL and OS bytes that writers use (19: zlib on macOS): one false hit in 10^12 bytes of
# noise.
_GZIP_RESTART = rb"\x1f\x8b\x08[\x00-\x1f].{4}[\x00\x02\x04][\x00-\x13\xff]"
_GZIP_SILENT = 1 << 18  # the longest header takes 64 KiB; one with a flipped bit may go on to the end of the file
_BZIP2_START = rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"  # of a stream with blocks, of an empty one
_XZ_START = rb"\xfd7zXZ\x00"
_LZ4_START = rb"\x04\x22\x4d\x18"
_ZSTD_FRAME = rb"\x28\xb5\x2f\xfd"  # sought at 3.7 GB/s; with an alternative, as below, at 0.1
_ZSTD_START = _ZSTD_FRAME + rb"|[\x50-\x5f]\x2a\x4d\x18"  # or a skippable frame
CODECS = (
    Codec("gzip", (".gz", ".gzip"), rb"\x1f\x8b\x08", _GZIP_RESTART, GzipDecoder),
    Codec("bzip2", (".bz2",), _BZIP2_START, _BZIP2_START, bz2.BZ2Decompressor),
    Codec("xz", (".xz",), _XZ_START, _XZ_START, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY)),
    Codec("lz4", (".lz4",), _LZ4_START, _LZ4_START, lz4.frame.LZ4FrameDecompressor),
    Codec("zstd", (".zst", ".zstd"), _ZSTD_START, _ZSTD_FRAME, None),
)
START_BYTES = 10  # longest member start


def suffix_codec(path: str) -> str | None:
    """Return the compression that the name of a file promises, or None."""
    suffix = PurePath(path.partition("?")[0] if is_url(path) else path).suffix.lower()
    return next((codec.name for codec in CODECS if suffix in codec.suffixes), None)


def looks_like_text(head: bytes) -> bool:
    """Whether the beginning of a file is UTF-8 without NUL bytes."""
    if b"\0" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3  # a character cut by the end of the sample
    return True
