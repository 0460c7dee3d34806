"""transforms.readers.listing: files of a source, none of them opened."""

import contextlib
import functools
import gzip
import http.server
import os
import threading
import types

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.readers.reading import read, source_of
from transforms.readers.listing import FileEntry, is_splittable, list_files, local_etag, slices
from transforms.schema import MAX_PARTS


def tree(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode("utf-8", "surrogateescape"))


def names(source, root):
    return [entry.path.removeprefix(f"{root}/") for entry in list_files(source)]


def test_patterns(tmp_path):
    """Patterns reach into folders, directories are left out, and the order is that of the paths."""
    tree(tmp_path, "b.jsonl", "a.jsonl", "c/d.jsonl", "c/e/f.jsonl", "c/x.txt", "Z.jsonl", "g.jsonl/h.txt")
    assert names(source_of(tmp_path / "*.jsonl"), tmp_path) == ["Z.jsonl", "a.jsonl", "b.jsonl"]
    assert names(source_of(f"{tmp_path}/**/*.jsonl"), tmp_path) == [
        "Z.jsonl", "a.jsonl", "b.jsonl", "c/d.jsonl", "c/e/f.jsonl",
    ]  # fmt: skip
    assert names(source_of(tmp_path / "[ab].jsonl"), tmp_path) == ["a.jsonl", "b.jsonl"]


def test_entries(tmp_path):
    """An entry has the size and changes its etag with the file."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"12345")
    (entry,) = list_files(source_of(path))
    assert entry == FileEntry(str(path), 5, local_etag(str(path)))
    os.utime(path, ns=(1, 1))
    assert list_files(source_of(path))[0].etag != entry.etag


def test_no_file_is_opened(tmp_path, monkeypatch):
    """The plan opens none of a million files; what is no regular file is left out, opening it could hang."""
    os.mkfifo(tmp_path / "pipe.jsonl")
    tree(tmp_path, "a.jsonl", "b.jsonl.gz")

    def refuse(*args, **kwargs):
        raise AssertionError(f"opened {args[0]}")

    for name in ("builtins.open", "io.open", "os.open"):
        monkeypatch.setattr(name, refuse)
    assert names(source_of(tmp_path / "*.jsonl*"), tmp_path) == ["a.jsonl", "b.jsonl.gz"]


def test_odd_names(tmp_path):
    """A name that exists is meant as it is, also where it looks like a pattern or an address."""
    odd = [
        "[1].jsonl",
        "a*b.jsonl",
        "x::y.jsonl",
        "sp ace#.jsonl",
        "\u00e9.jsonl",
        "a\nb.jsonl",
        os.fsdecode(b"\xff.jsonl"),
    ]
    tree(tmp_path, *odd)
    for name in odd:
        assert names(source_of(tmp_path / name), tmp_path) == [name]
    assert names(source_of(tmp_path / "*.jsonl"), tmp_path) == sorted(odd)


@pytest.mark.parametrize("pattern", ["**/*.jsonl", "*/*.jsonl", "*/closed/*.jsonl"])
def test_unreadable_directory(tmp_path, monkeypatch, pattern):
    """A directory that may not be listed stops the plan: its files would be missing in silence."""
    tree(tmp_path, "a/x.jsonl", "a/closed/y.jsonl", "closed/z.jsonl", ".hidden/h.jsonl")
    access = os.access  # the tests may run as root, who may list everything
    monkeypatch.setattr("os.access", lambda path, mode: "closed" not in str(path) and access(path, mode))
    with pytest.raises(PermissionError, match=r"cannot list the directory .*closed/"):
        list_files(source_of(tmp_path / pattern))
    assert names(source_of(tmp_path / "a" / "*.jsonl"), tmp_path) == ["a/x.jsonl"]
    assert names(source_of(tmp_path / "a" / "closed" / "y.jsonl"), tmp_path) == ["a/closed/y.jsonl"]


def test_server(tmp_path):
    """Files of a web server are listed by address and read; one that is not there matches nothing."""
    pytest.importorskip("aiohttp")
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "one"}\n{"text": "two"}\n')
    (tmp_path / "b c.jsonl.gz").write_bytes(gzip.compress(b'{"text": "three"}\n'))
    with served(tmp_path) as address:
        for name, texts in (("a.jsonl", ["one", "two"]), ("b%20c.jsonl.gz", ["three"])):
            (entry,) = list_files(source_of(f"{address}/{name}"))
            assert entry.path == f"{address}/{name}"
            assert entry.size == (tmp_path / name.replace("%20", " ")).stat().st_size
            assert [row["text"] for row in read(entry.path)] == texts
        with pytest.raises(ValueError, match="no file matches"):
            list_files(source_of(f"{address}/gone.jsonl"))


@contextlib.contextmanager
def served(root):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=root)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_home(tmp_path, monkeypatch):
    """A tilde is the home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    tree(tmp_path, "a.jsonl")
    assert names(source_of("~/*.jsonl"), tmp_path) == ["a.jsonl"]


