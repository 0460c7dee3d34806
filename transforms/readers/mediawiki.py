"""MediaWiki XML dumps: the articles as plain text.

A dump is written by machine, and text in it is escaped, so pages are found by their tags, and each is parsed by itself:
no tree of the file, no document type and no entities of its own, and damage costs one page.
"""

import re
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa

from transforms.readers.parsed import FoundRecord, parsed_rows
from transforms.readers.ranges import ByteRange
from transforms.readers.rows import Wanted, json_bytes, readable_path
from transforms.readers.source import Source
from transforms.readers.stream import Damage, decompressed
from transforms.sandbox import DOCUMENT_BYTES, Document, Refusal
from transforms.unit import Slice

MAX_PAGE_BYTES = 32 << 20  # MediaWiki's own limit of a text is 2 MiB; what is longer has all its revisions
_OPEN, _CLOSE = b"<page>", b"</page>"
_TAG = re.compile(rb"</?page>")
_HEAD_BYTES = 1 << 20
_NAMESPACE = re.compile(r'<namespace key="(-2|6|14)"[^>]*>([^<]*)<')  # media, file, category
_BASE = re.compile(r"<base>([^<]*/)[^<]*</base>")
_NO_TEXT = ("media", "file", "image", "category")
_SECONDS = 10.0  # of processor time for an article; 2 MB of them take 0.4
_EXCERPT_BYTES = 256


class _Page(NamedTuple):
    """What stands from one `<page>` to the next `</page>`, or why nothing does."""

    offset: int
    content: bytes | Refusal
    excerpt: bytes = b""


class _Site(NamedTuple):
    """What the head of a dump says: where its pages are, and which links are no text."""

    base: str
    no_text: str


