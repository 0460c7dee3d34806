"""transforms.readers.remote: S3 and web servers on loopback, and everything they may answer."""

import bz2
import errno
import functools
import gzip
import io
import json
import random
import sys
import types

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.transforms.readers.reading import COMPRESS, read, source_of, texts_and_rules
from tests.transforms.readers.servers import (
    COMMIT,
    Hub,
    NoRanges,
    Quiet,
    Ranges,
    answering,
    counting,
    served,
    stumbling,
)
from transforms.readers import remote
from transforms.readers.dispatch import read_slice
from transforms.readers.listing import list_files, slices
from transforms.readers.ranges import has_member
from transforms.readers.remote import WAITS_S, open_remote, told_as_os_errors
from transforms.readers.stream import Damage, decompressed

LINES = b"".join(b'{"text": "line %d"}\n' % number for number in range(5000))


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """The waits between tries, which take no time here."""
    waits_s = []
    monkeypatch.setattr(remote, "time", types.SimpleNamespace(sleep=waits_s.append))
    return waits_s


@pytest.fixture(scope="module")
def s3_server():
    """The address of moto's S3."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def use_s3(monkeypatch, address):
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    return fsspec.filesystem("s3")


@pytest.fixture
def bucket(s3_server, monkeypatch):
    filesystem = use_s3(monkeypatch, s3_server)
    filesystem.mkdir("bucket")
    yield filesystem
    filesystem.rm("bucket", recursive=True)
    filesystem.clear_instance_cache()


def test_s3(bucket):
    """Patterns are listed, files of every form are read, and ranges tile."""
    bucket.pipe("bucket/in/a.jsonl", LINES)
    bucket.pipe("bucket/in/deep/b.jsonl.gz", gzip.compress(LINES))
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": [f"line {number}" for number in range(5000)]}), sink, row_group_size=500)
    bucket.pipe("bucket/in/c.parquet", sink.getvalue())
    expected = [f"line {number}" for number in range(5000)]
    source = source_of("s3://bucket/in/**/*.jsonl*")
    assert [entry.path for entry in list_files(source)] == ["s3://bucket/in/a.jsonl", "s3://bucket/in/deep/b.jsonl.gz"]
    assert list_files(source)[0].size == len(LINES)
    rows = read("s3://bucket/in/**/*.jsonl*", unit_bytes=10_000)
    assert [row["text"] for row in rows] == expected * 2
    assert rows[0]["location"] == "s3://bucket/in/a.jsonl#0"
    assert [row["text"] for row in read("s3://bucket/in/*.parquet", "parquet", unit_bytes=5000)] == expected


def test_s3_mistakes(bucket):
    """A bucket or file that is not there matches nothing; one that goes or changes later is an error."""
    for path in ("s3://bucket/gone.jsonl", "s3://nowhere/x.jsonl", "s3://bucket/*.nope"):
        with pytest.raises(ValueError, match="no file matches"):
            list_files(source_of(path))
    bucket.pipe("bucket/x.jsonl", LINES)
    source = source_of("s3://bucket/x.jsonl")
    (part,) = slices(source, list_files(source)[0], file=0, unit_bytes=1 << 30)
    bucket.pipe("bucket/x.jsonl", LINES + LINES)
    with pytest.raises(OSError, match="s3://bucket/x.jsonl has changed since the plan was made"):
        list(read_slice(source, part))
    bucket.rm("bucket/x.jsonl")
    with pytest.raises(FileNotFoundError, match="s3://bucket/x.jsonl"):
        list(read_slice(source, part))


DENIED = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'


def test_a_bucket_that_answers_403(monkeypatch):
    """Listing and reading are one line that names the path; nothing is taken for an empty bucket."""
    pytest.importorskip("s3fs")
    with served(answering(403, DENIED)) as address:
        filesystem = use_s3(monkeypatch, address)
        for path in ("s3://closed/*.jsonl", "s3://closed/a.jsonl", "s3://closed/**/*.gz"):
            with pytest.raises(PermissionError, match="s3://closed/") as error:
                list_files(source_of(path))
            assert "\n" not in str(error.value)
        with pytest.raises(PermissionError, match="s3://closed/a.jsonl"):
            list(decompressed("s3://closed/a.jsonl"))
        filesystem.clear_instance_cache()


def test_s3_without_credentials(monkeypatch, s3_server, tmp_path):
    """Having no credentials is one line too."""
    filesystem = use_s3(monkeypatch, s3_server)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    filesystem.clear_instance_cache()
    with pytest.raises(OSError, match=r"credentials.*s3://bucket/x.jsonl") as error:
        list_files(source_of("s3://bucket/x.jsonl"))
    assert "\n" not in str(error.value)


def test_an_endpoint_that_is_not_there(monkeypatch):
    """A server that does not answer is one line that names the path."""
    pytest.importorskip("s3fs")
    filesystem = use_s3(monkeypatch, "http://127.0.0.1:1")
    with pytest.raises(OSError, match="s3://bucket/x.jsonl") as error:
        list_files(source_of("s3://bucket/x.jsonl"))
    assert "\n" not in str(error.value)
    filesystem.clear_instance_cache()


@pytest.mark.parametrize("status", [401, 403])
def test_a_web_server_that_says_no(status):
    """An answer of 401 or 403 is a PermissionError's number, never a file of no records."""
    pytest.importorskip("aiohttp")
    with served(answering(status, b"<html>no</html>")) as address:
        fsspec.filesystem("http").clear_instance_cache()
        with pytest.raises(OSError, match="x.jsonl") as error:
            list(decompressed(f"{address}/x.jsonl"))
        assert error.value.errno == errno.EACCES


