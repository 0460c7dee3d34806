"""transforms.readers.mediawiki: the articles of a dump, damage included."""

import bz2
import gzip
import json
import tracemalloc
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.readers.reading import COMPRESS, SUFFIX, read, source_of, texts_and_rules, whole
from transforms.readers import mediawiki, ranges
from transforms.readers.mediawiki import read_mediawiki
from transforms.readers.ranges import ByteRange

HEAD = b"""<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" xml:lang="de">
  <siteinfo><sitename>Wikipedia</sitename><base>https://de.wikipedia.org/wiki/Wikipedia:Hauptseite</base>
    <namespaces><namespace key="-2" case="first-letter">Medium</namespace><namespace key="0" case="first-letter" />
      <namespace key="6" case="first-letter">Datei</namespace><namespace key="14">Kategorie</namespace>
    </namespaces></siteinfo>\n"""
TAIL = b"</mediawiki>\n"


def page(text, title="Title", *, ns="0", number=1, extra="", model="wikitext"):
    revision = f"<id>{number + 1000}</id><timestamp>2024-01-02T03:04:05Z</timestamp><model>{model}</model>"
    body = (
        f'<text bytes="9" xml:space="preserve">{escape(text)}</text>'
        if text is not None
        else '<text deleted="deleted" />'
    )
    head = f"<title>{escape(title)}</title>\n<ns>{ns}</ns>\n<id>{number}</id>{extra}"
    return f"  <page>\n{head}<revision>{revision}{body}</revision>\n  </page>\n".encode()


def write(tmp_path, *pieces, name="x.xml"):
    path = tmp_path / name
    path.write_bytes(b"".join(pieces))
    return path


@pytest.mark.parametrize("codec", [None, *COMPRESS])
def test_articles(tmp_path, codec):
    """Articles become text, with title, address, ids and date; links to files of the wiki's language are none."""
    pages = [
        page("'''Eins''' [[Datei:x.jpg|mini|Bild]][[Kategorie:X]]ist [[eine|die]] Zahl & < 2.", "Eins & Zwei", number=7)
    ]
    pages.append(page("caf\u00e9 \U0001f600", "\u00c4 (b)/c?"))
    data = HEAD + b"".join(pages) + TAIL
    path = write(tmp_path, COMPRESS[codec](data) if codec else data, name="x.xml" + SUFFIX.get(codec, ""))
    rows = read(path, "mediawiki")
    assert texts_and_rules(rows) == ["Eins ist die Zahl & < 2.", "caf\u00e9 \U0001f600"]
    assert [row["url"] for row in rows] == [
        "https://de.wikipedia.org/wiki/Eins_%26_Zwei",
        "https://de.wikipedia.org/wiki/%C3%84_(b)/c%3F",
    ]
    assert json.loads(rows[0]["metadata"]) == {
        "title": "Eins & Zwei",
        "page_id": "7",
        "revision_id": "1007",
        "date": "2024-01-02T03:04:05Z",
    }
    assert [row["location"] for row in rows] == [f"{path}#{data.index(b'<page>')}", f"{path}#{data.rindex(b'<page>')}"]


def test_multistream(tmp_path):
    """A dump of many bzip2 streams is one dump."""
    texts = [f"article {number}" for number in range(300)]
    streams = [b"".join(page(text) for text in texts[at : at + 100]) for at in range(0, 300, 100)]
    path = write(tmp_path, *map(bz2.compress, [HEAD, *streams, TAIL]), name="x.xml.bz2")
    assert texts_and_rules(read(path, "mediawiki")) == texts


@pytest.mark.parametrize(
    ("bad", "rule", "value"),
    [
        (page("x", "Talk:X", ns="1"), "not_article", 1),
        (page("x", "Media:X", ns="-2"), "not_article", -2),
        (page("x", ns="odd"), "not_article", None),
        (page("#REDIRECT [[x]]", extra='<redirect title="x" />'), "redirect", None),
        (page("{}", model="json"), "not_wikitext", None),
        (page(None), "missing_text", None),
        (page(""), "missing_text", None),
        (b"<page><title>x</title></page>", "missing_text", None),
        (page("{{box}}"), "extract_empty", 0),
        (page("x")[:-12] + b"</revision></page>\n", "bad_xml", ...),
        (page("a &amp; b").replace(b"&amp;amp;", b"&bomb;"), "bad_xml", ...),
        (page("a").replace(b">a<", b">a\0b<"), "bad_xml", ...),
        (page("a").replace(b">a<", b">a\xffb<"), "bad_xml", ...),
        (page("a").replace(b">a<", b">a < b<"), "bad_xml", ...),
        (page("a").replace(b"</page>", b""), "bad_xml", ...),
        (page("x" * 9_000_000), "record_too_large", 9_000_000),
        (page("<pre>" * 900_000), "extract_timeout", 0.5),
    ],
)
def test_pages_without_text(tmp_path, monkeypatch, bad, rule, value):
    """Each page that gives no text is a row with rule, value, place and beginning, and its neighbours come out."""
    monkeypatch.setattr(mediawiki, "_SECONDS", 0.5)
    before = HEAD + page("before")
    path = write(tmp_path, before, bad, page("behind"), TAIL)
    rows = read(path, "mediawiki")
    assert texts_and_rules(rows) == ["before", f"<{rule}>", "behind"]
    at = bad.index(b"<page>")
    assert rows[1]["location"] == f"{path}#{len(before) + at}"
    if value is ...:
        value = len(bad[at:].rstrip()) if b"</page>" in bad else len(bad) - at + 2
    assert rows[1]["value"] == value


