"""transforms.readers.http_response: bodies as the server meant them."""

import gzip
import tracemalloc
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.readers.http_response import HttpResponse, http_response, media_type_of
from transforms.sandbox import Refusal

BODY = b"<p>caf\xc3\xa9 " * 50
ENCODE = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
    "identity": bytes,
}


def bare_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def chunked(data: bytes, size: int = 100) -> bytes:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x;ext=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def block(body: bytes, *fields: str, status: str = "HTTP/1.1 200 OK", newline: str = "\r\n") -> bytes:
    return newline.join([status, *fields, "", ""]).encode("latin-1") + body


def response(stored: bytes, *, max_bytes: int = 1 << 20, is_cut: bool = False) -> HttpResponse | Refusal:
    return http_response(stored, max_bytes=max_bytes, is_cut=is_cut)


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_fields(newline):
    """Status and fields arrive by lower-case name, the first of a repeated one, whatever ends the lines."""
    stored = block(BODY, 'Content-Type: text/html; Charset="UTF-8"', "X: 1", "x:2", "odd", newline=newline)
    found = response(stored)
    assert (found.status, found.body) == (200, BODY)
    assert found.fields == {"content-type": 'text/html; Charset="UTF-8"', "x": "1", "odd": ""}
    assert media_type_of(found.fields["content-type"]) == ("text/html", "UTF-8")
    assert response(block(b"", status="HTTP/2 404")).status == 404


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("", ("", "")),
        ("TEXT/HTML", ("text/html", "")),
        (" text/html ;charset = 'x-sjis' ; a=b", ("text/html", "x-sjis")),
        ("text/html; boundary=charset", ("text/html", "")),
        (";charset=utf8", ("", "utf8")),
    ],
)
def test_media_type(field, expected):
    """Media type and charset of a field, empty where it does not say."""
    assert media_type_of(field) == expected


@pytest.mark.parametrize("encoding", ENCODE)
@pytest.mark.parametrize("in_chunks", [False, True])
def test_encodings(encoding, in_chunks):
    """Content encodings are undone, in chunks or not, in any letter case."""
    stored = ENCODE[encoding](BODY)
    fields = [f"Content-Encoding: {encoding.upper()}"]
    if in_chunks:
        stored, fields = chunked(stored), [*fields, "Transfer-Encoding: chunked"]
    assert response(block(stored, *fields)).body == BODY


def test_odd_encodings():
    """Two encodings are undone in reverse, deflate may be bare, and an unknown one is left alone."""
    assert response(block(brotli.compress(gzip.compress(BODY)), "Content-Encoding: gzip, br")).body == BODY
    assert response(block(bare_deflate(BODY), "Content-Encoding: deflate")).body == BODY
    assert response(block(b"\x01\x02", "Content-Encoding: compress")).body == b"\x01\x02"
    assert response(block(b"", "Content-Encoding: gzip", "Transfer-Encoding: chunked")).body == b""


@pytest.mark.parametrize("encoding", [*ENCODE, "nonsense"])
def test_bodies_that_were_decoded_already(encoding):
    """A crawler that decodes the body leaves the fields as they were."""
    stored = block(BODY, f"Content-Encoding: {encoding}", "Transfer-Encoding: chunked", "Content-Length: 7")
    assert response(stored).body == BODY
    assert response(block(b" \r\n" + BODY, f"Content-Encoding: {encoding}")).body == b" \r\n" + BODY
    if encoding in ("gzip", "x-gzip", "zstd", "nonsense"):  # the others have no mark at their beginning
        assert response(block(b"plain", f"Content-Encoding: {encoding}")).body == b"plain"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_cut_bodies(encoding):
    """A body that breaks off is refused, unless the record says that it was cut: then what is there comes out."""
    stored = ENCODE[encoding](bytes(range(256)) * 40 + BODY)
    stored = block(stored[: len(stored) * 2 // 3], f"Content-Encoding: {encoding}")
    refusal = response(stored)
    assert refusal.rule == "bad_content_encoding"
    cut = response(stored, is_cut=True)
    assert (bytes(range(256)) * 40 + BODY).startswith(cut.body)
    assert refusal.value == len(cut.body)


def test_cut_chunks():
    """Chunks without their end are refused, or taken where the record says that it was cut."""
    stored = chunked(BODY)
    for end in (-5, -7, 30, 110):
        whole = block(stored[:end], "Transfer-Encoding: chunked")
        assert response(whole).rule == "bad_content_encoding"
        assert BODY.startswith(response(whole, is_cut=True).body)
        assert len(response(whole, is_cut=True).body) > 0
    second = stored.index(b"64;", 3)
    broken = stored[:second] + b"oops" + stored[second:]
    assert response(block(broken, "Transfer-Encoding: chunked")).rule == "bad_content_encoding"


@pytest.mark.parametrize(
    "stored", [b"", b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\r\nA: b\r\n", b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1\n\n"]
)
def test_no_http(stored):
    """A block that is no response is refused."""
    assert response(stored) == Refusal("bad_http")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_bombs(encoding):
    """A body of 200 MB behind a few bytes is refused, and never decoded further than the limit."""
    compress = {"br": lambda data: brotli.compress(data, quality=1)}.get(encoding, ENCODE[encoding])
    stored = block(compress(bytes(200_000_000)), f"Content-Encoding: {encoding}")
    tracemalloc.start()
    try:
        refusal = response(stored, max_bytes=1 << 20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (refusal.rule, refusal.threshold) == ("html_too_large", 1 << 20)
    assert refusal.value > 1 << 20
    assert peak < 40_000_000


def test_limit():
    """A body as long as the limit passes, one byte more does not."""
    for encoding, encode in ENCODE.items():
        stored = block(encode(BODY), f"Content-Encoding: {encoding}")
        assert response(stored, max_bytes=len(BODY)).body == BODY
        assert response(stored, max_bytes=len(BODY) - 1).rule == "html_too_large"


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_damage_never_raises(data):
    """Whatever the bytes are, the result is a response or a refusal."""
    encoding = data.draw(st.sampled_from([*ENCODE]))
    stored = bytearray(chunked(ENCODE[encoding](BODY), 60))
    for _ in range(data.draw(st.integers(0, 4))):
        stored[data.draw(st.integers(0, len(stored) - 1))] = data.draw(st.integers(0, 255))
    whole = block(bytes(stored), f"Content-Encoding: {encoding}", "Transfer-Encoding: chunked")
    found = response(whole[: data.draw(st.integers(0, len(whole)))], is_cut=data.draw(st.booleans()))
    assert isinstance(found, HttpResponse | Refusal)
