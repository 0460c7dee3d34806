"""Shared n-grams of documents and evaluation examples, against sets of words."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.decontamination import CONTAMINATED, NGRAMS, ngram_index, ngram_table, overlaps, worst

texts = st.lists(st.lists(st.sampled_from("abc"), max_size=12).map(" ".join), max_size=6)


def ngrams(text, n):
    words = text.lower().split()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def found(documents, examples, n):
    """The overlaps of documents and examples, which come in two parts."""
    middle = len(examples) // 2
    parts = [
        ngram_table(pa.array(examples[start:stop], pa.string()), start, n)
        for start, stop in ((0, middle), (middle, len(examples)))
    ]
    assert np.concatenate([count for _, count in parts]).tolist() == [len(ngrams(text, n)) for text in examples]
    index = ngram_index(pa.concat_tables([NGRAMS.empty_table(), *(table for table, _ in parts)]))
    columns = overlaps(pa.array(documents, pa.string()), index, n)
    return {(row, example): shared for row, example, shared in zip(*(c.tolist() for c in columns), strict=True)}


@settings(max_examples=200, deadline=None)
@given(texts, texts, st.integers(1, 4))
def test_overlaps_are_those_of_the_sets(documents, examples, n):
    """Every pair that shares an n-gram, and how many different ones; n-grams of several examples count for each."""
    expected = {
        (row, number): len(ngrams(document, n) & ngrams(example, n))
        for row, document in enumerate(documents)
        for number, example in enumerate(examples)
        if ngrams(document, n) & ngrams(example, n)
    }
    assert found(documents, examples, n) == expected


@pytest.mark.parametrize(("num_words", "hit"), [(12, False), (13, True)])
def test_thirteen_words_in_a_row(num_words, hit):
    """Case, punctuation and spacing do not hide an example; twelve words are not enough."""
    words = [f"w{number}" for number in range(num_words)]
    document = "Before. " + ",  ".join(words).upper() + "! After that."
    assert bool(found([document], [" ".join([*words, *["other"] * 3])], 13)) is hit


def test_the_worst_example_of_a_document():
    """The greatest share, then the first example."""
    rows = [(7, 2, 1, 0.5), (3, 0, 1, 0.1), (3, 5, 2, 0.9), (7, 0, 5, 0.5), (3, 4, 2, 0.9)]
    table = pa.Table.from_pylist([dict(zip(CONTAMINATED.names, row, strict=True)) for row in rows], CONTAMINATED)
    assert [(row["doc_id"], row["example"]) for row in worst(table).to_pylist()] == [(3, 4), (7, 0)]
    assert worst(CONTAMINATED.empty_table()).num_rows == 0
