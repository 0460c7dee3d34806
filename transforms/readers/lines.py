"""The lines of a file or of a byte range of it, each with its offset."""

from collections.abc import Iterator
from typing import NamedTuple

from transforms.readers.ranges import ByteRange
from transforms.readers.stream import Damage

_EXCERPT_BYTES = 256


class TooLong(NamedTuple):
    """A line above the limit: its length and its beginning; the rest was not kept."""

    num_bytes: int
    excerpt: bytes


class Cut(NamedTuple):
    """Damage within a line: what is wrong, and what came out of the line before."""

    damage: Damage
    rest: bytes


def line_range(path: str, start: int, stop: int) -> ByteRange:
    """Return the part of a file of which `lines` are those that start in a range of it: in a plain file exactly."""
    return ByteRange(path, start, stop, lead=1)


def lines(part: ByteRange, *, max_bytes: int) -> Iterator[tuple[int, bytes | TooLong | Cut]]:
    r"""Yield `(offset, line)` for the lines of a range, without their `\n`; offsets as the range counts them.

    Whose lines they are, the arguments and what is raised are those of `blocks`.
    """
    for offset, block in blocks(part, max_bytes=max_bytes):
        if not isinstance(block, memoryview):
            yield offset, block
            continue
        for line in bytes(block[:-1]).split(b"\n"):
            yield offset, bounded(line, max_bytes)
            offset += len(line) + 1  # noqa: PLW2901


def bounded(line: bytes, max_bytes: int) -> bytes | TooLong:
    """Return the line, or what is told of one that is too long."""
    return line if len(line) <= max_bytes else TooLong(len(line), line[:_EXCERPT_BYTES])


def blocks(part: ByteRange, *, max_bytes: int) -> Iterator[tuple[int, memoryview | TooLong | Cut]]:
    r"""Yield `(offset, block)` for the lines of a range, many at once, each with its `\n`; a file's last one gets it.

    A line belongs to the range that the byte before it lies in, so that nobody need know how the range before ends: a
    range begins behind its first newline, and ends with the line that begins at `part.end`. A line also begins behind
    damage, and damage belongs to the line that it cuts. Any cutting of a file into ranges yields every line exactly
    once. Memory is bounded by `max_bytes` and one chunk.

    Args:
        part: of a file, compressed or not, from `line_range`.
        max_bytes: a line that is longer than this, and than the chunk it lies in, is not kept in memory and comes out
            as TooLong.

    Raises:
        OSError: the file is gone or unreadable.
    """
    foreign = part.start > 0  # the line that was begun before the range
    offset = 0
    held = _Held(0 if foreign else max_bytes)
    for chunk in part:
        if isinstance(chunk, Damage):
            num_bytes, line = held.take()
            if not foreign:
                yield offset, Cut(chunk, line if isinstance(line, bytes) else line.excerpt)
            offset += num_bytes
            foreign, held.max_bytes = False, max_bytes
            continue
        first = chunk.find(b"\n")
        held.add(chunk if first < 0 else chunk[:first])
        if first >= 0:
            num_bytes, line = held.take(b"\n")
            if not foreign and offset <= part.end:
                yield offset, memoryview(line) if isinstance(line, bytes) else line
            del line  # or it would stay while the next one is collected
            offset += num_bytes + 1
            foreign, held.max_bytes = False, max_bytes
            if offset > part.end:
                return
            last = chunk.rfind(b"\n")
            if first + 1 + part.end - offset < last:  # the byte at the end lies in the last line, or ends it
                last = chunk.find(b"\n", first + 1 + part.end - offset)
            if last > first:
                yield offset, memoryview(chunk)[first + 1 : last + 1]
                offset += last - first
            held.add(chunk[last + 1 :])
        if offset + (held.num_bytes if foreign else 0) > part.end:
            return
    num_bytes, line = held.take(b"\n")
    if num_bytes and not foreign and offset <= part.end:
        yield offset, memoryview(line) if isinstance(line, bytes) else line


class _Held:
    """The beginning of a line whose end has not been read."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self.num_bytes = 0

    def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.num_bytes += len(piece)
        if self.num_bytes > self.max_bytes and len(self._pieces) > 1:
            self._pieces = [b"".join(piece[:_EXCERPT_BYTES] for piece in self._pieces)[:_EXCERPT_BYTES]]

    def take(self, end: bytes = b"") -> tuple[int, bytes | TooLong]:
        """Return the length of what is held and the line with `end`, or TooLong, and hold nothing."""
        pieces, num_bytes = self._pieces, self.num_bytes
        self._pieces, self.num_bytes = [], 0
        if num_bytes > self.max_bytes:
            return num_bytes, TooLong(num_bytes, b"".join(pieces)[:_EXCERPT_BYTES])
        return num_bytes, b"".join((*pieces, end))
