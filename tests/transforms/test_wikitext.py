"""transforms.wikitext: what a reader of an article reads."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms import wikitext
from transforms.sandbox import Document, Refusal, Sandbox
from transforms.wikitext import article_text, without_nested

HINT = "file\nimage\nmedia\ncategory\ndatei"


def text_of(source: str) -> str | Refusal:
    return article_text(source.encode(), HINT)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("plain", "plain"),
        ("'''bold''', ''italic'' and '''''both'''''", "bold, italic and both"),
        ("an [[article]], [[article|another]], [[a (b)|]]x, [[ab]]s", "an article, another, x, abs"),
        ("[[File:x.jpg|thumb|a ''caption'' with [[link]]]]text", "text"),
        ("[[ datei : x.jpg]]a[[image:y.png|20px]]b[[Category:Z]]c[[:Category:Z]]d", "abcCategory:Zd"),
        ("[[de:Seite]][[zh-min-nan:x]][[en:Page|page]] and [[C:64]]", "page and C:64"),
        ("[http://a.b text ''here''] and [http://a.b] or http://a.b/c", "text here and or http://a.b/c"),
        ("a{{template|b={{nested|c}}|d}}e", "ae"),
        ("a<ref>note {{cite}}</ref>b<ref name=x/>c<ref name='y'>[[z]]</ref >d", "abcd"),
        ("a<!-- comment -->b<!-- {{ -->c<!-- never closed", "abc"),
        ("a\n{| class=x\n|-\n| cell {{t}}\n{|\n| inner\n|}\n|}\nb", "a\n\nb"),
        ("a<gallery>\nFile:x.jpg|y\n</gallery>b<math>\\frac{a}{{b}}</math>c", "abc"),
        ("<nowiki>{{not a template}} [[x]]</nowiki>", "{{not a template}} [[x]]"),
        ("a &amp; b&nbsp;c &lt;d&gt; &#65;", "a & b c <d> A"),
        ("one<br>two<br />three", "one\n\ntwo\n\nthree"),
        ("* one\n* two\n# three\n; term : definition\n: indented", "one\ntwo\nthree\nterm definition\nindented"),
        ("x __NOTOC__ y __FORCETOC__", "x y"),
        ("Paris ({{IPA|x}}; {{lang|fr}}) is (it is) big ( , ).", "Paris is (it is) big."),
        ("\u6771\u4eac\uff08{{lang}}\u3001{{x}}\uff09\u306f", "\u6771\u4eac\u306f"),
        ("'''Name''' ''{{lang}}'' is", "Name is"),
        ("''{{a}}'' x '''{{b}}''' y", "x y"),
        ("an ''unclosed quote", "an unclosed quote"),
        ("a<small>b</small><sup>2</sup><span style=x>c</span><div>block</div>d", "ab2c\nblock\nd"),
        ("a\n\n\n\n b  c\t\n\nd", "a\n\nb c\n\nd"),
        ("{{{argument|default}}}x", "x"),
    ],
)
def test_markup(source, text):
    """Each kind of markup gives what is read of it, or nothing."""
    assert text_of(source) == text


def test_headings():
    """Headings stand between empty lines, and those without text below them are left out."""
    source = "lead\n== A ==\ntext a\n=== A1 ===\n{{only|a box}}\n== ''B'' [[b]] ==\n=== B1 ===\ntext b\n"
    source += "== References ==\n<references/>"
    assert text_of(source) == "lead\n\nA\n\ntext a\n\nB b\n\nB1\n\ntext b"
    assert text_of("== A ==\n== B ==\nx") == "B\n\nx"
    assert text_of("== A ==\na\n=== B ===\nb\n=== C ===\nc") == "A\n\na\n\nB\n\nb\n\nC\n\nc"
    assert text_of("= A =\n== B ==\n== C ==\nx\n= D =\n") == "A\n\nC\n\nx"


def test_what_is_taken_out_first():
    """Templates, notes, tables and comments go; what only looks like one, in a place where none can be, stays."""
    assert without_nested("a{{b}}c<ref>d</ref>e<ref name=f/>g<!-- {{ -->h") == "a\ufdd0c\ufdd0e\ufdd0g\ufdd0h"
    for source in ("<nowiki>{{</nowiki>", "<pre a=b>}}</pre >", "<math>a_{{b}}</math>", "a {| b", "c |} d"):
        assert without_nested(source) == source


@pytest.mark.parametrize("source", ["", "{{box}}", "== Heading ==\n", "[[Category:X]]\n<!-- x -->", "''''"])
def test_empty(source):
    """An article without text says so."""
    assert text_of(source) == Refusal("extract_empty", 0, 1)


@pytest.mark.parametrize(
    "source",
    [
        "a {{ b",
        "a }} b",
        "{{ <ref> }} </ref>",
        "<ref> x",
        "</ref>",
        "{|\n x",
        "\n|}\n",
        "x{{{a}}}",
        "x{{{{b}}|c}}",
        "{{ {|\n}}\n|}",
    ],
)
def test_what_does_not_close_is_parsed_by_grammar(source):
    """Where braces do not close as they open nothing is taken out beforehand."""
    assert without_nested(source) is None
    assert isinstance(text_of(source), str)


@settings(max_examples=300, deadline=None)
@given(
    pieces=st.lists(
        st.sampled_from(
            [
                "a ",
                "''",
                "{{",
                "}}",
                "{{b|c}}",
                "<ref>",
                "</ref>",
                "<!--",
                "-->",
                "\n{|\n",
                "\n|}\n",
                "[[x|",
                "]]",
                "== h ==\n",
            ]
        ),
        max_size=14,
    )
)
def test_any_mixture_ends(pieces):
    """Whatever is mixed, a text or a refusal comes out, and nothing that is taken out leaves a trace."""
    result = text_of("".join(pieces))
    assert isinstance(result, Refusal) or "\ufdd0" not in result


@settings(max_examples=200, deadline=None)
@given(
    pieces=st.recursive(
        st.sampled_from(["a ", "b\n", "[[c|d]] "]),
        lambda inner: (
            st.lists(inner, max_size=4).map(lambda parts: "{{t|" + "".join(parts) + "}}")
            | st.lists(inner, max_size=3).map(lambda parts: "<ref>" + "".join(parts) + "</ref>")
        ),
        max_leaves=12,
    ).map(str),
    before=st.text("xyz ", max_size=5),
)
def test_taking_out_first_changes_nothing(pieces, before):
    """Where all is well formed the text is that of the whole article parsed by grammar."""
    source = f"{before} start {pieces} end"
    reduced = text_of(source)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wikitext, "without_nested", lambda text: None)
        assert text_of(source) == reduced


def test_hostile_articles_cost_themselves():
    """What takes the parser minutes is ended, and the next article comes out."""
    sandbox = Sandbox("transforms.wikitext:article_text", seconds=0.5)
    sandbox.submit([Document(b"<pre>" * 200_000, HINT), Document(b"good '''text'''", HINT)])
    timeout, text = sandbox.collect()
    sandbox.close()
    assert timeout == Refusal("extract_timeout", 0.5, 0.5)
    assert text == b"good text"


def test_deep_nesting():
    """A hundred thousand nested templates are none to a reader, and cost no more than their length."""
    started = time.process_time()
    assert text_of("a" + "{{x|" * 100_000 + "}}" * 100_000 + "b") == "ab"
    assert time.process_time() - started < 2