def read_mediawiki(
    source: Source, part: Slice, *, max_page_bytes: int = MAX_PAGE_BYTES, wanted: Wanted | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the pages that start in a slice of a dump as batches of schema ROWS, articles as plain text.

    The address is that of the page on its wiki; `metadata` holds title, ids of page and revision, and date. Locations
    are `path#place` of the page, as `ByteRange` tells places.

    Rules of pages without text: `not_article` (value: its namespace), `redirect`, `not_wikitext` (another content
    model), `missing_text` (deleted), those of `transforms.wikitext` and of the sandbox, `record_too_large` (value,
    threshold: bytes), `bad_xml` (value: its bytes), `truncated_xml` (value: bytes that are there), `truncated_bzip2`
    and its like (value: offset in the file as stored), `not_mediawiki` (no page in the file), `empty_file`.

    Raises:
        OSError: the file is gone or unreadable.
    """
    del source  # has no say: a dump names its own fields
    records = _records(part, max_page_bytes, wanted)
    yield from parsed_rows(records, parser="transforms.wikitext:article_text", seconds=_SECONDS)


def _records(part: Slice, max_page_bytes: int, wanted: Wanted | None) -> Iterator[FoundRecord]:
    name = readable_path(part.path)
    stored = ByteRange(part.path, part.start, part.stop)
    site = _site(part.path)
    is_empty = part.start == 0
    for page in _pages(stored, max_page_bytes):
        location = f"{name}#{stored.place(page.offset)}"
        is_empty = False
        if wanted is not None and not wanted(page.offset):
            continue
        if isinstance(page.content, Refusal):
            yield FoundRecord(page.content, location, excerpt=page.excerpt)
        else:
            yield _article(page.content, location, site)
    if is_empty and (part.stop < 0 or not _has_page(part.path)):
        rule = "not_mediawiki" if part.size else "empty_file"
        yield FoundRecord(Refusal(rule, part.size), f"{name}#0")


def _has_page(path: str) -> bool:
    """Whether a page begins anywhere in a file. Reads up to the first, so all of what is no dump."""
    held = b""
    for chunk in decompressed(path):
        held = held[1 - len(_OPEN) :] + (chunk if isinstance(chunk, bytes) else b"")
        if _OPEN in held:
            return True
    return False


def _site(path: str) -> _Site:
    """Return what stands before the first page of a file, in its first _HEAD_BYTES."""
    held = b""
    for chunk in decompressed(path, block_bytes=_HEAD_BYTES):
        held += chunk if isinstance(chunk, bytes) else b""
        if _OPEN in held or len(held) > _HEAD_BYTES:
            break
    text = held.partition(_OPEN)[0].decode("utf-8", "replace")
    names = {name.strip().lower() for _, name in _NAMESPACE.findall(text)}
    base = _BASE.search(text)
    return _Site(base[1] if base else "", "\n".join(sorted({*names, *_NO_TEXT})))


def _article(page: bytes, location: str, site: _Site) -> FoundRecord:
    try:
        tree = ET.fromstring(page)  # noqa: S314  # expat refuses entities that no document type has declared
    except ET.ParseError:
        return FoundRecord(Refusal("bad_xml", len(page)), location, excerpt=page)
    title = tree.findtext("title", "")
    revisions = tree.findall("revision")  # a dump of histories has several, the last one being the page
    revision = revisions[-1] if revisions else ET.Element("revision")
    fields = {
        "title": title,
        "page_id": tree.findtext("id"),
        "revision_id": revision.findtext("id"),
        "date": revision.findtext("timestamp"),
    }
    metadata = json_bytes({name: value for name, value in fields.items() if value})
    url = site.base + urllib.parse.quote(title.replace(" ", "_"), safe="/:(),!*@'~;") if site.base and title else None
    return FoundRecord(_content(tree, revision, site), location, url, metadata, page)


def _content(tree: ET.Element, revision: ET.Element, site: _Site) -> Document | Refusal:
    namespace = tree.findtext("ns", "0")
    if namespace != "0":
        return Refusal("not_article", float(namespace) if re.fullmatch(r"-?\d{1,9}", namespace) else None)
    if tree.find("redirect") is not None:
        return Refusal("redirect")
    if revision.findtext("model", "wikitext") != "wikitext":
        return Refusal("not_wikitext")
    text = revision.findtext("text")
    if not text:
        return Refusal("missing_text")
    content = text.encode()
    if len(content) > DOCUMENT_BYTES:
        return Refusal("record_too_large", len(content), DOCUMENT_BYTES)
    return Document(content, site.no_text)


def _pages(part: ByteRange, max_bytes: int) -> Iterator[_Page]:
    """Yield the pages that start in a range. Holds one page or one chunk of the file.

    What lies before the first tag of a range, damage too, belongs to the range before: it may be a page that is open
    there. So a range goes on to the first tag behind its end.
    """
    is_own = part.start <= 0
    held, offset = b"", 0  # bytes of the file, and where they begin
    searched = 0  # of held
    begin, excerpt = -1, b""  # of the page that is open
    is_whole = True  # held begins with it
    for chunk in part:
        if isinstance(chunk, Damage):
            if is_own:
                yield _Page(offset if begin < 0 else begin, Refusal(chunk.rule, chunk.offset), excerpt)
            offset += len(held)
            held, searched, begin, excerpt = b"", 0, -1, b""
            continue
        held += chunk
        while tag := _TAG.search(held, searched):
            searched, is_own = tag.end(), True
            is_behind = offset + tag.start() >= part.end
            if tag[0] == _OPEN:
                if begin >= 0:
                    yield _Page(begin, Refusal("bad_xml", offset + tag.start() - begin), excerpt)
                begin, is_whole = offset + tag.start(), True
                excerpt = held[tag.start() : tag.start() + _EXCERPT_BYTES]
            elif begin >= 0:
                num_bytes = offset + tag.end() - begin
                fits = is_whole and num_bytes <= max_bytes
                content = held[begin - offset : tag.end()] if fits else b""
                yield _Page(begin, content if fits else Refusal("record_too_large", num_bytes, max_bytes), excerpt)
                begin, excerpt = -1, b""
            if is_behind:
                return
        if begin >= 0 and offset + len(held) - begin > max_bytes:
            is_whole = False
        done = max(searched, len(held) - len(_CLOSE) + 1)
        if begin >= 0 and is_whole:
            done = begin - offset
        held, offset = held[done:], offset + done
        searched = max(0, searched - done, len(held) - len(_CLOSE) + 1)
        if begin < 0 and offset + len(held) >= part.end + _HEAD_BYTES:
            return
    if begin >= 0:
        yield _Page(begin, Refusal("truncated_xml", offset + len(held) - begin), excerpt)
