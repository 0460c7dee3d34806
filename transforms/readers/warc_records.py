"""The records of a WARC file, cut by their Content-Length where it is right and by the next header where it is not.

fastwarc (2.0.1) ends at the first damage: of 13 damaged files with 31 records each it lost records in 8, in two of them
without a word. So a file is decompressed as all others are and framed here.
"""

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from transforms.readers.ranges import ByteRange
from transforms.readers.stream import Damage

VERSION = b"WARC/"  # what a record begins with
# The version alone also stands in texts about the format.
_START = re.compile(rb"WARC/[01]\.\d{1,2}[ \t]*\r?\n[A-Za-z][A-Za-z0-9-]{0,63}[ \t]*:")
_START_BYTES = 128  # more than it can match
_END_OF_HEADER = re.compile(rb"\n\r?\n")
_HEADER_BYTES = 1 << 16
_END_OF_BLOCK = b"\r\n\r\n"
_LENGTH = re.compile(rb"\ncontent-length[ \t]*:[ \t]*(\d{1,18})[ \t]*\r?\n", re.IGNORECASE)
_TYPE = re.compile(rb"\nwarc-type[ \t]*:[ \t]*([a-z]+)", re.IGNORECASE)
_BLANK = re.compile(rb"[\r\n \t\0]*")
_MAY_MISS = 4  # bytes of the last block: who strips the empty line from the end of a file strips that of a block, too
_EXCERPT_BYTES = 256
_STEP_BYTES = 1 << 20


class WarcRecord(NamedTuple):
    """One record: its offset in the decompressed bytes, its header with names in lower case, and its block."""

    offset: int
    header: dict[str, str]
    block: bytes


class BrokenRecord(NamedTuple):
    """A place where no record can be read: the columns of a verdict, and the first bytes."""

    offset: int
    rule: str
    value: float | None
    threshold: float | None
    excerpt: bytes


def warc_records(part: ByteRange, *, types: Collection[str], max_bytes: int) -> Iterator[WarcRecord | BrokenRecord]:
    """Yield the records of the given types that start in a range of a file, and all damage, in order.

    Rules of damage: `not_warc` for bytes that belong to no record (value: how many), `bad_warc_header` (no end within
    64 KiB, or no WARC-Type), `bad_content_length` (value: as declared, null where there is none; threshold: bytes up
    to the next header, where reading goes on), `truncated_warc` (value: bytes that are there, threshold: as declared),
    `record_too_large` (value, threshold: bytes; of the given types only), `corrupt_gzip` and its like (value: offset in
    the file as stored). A record in which compressed data is corrupt, or whose checksum is wrong, is not given out.

    Args:
        part: of a file, compressed or not; offsets are those that it counts.
        types: WARC-Type of the wanted records, in lower case.
        max_bytes: of a block; a longer one is read over without being held.

    Raises:
        OSError: the file is gone or unreadable.
    """
    yield from _Reader(part, types, max_bytes)


