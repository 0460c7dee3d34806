"""Kernel and twin of transforms.kernels.phrases side by side."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import phrases as twin
from transforms.kernels.phrases import compiled, contain_any
from transforms.kernels.pii_classes import word_table
from transforms.kernels.strings import string_views


def found(texts, phrases, *, anywhere=False, skip=None):
    found_N = np.zeros(len(texts), np.bool_)
    skip_N = np.zeros(len(texts), np.bool_) if skip is None else np.array(skip)
    contain_any(
        *string_views(pa.array(texts, pa.string())), skip_N, *compiled(phrases), word_table(), anywhere, found_N
    )
    return found_N.tolist()


BAD = ["bad", "bad word", "b@d", "@d", "na\xefve", "c++", "BAD2", "\u0431\u0430\u0434", "\u6027\u7231", "x(y"]


@pytest.mark.parametrize(
    ("text", "whole", "part"),
    [
        ("It is BAD, he said.", True, True),
        ("bad", True, True),
        ("badly", False, True),
        ("a_bad", False, True),
        ("bad_", False, True),
        ("bad2 BAD2", False, True),  # the list's own capitals are in no lower-cased text, but bad is
        ("forbad\xe9 b@d", True, True),
        ("a b @d", True, True),
        ("b@de", False, True),
        ("NA\xcfVE?", True, True),
        ("C++", True, True),
        ("C+++", True, True),
        ("\u0411\u0410\u0414!", True, True),
        ("\u4e0d\u6027\u7231\u4e0d", False, True),
        ("X(Y)", True, True),
        ("", False, False),
        ("b ad ba d", False, False),
    ],
)
def test_whole_words_and_parts(text, whole, part):
    """Phrases are found whatever the case, between characters that are no word characters, or anywhere."""
    assert found([text], BAD) == [whole] == [twin.contains_any(text, BAD, anywhere=False)]
    assert found([text], BAD, anywhere=True) == [part] == [twin.contains_any(text, BAD, anywhere=True)]


PIECES = st.sampled_from([*"abd@+_ .2\n\xef\xcf\u6027\u7231\u0431\u0410\U0001f600", "bad", "B"])
TEXTS = st.lists(PIECES, max_size=12).map("".join)
LISTS = st.lists(TEXTS.map(str.strip).filter(bool), max_size=6)


@given(st.lists(TEXTS, max_size=4), LISTS, st.booleans())
@settings(max_examples=400, deadline=None)
def test_equal_twin(texts, phrases, anywhere):
    """Kernel and regular expression find the same documents, for any list."""
    assert found(texts, phrases, anywhere=anywhere) == [twin.contains_any(text, phrases, anywhere) for text in texts]


def test_documents_that_are_skipped_are_left_alone():
    """Nothing is written for them."""
    assert found(["bad", "bad"], ["bad"], skip=[True, False]) == [False, True]