def test_a_web_server_that_fails_later(tmp_path):
    """A server that breaks off in the middle of a file stops the run; it is not damage of the file."""
    pytest.importorskip("aiohttp")
    table = pa.table({"text": [f"line {number}" for number in range(200_000)]})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=20_000, compression="none", use_dictionary=False)
    (tmp_path / "x.jsonl").write_bytes(LINES * 100)
    for name, form in (("x.parquet", "parquet"), ("x.jsonl", "jsonl")):
        handler = answering(500, after=4)
        with served(functools.partial(handler, directory=tmp_path)) as address:
            fsspec.filesystem("http").clear_instance_cache()
            source = source_of(f"{address}/{name}", form)
            (part, *_) = slices(source, list_files(source)[0], file=0, unit_bytes=1 << 30)
            parts = [part] * 20  # it is asked for the file again and again, until it fails
            with pytest.raises(OSError, match=name) as error:
                [list(read_slice(source, part)) for part in parts]
            assert error.value.errno is not None


@pytest.mark.parametrize(
    ("protocol", "package", "extra"), [("s3", "s3fs", "s3"), ("http", "aiohttp", "http"), ("gs", "gcsfs", "gcs")]
)
def test_packages_that_are_not_installed(monkeypatch, protocol, package, extra):
    """A protocol whose package is missing is one line that says what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    for name in [name for name in sys.modules if name.startswith("fsspec.implementations.http")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, protocol, raising=False)
    with pytest.raises(ValueError, match=rf"cannot open {protocol}://.*; pip install 'gristmill\[{extra}\]'") as error:
        list_files(source_of(f"{protocol}://host/x.jsonl"))
    assert "\n" not in str(error.value)


class OddError(Exception):
    status = None


@pytest.mark.parametrize(
    ("raised", "kind", "number"),
    [
        (FileNotFoundError("x"), FileNotFoundError, errno.ENOENT),
        (PermissionError("Forbidden"), PermissionError, errno.EACCES),
        (OSError("no number"), OSError, errno.EIO),
        (OSError(28, "full"), OSError, 28),
        (TimeoutError(), OSError, errno.EIO),
        (OddError("several\nlines\n"), OSError, errno.EIO),
    ],
)
def test_errors_have_number_path_and_one_line(raised, kind, number):
    """Whatever a library raises is an OSError with a number, which Arrow does not take for damage, and one line."""
    with pytest.raises(kind, match="s3://a/b") as error, told_as_os_errors("s3://a/b"):
        raise raised
    assert error.value.errno == number
    assert "\n" not in str(error.value)


def test_reading_like_a_file():
    """A remote file can be read in any pieces, from any place, as a local one."""
    fsspec.filesystem("memory").pipe("/remote/x.bin", bytes(range(256)) * 1000)
    with open_remote("memory://remote/x.bin") as file:
        assert file.read(3) == b"\0\1\2"
        assert file.seek(-2, io.SEEK_END) == 255_998
        assert file.read() == b"\xfe\xff"
        assert file.read() == b""
        assert (file.seek(300), file.tell(), file.read(1)) == (300, 300, b"\x2c")
    assert file.closed
    assert not [chunk for chunk in decompressed("memory://remote/x.bin") if isinstance(chunk, Damage)]


def test_formats_over_the_web(tmp_path):
    """WARC and Arrow are read from a server as from a disk."""
    pytest.importorskip("aiohttp")
    block = b"text of a record"
    head = b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: %d\r\n\r\n" % len(block)
    (tmp_path / "x.wet.gz").write_bytes(gzip.compress(head + block + b"\r\n\r\n") * 3)
    with (
        pa.OSFile(str(tmp_path / "x.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, pa.schema({"text": pa.string()})) as out,
    ):
        out.write_table(pa.table({"text": ["a", "b"]}))
    with served(functools.partial(Ranges, directory=tmp_path)) as address:
        fsspec.filesystem("http").clear_instance_cache()
        assert texts_and_rules(read(f"{address}/x.wet.gz", "wet")) == [block.decode()] * 3
        assert texts_and_rules(read(f"{address}/x.arrow", "arrow")) == ["a", "b"]
        assert json.loads(read(f"{address}/x.wet.gz", "wet")[0]["metadata"]) == {"content_type": ""}


TEXTS = [f"article {number}" for number in range(40)]
PAGES = [b"<page><title>T</title><revision><text>%s</text></revision></page>\n" % text.encode() for text in TEXTS]
BETWEEN = random.Random(1).randbytes(1_000_000).replace(b"<", b" ")  # what fsspec fetches at once ends within it
DUMP = b"".join(map(bz2.compress, [b"<mediawiki>\n", *PAGES[:20], BETWEEN, *PAGES[20:]]))


NOISE = [random.Random(text).randbytes(9000).hex() for text in TEXTS]
RECORDS = "".join(f'{{"text": "{text}", "n": "{noise}"}}\n' for text, noise in zip(TEXTS, NOISE, strict=True)).encode()
MEMBERS = b"".join(COMPRESS["zstd"](RECORDS[at : at + 7000]) for at in range(0, len(RECORDS), 7000))


def ranges_of(path, form="mediawiki"):
    """Return how many ranges a file at an address is cut into, and its texts."""
    source = source_of(path, form)
    (entry,) = list_files(source)
    unit_bytes = entry.size - 1  # a range is a quarter of it
    parts = slices(source, entry, file=0, unit_bytes=unit_bytes)
    return len(parts), texts_and_rules(read(path, form, unit_bytes=unit_bytes))


def test_ranges_of_a_dump_behind_a_server(tmp_path, bucket):
    """A dump, or lines in frames, is cut in a bucket and on the web, but for a server that knows no ranges."""
    pytest.importorskip("aiohttp")
    for name, form, data in (("x.xml.bz2", "mediawiki", DUMP), ("x.jsonl.zst", "jsonl", MEMBERS)):
        bucket.pipe(f"bucket/{name}", data)
        assert ranges_of(f"s3://bucket/{name}", form) == (5, TEXTS)
        (tmp_path / name).write_bytes(data)
        for handler, expected in ((Ranges, 5), (Quiet, 1), (NoRanges, 1)):
            with served(functools.partial(handler, directory=tmp_path)) as address:
                fsspec.filesystem("http").clear_instance_cache()
                assert ranges_of(f"{address}/{name}", form) == (expected, TEXTS)


def test_a_look_at_a_crawl_is_short(tmp_path):
    """What a server is asked for to find a member, and prove that it is one, is about twice the proof."""
    pytest.importorskip("aiohttp")
    noise = random.Random(2)
    members = [gzip.compress(b"WARC/1.0\r\n" + noise.randbytes(20_000)) for _ in range(150)]
    (tmp_path / "x.warc.gz").write_bytes(b"".join(members))
    asked = []
    with served(functools.partial(counting(asked), directory=tmp_path)) as address:
        fsspec.filesystem("http").clear_instance_cache()
        assert has_member(f"{address}/x.warc.gz", 1_000_001, 2_000_000, begins=b"WARC/1.0")
    assert len(asked) <= 3
    assert sum(asked) <= 600_000


def test_a_look_at_one_long_member_is_bounded(tmp_path):
    """What is asked of a server about a file that is then read as a stream: 1 to 8 MiB, and what is read ahead."""
    pytest.importorskip("aiohttp")
    (tmp_path / "x.jsonl.gz").write_bytes(COMPRESS["gzip"](random.Random(3).randbytes(12 << 20)))
    asked = []
    with served(functools.partial(counting(asked), directory=tmp_path)) as address:
        fsspec.filesystem("http").clear_instance_cache()
        source = source_of(f"{address}/x.jsonl.gz")
        (entry,) = list_files(source)
        for size, most, requests in ((entry.size, 2 << 20, 12), (1 << 30, 11 << 20, 20)):
            asked.clear()
            (part,) = slices(source, entry._replace(size=size), file=0, unit_bytes=entry.size - 1)
            assert part.stream_bytes == entry.size - 1
            assert len(asked) <= requests
            assert sum(asked) <= most


def test_a_server_that_fails_while_a_dump_is_looked_at(tmp_path):
    """It is not taken for one that knows no ranges: the plan would be another one."""
    pytest.importorskip("aiohttp")
    (tmp_path / "x.xml.bz2").write_bytes(DUMP)
    with served(functools.partial(answering(500, after=2), directory=tmp_path)) as address:
        fsspec.filesystem("http").clear_instance_cache()
        source = source_of(f"{address}/x.xml.bz2", "mediawiki")
        (entry,) = list_files(source)
        with pytest.raises(OSError, match="500.*x.xml.bz2") as error:
            slices(source, entry, file=0, unit_bytes=len(DUMP) - 1)
        assert error.value.errno == errno.EIO


@pytest.mark.parametrize("status", [503, 0])
def test_an_error_that_passes(tmp_path, waits, status):
    """A file is listed, looked at and read by a server that fails now and then: each request has three tries."""
    pytest.importorskip("aiohttp")
    (tmp_path / "x.jsonl.zst").write_bytes(MEMBERS)
    for passing in ([1, 2], [3, 4], [8, 9], range(1, 60, 2)):
        asked = []
        handler = stumbling(asked, dict.fromkeys(passing, status))
        with served(functools.partial(handler, directory=tmp_path)) as address:
            fsspec.filesystem("http").clear_instance_cache()
            assert ranges_of(f"{address}/x.jsonl.zst", "jsonl") == (5, TEXTS)
            assert len(asked) > 10
    assert set(waits) <= set(WAITS_S)
    assert waits


@pytest.mark.parametrize("first", [1, 3])
def test_an_error_that_stays(tmp_path, waits, first):
    """Three tries, and then one line that names the file; a file that is closed or gone is asked for once."""
    pytest.importorskip("aiohttp")
    (tmp_path / "x.jsonl.zst").write_bytes(MEMBERS)
    for status, tries in ((503, 3), (0, 3), (403, 1)):
        asked = []
        handler = stumbling(asked, dict.fromkeys(range(first, 99), status))
        waits.clear()
        with served(functools.partial(handler, directory=tmp_path)) as address:
            fsspec.filesystem("http").clear_instance_cache()
            with pytest.raises(OSError, match=r"x\.jsonl\.zst") as error:
                ranges_of(f"{address}/x.jsonl.zst", "jsonl")
        assert error.value.errno == (errno.EIO if tries > 1 else errno.EACCES)
        assert waits == [*WAITS_S][: tries - 1]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A directory that the hub serves as the dataset org/name."""
    import huggingface_hub
    from huggingface_hub import constants

    (tmp_path / "data").mkdir()
    with served(functools.partial(Hub, directory=tmp_path)) as address:
        for name, value in {  # what HF_ENDPOINT sets where the package is loaded after it
            "ENDPOINT": address,
            "HUGGINGFACE_CO_URL_TEMPLATE": address + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_OFFLINE": False,
        }.items():
            monkeypatch.setattr(constants, name, value)
        huggingface_hub.HfFileSystem.clear_instance_cache()
        yield tmp_path
    huggingface_hub.HfFileSystem.clear_instance_cache()


