"""Project Gutenberg: one book a file, without its header, licence, and the credits of who made the file."""

import re
from collections.abc import Iterator

import pyarrow as pa

from transforms.html import decode
from transforms.readers.plain_text import whole_bytes
from transforms.readers.rows import MAX_RECORD_BYTES, Rows, json_bytes, readable_path
from transforms.readers.source import Source
from transforms.unit import Slice

# The header ends with the first of these in use since 2000, and before with the last line of the small print.
_START = re.compile(
    r"\*{3}\s*START OF (?:THE|THIS) PROJECT GUTENBERG E(?:BOOK|TEXT)[^*]{0,500}\*{3}"
    r"|\*END\b[* ]*THE SMALL PRINT![^\n]{0,200}\*END\*",
    re.IGNORECASE,
)
_END = re.compile(
    r"\*{3}\s*END OF (?:THE|THIS) PROJECT GUTENBERG E(?:BOOK|TEXT)"
    r"|^[ \t]*END OF (?:THE |THIS )?PROJECT GUTENBERG(?:'S|\u2019S)?\b"
    r"|\*{3}\s*START: FULL LICENSE\s*\*{3}",
    re.IGNORECASE | re.MULTILINE,
)
_HEADER_CHARS = 40_000  # the longest small print has 20,000
_CREDIT = re.compile(
    r"(?:produced|e-?text prepared|this e-?(?:text|book) was|this file was|transcribed|prepared|scanned|proofread"
    r"|html version|digitized|updated editions) (?:by|from|produced|prepared|scanned|made|created|will)\b",
    re.IGNORECASE,
)
_CREDIT_PARAGRAPHS = 4
_FIELD = re.compile(
    r"^(Title|Author|Translator|Editor|Language|Release Date):[ \t]*(\S[^\n]*(?:\n[ \t]+\S[^\n]*)*)", re.MULTILINE
)
_NUMBER = re.compile(r"\[E(?:Book|text) ?#(\d+)\]", re.IGNORECASE)
_CHARSET = re.compile(rb"^Character set encoding:[ \t]*(?:ISO[ -]?)?([A-Za-z0-9_.:-]+)", re.IGNORECASE | re.MULTILINE)


def read_gutenberg(
    source: Source, part: Slice, *, max_record_bytes: int = MAX_RECORD_BYTES
) -> Iterator[pa.RecordBatch]:
    """Yield the book that a file is, as one batch of schema ROWS.

    A file without the marks of Project Gutenberg is taken as it is. `metadata` holds title, author, translator, editor,
    language, release date and number where the header has them, and the address is that of the book. The encoding is
    UTF-8, or what the header says, or what the bytes look like.

    Rules of a broken one: those of plain text but `bad_utf8`, and `no_prose` (value, threshold: characters) where
    nothing stands between the marks.

    Raises:
        OSError: the file is gone or unreadable.
    """
    del source  # has no say in what a book is
    rows = Rows()
    location = f"{readable_path(part.path)}#0"
    content = whole_bytes(part.path, rows, max_bytes=max_record_bytes)
    if content is not None:
        declared = _CHARSET.search(content, 0, _HEADER_CHARS)
        text = decode(content, declared[1].decode() if declared else "").replace("\r\n", "\n")
        book, header = _trimmed(text)
        fields = {name.lower().replace(" ", "_"): " ".join(value.split()) for name, value in _FIELD.findall(header)}
        number = _NUMBER.search(header)
        if number:
            fields["number"] = number[1]
        url = f"https://www.gutenberg.org/ebooks/{number[1]}" if number else None
        if book:
            metadata = json_bytes(fields) if fields else None
            rows.add(book, location=location, url=url, metadata=metadata, num_bytes=len(book))
        else:
            rows.add_broken("no_prose", location=location, url=url, value=0, threshold=1, excerpt=content[:256])
    yield rows.take()


def _trimmed(text: str) -> tuple[str, str]:
    """Return the book, and the header before it."""
    starts = list(_START.finditer(text, 0, _HEADER_CHARS))
    start = starts[-1].end() if starts else 0  # some have both kinds of marks
    end = _END.search(text, start)
    book = text[start : end.start() if end else len(text)].strip()
    for _ in range(_CREDIT_PARAGRAPHS if starts else 0):
        paragraph, _, rest = book.partition("\n\n")
        if not _CREDIT.match(paragraph):
            break
        book = rest.strip()
    return book, text[:start]
