"""transforms.html: encodings, limits, and the content of pages."""

import json
import time
import zipfile

import pytest

from transforms.html import decode, resiliparse_text, trafilatura_text
from transforms.sandbox import Document, Refusal, Sandbox

PROSE = (
    "The mill grinds the grain that the river turns it with, and the miller keeps a tenth of the flour for himself. "
)
PAGE = f"""<!doctype html><html><head><title>Title</title><meta name="x" content="y"><style>p {{}}</style></head><body>
<nav><a href="/">Home</a> <a href="/about">About</a></nav>
<main><article><h1>Heading</h1><p>{PROSE * 3}</p><p>Second &amp; <b>bold</b> caf&eacute;.</p><img alt="picture" src=x>
<script>var script = 1;</script></article></main>
<div class="comments"><p>First comment!</p></div><footer>Copyright</footer></body></html>"""


@pytest.mark.parametrize("extract", [resiliparse_text, trafilatura_text])
def test_main_content(extract):
    """Content comes out as text; navigation, comments, scripts and image texts do not."""
    if extract is trafilatura_text:
        pytest.importorskip("trafilatura")
    text = extract(PAGE.encode(), "")
    assert PROSE.strip() in text
    assert "Second & bold caf\u00e9." in text
    for boilerplate in ("Home", "comment", "Copyright", "script", "picture", "<"):
        assert boilerplate not in text


def test_short_pages_are_read_whole():
    """Where the main content is short the page is taken without what stands around its content."""
    page = b"<body><nav>Home</nav><div class=sidebar><p>" + PROSE.encode() + b"</p></div><footer>Copyright</footer>"
    assert resiliparse_text(page, "") == PROSE.strip()
    assert resiliparse_text(b"<p>short", "") == "short"


@pytest.mark.parametrize("content", [b"", b" \n", b"<html><body></body>", b"<script>x</script>", b"<!-- <p>x"])
def test_empty(content):
    """A page without text says so."""
    assert resiliparse_text(content, "") == Refusal("extract_empty", 0, 1)


@pytest.mark.parametrize("start", [b"%PDF-1.4\n", b"\x89PNG\r\n", b"GIF89a", b"PK\x03\x04", b"\x1f\x8b\x08\0"])
def test_not_html(start):
    """A file of another kind is not taken for a page."""
    assert resiliparse_text(start + b"<p>text", "") == Refusal("not_html")


HOSTILE = {
    "nested": "<div>" * 100_000 + PROSE + "</div>" * 100_000,
    "articles": "<article><main>" * 50_000 + PROSE,
    "attributes": f"<p {' '.join(f'a{number}=1' for number in range(100_000))}>{PROSE}",
}


@pytest.mark.parametrize("page", HOSTILE.values(), ids=HOSTILE)
def test_a_page_that_takes_too_long_costs_itself(page):
    """What takes the extractor minutes, quadratic in depth or attributes, is ended, and the next page comes out."""
    sandbox = Sandbox("transforms.html:resiliparse_text", seconds=0.3)
    sandbox.submit([Document(page.encode()), Document(PAGE.encode())])
    timeout, text = sandbox.collect()
    sandbox.close()
    assert timeout == Refusal("extract_timeout", 0.3, 0.3)
    assert PROSE.strip() in text.decode()


HARMLESS = {
    "formatting": "<b>" * 10_000 + PROSE,
    "lists": "<ul><li>" * 5_000 + PROSE,
    "tables": "<table><tr><td>" * 3_000 + PROSE,
    "brackets": PROSE + "<" * 1_000_000,
    "entities": PROSE + "&amp" * 100_000,
    "flat": f"<p>{PROSE}</p>" * 5_000,
    "nul": f"<p>{PROSE}\0" + "\0" * 100_000,
}


@pytest.mark.parametrize("page", HARMLESS.values(), ids=HARMLESS)
def test_odd_pages_give_their_text(page):
    """Pages that look as bad and are not come out within the time of any other page."""
    started = time.process_time()
    text = resiliparse_text(page.encode(), "")
    assert time.process_time() - started < 2
    assert PROSE.strip() in text


