"""A byte range of a file, plain or cut where gzip members, bzip2 streams or zstd frames begin, and places in it.

A range of a compressed file begins with the first member that starts at its first byte or behind it, and the next range
begins where it ends, so that ranges of any size make up the file. Of a bzip2 stream ten bytes at its start are known:
nothing else looks like it. Of a gzip member three are, of a zstd frame four, and a stored copy of another such file
holds them, too; so what follows is decompressed for a stretch.
"""

import errno
import io
from bisect import bisect_right
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from zlib_ng import zlib_ng

from transforms.readers.codec import CHUNK_BYTES, Codec
from transforms.readers.stream import NO_END, Damage, Member, StoredBytes, codec_of, decoded, decompressed, open_path

MEMBERED = ("gzip", "bzip2", "zstd")  # compressions whose members are found from the middle of a file
# What cannot be compressed is stored in blocks with some bytes between them, of at most 64 KiB by deflate and of 128 by
# zstd: no copy of a file within a member goes on longer undamaged.
_PROOF_BYTES = 256 << 10
# Asked of a server at once to look for a member. A look at a crawl, of records of 20 KB, takes 0.6 MB in 3 requests; at
# 1 MiB 2.2 MB in 2, at 64 KiB 0.6 MB in 4.
_BLOCK_BYTES = 128 << 10


class ByteRange:
    """The decompressed bytes of a range: iterating yields them and what lies behind them to the end of the file.

    A record belongs to the range that it starts in: who reads records stops at the first that starts at `end` or behind
    it, which may be known only when the bytes there have been read. Offsets count the bytes of an iteration.

    So does damage, but for a member at `end` of which nothing comes out: the range before it tells of it, as it must
    if a record ends there, and the range that begins with it passes over it.

    Args:
        path: local path or fsspec URL.
        start: first byte of the range in the file as stored.
        stop: byte behind the range, or -1 for the end of the file.
        begins: what members begin with, decompressed, that a range may begin with.
        lead: bytes by which a range of a plain file begins and ends earlier: 1 for records that are known by the byte
            before them.
    """

    def __init__(self, path: str, start: int = 0, stop: int = -1, *, begins: bytes = b"", lead: int = 0) -> None:
        self.end = NO_END
        self.path = path
        self.start = start
        self._stop, self._begins, self._lead = stop if stop >= 0 else NO_END, begins, lead
        self._base = 0  # place of offset 0 in a plain file
        self._members: list[int] = []
        self._offsets: list[int] = []  # at which they begin

    def __iter__(self) -> Iterator[bytes | Damage]:
        self.end = NO_END
        self._members, self._offsets = [], []
        if self.start <= 0 and self._stop == NO_END:
            yield from decompressed(self.path)
            return
        with open_path(self.path, block_bytes=_BLOCK_BYTES) as file:
            codec = codec_of(StoredBytes(file), self.path)
            if codec is None:
                first = self._base = max(self.start - self._lead, 0)
                self.end = self._stop - self._lead - first
            else:
                first = _find(StoredBytes(file, self.start), codec, self._begins, self._stop) if self.start else 0
                has_next = first >= 0 and self._stop < NO_END
                last = _find(StoredBytes(file, self._stop), codec, self._begins) if has_next else -1
        if codec is None:
            yield from decompressed(self.path, start=first)
        elif first >= 0:
            yield from self._decoded(codec, first, last)

    def _decoded(self, codec: Codec, first: int, last: int) -> Iterator[bytes | Damage]:
        offset = 0
        with open_path(self.path) as file:
            for item in decoded(StoredBytes(file, first), codec):
                if isinstance(item, Member):
                    if 0 <= last <= item.offset and self.end == NO_END:
                        # Damage may have run over the next range's first member: what this one begins is not ours.
                        self.end = offset if item.offset == last else offset - 1
                    self._members.append(item.offset)
                    self._offsets.append(offset)
                    continue
                if isinstance(item, Damage) and first > 0 and offset == 0:
                    continue
                offset += len(item) if isinstance(item, bytes) else 0
                yield item

    def place(self, offset: int) -> str:
        """Return where an offset of this iteration lies, however the file is cut.

        `N` is byte N of the decompressed file; `M+N`, in ranges of a compressed file, byte N of what the member at byte
        M of the stored file decompresses to.
        """
        if not self._members:
            return str(self._base + offset)
        index = bisect_right(self._offsets, offset) - 1
        return f"{self._members[index]}+{offset - self._offsets[index]}"

    def places(self, offsets_N: NDArray[np.int64]) -> pa.Array:
        """Return the places of bytes that were read, a string each."""
        if not self._members:
            return pa.array(self._base + offsets_N).cast(pa.string())
        index_N = np.searchsorted(self._offsets, offsets_N, "right") - 1
        members_N, begins_N = np.array(self._members)[index_N], np.array(self._offsets)[index_N]
        numbers = (pa.array(numbers_N).cast(pa.string()) for numbers_N in (members_N, offsets_N - begins_N))
        return pc.binary_join_element_wise(*numbers, "+")


def has_member(path: str, start: int, stop: int, *, begins: bytes) -> bool:
    """Whether a member from which a file can be read begins in a range of it; not where its server knows no ranges.

    Raises:
        OSError: the file is gone or unreadable, or the server does not answer: what the next attempt may find otherwise
            must not decide how the file is cut.
    """
    try:
        with open_path(path, block_bytes=_BLOCK_BYTES) as file:
            codec = codec_of(StoredBytes(file), path)
            return codec is not None and _find(StoredBytes(file, start), codec, begins, stop) >= 0
    except OSError as error:
        if error.errno == errno.ESPIPE:
            return False
        raise OSError(error.errno, error.strerror, path) from None  # reading a local file tells no name


def _find(stored: StoredBytes, codec: Codec, begins: bytes, stop: int = NO_END) -> int:
    """Return where the next member before `stop` starts that begins as it should, or -1."""
    while codec.name in MEMBERED and stored.seek_member(codec, stop=stop):
        if codec.name == "bzip2":
            return stored.offset
        data = stored.ahead(_PROOF_BYTES)[:_PROOF_BYTES]
        if _is_gzip(data, begins) if codec.name == "gzip" else _is_zstd(data, codec, begins):
            return stored.offset
        stored.skip(1)
    return -1


def _is_zstd(data: bytes, codec: Codec, begins: bytes) -> bool:
    """Whether `data` is zstd frames, the last one perhaps cut, of which the first begins as it should."""
    head = b""
    for item in decoded(StoredBytes(io.BytesIO(data)), codec):
        if isinstance(item, Damage) and item.rule != "truncated_zstd":
            return False
        if isinstance(item, bytes) and len(head) < len(begins):
            head += item
    return head.startswith(begins)


def _is_gzip(data: bytes, begins: bytes) -> bool:
    """Whether `data` is gzip members, the last one perhaps cut, of which the first begins as it should."""
    is_first = True
    while data:
        decoder = zlib_ng.decompressobj(wbits=31)
        try:
            out = decoder.decompress(data, CHUNK_BYTES)
            if is_first and not out.startswith(begins):
                return False
            while decoder.unconsumed_tail:
                decoder.decompress(decoder.unconsumed_tail, CHUNK_BYTES)
        except zlib_ng.error:
            return False
        is_first = False
        data = decoder.unused_data.lstrip(b"\0")
    return not is_first