def test_list_of_paths(tmp_path):
    """`@file` names paths and patterns, one a line; a file that two of them match is listed once."""
    tree(tmp_path, "a.jsonl", "b.jsonl", "c.jsonl")
    listing = tmp_path / "paths.txt"
    listing.write_text(f"# ours\n{tmp_path}/c.jsonl\n\n  {tmp_path}/[bc].jsonl  \n")
    assert names(source_of(f"@{listing}"), tmp_path) == ["b.jsonl", "c.jsonl"]
    listing.write_text(f"{tmp_path}/c.jsonl\n{tmp_path}/./c.jsonl\n{tmp_path}/../{tmp_path.name}/*.jsonl\n")
    found = [os.path.realpath(entry.path) for entry in list_files(source_of(f"@{listing}"))]
    assert found == [os.path.realpath(tmp_path / name) for name in ("a.jsonl", "b.jsonl", "c.jsonl")]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("{0}/gone.jsonl", "no file matches {0}/gone.jsonl"),
        ("{0}/*.nope", r"no file matches {0}/\*.nope"),
        ("{0}", r"{0} is a directory; name its files, as in {0}/\*\*/\*$"),
        ("{0}/", r"{0}/ is a directory; name its files, as in {0}/\*\*/\*$"),
        ("@{0}/gone.txt", "cannot read the list of paths {0}/gone.txt"),
        ("@{0}/empty.txt", "the list of paths {0}/empty.txt names no file"),
        ("memory://gone/x.jsonl", "no file matches memory://gone/x.jsonl"),
        ("memory://gone/*.jsonl", r"no file matches memory://gone/\*.jsonl"),
        ("nope://x", "cannot open nope://x"),
    ],
)
def test_mistakes_are_one_line(tmp_path, path, message):
    """What matches nothing is a ValueError that names the pattern."""
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(ValueError, match=message.format(tmp_path)) as error:
        list_files(source_of(path.format(tmp_path)))
    assert "\n" not in str(error.value)


def test_addresses():
    """Files of another file system keep their protocol, and a pattern works there too."""
    memory = fsspec.filesystem("memory")
    for name in ("/corpus/b.jsonl", "/corpus/a.jsonl", "/corpus/deep/c.jsonl"):
        memory.pipe(name, name.encode())
    found = list_files(source_of("memory://corpus/**/*.jsonl"))
    assert [entry.path for entry in found] == [
        "memory:///corpus/a.jsonl", "memory:///corpus/b.jsonl", "memory:///corpus/deep/c.jsonl",
    ]  # fmt: skip
    assert [entry.size for entry in found] == [15, 15, 20]
    (before,) = list_files(source_of("memory://corpus/a.jsonl"))
    memory.pipe("/corpus/a.jsonl", b"other")
    (after,) = list_files(source_of("memory://corpus/a.jsonl"))
    assert before.etag != after.etag


