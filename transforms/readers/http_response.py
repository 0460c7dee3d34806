"""The HTTP response in a WARC record: its status, its fields, and its body as the server meant it.

Crawlers differ in what they store: some decode the body and leave the fields that say it is encoded. So an encoding is
undone only where the body looks like it.
"""

import re
from typing import NamedTuple

import brotli
import zstandard
from zlib_ng import zlib_ng

from transforms.sandbox import Refusal

_STATUS = re.compile(rb"HTTP/\d(?:\.\d)?[ \t]+(\d{3})")
_END_OF_HEADER = re.compile(rb"\n\r?\n")
_CHUNK = re.compile(rb"(?:\r?\n)?[ \t]*([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]+)", re.IGNORECASE)
_ZSTD_WINDOW = 8 << 20  # what RFC 9659 allows on the web
_GZIP_START = b"\x1f\x8b"
_ZSTD_START = b"\x28\xb5\x2f\xfd"


class HttpResponse(NamedTuple):
    """Status, fields by name in lower case, and body without transfer and content encoding."""

    status: int
    fields: dict[str, str]
    body: bytes


def media_type_of(content_type: str) -> tuple[str, str]:
    """Return the media type in lower case, and the charset; what a field of Content-Type does not say is empty."""
    name, _, parameters = content_type.partition(";")
    charset = _CHARSET.search(parameters)
    return name.strip().lower(), charset[1] if charset else ""


def http_response(block: bytes, *, max_bytes: int, is_cut: bool) -> HttpResponse | Refusal:
    """Return the response in the block of a record.

    Refusals: `bad_http` (no status line, or no end of the header), `bad_content_encoding` (of the body: corrupt, or
    cut while the record does not say so; value: bytes decoded), `html_too_large` (value, threshold: bytes of the
    decoded body; decoding stops at the threshold, so that a bomb costs no memory).

    Args:
        block: the block of a record of type application/http.
        max_bytes: of the decoded body.
        is_cut: the record says that the crawler cut it (WARC-Truncated), so an encoding may break off.
    """
    status = _STATUS.match(block)
    end = _END_OF_HEADER.search(block)
    if status is None or end is None:
        return Refusal("bad_http")
    fields: dict[str, str] = {}
    for line in block[: end.start()].decode("latin-1").split("\n")[1:]:
        name, _, value = line.partition(":")
        fields.setdefault(name.rstrip().lower(), value.strip())
    body = block[end.end() :]
    is_whole = True
    if "chunked" in fields.get("transfer-encoding", "").lower():
        body, is_whole = _without_chunks(body)
    for encoding in reversed(fields.get("content-encoding", "").lower().split(",")):
        if is_whole or is_cut:
            body, is_whole = _decoded(body, encoding.strip(), max_bytes)
    if len(body) > max_bytes:
        return Refusal("html_too_large", len(body), max_bytes)
    if not is_whole and not is_cut:
        return Refusal("bad_content_encoding", len(body))
    return HttpResponse(int(status[1]), fields, body)


def _without_chunks(body: bytes) -> tuple[bytes, bool]:
    """Return the joined chunks, and whether the last one is there; a body without chunks as it is."""
    pieces: list[bytes] = []
    at = 0
    while found := _CHUNK.match(body, at):
        size = int(found[1], 16)
        if size == 0:
            return b"".join(pieces), True
        pieces.append(body[found.end() : found.end() + size])
        at = found.end() + size
    return (b"".join(pieces), False) if pieces else (body, True)


def _decoded(body: bytes, encoding: str, max_bytes: int) -> tuple[bytes, bool]:
    """Return what an encoding was applied to, at most one byte more than `max_bytes`, and whether it is all."""
    if not body or body.lstrip()[:1] == b"<":
        return body, True  # no encoding starts like a page
    if encoding in ("gzip", "x-gzip"):
        return _inflated(body, 31, max_bytes) if body.startswith(_GZIP_START) else (body, True)
    if encoding == "deflate":
        # RFC 9110 means zlib's format; some servers send the bare one.
        out, is_whole = _inflated(body, 15, max_bytes)
        return (out, is_whole) if out else _inflated(body, -15, max_bytes)
    if encoding == "br":
        return _brotli(body, max_bytes)
    if encoding == "zstd" and body.startswith(_ZSTD_START):
        return _zstd(body, max_bytes)
    return body, True


def _inflated(body: bytes, window_bits: int, max_bytes: int) -> tuple[bytes, bool]:
    decoder = zlib_ng.decompressobj(window_bits)
    try:
        out = decoder.decompress(body, max_bytes + 1)
    except zlib_ng.error:
        return b"", False
    return out, decoder.eof or len(out) > max_bytes


def _brotli(body: bytes, max_bytes: int) -> tuple[bytes, bool]:
    decoder = brotli.Decompressor()
    out = b""
    try:
        out = decoder.process(body, output_buffer_limit=max_bytes + 1)
        while len(out) <= max_bytes and not decoder.is_finished():
            more = decoder.process(b"", output_buffer_limit=max_bytes + 1)
            if not more:
                break
            out += more
    except brotli.error:
        return out, False
    return out, decoder.is_finished() or len(out) > max_bytes


def _zstd(body: bytes, max_bytes: int) -> tuple[bytes, bool]:
    try:
        size = zstandard.get_frame_parameters(body).content_size
        out = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(body).read(max_bytes + 1)
    except zstandard.ZstdError:
        return b"", False
    return out, size in (len(out), zstandard.CONTENTSIZE_UNKNOWN) or len(out) > max_bytes
