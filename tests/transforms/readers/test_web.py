"""transforms.readers.web: servers that ignore ranges, or answer with other ones, and connections that break."""

import contextlib
import errno
import functools
import os
import random
import threading

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.transforms.readers.reading import COMPRESS, read, source_of
from tests.transforms.readers.servers import NoRanges, Quiet, Ranges, breaking, forgetful, odd, sending, served
from transforms.readers import remote
from transforms.readers.listing import list_files, slices
from transforms.readers.remote import open_remote

web = pytest.importorskip("transforms.readers.web", exc_type=ImportError)  # aiohttp is an extra

WAYS = ["from the beginning", "unlabelled", "in other units", "compressed", "whole, of no length"]
WHOLE_ONLY = {"it ignores them": Quiet, "it says so": NoRanges} | {way: odd(way) for way in WAYS}
TEXTS = [f"{number} {random.Random(number).randbytes(3000).hex()}" for number in range(100)]
LINES = "".join(f'{{"text": "{text}"}}\n' for text in TEXTS).encode()
MEMBERS = b"".join(COMPRESS["gzip"](LINES[at : at + 30_000]) for at in range(0, len(LINES), 30_000))


@pytest.fixture(autouse=True)
def blocks(monkeypatch):
    """Blocks that are a part of the files here, and no waits between tries."""
    monkeypatch.setattr(web, "BLOCK_BYTES", 50_000)
    monkeypatch.setattr(remote, "WAITS_S", (0, 0))


@pytest.fixture
def serve(tmp_path):
    """Serve the directory by a handler, until the test ends."""
    (tmp_path / "x.jsonl").write_bytes(LINES)
    (tmp_path / "x.jsonl.gz").write_bytes(MEMBERS)
    fsspec.filesystem("http").clear_instance_cache()
    with contextlib.ExitStack() as stack:
        yield lambda handler: stack.enter_context(served(functools.partial(handler, directory=tmp_path)))


def units(path):
    """Return into how many units a file is cut that is longer than a unit."""
    source = source_of(path)
    (entry,) = list_files(source)
    return len(slices(source, entry, file=0, unit_bytes=len(MEMBERS) - 1))


@pytest.mark.parametrize("server", WHOLE_ONLY.values(), ids=WHOLE_ONLY)
def test_a_server_without_ranges(serve, server):
    """Each byte comes once, in order, whatever the server answers; the file is one unit."""
    address = serve(server)
    with open_remote(f"{address}/x.jsonl") as file:
        data = file.read(10)
        while piece := file.read(len(data)):
            data += piece
    assert data == LINES
    for name in ("x.jsonl", "x.jsonl.gz"):
        assert units(f"{address}/{name}") == 1
        assert [row["text"] for row in read(f"{address}/{name}")] == TEXTS


def test_a_server_with_ranges(serve):
    """The same file is cut."""
    address = serve(Ranges)
    assert units(f"{address}/x.jsonl.gz") > 2
    rows = read(f"{address}/x.jsonl.gz", unit_bytes=len(MEMBERS) - 1)
    assert [row["text"] for row in rows] == TEXTS


@pytest.mark.parametrize("num_bytes", [7_000, len(LINES)])
def test_a_server_that_sends_less_or_more(serve, num_bytes):
    """The rest is asked for again, and what was not asked for is left."""
    address = serve(sending(num_bytes))
    with open_remote(f"{address}/x.jsonl") as file:
        assert file.read() == LINES
        file.seek(100_000)
        assert file.read(50_000) == LINES[100_000:150_000]


@pytest.mark.parametrize("server", WHOLE_ONLY.values(), ids=WHOLE_ONLY)
def test_parquet_needs_ranges(serve, server, tmp_path):
    """Without them it is one line that names the file, but a file of one block is read whole where it has a length."""
    pq.write_table(pa.table({"text": TEXTS}), tmp_path / "x.parquet", compression="none", use_dictionary=False)
    pq.write_table(pa.table({"text": TEXTS[:2]}), tmp_path / "small.parquet")
    address = serve(server)
    with pytest.raises(OSError, match=r"server sends whole files only.* disk first: 'http.*/x\.parquet'") as error:
        read(f"{address}/x.parquet", "parquet")
    assert error.value.errno == errno.ESPIPE
    assert "\n" not in str(error.value)
    if server is Quiet:
        assert [row["text"] for row in read(f"{address}/small.parquet", "parquet")] == TEXTS[:2]


def test_a_server_that_forgets_ranges(serve):
    """What has been read is not read again; from another place than the beginning it is an error."""
    asked = []
    address = serve(forgetful(asked, remembers=(1, 2, 5)))
    with open_remote(f"{address}/x.jsonl") as file:
        assert file.read() == LINES
    assert asked[3:] == [None]  # the whole of it, once
    with open_remote(f"{address}/x.jsonl") as file:
        file.seek(1000)
        assert file.read(1000) == LINES[1000:2000]
        with pytest.raises(OSError, match="whole files only") as error:
            file.read()
        assert error.value.errno == errno.ESPIPE


@pytest.mark.parametrize("tells_length", [True, False])
def test_a_connection_that_breaks(serve, tells_length):
    """A stream goes on where it was; one that does not begin is an error after three tries."""
    asked = []
    address = serve(breaking(asked, {2: 100_000, 3: 70_000}, tells_length=tells_length))
    with open_remote(f"{address}/x.jsonl") as file:
        assert file.read() == LINES
    assert asked[1:] == [None] * 3
    asked = []
    address = serve(breaking(asked, dict.fromkeys(range(99), 0), tells_length=tells_length))
    with open_remote(f"{address}/x.jsonl") as file, pytest.raises(OSError, match=r"x\.jsonl") as error:
        file.read()
    assert error.value.errno == errno.EIO
    assert len(asked) == 1 + 3


def test_a_file_that_changes_meanwhile(serve, tmp_path):
    """Its parts are not put together: neither of a stream that broke, nor of ranges."""
    has_changed = threading.Event()
    address = serve(breaking([], {2: 200_000}, waits_for=has_changed))
    with open_remote(f"{address}/x.jsonl") as file:
        assert file.read(100_000) == LINES[:100_000]
        os.utime(tmp_path / "x.jsonl", (0, 0))
        has_changed.set()
        with pytest.raises(OSError, match=r"it has changed.*x\.jsonl") as error:
            file.read()
        assert error.value.errno == errno.ESTALE
    address = serve(Ranges)
    with open_remote(f"{address}/x.jsonl") as file:
        assert file.read(100_000) == LINES[:100_000]
        (tmp_path / "x.jsonl").write_bytes(LINES * 2)
        with pytest.raises(OSError, match=f"it has {2 * len(LINES)} bytes now") as error:
            file.read()
        assert error.value.errno == errno.ESTALE