def test_histories(tmp_path):
    """Of a page with all its revisions the last one is read."""
    first, second = page("old", number=1), page("new", number=2)
    revision = second[second.index(b"<revision>") : second.index(b"</page>")]
    path = write(tmp_path, HEAD, first.replace(b"</page>", revision + b"</page>"), TAIL)
    (row,) = read(path, "mediawiki")
    assert row["text"] == "new"
    assert json.loads(row["metadata"])["revision_id"] == "1002"


def test_entities_and_document_types(tmp_path):
    """A bomb of entities in the document type of the file is never expanded: its pages are parsed without it."""
    bomb = (
        b'<!DOCTYPE m [<!ENTITY a "'
        + b"x" * 1000
        + b'">'
        + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 100) for n in range(8))
    )
    path = write(tmp_path, bomb, b"]>", HEAD, page("a").replace(b">a<", b">&i;<"), page("good"), TAIL)
    assert texts_and_rules(read(path, "mediawiki")) == ["<bad_xml>", "good"]
    path = write(tmp_path, HEAD, page("a").replace(b"<page>", b'<page><!DOCTYPE m [<!ENTITY i "x">]>'), page("good"))
    assert texts_and_rules(read(path, "mediawiki")) == ["<bad_xml>", "good"]


def test_deep_pages(tmp_path):
    """A hundred thousand elements in each other are parsed without recursion."""
    deep = b"<x>" * 100_000 + b"</x>" * 100_000
    path = write(tmp_path, HEAD, page("one").replace(b"<revision>", deep + b"<revision>"), page("two"), TAIL)
    assert texts_and_rules(read(path, "mediawiki")) == ["one", "two"]


