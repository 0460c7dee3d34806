"""transforms.readers.gutenberg: books without what the project put around them."""

import gzip
import json

import pytest

from tests.transforms.readers.reading import read, source_of, texts_and_rules, whole
from transforms.readers.gutenberg import read_gutenberg

BOOK = "CHAPTER I.\n\nIt was a dark night in *** the mill.\n\nThe miller's End of Project was near.\n\nTHE END"
HEADER = """The Project Gutenberg eBook of The Mill, by A. Miller

This ebook is for the use of anyone anywhere in the United States.

Title: The Mill
       or, The River

Author: A. Miller

Release Date: January 2, 2003 [eBook #4567]
[Most recently updated: March 4, 2021]

Language: English

"""
LICENCE = (
    "\n\nUpdated editions replace this one.\n\n*** START: FULL LICENSE ***\n\nTHE FULL PROJECT GUTENBERG LICENSE\n"
)
SMALL_PRINT = "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*"
STARTS = [
    "*** START OF THE PROJECT GUTENBERG EBOOK THE MILL ***",
    "***START OF THE PROJECT GUTENBERG EBOOK THE MILL***",
    "*** START OF THIS PROJECT GUTENBERG EBOOK THE MILL,\nOR, THE RIVER ***",
    "*** START OF THIS PROJECT GUTENBERG ETEXT ***",
    f"***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***\nLegal.\n{SMALL_PRINT}",
    "*END THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
    f"{SMALL_PRINT}\n\n*** START OF THE PROJECT GUTENBERG EBOOK, THE MILL ***",
]
ENDS = [
    "*** END OF THE PROJECT GUTENBERG EBOOK THE MILL ***",
    "*** END OF THIS PROJECT GUTENBERG EBOOK THE MILL ***\n",
    "***END OF THE PROJECT GUTENBERG EBOOK THE MILL***",
    "End of the Project Gutenberg EBook of The Mill, by A.\n\n*** END OF THIS PROJECT GUTENBERG EBOOK THE MILL ***",
    "End of Project Gutenberg's The Mill, by A. Miller",
    "End of The Project Gutenberg Etext of The Mill",
    "",
]
CREDITS = [
    "",
    "Produced by Someone and the Online Distributed\nProofreading Team\n\n",
    "E-text prepared by X\n\n\n\nTranscribed from the 1900 edition by Y\n\n",
]


def write(tmp_path, text, *, encoding="utf-8", name="4567-0.txt"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("credit", CREDITS)
def test_marks(tmp_path, start, end, credit):
    """Whatever marks of the last thirty years a file has, the book alone comes out."""
    text = f"{HEADER}{start}\n\n\n{credit}{BOOK}\n\n\n{end}{LICENCE if end else ''}"
    (row,) = read(write(tmp_path, text.replace("\n", "\r\n")), "gutenberg")
    assert row["text"] == BOOK
    assert row["url"] == "https://www.gutenberg.org/ebooks/4567"


def test_metadata(tmp_path):
    """Title, author, language, date and number come from the header, and only from there."""
    path = write(tmp_path, f"{HEADER}{STARTS[0]}\n\n{BOOK}\n\nAuthor: nobody\n\n{ENDS[0]}")
    (row,) = read(path, "gutenberg")
    assert json.loads(row["metadata"]) == {
        "title": "The Mill or, The River",
        "author": "A. Miller",
        "release_date": "January 2, 2003 [eBook #4567]",
        "language": "English",
        "number": "4567",
    }
    assert row["location"] == f"{path}#0"
    assert "Author: nobody" in row["text"]


def test_files_without_marks(tmp_path):
    """A file without marks, or with those of one side, keeps what is not marked off."""
    assert [row["text"] for row in read(write(tmp_path, BOOK), "gutenberg")] == [BOOK]
    assert [row["text"] for row in read(write(tmp_path, f"Produced by X\n\n{BOOK}"), "gutenberg")] == [
        f"Produced by X\n\n{BOOK}"
    ]
    assert [row["text"] for row in read(write(tmp_path, f"{BOOK}\n{ENDS[0]}\nlicence"), "gutenberg")] == [BOOK]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252"])
@pytest.mark.parametrize(
    "declared", ["", "Character set encoding: ISO-8859-1\n\n", "Character set encoding: UTF-8\n\n"]
)
def test_encodings(tmp_path, encoding, declared):
    """Old files are in Latin-1, and say so or not."""
    book = BOOK + "\n\nD\u00e9j\u00e0 vu, \u00e0 la fran\u00e7aise, na\u00efve r\u00f4les."
    text = f"{HEADER}{declared}{STARTS[0]}\n\n{book}\n\n{ENDS[0]}"
    (row,) = read(write(tmp_path, text, encoding=encoding), "gutenberg")
    assert row["text"] == book


def test_declared_encodings(tmp_path):
    """What the header says decides where the bytes could be anything."""
    for encoding in ("iso8859-2", "koi8-r"):
        word = b"caf\xd5".decode(encoding)
        text = f"{HEADER}Character set encoding: {encoding}\n\n{STARTS[0]}\n\n{word}\n\n{ENDS[0]}"
        (row,) = read(write(tmp_path, text, encoding=encoding), "gutenberg")
        assert row["text"] == word


def test_marks_of_the_end_count_behind_the_start(tmp_path):
    """A header that speaks of the end is still a header."""
    path = write(tmp_path, f"End of Project Gutenberg's header\n{STARTS[0]}\n\n{BOOK}\n\n{ENDS[0]}")
    assert [row["text"] for row in read(path, "gutenberg")] == [BOOK]


def test_broken_files(tmp_path):
    """Empty files, damage, and books of nothing are rows with a rule."""
    empty = write(tmp_path, f"{HEADER}{STARTS[0]}\n\nProduced by X\n\n{ENDS[0]}")
    (row,) = read(empty, "gutenberg")
    assert (row["rule"], row["value"], row["threshold"]) == ("no_prose", 0, 1)
    assert row["url"] == "https://www.gutenberg.org/ebooks/4567"
    assert texts_and_rules(read(write(tmp_path, ""), "gutenberg")) == ["<empty_file>"]
    path = tmp_path / "x.txt.gz"
    path.write_bytes(gzip.compress(BOOK.encode() * 50)[:-5])
    assert texts_and_rules(read(path, "gutenberg")) == ["<truncated_gzip>"]
    path = write(tmp_path, "x" * 1000)
    (batch,) = read_gutenberg(source_of(path, "gutenberg"), whole(path), max_record_bytes=999)
    assert texts_and_rules(batch.to_pylist()) == ["<record_too_large>"]
