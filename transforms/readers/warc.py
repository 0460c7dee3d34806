"""WARC and WET: pages as text, and texts as they stand.

HTML becomes text here and not in a transform of its own: raw pages would fill the batches of 4 MiB with five to twenty
times the bytes of their text, and every batch would be built twice.
"""

import importlib.util
import re
from collections.abc import Iterator

import pyarrow as pa

from transforms.html import decode
from transforms.readers.http_response import http_response, media_type_of
from transforms.readers.parsed import FoundRecord, parsed_rows
from transforms.readers.ranges import ByteRange
from transforms.readers.rows import Wanted, broken_row, json_bytes, readable_path
from transforms.readers.source import Source
from transforms.readers.warc_records import VERSION, BrokenRecord, WarcRecord, warc_records
from transforms.sandbox import DOCUMENT_BYTES, Document, Refusal
from transforms.unit import Slice

MAX_BLOCK_BYTES = 32 << 20  # a page of DOCUMENT_BYTES is far below it, compressed or not
# Of processor time for a page: ten times what the largest ordinary one takes.
_SECONDS = {"resiliparse": 2.0, "trafilatura": 20.0}
_TYPES = ("response", "conversion")
_HTML = ("text/html", "application/xhtml+xml")
_TEXT = ("text/plain", "text/markdown")
_UNKNOWN = ("", "application/octet-stream", "unknown/unknown", "application/unknown", "text/xml", "application/xml")
_LOOKS_LIKE_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:\s|<!--.{0,999}?-->|<\?xml[^>]{0,999}>){0,99}"
    rb"<(?:!doctype\s+html|html|head|title|body|h1|div|table|p|br)[\s>]",
    re.IGNORECASE | re.DOTALL,
)
_METADATA = {
    "date": "warc-date",
    "record_id": "warc-record-id",
    "ip": "warc-ip-address",
    "language": "warc-identified-content-language",
    "truncated": "warc-truncated",
}


def read_warc(
    source: Source, part: Slice, *, max_block_bytes: int = MAX_BLOCK_BYTES, wanted: Wanted | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the pages (response records) and texts (conversion records) of a file, as batches of schema ROWS.

    Other records are no documents. A text is its block, whole, as UTF-8, which is not what C4's line-based reading of
    WET gives: that drops lines that look like fields. The address is the WARC-Target-URI; `metadata` holds date, record
    id, media type, address of the server, language and cause of truncation where the record has them. Locations are
    `path#place` of the record, as `ByteRange` tells places.

    Rules of broken records: those of `warc_records` for damage; those of `http_response`; `http_status` (value: one
    that is not 2xx); `not_html` (another media type); those of the extractor in `transforms.html` and of the sandbox;
    `bad_utf8` for a text (value: offset of the first bad byte in it); `empty_file`.

    Raises:
        OSError: the file is gone or unreadable.
        ValueError: the extractor is not installed.
    """
    extractor = source.extractor or "resiliparse"
    if importlib.util.find_spec(extractor) is None:
        raise ValueError(f"source {source.name!r} needs {extractor}; pip install 'gristmill[{extractor}]'")
    is_empty = True
    stored = ByteRange(part.path, part.start, part.stop, begins=VERSION)
    records = find_records(stored, max_block_bytes=max_block_bytes, wanted=wanted)
    for rows in parsed_rows(records, parser=f"transforms.html:{extractor}_text", seconds=_SECONDS[extractor]):
        is_empty = False
        yield rows
    if is_empty and part.size == 0:
        yield broken_row("empty_file", location=f"{readable_path(part.path)}#0", value=0)


def find_records(
    part: ByteRange, *, max_block_bytes: int = MAX_BLOCK_BYTES, wanted: Wanted | None = None
) -> Iterator[FoundRecord]:
    """Yield the pages, texts and damage of a range; pages as the server meant them, without text yet."""
    name = readable_path(part.path)
    for record in warc_records(part, types=_TYPES, max_bytes=max_block_bytes):
        if wanted is not None and not wanted(record.offset):
            continue
        location = f"{name}#{part.place(record.offset)}"
        if isinstance(record, BrokenRecord):
            refusal = Refusal(record.rule, record.value, record.threshold)
            yield FoundRecord(refusal, location, excerpt=record.excerpt)
            continue
        media_type, content = _content(record)
        url = record.header.get("warc-target-uri", "").strip("<>") or None
        fields = {key: record.header[name] for key, name in _METADATA.items() if name in record.header}
        metadata = json_bytes({**fields, "content_type": media_type})
        yield FoundRecord(content, location, url, metadata, record.block)


def _content(record: WarcRecord) -> tuple[str, str | Refusal | Document]:
    """Return the media type of a record, and what is in it."""
    media_type, charset = media_type_of(record.header.get("content-type", ""))
    body = record.block
    if record.header["warc-type"].lower() == "conversion":
        try:
            return media_type, body.decode()
        except UnicodeDecodeError as error:
            return media_type, Refusal("bad_utf8", error.start)
    if media_type == "application/http" or body.startswith(b"HTTP/"):
        is_cut = "warc-truncated" in record.header
        response = http_response(body, max_bytes=DOCUMENT_BYTES, is_cut=is_cut)
        if isinstance(response, Refusal):
            return media_type, response
        media_type, charset = media_type_of(response.fields.get("content-type", ""))
        body = response.body
        if not 200 <= response.status <= 299:
            return media_type, Refusal("http_status", response.status)
    if len(body) > DOCUMENT_BYTES:
        return media_type, Refusal("html_too_large", len(body), DOCUMENT_BYTES)
    identified, _ = media_type_of(record.header.get("warc-identified-payload-type", ""))
    if identified and not (identified.startswith("text/") and media_type in _HTML):
        media_type = identified  # from the bytes, by who knows more types than we do; but a page may begin like a text
    if media_type in _HTML or (media_type in _UNKNOWN and _LOOKS_LIKE_HTML.match(body)):
        return media_type, Document(body, charset)
    return media_type, decode(body, charset) if media_type in _TEXT else Refusal("not_html")
