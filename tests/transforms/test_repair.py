"""transforms.repair: what is put right, what is left alone, and that the fast test is ftfy's own."""

import re

import ftfy
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from ftfy.badness import is_bad
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.batches import batch_of
from transforms import repair
from transforms.normalise import normalise
from transforms.repair import RepairText, mojibake_expression
from transforms.schema import edit_columns


def repaired(text, *what):
    [out] = RepairText(what=what)(batch_of([text])).column("text").to_pylist()
    return out


@pytest.mark.parametrize(
    ("broken", "right"),
    [
        ("caf\xc3\xa9 au lait", "caf\xe9 au lait"),
        ("\xe2\u20ac\u0153quoted\xe2\u20ac\x9d", "\u201cquoted\u201d"),
        (
            "na\xefve \u201cquoted\u201d \ufb01 &amp; \uff21 caf\xe9",
            "na\xefve \u201cquoted\u201d \ufb01 &amp; \uff21 caf\xe9",
        ),
        ("one line is right: \xe9\nthe other is caf\xc3\xa9", "one line is right: \xe9\nthe other is caf\xe9"),
        ("\xd0\u0178\xd1\u20ac\xd0\xb8\xd0\xb2\xd0\xb5\xd1\u201a", "\u041f\u0440\u0438\u0432\u0435\u0442"),
    ],
)
def test_mojibake_is_put_right_and_nothing_else(broken, right):
    """Encodings are repaired; quotation marks, ligatures, wide letters and entities stay as they are."""
    assert repaired(broken, "mojibake") == right


def test_ftfy_is_called_for_broken_text_alone(monkeypatch):
    """Of a batch only the documents that its test finds reach it; rejected ones do not; repairs are counted."""
    seen = []
    monkeypatch.setattr(repair, "fixed", lambda text: seen.append(text) or ftfy.fix_text(text))
    batch = batch_of(["fine", "caf\xc3\xa9", "caf\xe9", "caf\xc3\xa9s"], [None, None, None, "language"])
    out = RepairText(what=("mojibake",))(batch)
    assert seen == ["caf\xc3\xa9"]
    assert out.column("text").to_pylist() == ["fine", "caf\xe9", "caf\xe9", "caf\xc3\xa9s"]
    assert edit_columns(out)["repair.mojibake"].to_pylist() == [0, 1, 0, 0]


LETTERS = st.sampled_from(
    "aZ .1\n\t\x0b\x1c\x85\xa0\u2028\xc2\xc3\xa9\xe2\u20ac\u2122\u0153\xb0\xd7\xb2\xd8\xd9\xb5\u221a\u2020\u201a\xc4"
    "\xec\u0432\u0402\u0412\u0413\u0393\xe0\x80\u017d\u4e2d\u0101\xb4\u2013_\xd0\u0178"
)


@given(st.lists(LETTERS, max_size=12).map("".join))
@settings(max_examples=1500, deadline=None)
def test_the_fast_test_is_that_of_ftfy(text):
    """RE2 finds something exactly where ftfy's own expression does."""
    assert pc.match_substring_regex(pa.array([text]), mojibake_expression()).to_pylist() == [is_bad(text)]


def test_citation_marks():
    """Numbers, ranges and Wikipedia's notes go with the space before them; other brackets stay."""
    text = "One[1] two [2, 3] three[4\u20136] four [citation needed] five[note 7], six [edit]."
    assert repaired(text, "citations") == "One two three four five, six."
    for stays in ("[a] [1234] [sic] [1.5] (1) [ 1 ] [Edit]", "[]"):
        assert repaired(stays, "citations") == stays


@pytest.mark.parametrize(
    "line",
    [
        "Skip to main content", "READ MORE...", "Home | About us | Contact", "  > Next page", "\xa9 2019-2024 Example.",
        "Share this article on Facebook", "Page 3 of 17", "12 Comments", "All rights reserved.", "Home > Search",
        "* Privacy policy", "Sign up for our newsletter!",
    ],
)  # fmt: skip
def test_boilerplate_lines_go(line):
    """A line that is page furniture and nothing else goes, at any place, also before CR LF."""
    for text in (
        f"{line}\nA text.\nMore.",
        f"A text.\n{line}\nMore.",
        f"A text.\r\n{line}\r\nMore.",
        f"A text.\nMore.\n{line}",
    ):
        out = normalise(RepairText(what=("boilerplate",))(batch_of([text])))
        assert re.sub("\n+", "\n", out.column("text")[0].as_py()) == "A text.\nMore."
        assert edit_columns(out)["repair.boilerplate"].to_pylist() == [1]


@pytest.mark.parametrize(
    "line",
    [
        "Read more about the mill in the next chapter.", "Home is where the heart is.", "The next page was torn.",
        "Copyright law is old.", "Helpful", "Share this with nobody but her.", "3 comments were made.",
    ],
)  # fmt: skip
def test_sentences_stay(line):
    """A line that says more than page furniture is text."""
    assert repaired(f"A text.\n{line}", "boilerplate") == f"A text.\n{line}"


def test_lines_of_bars():
    """A run of lines made of bars and spaces becomes a paragraph break, as in fineweb-2; tables with words stay."""
    text = "a\n| |\n||\n |\nb\n| c |\n\nd\n|"
    out = normalise(RepairText(what=("symbol_lines",))(batch_of([text])))
    assert out.column("text").to_pylist() == ["a\n\nb\n| c |\n\nd"]
    assert edit_columns(out)["repair.symbol_lines"].to_pylist() == [2]


def test_several_repairs_and_slices():
    """All repairs at once, on a slice of a batch, each with its own count; without findings the text is the same."""
    whole = batch_of(["x", "caf\xc3\xa9 [1]\n||\nLog in\nend", "nothing"])
    out = RepairText(what=("symbol_lines", "mojibake", "citations", "boilerplate"))(whole.slice(1, 2))
    assert normalise(out).column("text").to_pylist() == ["caf\xe9\n\nend", "nothing"]
    assert {name: column.to_pylist() for name, column in edit_columns(out).items()} == {
        f"repair.{name}": [1, 0] for name in ("mojibake", "boilerplate", "citations", "symbol_lines")
    }
    with pytest.raises(ValueError, match="repair 'mojibak' is not one of mojibake, boilerplate"):
        RepairText(what=("mojibak",))
