"""transforms.stop_words: words taken out of texts."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.batches import batch_of
from transforms.schema import edit_columns
from transforms.stop_words import LISTS, RemoveStopWords


def removed(texts, words, rules=None):
    out = RemoveStopWords(words=words)(batch_of(texts, rules))
    return out.column("text").to_pylist(), edit_columns(out)["stop_words"].to_pylist()


def test_whole_words_go_in_any_case():
    """Each goes with the spaces behind it; parts of words, line ends and marks stay; rejected rows are left alone."""
    texts = ["The mill, and  the river.\nIt is theirs: THE_mill, other", "the", "the", ""]
    assert removed(texts, "en", [None, None, "language", None]) == (
        ["mill, river.\n: THE_mill, ", "", "the", ""], [7, 1, 0, 0],
    )  # fmt: skip


def test_a_list_of_ones_own(tmp_path):
    """A path names a list; its words may have letters of any script."""
    (tmp_path / "list").write_text("\u0438\n\u00fcber\n", encoding="utf-8")
    texts = ["\u043c\u0438\u0440 \u0418 \u0434\u043e\u043c \u00dcBER alles"]
    assert removed(texts, str(tmp_path / "list")) == (["\u043c\u0438\u0440 \u0434\u043e\u043c alles"], [2])


def test_lists_are_words_in_order():
    """Lower-case words, each once."""
    for words in LISTS.values():
        assert len(set(words.split())) == len(words.split()) > 90
        assert words == words.lower()


TEXTS = st.lists(st.sampled_from([*"aeotTHI \n._-\xe9", "the ", "AND", "of", " is"]), max_size=20).map("".join)


@given(st.lists(TEXTS, max_size=4))
@settings(max_examples=300, deadline=None)
def test_equal_twin(texts):
    """A regular expression over words gives the same texts and counts."""
    words = set(LISTS["en"].split())

    def twin(text):
        count = 0

        def replaced(match):
            nonlocal count
            gone = match[1].lower() in words
            count += gone
            return "" if gone else match[0]

        return re.sub(r"(\w+) *", replaced, text), count

    assert removed(texts, "en") == tuple(map(list, zip(*map(twin, texts), strict=True))) if texts else ([], [])


def test_a_missing_list_is_told():
    """Neither a language with a list nor a file."""
    with pytest.raises(FileNotFoundError):
        removed(["a"], "xx")