@pytest.mark.parametrize("codec", [None, *COMPRESS])
def test_truncated(tmp_path, codec):
    """What lies before the cut comes out, and one row tells of the page that it is in."""
    pages = [page(f"article {number} " + f"{number * 7919} " * 300) for number in range(100)]
    data = HEAD + b"".join(pages)
    stored = COMPRESS[codec](data) if codec else data
    rows = read(write(tmp_path, stored[: len(stored) * 3 // 4], name="x.xml" + SUFFIX.get(codec, "")), "mediawiki")
    good = [row["text"] for row in rows if not row["rule"]]
    assert [text.split()[1] for text in good] == [str(number) for number in range(len(good))]
    assert [row["rule"] for row in rows[len(good) :]] == [f"truncated_{codec or 'xml'}"]
    if codec is None:
        assert rows[-1]["value"] == len(stored) * 3 // 4 - int(rows[-1]["location"].rpartition("#")[2])


def test_damaged_stream(tmp_path):
    """Of a dump of many streams a damaged one is lost, and the others are read."""
    streams = [bz2.compress(b"".join(page(f"{at + number}") for number in range(50))) for at in range(0, 200, 50)]
    broken = bytearray(streams[1])
    broken[len(broken) // 2] ^= 0xFF
    path = write(tmp_path, bz2.compress(HEAD), streams[0], bytes(broken), *streams[2:], name="x.xml.bz2")
    expected = [*range(50), *range(100, 200)]
    assert [row["text"] for row in read(path, "mediawiki") if not row["rule"]] == [str(number) for number in expected]
    assert [row["rule"] for row in read(path, "mediawiki") if row["rule"]] == ["corrupt_bzip2"]
    places = [int(row["location"].rpartition("#")[2]) for row in read(path, "mediawiki")]
    assert places == sorted(places)
    assert len(set(places)) >= len(places) - 1


def test_damage_within_a_page(tmp_path):
    """The row of the damage has place and beginning of the page it is in, and later places count what came out."""
    numbers = "".join(f"{number * 7919 % 10_007} " for number in range(20_000))
    members = [gzip.compress(page(f"{number} {numbers}")) for number in range(3)]
    broken = members[1][: len(members[1]) // 2]
    path = write(tmp_path, gzip.compress(HEAD), members[0], broken, b"<junk>" * 99, members[2], name="x.xml.gz")
    rows = read(path, "mediawiki")
    assert [row["rule"] for row in rows] == [None, "corrupt_gzip", None]
    assert rows[1]["text"].startswith("<page>")
    first, second, third = (int(row["location"].rpartition("#")[2]) for row in rows)
    assert second == first + len(page(f"0 {numbers}"))
    assert third > second + len(numbers) // 3


@pytest.mark.parametrize(
    ("data", "rule"), [(b"", "empty_file"), (b"<html>" * 99, "not_mediawiki"), (HEAD + TAIL, "not_mediawiki")]
)
def test_no_pages(tmp_path, data, rule):
    """A file without pages is one row."""
    assert texts_and_rules(read(write(tmp_path, data), "mediawiki")) == [f"<{rule}>"]


@pytest.mark.parametrize("is_dump", [True, False])
def test_ranges_before_the_first_page(tmp_path, is_dump):
    """A dump whose first range ends before its first page has pages; what has none in any range is told once."""
    page_bytes = page("far") if is_dump else b""
    path = write(tmp_path, HEAD, b" " * (3 << 20), page_bytes, TAIL)
    expected = ["far"] if is_dump else ["<not_mediawiki>"]
    assert texts_and_rules(read(path, "mediawiki", unit_bytes=1 << 20)) == expected


def test_pages_above_the_limit_are_not_held(tmp_path):
    """A page of 100 MB is read over; one at the limit is a page."""
    large = page("x" * 100).replace(b"x" * 100, b"x" * 100_000_000)
    path = write(tmp_path, bz2.compress(HEAD), bz2.compress(large), bz2.compress(page("last")), name="x.xml.bz2")
    read(write(tmp_path, HEAD, page("small"), name="small.xml"), "mediawiki")  # loads kernels, which is memory too
    tracemalloc.start()
    try:
        batches = list(read_mediawiki(source_of(path, "mediawiki"), whole(path), max_page_bytes=1 << 20))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert texts_and_rules(rows) == ["<record_too_large>", "last"]
    assert (rows[0]["value"], rows[0]["threshold"]) == (len(large.strip()), 1 << 20)
    assert peak < 24_000_000
    size = len(page("abc").strip())
    for limit, expected in ((size, "abc"), (size - 1, "<record_too_large>")):
        path = write(tmp_path, HEAD, page("abc"), page("x"), name="y.xml")
        batches = read_mediawiki(source_of(path, "mediawiki"), whole(path), max_page_bytes=limit)
        assert texts_and_rules([row for batch in batches for row in batch.to_pylist()])[0] == expected


@settings(max_examples=100, deadline=None)
@given(
    pieces=st.lists(
        st.sampled_from([page("a"), page("bb"), b"<page>", b"</page>", b"<pa", b"ge>", b"junk", b"</pag"]), max_size=10
    ),
    size=st.integers(1, 40),
)
def test_any_cut_of_the_stream(tmp_path_factory, pieces, size):
    """However the bytes arrive, in whatever pieces, the pages are the same."""
    data = HEAD + b"".join(pieces) + TAIL
    folder = tmp_path_factory.mktemp("wiki")
    path = write(folder, data)
    expected = list(mediawiki._pages(ByteRange(str(path)), 1 << 20))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "decompressed", lambda path: (data[at : at + size] for at in range(0, len(data), size)))
        found = list(mediawiki._pages(ByteRange(str(path)), 1 << 20))
    assert [(page.offset, page.content) for page in found] == [(page.offset, page.content) for page in expected]
    assert sum(isinstance(page.content, bytes) for page in found) >= (
        pieces.count(page("a")) if set(pieces) <= {page("a"), b"junk"} else 0
    )


def test_real_dump(shared_data):
    """The sample of the English Wikipedia: redirects are told, articles read as prose."""
    rows = read(shared_data / "text" / "wikipedia-dump" / "enwiki-pages-articles-sample.xml.bz2", "mediawiki")
    rules = [row["rule"] for row in rows]
    assert (len(rules), rules.count("redirect"), rules.count(None)) == (104, 48, 56)
    articles = {json.loads(row["metadata"])["title"]: row["text"] for row in rows if not row["rule"]}
    assert articles["Autism"].startswith("Autism is a neurodevelopmental disorder characterized by impaired social")
    text = "\n".join(articles.values())
    for markup in ("{{", "}}", "[[", "]]", "<ref", "''", "&nbsp;", "Category:", "File:"):
        assert text.count(markup) <= 3, markup