class _Reader:
    def __init__(self, part: ByteRange, types: Collection[str], max_bytes: int) -> None:
        self._part = part
        self._types = {name.encode() for name in types}
        self._max_bytes = max_bytes
        self._window = _Window(part, 0)
        self._trusts_large = True

    def __iter__(self) -> Iterator[WarcRecord | BrokenRecord]:
        is_told = False  # the damage that bytes up to the next header belong to
        while True:
            window = self._window
            window.skip_blank()
            if not window.fill(1) and window.damage is None:
                return
            if window.offset >= self._part.end:
                return
            if not window.fill(1):
                yield self._damage(window.offset, b"")
                is_told = True
            elif window.starts_record():
                is_told = False
                found = self._record()
                if found is not None:
                    yield found
                    is_told = isinstance(found, BrokenRecord)
            else:
                offset, excerpt = window.offset, window.peek(_EXCERPT_BYTES)
                window.seek_record()
                if not is_told:
                    yield BrokenRecord(offset, "not_warc", window.offset - offset, None, excerpt)

    def _damage(self, offset: int, excerpt: bytes) -> BrokenRecord:
        """Report the damage that ends the stretch, and go on behind it."""
        damage = self._window.damage
        assert damage is not None
        self._window.next_stretch()
        return BrokenRecord(offset, damage.rule, damage.offset, None, excerpt)

    def _record(self) -> WarcRecord | BrokenRecord | None:
        """Read the record that starts here; None if it is whole and of no wanted type."""
        window = self._window
        offset, excerpt = window.offset, window.peek(_EXCERPT_BYTES)
        header = window.header()
        if header is None:
            if window.is_last and window.fill(0) < _HEADER_BYTES:
                return self._incomplete(offset, len(b"WARC/"), None, excerpt)
            window.skip(len(b"WARC/"))
            return BrokenRecord(offset, "bad_warc_header", None, None, excerpt)
        kind = _TYPE.search(header)
        is_wanted = kind is None or kind[1].lower() in self._types
        declared = _LENGTH.search(header)
        if declared is None:
            window.skip(len(header))
            return BrokenRecord(offset, "bad_content_length", None, None, excerpt)
        length = int(declared[1])
        if length > self._max_bytes:
            return self._large(offset, len(header), length, excerpt, is_wanted=is_wanted)
        have = window.fill(len(header) + length + len(_END_OF_BLOCK))
        if have < len(header) + length - (_MAY_MISS if window.is_end else 0):
            return self._incomplete(offset, len(header), length, excerpt)
        if not window.ends_record(len(header) + length):
            at = window.find_record(len(header))
            window.skip(at if at >= 0 else len(header) + length)
            if at < 0:
                window.seek_record()
            return BrokenRecord(offset, "bad_content_length", length, window.offset - offset - len(header), excerpt)
        if window.is_corrupt_behind(len(header) + length):
            return self._damage(offset, excerpt)
        block = window.take(len(header), length) if is_wanted else b""
        window.skip(min(len(header) + length, have))
        if kind is None:
            return BrokenRecord(offset, "bad_warc_header", None, None, excerpt)
        return WarcRecord(offset, _fields(header), block) if is_wanted else None

    def _incomplete(self, offset: int, header_bytes: int, length: int | None, excerpt: bytes) -> BrokenRecord:
        """Give up a record that the stretch ends in, but not those that its Content-Length would swallow."""
        window = self._window
        have = window.fill(0)
        at = window.find_record(header_bytes)
        window.skip(at if at >= 0 else have)
        if at >= 0:
            return BrokenRecord(offset, "bad_content_length", length, at - header_bytes, excerpt)
        if window.damage is not None:
            return self._damage(offset, excerpt)
        return BrokenRecord(offset, "truncated_warc", have - header_bytes, length, excerpt)

    def _large(
        self, offset: int, header_bytes: int, length: int, excerpt: bytes, *, is_wanted: bool
    ) -> BrokenRecord | None:
        """Read over a block above the limit; where its length proves wrong, go back to the first header in it.

        Going back means to decompress again from the beginning, so it is done once in a file: after that the first
        header found within a block above the limit ends it.
        """
        window = self._window
        window.skip(header_bytes)
        begin, end = window.offset, window.offset + length
        inner = -1
        while window.offset < end and (have := window.fill(_STEP_BYTES)) > 0:
            step = min(end - window.offset, have if window.is_last else have - _START_BYTES)
            at = window.find_record(0) if inner < 0 else -1
            if 0 <= at < step:
                inner = window.offset + at
                if not self._trusts_large:
                    break
            window.skip(step)
        if window.offset == end and window.ends_record(0):
            return BrokenRecord(offset, "record_too_large", length, self._max_bytes, excerpt) if is_wanted else None
        if inner >= 0:
            self._trusts_large = False
            if inner >= window.offset:
                window.skip(inner - window.offset)
            else:
                self._window = _Window(self._part, inner)
            return BrokenRecord(offset, "bad_content_length", length, inner - begin, excerpt)
        if window.offset < end:
            if window.damage is not None:
                return self._damage(offset, excerpt)
            return BrokenRecord(offset, "truncated_warc", window.offset - begin, length, excerpt)
        window.seek_record()
        return BrokenRecord(offset, "bad_content_length", length, window.offset - begin, excerpt)


def _fields(header: bytes) -> dict[str, str]:
    """Return the fields by name in lower case; of a repeated one the first, of a folded one all lines."""
    text = header.decode("utf-8", "replace")
    if "\n " in text or "\n\t" in text:
        text = re.sub(r"\r?\n[ \t]+", " ", text)
    fields: dict[str, str] = {}
    for line in text.split("\n")[1:]:
        name, _, value = line.partition(":")
        fields.setdefault(name.rstrip().lower(), value.strip())
    return fields


