"""The work unit: what one worker claims, reads and commits. No Beam."""

from typing import NamedTuple


class Slice(NamedTuple):
    """One file, or one byte range of a splittable file, with the numbers that make its document ids.

    `stop` is -1 for the whole file. A range owns the records that start in it.
    """

    source: str
    path: str
    file: int
    part: int
    start: int
    stop: int
    size: int
    etag: str


class WorkUnit(NamedTuple):
    """One element of a root collection.

    `number` orders the units of a stage. `key` is a hash of everything the output depends on (identity of the input,
    configuration of the stage): a commit record with another key is stale.
    """

    name: str
    number: int
    key: str
    slices: tuple[Slice, ...] = ()
