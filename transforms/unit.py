"""The work unit: what one worker claims, reads and commits. No Beam."""

import re
from typing import NamedTuple

_PART = re.compile(r"(.*-\d{6,})\.\d{5}", re.DOTALL)


class Slice(NamedTuple):
    """One file, or one byte range of a splittable file, with the numbers that make its document ids.

    `stop` is -1 for the whole file. A range owns the records that start in it. `stream_bytes` is not 0 for a stream: a
    long file that cannot be split, read in one go and committed in parts. Its part n owns the records that start in
    the n-th `stream_bytes` of the decompressed file; how many parts there are is found while reading.
    """

    source: str
    path: str
    file: int
    part: int
    start: int
    stop: int
    size: int
    etag: str
    stream_bytes: int = 0

    @property
    def bytes(self) -> int:
        """Bytes as stored (compressed where the file is)."""
        return (self.stop if self.stop >= 0 else self.size) - self.start


class WorkUnit(NamedTuple):
    """One element of a root collection.

    `number` orders the units of a stage. `key` is a hash of everything the output depends on (identity of the input,
    configuration of the stage): a commit record with another key is stale.

    A stream has a record for each part and, under its own name and without rows, one more behind the last part: the
    file has been read to its end, and the difference of the numbers is how many parts there are.
    """

    name: str
    number: int
    key: str
    slices: tuple[Slice, ...] = ()

    @property
    def is_stream(self) -> bool:
        """Whether the unit is committed in parts."""
        return any(part.stream_bytes for part in self.slices)

    @property
    def bytes(self) -> int:
        """Bytes as stored; 0 for a unit that is not of files."""
        return sum(part.bytes for part in self.slices)

    def part(self, number: int) -> "WorkUnit":
        """Return a part of this stream as a unit of its own, to be written and committed."""
        return WorkUnit(part_name(self.name, number), self.number + number, self.key)


def part_name(unit: str, number: int) -> str:
    """Return the name of a part of a stream."""
    return f"{unit}.{number:05d}"


def planned_name(name: str) -> str:
    """Return the name of the planned unit that a committed one is, or is a part of."""
    found = _PART.fullmatch(name)
    return found[1] if found else name
