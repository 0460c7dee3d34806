"""The lines of a file or of a byte range of it, each with its offset."""

from collections.abc import Iterator
from typing import NamedTuple

from transforms.readers.stream import Damage, decompressed, is_compressed

_EXCERPT_BYTES = 256
_NO_END = 1 << 63


class TooLong(NamedTuple):
    """A line above the limit: its length and its beginning; the rest was not kept."""

    num_bytes: int
    excerpt: bytes


class Cut(NamedTuple):
    """Damage within a line: what is wrong, and what came out of the line before."""

    damage: Damage
    rest: bytes


def lines(path: str, *, start: int, stop: int, max_bytes: int) -> Iterator[tuple[int, bytes | TooLong | Cut]]:
    r"""Yield `(offset, line)` for the lines that start in a range, without their `\n`.

    Any cutting of a file into ranges yields every line exactly once. Memory is bounded by `max_bytes` and one chunk.

    Args:
        path: local path or fsspec URL, compressed or not.
        start: first byte of the range.
        stop: byte behind the range, or -1 for the end of the file. A compressed file belongs to its first range.
        max_bytes: a longer line is not kept in memory and comes out as TooLong.

    Raises:
        OSError: the file is gone or unreadable.
    """
    if (start > 0 or stop >= 0) and is_compressed(path):  # planned by a name that does not say so
        if start > 0:
            return
        stop = -1
    # The byte before the range tells whether a line starts at its first byte: reading begins there, and what comes
    # before the first newline is the end of a line that belongs to the range before.
    foreign = start > 0
    offset = start - 1 if foreign else 0
    end = stop if stop >= 0 else _NO_END
    held = _Held(0 if foreign else max_bytes)
    for chunk in decompressed(path, start=offset):
        if isinstance(chunk, Damage):
            num_bytes, line = held.take()
            yield offset, Cut(chunk, line if isinstance(line, bytes) else line.excerpt)
            offset += num_bytes
            continue
        pieces = chunk.split(b"\n")
        held.add(pieces[0])
        if len(pieces) == 1:
            continue
        num_bytes, line = held.take()
        if not foreign:
            if offset >= end:
                return
            yield offset, line
        offset += num_bytes + 1
        foreign, held.max_bytes = False, max_bytes
        for piece in pieces[1:-1]:
            if offset >= end:
                return
            yield offset, piece if len(piece) <= max_bytes else TooLong(len(piece), piece[:_EXCERPT_BYTES])
            offset += len(piece) + 1
        held.add(pieces[-1])
    num_bytes, line = held.take()
    if num_bytes and not foreign and offset < end:
        yield offset, line


class _Held:
    """The beginning of a line whose end has not been read."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self._num_bytes = 0

    def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._num_bytes += len(piece)
        if self._num_bytes > self.max_bytes and len(self._pieces) > 1:
            self._pieces = [b"".join(piece[:_EXCERPT_BYTES] for piece in self._pieces)[:_EXCERPT_BYTES]]

    def take(self) -> tuple[int, bytes | TooLong]:
        """Return the length of what is held and the line, or TooLong, and hold nothing."""
        line = b"".join(self._pieces)
        num_bytes = self._num_bytes
        self._pieces, self._num_bytes = [], 0
        return num_bytes, line if num_bytes <= self.max_bytes else TooLong(num_bytes, line[:_EXCERPT_BYTES])
