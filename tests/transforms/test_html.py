"""transforms.html: encodings, limits, and the content of pages."""

import json
import time
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resiliparse.parse.html.tree import HTMLTree

from transforms import html
from transforms.html import MAX_DEPTH, decode, resiliparse_text, trafilatura_text
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


@pytest.mark.parametrize(
    ("page", "depth"),
    [
        ("<div>" * 10_000 + PROSE + "</div>" * 10_000, 10_003),
        ("<article><main>" * 5_000 + PROSE, 10_003),
        ("<ul><li>" * 40_000 + PROSE, 80_003),
        ("<p>x</p>" * 9000 + "<b>" * (MAX_DEPTH - 2) + "x", MAX_DEPTH + 1),
    ],
)
def test_too_deep(page, depth):
    """Deep nesting is refused before an extractor walks up from each of its nodes."""
    started = time.process_time()
    assert resiliparse_text(page.encode(), "") == Refusal("html_too_deep", depth, MAX_DEPTH)
    assert time.process_time() - started < 1


def test_many_tags_are_not_deep():
    """Elements without end tags and long flat pages are no nesting, and neither is what just reaches the limit."""
    for page in (
        "<br>x<img>" * 9000,
        "<p>x" * 9000,
        "<p>x</p>" * 9000,
        "<p>x</p>" * 9000 + "<b>" * (MAX_DEPTH - 3) + "x",
    ):
        assert isinstance(resiliparse_text(page.encode(), ""), str)
    assert not html._may_be_deep(b"<p>x</p>" * 9000)


def test_end_tags_across_steps(monkeypatch):
    """The cheap test counts in steps of 4 KiB, and misses no end tag that lies across two."""
    monkeypatch.setattr(html, "MAX_DEPTH", 4)
    page = b""
    for step in range(1, 20):
        page += b"<b>".ljust(step * 4096 - 1 - len(page), b"x") + b"</b>"
    assert not html._may_be_deep(page)


def element(children: list[str]) -> str:
    return f"<div>{''.join(children)}</div>"


TREE = st.recursive(st.just("x"), lambda inner: st.lists(inner, min_size=1, max_size=3).map(element), max_leaves=40)


@settings(max_examples=100, deadline=None)
@given(body=TREE)
def test_depth(body):
    """The depth of a tree is that of its deepest text, counted from the document."""
    deepest = depth = 0
    for part in body.split("<"):
        depth += {"d": 1, "/": -1}.get(part[:1], 0)
        deepest = max(deepest, depth)
    assert html._depth(HTMLTree.parse(f"<body>{body}")) == deepest + 3


@settings(max_examples=100, deadline=None)
@given(
    page=st.lists(st.sampled_from(["<b>", "</b>", "<i>", "</i>", "x", "<br>"]), max_size=200), limit=st.integers(4, 9)
)
def test_cheap_test_of_depth(page, limit):
    """What the cheap test lets through, having counted brackets, is not deeper than the limit."""
    text = "".join(page)
    opened = depth = 0
    for part in page:  # end tags without a start tag would let it count too little
        depth += {"<b>": 1, "<i>": 1, "</b>": -1, "</i>": -1}.get(part, 0)
        opened = min(opened, depth)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html, "MAX_DEPTH", limit)
        if opened == 0 and not html._may_be_deep(text.encode()):
            assert html._depth(HTMLTree.parse(text)) <= limit + 4  # document, html, body and the text itself


def test_a_page_that_takes_too_long_costs_itself():
    """An element of a hundred thousand attributes, quadratic in the parser, is ended by the sandbox."""
    attributes = " ".join(f"a{number}=1" for number in range(100_000))
    sandbox = Sandbox("transforms.html:resiliparse_text", seconds=0.5)
    sandbox.submit([Document(f"<p {attributes}>x".encode()), Document(PAGE.encode())])
    timeout, text = sandbox.collect()
    sandbox.close()
    assert timeout == Refusal("extract_timeout", 0.5, 0.5)
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
