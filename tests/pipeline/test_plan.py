"""The plan: stable numbers, units by size, nothing opened that need not be."""

import builtins
import bz2
import errno
import importlib.metadata
import os
import random

import pytest

from pipeline import plan as plan_module
from pipeline.errors import RunFailed, UserError
from pipeline.plan import EMPTY_PLAN, Plan, check_outside, clean_units, make_plan
from tests.transforms.readers.reading import COMPRESS
from transforms.readers import ranges
from transforms.readers.listing import FileEntry
from transforms.readers.source import Source
from transforms.readers.stream import open_path
from transforms.schema import MAX_PARTS
from transforms.unit import planned_name

KIB = 1 << 10


def source(tmp_path, pattern="*.jsonl", **options):
    return Source(name="web", format="jsonl", path=str(tmp_path / pattern), **options)


def write(tmp_path, name, size):
    (tmp_path / name).write_bytes(b"\n" * size)


def slices(plan):
    return [[(os.path.basename(s.path), s.file, s.part, s.start, s.stop) for s in unit.slices] for unit in plan.units]


def test_small_files_share_a_unit_and_large_ones_are_cut(tmp_path):
    """About unit_bytes each: ranges of a large file, groups of small ones, all in the order of document ids."""
    for name, size in (("a.jsonl", 100), ("b.jsonl", 100), ("c.jsonl", 5 * KIB), ("d.jsonl", 1000), ("e.jsonl", 100)):
        write(tmp_path, name, size)
    plan = make_plan([source(tmp_path)], 2 * KIB)
    assert slices(plan) == [
        [("a.jsonl", 0, 0, 0, -1), ("b.jsonl", 1, 0, 0, -1)],
        [("c.jsonl", 2, 0, 0, 1706)],
        [("c.jsonl", 2, 1, 1706, 3413)],
        [("c.jsonl", 2, 2, 3413, 5120)],
        [("d.jsonl", 3, 0, 0, -1), ("e.jsonl", 4, 0, 0, -1)],
    ]
    assert [unit.name for unit in plan.units] == [f"web-{number:06d}" for number in range(5)]
    assert sum(unit.bytes for unit in plan.units) == 5 * KIB + 1300
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(("total", "unit"), [(1, 16 << 20), (8 << 30, 32 << 20), (1 << 40, 256 << 20)])
def test_a_size_that_is_not_given_is_a_share_of_the_corpus(tmp_path, monkeypatch, total, unit):
    """A 256th, within limits, of all files together: those of an earlier plan, which keep their cuts, count too."""
    sizes = {"a.jsonl": total // 2, "b.jsonl": total // 2}
    monkeypatch.setattr(plan_module, "list_files", lambda _: [FileEntry(*item, "") for item in sizes.items()])
    plan = make_plan([source(tmp_path)], None)
    assert plan == make_plan([source(tmp_path)], unit)
    longest = max(planned.bytes for planned in plan.units)
    assert longest == max(total // 2 * 2, 0) if total < unit else unit // 2 < longest <= unit

    sizes["c.jsonl"] = 1 << 40
    more = make_plan([source(tmp_path)], None, plan)
    assert more.units[: len(plan.units)] == plan.units
    assert max(planned.bytes for planned in more.units[len(plan.units) :]) == 256 << 20


def test_a_long_file_that_cannot_be_split_is_a_stream(tmp_path):
    """It is a unit of its own, and between its number and the next there is room for the numbers of its parts."""
    for name, size in (("a.jsonl.gz", 100), ("b.jsonl.gz", 3 * KIB), ("c.jsonl.gz", 100)):
        write(tmp_path, name, size)
    sources = [source(tmp_path, "*.jsonl.gz")]
    plan = make_plan(sources, KIB)
    assert [[part.stream_bytes for part in unit.slices] for unit in plan.units] == [[0], [KIB], [0]]
    units = clean_units(Plan.from_json(plan.to_json()), sources, "k")
    assert [unit.number for unit in units] == [0, MAX_PARTS, 2 * MAX_PARTS]
    assert [unit.is_stream for unit in units] == [False, True, False]
    part = units[1].part(12)
    assert (part.name, part.number, part.key) == ("web-000001.00012", MAX_PARTS + 12, units[1].key)
    assert [planned_name(name) for name in (part.name, units[1].name, "a.b-000001")] == [
        *[units[1].name] * 2,
        "a.b-000001",
    ]


@pytest.mark.parametrize(
    ("form", "name", "codec"),
    [("mediawiki", "xml.bz2", "bzip2"), ("jsonl", "gz", "gzip"), ("jsonl", "zst", "zstd"), ("jsonl", "bz2", "bzip2")],
)
def test_a_file_in_members_is_cut(tmp_path, monkeypatch, form, name, codec):
    """Into ranges of a quarter of unit_bytes; one of a single stream is not, and neither is looked at again."""
    noise = random.Random(3)
    streams = [COMPRESS[codec](noise.randbytes(100)) for _ in range(20)]
    (tmp_path / f"a.{name}").write_bytes(b"".join(streams))
    (tmp_path / f"b.{name}").write_bytes(COMPRESS[codec](noise.randbytes(4 * KIB)))
    dumps = [Source(name="wiki", format=form, path=str(tmp_path / f"*.{name}"))]
    plan = make_plan(dumps, 2 * KIB)
    *ranges, stream = [unit.slices[0] for unit in plan.units]
    size = sum(map(len, streams))
    assert len(ranges) == -(-4 * size // (2 * KIB)) > 3
    assert [part.start for part in ranges] == [0, *(part.stop for part in ranges[:-1])]
    assert (ranges[-1].stop, ranges[0].file, stream.file) == (size, 0, 1)
    assert (stream.start, stream.stop, stream.stream_bytes) == (0, -1, 2 * KIB)
    whole = [unit.slices for unit in make_plan(dumps, 8 * KIB).units]  # files that are no longer than a unit
    assert [(part.start, part.stop) for parts in whole for part in parts] == [(0, -1), (0, -1)]
    monkeypatch.setattr("transforms.readers.listing.has_member", None)
    assert make_plan(dumps, 2 * KIB, Plan.from_json(plan.to_json())) == plan


@pytest.mark.parametrize(("number", "raised"), [(errno.EIO, RunFailed), (errno.EACCES, UserError)])
def test_a_file_that_cannot_be_looked_at_now_is_no_stream(tmp_path, monkeypatch, number, raised):
    """What passes must not decide how a file is cut, or two runs over the same bytes have other doc_ids."""
    path = tmp_path / "a.xml.bz2"
    path.write_bytes(b"".join(bz2.compress(b"%d" % stream) for stream in range(100)))
    dumps = [Source(name="wiki", format="mediawiki", path=str(path))]
    failing = [True]

    def opened(*args, **options):
        if failing.pop():
            raise OSError(number, os.strerror(number))
        return open_path(*args, **options)

    monkeypatch.setattr(ranges, "open_path", opened)
    with pytest.raises(raised, match=rf"^source wiki: .*Errno {number}.*a\.xml\.bz2"):
        make_plan(dumps, 2 * KIB)
    failing[:] = [False]
    assert len(make_plan(dumps, 2 * KIB).units) > 3


@pytest.mark.parametrize(("format_", "stream_bytes"), [("jsonl", 2 * KIB), ("parquet", 0), ("datasets", 0)])
def test_files_of_unknown_size_are_no_small_files(tmp_path, monkeypatch, format_, stream_bytes):
    """Each is a unit of its own, in parts where it can be: together they could be the whole crawl. Empty files are."""
    paths = [*(f"https://host/{number}" for number in range(3)), str(tmp_path / "a"), str(tmp_path / "b")]
    for name in "ab":
        write(tmp_path, name, 0)
    monkeypatch.setattr(plan_module, "list_files", lambda _: [FileEntry(path, 0, "") for path in paths])
    plan = make_plan([Source(name="web", format=format_, path="x")], 2 * KIB)
    assert [len(unit.slices) for unit in plan.units] == [1, 1, 1, 2]
    assert [unit.slices[0].stream_bytes for unit in plan.units] == [stream_bytes] * 3 + [0]


def test_numbers_are_appended_never_changed(tmp_path):
    """A file that sorts first but comes later gets the next number; the old units keep names, slices and keys."""
    write(tmp_path, "m.jsonl", 100)
    write(tmp_path, "n.jsonl", 100)
    sources = [source(tmp_path)]
    before = make_plan(sources, KIB)
    write(tmp_path, "a.jsonl", 100)
    after = make_plan(sources, KIB, before)
    assert after.units[: len(before.units)] == before.units
    assert slices(after)[-1] == [("a.jsonl", 2, 0, 0, -1)]
    assert make_plan(sources, KIB, after) == after
    keys = {unit.name: unit.key for unit in clean_units(after, sources, "k")}
    assert {unit.name: unit.key for unit in clean_units(before, sources, "k")}.items() <= keys.items()


def test_a_changed_file_makes_its_unit_stale_and_a_vanished_one_leaves(tmp_path):
    """The key follows path, size and etag; numbers of vanished files are not used again."""
    for name in ("a.jsonl", "b.jsonl"):
        write(tmp_path, name, KIB)
    sources = [source(tmp_path)]
    before = make_plan(sources, KIB)
    write(tmp_path, "b.jsonl", KIB + 1)
    keys = [unit.key for unit in clean_units(make_plan(sources, KIB, before), sources, "k")]
    assert [unit.key == key for unit, key in zip(clean_units(before, sources, "k"), keys, strict=True)] == [True, False]
    (tmp_path / "a.jsonl").unlink()
    write(tmp_path, "c.jsonl", 10)
    after = make_plan(sources, KIB, before)
    assert [part[0][:2] for part in slices(after)] == [("b.jsonl", 1), ("c.jsonl", 2)]


def test_the_key_depends_on_reader_options_but_not_on_priority(tmp_path):
    """Priority and weight act later, so changing them must not read everything again."""
    write(tmp_path, "a.jsonl", 10)
    plan = make_plan([source(tmp_path)], KIB)

    def key(**options):
        return clean_units(plan, [source(tmp_path, **options)], "k")[0].key

    assert key() == key(priority=7, weight=0.5)
    assert key() != key(text="body")
    assert key() != clean_units(plan, [source(tmp_path)], "other")[0].key


@pytest.mark.parametrize(
    ("library", "options"),
    [
        ("resiliparse", {"format": "warc"}),
        ("trafilatura", {"format": "warc", "extractor": "trafilatura"}),
        ("resiliparse", {"format": "text"}),
        ("mwparserfromhell", {"format": "mediawiki"}),
    ],
)
def test_the_key_depends_on_the_libraries_of_the_format(tmp_path, monkeypatch, library, options):
    """Another version finds other text; a library that the format does not use makes nothing stale."""
    write(tmp_path, "a", 10)
    sources = [Source(name="web", path=str(tmp_path / "a"), **options)]
    plan = make_plan(sources, KIB)
    other = [source(tmp_path, "a")]
    before = [clean_units(plan, chosen, "k")[0].key for chosen in (sources, other)]
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99" if name == library else real(name))
    assert [clean_units(plan, sources, "k")[0].key == before[0], clean_units(plan, other, "k")[0].key == before[1]] == [
        False,
        True,
    ]


def test_planning_opens_no_file(tmp_path, monkeypatch):
    """Path, size and etag are all it looks at."""
    write(tmp_path, "a.jsonl", 10)

    def refuse(*args, **kwargs):
        raise AssertionError(f"opened {args}")

    monkeypatch.setattr(builtins, "open", refuse)
    assert len(make_plan([source(tmp_path)], KIB, EMPTY_PLAN).units) == 1


def test_a_cut_file_of_another_size_is_planned_anew(tmp_path):
    """Old cuts would overlap or leave a rest: shrunk to a cut and grown again, every byte is in one range."""
    sources = [source(tmp_path)]
    plan = EMPTY_PLAN
    for size in (8400, 3360, 16800):
        write(tmp_path, "a.jsonl", size)
        plan = make_plan(sources, 2 * KIB, plan)
        parts = [unit.slices[0] for unit in plan.units]
        ends = [part.stop if part.stop >= 0 else part.size for part in parts]
        assert [part.start for part in parts] == [0, *ends[:-1]]
        assert ends[-1] == size
    assert len({part.file for part in parts}) == 1
    assert plan.next_file == 3


@pytest.mark.parametrize(("name", "format_"), [("a.jsonl", "tsv"), ("a.jsonl", "text"), ("a.jsonl.gz", "text")])
def test_a_file_cut_for_another_format_is_planned_anew(tmp_path, name, format_):
    """Else each range and each part of the old plan would be read as the whole file."""
    write(tmp_path, name, 5 * KIB)
    plan = make_plan([source(tmp_path, name)], KIB)
    other = Source(name="web", format=format_, path=str(tmp_path / name))
    fresh = [[part._replace(file=1) for part in unit.slices] for unit in make_plan([other], KIB).units]
    after = make_plan([other], KIB, plan)
    assert [list(unit.slices) for unit in after.units] == fresh
    assert make_plan([other], KIB, after) == after


def test_a_hub_is_asked_once(tmp_path, monkeypatch):
    """The commit that the plan was made with stays until the source changes; a resumed run needs no network."""
    import pipeline.plan as planning

    asked = []

    def answer(source):
        asked.append(source.path)
        return [planning.FileEntry(f"{source.path}@{len(asked):040x}#00000-of-00001", 10, "v")]

    monkeypatch.setattr(planning, "list_files", answer)
    hub = Source(name="wiki", format="datasets", path="somebody/wiki", split="train")
    plan = make_plan([hub], KIB)
    assert make_plan([hub], KIB, Plan.from_json(plan.to_json())) == plan
    assert len(asked) == 1
    other = Source(name="wiki", format="datasets", path="somebody/wiki", split="test")
    assert make_plan([other], KIB, plan).units != plan.units
    assert len(asked) == 2


def test_a_hub_is_asked_again_for_another_format(tmp_path, monkeypatch):
    """The names of the rows of a hub dataset are no files that another format could open."""
    import pipeline.plan as planning

    asked = []

    def answer(source):
        asked.append(source.format)
        return [planning.FileEntry(f"{source.format}-{len(asked)}", 10, "v")]

    monkeypatch.setattr(planning, "list_files", answer)
    plan = make_plan([Source(name="wiki", format="datasets", path="hf://datasets/a/b")], KIB)
    after = make_plan([Source(name="wiki", format="jsonl", path="hf://datasets/a/b")], KIB, plan)
    assert asked == ["datasets", "jsonl"]
    assert [[part.path for part in unit.slices] for unit in after.units] == [["jsonl-2"]]


def test_what_the_run_itself_writes_is_no_source(tmp_path, monkeypatch):
    """A pattern that reaches into the output would read the documents again, more of them with each repetition."""
    monkeypatch.chdir(tmp_path)
    for name in ("mine.jsonl", "documents/x.jsonl", "shards-8192/train/x.jsonl", "documents-2024/mine.jsonl"):
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes(b"\n")
    for pattern, name in (("out/**/*.jsonl", "out/documents/x.jsonl"), ("out/s*/*/*", "out/shards-8192/train/x.jsonl")):
        plan = make_plan([Source(name="web", format="jsonl", path=pattern)], KIB)
        for out in ("out", str(tmp_path / "out/"), f"file://{tmp_path}/out"):
            with pytest.raises(UserError, match=f"source web: {name} is what a run writes to its output"):
                check_outside(plan, out)
        check_outside(plan, "ou")
        check_outside(plan, "out/documents/run")
    check_outside(make_plan([Source(name="web", format="jsonl", path="out/*.jsonl")], KIB), "out")
    check_outside(make_plan([Source(name="web", format="jsonl", path="out/documents-2024/*")], KIB), "out")
    entry = FileEntry("s3://bucket/run/tokens/x.arrow", 9, "")
    monkeypatch.setattr(plan_module, "list_files", lambda _: [entry])
    plan = make_plan([Source(name="web", format="text", path="x")], KIB)
    with pytest.raises(UserError, match="choose another output"):
        check_outside(plan, "s3://bucket/run/")
    check_outside(plan, "s3://bucket/r")