def test_files_of_the_hub(hub):
    """A path on the hub is listed, pinned to a commit, and read in ranges through the real client."""
    (hub / "data" / "a.jsonl").write_bytes(LINES)
    (hub / "data" / "b.jsonl.gz").write_bytes(gzip.compress(LINES))
    (hub / "data" / "x.xml.bz2").write_bytes(DUMP)
    (hub / "README.md").write_bytes(b"no data")
    source = source_of("hf://datasets/org/name/data/*.jsonl*")
    entries = list_files(source)
    pinned = f"hf://datasets/org/name@{COMMIT}/data/"
    assert [(entry.path, entry.size) for entry in entries] == [
        (f"{pinned}a.jsonl", len(LINES)),
        (f"{pinned}b.jsonl.gz", len(gzip.compress(LINES))),
    ]
    assert len({entry.etag for entry in entries}) == 2
    rows = read("hf://datasets/org/name@main/data/*.jsonl*", unit_bytes=len(LINES) // 3)
    assert [row["text"] for row in rows] == [f"line {number}" for number in range(5000)] * 2
    assert rows[0]["location"] == f"{pinned}a.jsonl#0"
    assert ranges_of("hf://datasets/org/name/data/x.xml.bz2") == (5, TEXTS)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("org/name@nope/x.jsonl", r"\[Errno 2\].*Revision Not Found.*org/name@nope"),
        ("org/other/x.jsonl", r"\[Errno 2\].*Repository Not Found.*org/other"),
        ("org/name/nope/*.jsonl", "no file matches hf://datasets/org/name/nope"),
        ("org/name/nope.jsonl", "no file matches hf://datasets/org/name/nope"),
    ],
)
def test_what_the_hub_does_not_have(hub, path, message):
    """A repository, a revision or a file that is not there is one line, whatever the client raises."""
    with pytest.raises((ValueError, OSError), match=message) as error:
        list_files(source_of(f"hf://datasets/{path}"))
    assert "\n" not in str(error.value)
