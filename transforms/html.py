"""HTML to text: the main content of a page. Each extractor is a Parser for the sandbox.

tests/bench/html_text.py has the figures: of the 567 pages with truth resiliparse gets F1 0.934 (scrapinghub) and 0.872
(trafilatura) at 100 to 180 MB/s, trafilatura 0.959 and 0.925 at 8 to 13. Nothing else that reads more than 20 MB/s was
found: rs-trafilatura takes 44 ms for a page by its own account.

Both walk up from every node: 10,000 nested elements take resiliparse 2 to 5 s, 100,000 take minutes, and so do 100,000
attributes of one element. Only the time limit of the sandbox ends that. A look at the depth beforehand, by counting
brackets in steps, cost 20% of the extractor's time on real pages, which are 40 deep at most.
"""

import codecs
import re
from collections.abc import Callable
from functools import partial

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5
from resiliparse.parse.html import HTMLTree

from transforms.sandbox import Refusal

_SHORT_TEXT = 250  # below it trafilatura, too, doubts that it has found the content (its MIN_EXTRACTED_SIZE)
_AROUND_CONTENT = ("nav", "header", "footer", "aside", "form", "button", "select", "iframe", "noscript")
_META_BYTES = 1 << 16
_META = re.compile(rb"<meta[^>]{1,512}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_BINARY = (b"%PDF-", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"PK\x03\x04", b"\x1f\x8b\x08", b"RIFF", b"\x00\x00\x01\x00")
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def resiliparse_text(content: bytes, charset: str) -> str | Refusal:
    """Return the main content of a page as resiliparse finds it, without comments, dates, authors and image texts.

    Where that is short, the whole page without navigation and forms if that is longer.

    Args:
        content: the page as served, without transfer and content encoding.
        charset: what HTTP says of its encoding, or empty.

    Refusals: `not_html` (a PDF, an image, an archive), `extract_empty` (value, threshold: characters).
    """
    return _extract(content, charset, _resiliparse)


def trafilatura_text(content: bytes, charset: str) -> str | Refusal:
    """Return the main content of a page as trafilatura finds it; otherwise the same as `resiliparse_text`."""
    return _extract(content, charset, _trafilatura)


def _extract(content: bytes, charset: str, extractor: Callable[[str], str]) -> str | Refusal:
    if content.startswith(_BINARY):
        return Refusal("not_html")
    return extractor(decode(content, charset)).strip() or Refusal("extract_empty", 0, 1)


def _resiliparse(html: str) -> str:
    # Comments, dates and image texts left out: F1 0.896 -> 0.933 and 0.840 -> 0.863. The whole page where the content
    # is short, as it is on 3% of the pages: 0.863 -> 0.871.
    tree = HTMLTree.parse(html)  # once for both: 3% of the time
    extract = partial(extract_plain_text, tree, comments=False, post_meta=False, alt_texts=False)
    text = extract(main_content=True)
    return text if len(text) >= _SHORT_TEXT else max(text, extract(skip_elements=_AROUND_CONTENT), key=len)


def _trafilatura(html: str) -> str:
    from trafilatura import extract  # noqa: PLC0415  # an extra, and 0.5 s to import

    return extract(html, include_comments=False) or ""


def decode(content: bytes, charset: str) -> str:
    """Return a page as text: by its byte order mark, else as UTF-8 if it is that, else as HTTP, HTML or its bytes say.

    UTF-8 before what HTTP says, other than a browser: servers send one encoding for all their pages, and text in
    another encoding is never valid UTF-8. Bytes that the encoding does not know become U+FFFD.
    """
    return decode_named(content, charset)[0]


def decode_named(content: bytes, charset: str) -> tuple[str, str]:
    """Return a page as `decode` does, and the name of the encoding that it was read in."""
    for mark, marked in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(marked, "replace"), marked
    escaped = b"\x1b" in content  # ISO-2022-JP is ASCII with escapes
    try:
        if not escaped:
            return content.decode(), "utf-8"
    except UnicodeDecodeError:
        text = content.decode("utf-8", "replace")
        if 50 * text.count("\ufffd") < len(text) - len(content.translate(None, _NOT_ASCII)):
            return text, "utf-8"  # with a few slips, such as a text cut at a number of bytes
    meta = _META.search(content, 0, _META_BYTES)
    for name in (charset, meta[1].decode() if meta else ""):
        encoding = map_encoding_to_html5(name, fallback_utf8=False) if name else None
        if encoding is not None and (escaped or encoding != "utf-8"):
            return _decode(content, encoding)
    return _decode(content, detect_encoding(content) or "utf-8")


_NOT_ASCII = bytes(range(128, 256))


def _decode(content: bytes, encoding: str) -> tuple[str, str]:
    try:
        return content.decode(encoding, "replace"), encoding
    except LookupError:  # an encoding of browsers that Python lacks
        return content.decode("utf-8", "replace"), "utf-8"