def test_hub_paths_are_pinned(monkeypatch):
    """A path on the hub gets the commit that the repository has now."""
    asked = []

    def repo_info(self, name, *, repo_type, revision):
        asked.append((name, repo_type, revision))
        return types.SimpleNamespace(sha="c" * 40)

    monkeypatch.setattr("huggingface_hub.HfApi.repo_info", repo_info)
    monkeypatch.setattr(
        "transforms.readers.listing.filesystem_of",
        lambda path: (
            types.SimpleNamespace(info=lambda name: {"size": 7, "blob_id": name}, unstrip_protocol=str),
            path,
        ),
    )
    (entry,) = list_files(source_of("hf://datasets/org/name/a.jsonl"))
    assert entry.path == f"hf://datasets/org/name@{'c' * 40}/a.jsonl"
    list_files(source_of("hf://datasets/org/name@v2/a.jsonl"))
    assert asked == [("org/name", "dataset", None), ("org/name", "dataset", "v2")]


def test_what_can_be_split():
    """Plain JSON Lines and Parquet have ranges, what is compressed in members may; one-document files have none."""
    for form, name, expected in (
        ("jsonl", "a.jsonl", True),
        ("jsonl", "https://host/a.jsonl", False),
        ("jsonl", "a.jsonl.gz", True),
        ("jsonl", "https://host/a.jsonl.gz", True),
        ("jsonl", "a.jsonl.bz2", True),
        ("jsonl", "a.jsonl.zst", True),
        ("jsonl", "a.jsonl.xz", False),
        ("jsonl", "a.jsonl.lz4", False),
        ("csv", "a.csv.gz", False),
        ("csv", "a.csv", False),
        ("parquet", "a.parquet", True),
        ("text", "a.txt", False),
        ("text", "a.txt.gz", False),
        ("mediawiki", "a.xml", True),
        ("mediawiki", "a.xml.bz2", True),
        ("mediawiki", "https://host/a.xml.bz2", True),
        ("mediawiki", "https://host/a.xml", False),
        ("mediawiki", "a.xml.xz", False),
        ("warc", "a.warc.gz", True),
        ("wet", "s3://bucket/a.wet.gz", True),
        ("warc", "a.warc", False),
        ("warc", "a.warc.zst", True),
        ("warc", "a.warc.bz2", False),
    ):
        assert is_splittable(source_of("x", form), name) == expected, name


@settings(max_examples=200, deadline=None)
@given(size=st.integers(0, 1 << 45), unit=st.integers(1, 1 << 40))
def test_slices_tile_the_file(size, unit):
    """Ranges follow each other without gap, are of about equal size, and never more than a doc_id can count."""
    parts = slices(source_of("x"), FileEntry("a.jsonl", size, "e"), file=5, unit_bytes=unit)
    assert len(parts) <= MAX_PARTS
    if len(parts) == 1:
        assert (parts[0].start, parts[0].stop) == (0, -1)
        return
    assert [part.part for part in parts] == list(range(len(parts)))
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == size
    lengths = [part.stop - part.start for part in parts]
    assert max(lengths) - min(lengths) <= 1
    assert max(lengths) <= unit or len(parts) == MAX_PARTS


def test_unsplittable_is_one_slice(tmp_path):
    """A compressed file is one slice, however large: a stream where it is long and holds many records."""
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"one member"))
    for form, size, unit_bytes, stream_bytes in (
        ("jsonl", 1 << 40, 100, 100),
        ("jsonl", 100, 100, 0),
        ("warc", 101, 100, 100),
        ("text", 101, 100, 0),
    ):
        (part,) = slices(source_of("x", form), FileEntry(str(path), size, "e"), file=0, unit_bytes=unit_bytes)
        assert (part.start, part.stop, part.size, part.stream_bytes) == (0, -1, size, stream_bytes)
