"""What the jobs of dedup know of all units: their dense indices, and the groups whose hashes lie in one file.

Linux maps 65,530 files for a process. A unit has a file of each kind: signatures, runs of content hashes, of bands and
of pages, shingles; mapped one by one those of 21,800 units (5.6 TB) were too many. So runs and shingles are written by
groups, MOST_FILES files of each kind at most, and so are the signatures of more than MOST_MAPPED units: 472 bytes a
document more on the disk, for random access. Opening files when they are asked for was rejected: 100 us for each of
45,000 units in each of 16,384 partitions are 20 hours.
"""

import dataclasses
import functools
from typing import Literal

from pipeline.job import content_key
from pipeline.sections import Lines, Substrings
from transforms.commit import Record, load_record
from transforms.fingerprint import MinHashParameters

MOST_FILES = 1 << 11  # of a kind that this stage writes; up to 512 GB of text a group is one unit
MOST_MAPPED = 1 << 15  # of signatures as clean wrote them: 8.4 TB of text in units of 256 MB


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signed:
    """One unit of signatures, of this run or of an earlier one."""

    out: str
    run: str | None  # None = this one
    unit: str
    label: str  # unique over all runs
    first_dense: int  # dense index of its first document
    num_documents: int
    level: int  # rank of run and source priority: of two pages of a URL the one of the smaller level is kept
    contents: str  # hash of its signatures
    documents: str  # hash of its documents

    def record(self) -> Record:
        """The commit record of the clean stage."""
        return load_record(self.out, "clean", self.unit)


class Group:
    """Units that follow each other, whose hashes lie in one file."""

    def __init__(self, units: tuple[Signed, ...]) -> None:
        self.units = units
        self.label = units[0].label
        self.first_dense = units[0].first_dense
        self.num_documents = units[-1].first_dense + units[-1].num_documents - self.first_dense


@dataclasses.dataclass(frozen=True, kw_only=True)
class DedupContext:
    """What the functions of all jobs need; pickled to the workers.

    Two are equal if their `units_key` is, whatever the number of units: what a process keeps mapped is found by it, and
    hashing 2,000 units for each slice of each run was 99% of the time of a partition.
    """

    out: str
    exact: bool
    url: bool
    shuffle: bool  # pairs and clusters are found by GroupByKey (`dedup_shuffle.py`)
    parameters: MinHashParameters | None
    threshold: float
    verify: Literal["none", "signature", "jaccard"]
    units: tuple[Signed, ...] = dataclasses.field(compare=False)  # in the order of dense indices
    num_documents: int
    contents_key: str  # of all signatures and their order
    num_partitions: int = 1
    drop_contaminated: bool = False
    takedown: str = ""  # key of the documents that are taken down, see `dedup_takedown.py`
    lines: Lines | None = None
    substrings: Substrings | None = None
    alive_key: str = ""  # of the documents whose lines and substrings are compared
    units_key: str = dataclasses.field(init=False)  # of `units`, which it is compared for

    def __post_init__(self) -> None:
        object.__setattr__(self, "units_key", content_key([list(vars(signed).values()) for signed in self.units]))

    def named(self, label: str) -> Signed:
        """Return the unit with this label."""
        return _by_label(self)[label]

    def groups(self) -> list[Group]:
        """Return the units in groups, at most MOST_FILES of them and all but the last of one size."""
        size = max(1, -(-len(self.units) // MOST_FILES))
        return [Group(self.units[start : start + size]) for start in range(0, len(self.units), size)]

    def group(self, label: str) -> Group:
        """Return the group with this label."""
        return _groups_by_label(self)[label]

    @property
    def is_packed(self) -> bool:
        """Whether there are too many files of signatures to be mapped at once, so that runs have copies of them."""
        return len(self.units) > MOST_MAPPED

    def runs(self) -> list[tuple[int, str | None]]:
        """Return the dense index of the first document of each run, and its name."""
        starts: list[tuple[int, str | None]] = []
        for signed in self.units:
            if not starts or starts[-1][1] != signed.run:
                starts.append((signed.first_dense, signed.run))
        return starts or [(0, None)]


@functools.lru_cache(maxsize=1)
def _groups_by_label(context: DedupContext) -> dict[str, Group]:
    return {group.label: group for group in context.groups()}


@functools.lru_cache(maxsize=1)
def _by_label(context: DedupContext) -> dict[str, Signed]:
    return {signed.label: signed for signed in context.units}
