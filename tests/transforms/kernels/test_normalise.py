"""Kernel and twin of transforms.kernels.normalise side by side."""

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import normalise as twin
from transforms.kernels.normalise import clean, composing_table, may_compose
from transforms.kernels.strings import string_array, string_views

# Characters that the rules treat differently, each beside its neighbours in code and in bytes.
ALPHABET = (
    "ab \t\n\r\x0b\x0c\x00\x1f\x7f\x80\x84\x85\x86\x9f\xa0\xa1\xac\xad\xae\u1680\u167f\u1fff\u2000\u200a\u200b\u2027"
    "\u2028\u2029\u202a\u202f\u2030\u205e\u205f\u2060\u2fff\u3000\u3001\ufefe\ufeff\uff00\u4e00\xe9\U0001f600"
)
TEXTS = st.lists(st.text(st.sampled_from(ALPHABET), max_size=30).map(lambda t: t * 3), max_size=6)


def clean_with_kernel(texts, as_is=None):
    offsets_N1, bytes_M = string_views(pa.array(texts, pa.string()))
    out_offsets_N1 = np.full_like(offsets_N1, -1)
    out_M = np.full(len(bytes_M), 0xFF, np.uint8)
    as_is_N = np.zeros(len(texts), np.bool_) if as_is is None else np.array(as_is, np.bool_)
    clean(offsets_N1, bytes_M, as_is_N, out_offsets_N1, out_M)
    array = string_array(out_offsets_N1, out_M)
    array.validate(full=True)
    return array.to_pylist()


def clean_with_twin(texts):
    return [twin.clean(text) for text in texts]


@pytest.fixture(params=[clean_with_kernel, clean_with_twin], ids=["kernel", "twin"])
def clean_texts(request):
    return request.param


CASES = [
    ("", ""),
    (" \n\t\u3000\r\n ", ""),
    ("a\r\nb\rc\x0bd\x0ce\x85f\u2028g\u2029h", "a\nb\nc\nd\ne\nf\ng\nh"),
    ("a\x00b\x1bc\x7fd\x9be\xadf\ufeffg", "abcdefg"),
    ("a \t\xa0\nb\u2003\n", "a\nb"),
    ("a\n\n\n\nb\n \n\t\nc", "a\n\nb\n\nc"),
    ("\n\n  \xa0\u2003first\n  second\n", "first\n  second"),
    ("a\u200bb\u200cc\u200dd", "a\u200bb\u200cc\u200dd"),
    ("long line " * 20 + "\x00end  ", "long line " * 20 + "end"),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_clean_cases(clean_texts, text, expected):
    """Each rule on a text made for it."""
    assert clean_texts([text, text]) == [expected, expected]


@given(TEXTS)
@settings(max_examples=300, deadline=None)
def test_clean_equals_twin(texts):
    """Kernel and regular expressions agree on the special characters, and cleaning twice is cleaning once."""
    cleaned = clean_with_kernel(texts)
    assert cleaned == clean_with_twin(texts)
    assert clean_with_kernel(cleaned) == cleaned


def test_clean_leaves_marked_documents():
    """Documents marked as rejected come through byte for byte."""
    assert clean_with_kernel([" a ", " b ", "\r\r"], [False, True, True]) == ["a", " b ", "\r\r"]


def test_clean_reads_no_further_than_a_broken_document():
    """Lead bytes without their continuation at the end of a document are copied and look at no neighbour."""
    for tail in (b"\xc2", b"\xe2\x80", b"\xef\xbb", b"\xe2"):
        values = pa.array([b"a" + tail, b"\xad\xa8\xbfb"])
        offsets_N1, bytes_M = string_views(values)
        out_offsets_N1, out_M = np.empty_like(offsets_N1), np.empty(len(bytes_M), np.uint8)
        clean(offsets_N1, bytes_M, np.zeros(2, np.bool_), out_offsets_N1, out_M)
        assert out_M[: out_offsets_N1[1]].tobytes() == b"a" + tail


@pytest.mark.parametrize("form", ["NFC", "NFKC"])
def test_uncomposed_text_is_found(form):
    """Whatever a normal form would change is a suspect, and plain English, Cyrillic and Han are none."""
    changing = [
        "e\u0301", "\u0130\u0301", "\u212b", "\u1100\u1161", "\uac00\u11a8", "a\u0323\u0301", "\u0958", "\U0001d15e",
        "\U0002f800", "\u0344",
    ]  # fmt: skip
    plain = ["", "English. " * 9, "\u0420\u0443\u0441\u0441\u043a\u0438\u0439 " * 9, "\u6f22\u5b57\u304b\u306a"]
    offsets_N1, bytes_M = string_views(pa.array(changing + plain))
    found_N = np.zeros(len(changing) + len(plain), np.bool_)
    may_compose(offsets_N1, bytes_M, composing_table(form), found_N)
    assert found_N.tolist() == [True] * len(changing) + [False] * len(plain)


@pytest.mark.parametrize("form", ["NFC", "NFKC"])
@given(text=st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=40))
@settings(max_examples=300, deadline=None)
def test_text_without_suspects_is_normal(form, text):
    """A text that the scan clears is equal to its normal form."""
    offsets_N1, bytes_M = string_views(pa.array([text]))
    found_N = np.zeros(1, np.bool_)
    may_compose(offsets_N1, bytes_M, composing_table(form), found_N)
    assert found_N[0] or unicodedata.normalize(form, text) == text
