"""transforms.normalise: batches in, batches out."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.batches import batch_of
from transforms.normalise import Normalise, normalise
from transforms.schema import IN_FLIGHT


def test_forms():
    """Form C composes, KC also replaces compatibility characters, none leaves them; white space is put right always."""
    text = " e\u0301 \ufb01 \u212b \r\n"
    expected = {"nfc": "\xe9 \ufb01 \xc5", "nfkc": "\xe9 fi \xc5", "none": "e\u0301 \ufb01 \u212b"}
    for form, out in expected.items():
        assert normalise(batch_of([text, "plain"]), unicode=form).column("text").to_pylist() == [out, "plain"]


def test_unknown_form_is_refused():
    """A misspelt form is a ValueError that names it."""
    with pytest.raises(ValueError, match="'nfd' is not one of nfc, nfkc, none"):
        normalise(batch_of(["a"]), unicode="nfd")


def test_empty_documents_are_rejected():
    """A document of white space and controls is rejected by rule `empty`; the number of rows and the schema stay."""
    out = normalise(batch_of(["", " \x00\n", "a", "\xad"]))
    assert out.column("rule").to_pylist() == ["empty", "empty", None, "empty"]
    assert out.schema == IN_FLIGHT


def test_rejected_rows_stay():
    """A row that carries a rule keeps its text and its rule."""
    out = normalise(batch_of([" e\u0301 ", " ", " e\u0301 "], ["bad_json", "bad_json", None]))
    assert out.column("text").to_pylist() == [" e\u0301 ", " ", "\xe9"]
    assert out.column("rule").to_pylist() == ["bad_json", "bad_json", None]


def test_slices_and_empty_batches():
    """A slice of a batch gives the same rows as the batch; a batch without rows gives one."""
    whole = batch_of(["x ", " e\u0301", "", "d "])
    assert normalise(whole.slice(1, 2)).to_pylist() == normalise(whole).to_pylist()[1:3]
    assert normalise(whole.slice(0, 0)).num_rows == 0


@pytest.mark.parametrize("form", ["nfc", "nfkc"])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=4))
@settings(max_examples=200, deadline=None)
def test_output_is_normal_and_stable(form, texts):
    """The output is in the normal form, and normalising it again changes nothing."""
    out = normalise(batch_of(texts), unicode=form)
    for text in out.column("text").to_pylist():
        assert unicodedata.is_normalized(form.upper(), text)
    again = normalise(out, unicode=form)
    assert again.column("text").to_pylist() == out.column("text").to_pylist()


def test_the_step_does_what_the_function_does():
    """Normalise with its form is the function with that form."""
    batch = batch_of(["", "a ", "\ufb01"])
    assert Normalise(unicode="nfkc")(batch) == normalise(batch, unicode="nfkc")
    assert Normalise()(batch) == normalise(batch, unicode="nfc") != normalise(batch, unicode="nfkc")