META = "<meta charset=windows-1251>\u043c\u0438\u0440"


@pytest.mark.parametrize(
    ("content", "charset", "text"),
    [
        ("caf\u00e9".encode(), "", "caf\u00e9"),
        ("caf\u00e9".encode(), "iso-8859-1", "caf\u00e9"),  # a server that says the same of all its pages
        ("caf\u00e9".encode("latin-1"), "iso-8859-1", "caf\u00e9"),
        ("caf\u00e9 \u2019".encode("cp1252"), "iso-8859-1", "caf\u00e9 \u2019"),  # as browsers read it
        ("caf\u00e9".encode("utf-8-sig"), "koi8-r", "caf\u00e9"),
        ("caf\u00e9".encode("utf-16-le"), "utf-16", "caf\u00e9"),
        (b"\xff\xfe" + "caf\u00e9".encode("utf-16-le"), "", "caf\u00e9"),
        (b"\xfe\xff" + "caf\u00e9".encode("utf-16-be"), "utf-8", "caf\u00e9"),
        (META.encode("cp1251"), "", META),
        (META.encode("koi8-r"), "koi8-r", META),
        ("\u65e5\u672c\u8a9e".encode("shift_jis"), "x-sjis", "\u65e5\u672c\u8a9e"),
        ("\u65e5\u672c\u8a9e".encode("iso2022_jp"), "iso-2022-jp", "\u65e5\u672c\u8a9e"),
        ("\u65e5\u672c\u8a9e".encode() + b"\x1b", "", "\u65e5\u672c\u8a9e\x1b"),
        ("\u00e9".encode() * 300 + b"\xe9\xff", "iso-8859-1", "\u00e9" * 300 + "\ufffd\ufffd"),  # UTF-8 with slips
        ("d\u00e9j\u00e0 vu \u00e0 Nice".encode("latin-1"), "utf-8", "d\u00e9j\u00e0 vu \u00e0 Nice"),
        (b"abc", "no-such-encoding", "abc"),
        (b"a\0b", "", "a\0b"),
        (b"", "", ""),
    ],
)  # fmt: skip
def test_decode(content, charset, text):
    """The mark, then UTF-8, then HTTP, then HTML, then the bytes decide."""
    if charset == "utf-16":  # no mark and valid UTF-8 with NULs: only the declaration tells
        content = b"\xe9\xe9" + content
        text = "\ue9e9" + text
    assert decode(content, charset) == text


LEGACY = {
    "wesnoth/ru": ("cp1251", "koi8-r"),
    "wesnoth/ja": ("shift_jis", "euc_jp"),
    "manpages/zh_CN": ("gb18030",),
    "manpages/zh_TW": ("big5",),
    "wesnoth/pl": ("cp1250",),
    "libreoffice-help/el": ("iso8859-7",),
}


@pytest.mark.parametrize("name", LEGACY)
def test_undeclared_encodings_of_real_texts(shared_data, name):
    """Real texts in the encodings of the old web come back in nine of ten cases, although nothing says which."""
    from tests.corpora import read_jsonl

    rows = read_jsonl(shared_data / "text" / f"{name}.jsonl.zst")
    for encoding in LEGACY[name]:
        good = total = 0
        for row in rows[:: max(1, len(rows) // 60)]:
            text = row["text"][:20_000]
            stored = text.encode(encoding, "ignore")
            if len(stored) < 500:
                continue
            total += 1
            good += decode(stored, "") == stored.decode(encoding)
        assert good >= 0.9 * total > 20, (encoding, good, total)


def test_real_pages(shared_data):
    """Pages of all kinds give text, all of them valid, and the article is in it."""
    folder = shared_data / "html_truth" / "scrapinghub"
    truth = [json.loads(line) for line in (folder / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
    pages = zipfile.ZipFile(folder / "pages.zip")
    found = words = 0
    for row in truth[::4]:
        text = resiliparse_text(pages.read(row["file"]), "")
        assert isinstance(text, str)
        text.encode()
        wanted = row["text"].split()
        words += len(wanted)
        found += len(set(wanted) & set(text.split())) / len(set(wanted)) * len(wanted)
    assert found > 0.95 * words