class _Window:
    """The decompressed bytes at hand: one stretch of a file up to its end or the next damage.

    Places are counted from where reading stands.
    """

    def __init__(self, part: ByteRange, offset: int) -> None:
        self._chunks = iter(part)
        self._data = b""
        self._next = b""  # the piece behind data, if it has been looked for
        self._at = 0
        self._base = 0  # offset in the file of the first byte of data
        self.is_end = False  # of the file
        self.damage: Damage | None = None
        while self.offset < offset:  # bytes before and behind damage follow each other
            if self.fill(1):
                self.skip(min(self.fill(0), offset - self.offset))
            else:
                self.next_stretch()

    @property
    def offset(self) -> int:
        """Where reading stands, in the decompressed file."""
        return self._base + self._at

    @property
    def is_last(self) -> bool:
        """True if no more bytes of the stretch will come than lie here."""
        return not self._next and (self.is_end or self.damage is not None)

    def fill(self, num_bytes: int) -> int:
        """Get bytes ready and return how many there are: fewer than asked for only at the end of the stretch."""
        have = len(self._data) - self._at
        if have >= num_bytes or self.is_last:
            return have
        pieces = [self._data[self._at :]] if have else []
        self._base += self._at
        self._at = 0
        while have < num_bytes and self._pull():
            pieces.append(self._next)
            have += len(self._next)
            self._next = b""
        # Where each record is compressed on its own it is one piece, which is not copied.
        self._data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return have

    def _pull(self) -> bool:
        """Have the next piece ready, or learn that the stretch ends."""
        if not self._next and not self.is_last:
            chunk = next(self._chunks, None)
            if chunk is None:
                self.is_end = True
            elif isinstance(chunk, Damage):
                self.damage = chunk
            else:
                self._next = chunk
        return bool(self._next)

    def skip(self, num_bytes: int) -> None:
        self._at += num_bytes

    def next_stretch(self) -> None:
        """Forget the damage and what is left before it."""
        self._at = len(self._data)
        self.damage = None

    def peek(self, num_bytes: int) -> bytes:
        return self._data[self._at : self._at + num_bytes]

    def take(self, start: int, num_bytes: int) -> bytes:
        return self._data[self._at + start : self._at + start + num_bytes]

    def skip_blank(self) -> None:
        while self.fill(1):
            blank = _BLANK.match(self._data, self._at)
            assert blank is not None
            self._at = blank.end()
            if self._at < len(self._data):
                return

    def starts_record(self) -> bool:
        self.fill(_START_BYTES)
        return _START.match(self._data, self._at) is not None

    def header(self) -> bytes | None:
        """Return the header that starts here with the empty line behind it; None if it has no end."""
        searched = 0
        while searched < _HEADER_BYTES:
            if end := _END_OF_HEADER.search(self._data, self._at + max(0, searched - 2), self._at + _HEADER_BYTES):
                return self._data[self._at : end.end()]
            searched = len(self._data) - self._at
            if self.fill(searched + 1) == searched:
                return None
        return None

    def find_record(self, start: int) -> int:
        """Return where the next header starts in the bytes at hand, or -1."""
        found = _START.search(self._data, self._at + start)
        return found.start() - self._at if found else -1

    def seek_record(self) -> None:
        """Move to the next header, or to the end of the stretch."""
        while (have := self.fill(_STEP_BYTES)) > 0:
            at = self.find_record(0)
            if at >= 0:
                self.skip(at)
                return
            self.skip(have if self.is_last else have - _START_BYTES)

    def ends_record(self, place: int) -> bool:
        """True if the block that ends at a place is followed as it should: by an empty line, a header or nothing."""
        at = self._at + place
        if self._data.startswith((_END_OF_BLOCK, b"\n\n"), at):
            return True
        self.fill(place + _START_BYTES)
        at = self._at + place
        blank = _BLANK.match(self._data, at, at + _START_BYTES)
        assert blank is not None
        after = blank.end()
        return after in (len(self._data), at + _START_BYTES) or _START.match(self._data, after) is not None

    def is_corrupt_behind(self, place: int) -> bool:
        """True if the stretch ends with the record, in compressed data that is not what was written."""
        blank = _BLANK.match(self._data, self._at + place)
        assert blank is not None
        if blank.end() < len(self._data) or self._pull() or self.damage is None:
            return False
        return not self.damage.between and not self.damage.rule.startswith("truncated")
