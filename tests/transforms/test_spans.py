"""Repeated lines and substrings against brute force, in any partitions and any order of units."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import spans as reference
from tests.transforms.kernels.test_spans import drawn_lines, few_bytes
from transforms.runs import by_prefix, prefix_bounds
from transforms.spans import (
    anchor_spans,
    cut_texts,
    line_spans,
    repeated_anchors,
    repeats,
    repeats_by_piece,
    window_cuts,
    window_spans,
)


def entries(runs, firsts, num_partitions):
    """The columns of each partition of runs, rows turned into dense indices."""
    for part in range(num_partitions):
        columns = []
        for run, first in zip(runs, firsts, strict=True):
            start, stop = prefix_bounds(run.column("key").to_numpy(), num_partitions)[part : part + 2]
            *values, row = (column.to_numpy()[start:stop] for column in run.columns)
            columns.append([*values, row + np.uint32(first)])
        yield [np.concatenate(column) for column in zip(*columns, strict=True)]


def cut_into_units(texts, cut):
    """Two units, the second one first, and the dense index of the first text of each."""
    return [pa.array(texts[cut:], pa.string()), pa.array(texts[:cut], pa.string())], [cut, 0]


def own_rows(unit):
    return np.arange(len(unit), dtype=np.uint32)


def line_repeats(texts, *, paragraphs=False, min_words=1, keep=1, num_partitions=1, cut=0):
    units, firsts = cut_into_units(texts, cut)
    runs = [by_prefix(line_spans(unit, own_rows(unit), paragraphs=paragraphs, min_words=min_words)) for unit in units]
    tables = [repeats(*columns, keep=keep) for columns in entries(runs, firsts, num_partitions)]
    return pa.concat_tables(tables).sort_by([("dense", "ascending"), ("start", "ascending")])


def window_repeats(texts, *, length, num_partitions=1, cut=0):
    units, firsts = cut_into_units(texts, cut)
    runs = [by_prefix(anchor_spans(unit, own_rows(unit), length=length)) for unit in units]
    tables = [repeated_anchors(*columns) for columns in entries(runs, firsts, num_partitions)]
    found = pa.concat_tables(tables).sort_by([("dense", "ascending"), ("start", "ascending")])
    dense_R, start_R = found.column("dense").to_numpy().astype(np.int64), found.column("start").to_numpy()
    runs = []
    for unit, first in zip(units, firsts, strict=True):
        own_R = (dense_R >= first) & (dense_R < first + len(unit))
        place_R = (dense_R[own_R] - first).astype(np.uint64) << np.uint64(32) | start_R[own_R]
        runs.append(by_prefix(window_spans(unit, own_rows(unit), place_R, length=length)))
    tables = []
    for key_E, check_E, start_E, dense_E in entries(runs, firsts, num_partitions):
        tables.append(repeats(key_E, check_E, start_E, start_E + np.uint32(length), dense_E, keep=1))
    return pa.concat_tables(tables).sort_by([("dense", "ascending"), ("start", "ascending")]).combine_chunks()


@settings(max_examples=80, deadline=None)
@given(st.lists(drawn_lines, min_size=1, max_size=5), st.booleans(), st.integers(1, 2), st.integers(0, 2), st.data())
def test_lines_against_brute_force(texts, paragraphs, min_words, keep, data):
    """All but the first of equal lines, or all, in any number of partitions and cut into units anywhere."""
    num_partitions, cut = data.draw(st.sampled_from([1, 4])), data.draw(st.integers(0, len(texts)))
    found = line_repeats(
        texts, paragraphs=paragraphs, min_words=min_words, keep=keep, num_partitions=num_partitions, cut=cut
    )
    options = {"paragraphs": paragraphs, "min_words": min_words, "keep": keep}
    expected = reference.line_cuts([text.encode() for text in texts], **options)
    assert [tuple(row.values())[:4] for row in found.to_pylist()] == expected


@settings(max_examples=120, deadline=None)
@given(st.lists(few_bytes, min_size=1, max_size=5), st.integers(4, 9), st.data())
def test_substrings_against_brute_force(texts, length, data):
    """Every byte of a window seen before, and no other, up to whole characters; what is left is text."""
    num_partitions, cut = data.draw(st.sampled_from([1, 4])), data.draw(st.integers(0, len(texts)))
    found = window_repeats(texts, length=length, num_partitions=num_partitions, cut=cut)
    array = pa.array(texts)
    row_S, start_S, stop_S, twin_S = window_cuts(found, array, 0, length=length)
    spans = list(zip(row_S.tolist(), start_S.tolist(), stop_S.tolist(), strict=True))
    encoded = [text.encode() for text in texts]
    expected = reference.window_cuts(encoded, length)
    assert [span for span in spans if span[1] < span[2]] == [span for span in expected if span[1] < span[2]]
    assert (twin_S <= row_S).all()
    cut_texts(array, row_S, start_S, stop_S).validate(full=True)


def test_spans_that_touch_are_one():
    """Also where a window between them starts behind the next, since what it shares with its twin stays."""
    text = "baaaabaaaaaaaab"
    row_S, start_S, stop_S, _ = window_cuts(window_repeats([text], length=5), pa.array([text]), 0, length=5)
    assert list(zip(row_S.tolist(), start_S.tolist(), stop_S.tolist(), strict=True)) == [(0, 5, 15)]


def test_a_row_of_dots_keeps_one_window():
    """What a window shares with the one that it repeats stays."""
    texts = ["." * 1000, "." * 20]
    row_S, start_S, stop_S, _ = window_cuts(window_repeats(texts, length=20), pa.array(texts), 0, length=20)
    assert list(zip(row_S.tolist(), start_S.tolist(), stop_S.tolist(), strict=True)) == [(0, 20, 1000), (1, 0, 20)]


def test_texts_are_put_right_where_they_were_cut():
    """White space left at ends and third line feeds go; texts that nothing is cut from do not change."""
    texts = pa.array(["first\n\nmenu\n\nlast", "menu\nfoot", "  as it is \n\n\n", "body\nmenu"])
    found = line_repeats(["menu", *texts.to_pylist()])
    row_S = found.column("dense").to_numpy().astype(np.int64) - 1
    cut = cut_texts(texts, row_S, found.column("start").to_numpy(), found.column("stop").to_numpy())
    assert cut.to_pylist() == ["first\n\nlast", "foot", "  as it is \n\n\n", "body"]
    assert cut_texts(texts, row_S[:0], *[found.column("start").to_numpy()[:0]] * 2) is texts


def test_dolma_minimum_length_and_offsets_of_non_ascii_lines():
    """A minimum of words leaves longer repeated lines to be found, and their offsets count bytes."""
    texts = ["\xe9\xe9\xe9 \u4e2d\nthis line is repeated\nyes", "\U0001f600 x\nThis line is repeated!\nyes"]
    found = line_repeats(texts, min_words=3).to_pylist()
    assert [texts[row["dense"]].encode()[row["start"] : row["stop"]].decode() for row in found] == [
        "This line is repeated!\n"
    ]


def test_blank_lines_and_marks_are_no_duplicates():
    """datatrove counted blank lines as duplicates; lines without a word are never cut."""
    assert line_repeats(["a b\n\n---\n\n***", "c d\n\n---\n\n***"]).num_rows == 0


@pytest.mark.parametrize("keep", [0, 1])
def test_a_line_of_a_hundred_thousand_documents_is_linear(keep):
    """One bucket, one row each."""
    found = line_repeats(["all rights reserved"] * 100_000, keep=keep)
    assert found.num_rows == 100_000 - keep
    assert set(found.column("twin").to_pylist()) == {0} | ({1} if keep == 0 else set())


def test_documents_with_many_lines():
    """datatrove counted sentences in 16 bits: the last of 70,000 lines is found at its place."""
    long = "\n".join(f"line number {number}" for number in range(70_000))
    (row,) = line_repeats([long, "line number 69999"]).to_pylist()
    assert (row["dense"], row["twin"], row["twin_start"]) == (1, 0, long.rindex("line number"))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), max_size=8), min_size=1, max_size=8),
    st.integers(0, 3),
    st.booleans(),
    st.data(),
)
def test_pieces_of_a_partition_repeat_what_the_whole_does(documents, keep, anchors, data):
    """Wherever a partition is cut between documents, also where keys of different text are equal."""
    entries_S = [
        (key, check, i, dense) for dense, spans in enumerate(documents) for i, (key, check) in enumerate(spans)
    ]
    key, check, start, dense = np.array(entries_S, np.uint32).reshape(-1, 4).T
    columns = [key.astype(np.uint64), start, dense] if anchors else [key.astype(np.uint64), check, start, start, dense]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(documents)), max_size=4)) | {len(documents)})

    def find(columns):
        return repeated_anchors(*columns) if anchors else repeats(*columns, keep=keep)

    def pieces():
        for first, stop in zip([0, *cuts], cuts, strict=False):
            yield range(first, stop), [column[(dense >= first) & (dense < stop)] for column in columns]

    keep = 1 if anchors else keep
    found = pa.concat_tables(repeats_by_piece(pieces, find, keep=keep, checked=not anchors))
    assert found.to_pylist() == find(columns).to_pylist()


def test_a_line_on_every_page_is_not_held_at_once():
    """Sixty-four pieces of one line take little more memory than one of them: a worker has no room for all."""

    def pieces(count):
        for number in range(count):
            dense = np.arange(number * 10_000, (number + 1) * 10_000, dtype=np.uint32)
            key, check, start = (
                np.full(10_000, 7, np.uint64),
                np.full(10_000, 3, np.uint32),
                np.zeros(10_000, np.uint32),
            )
            yield range(number * 10_000, (number + 1) * 10_000), [key, check, start, start, dense]

    def find(columns):
        return repeats(*columns, keep=1)

    def peak(count):
        tracemalloc.start()
        rows = sum(found.num_rows for found in repeats_by_piece(lambda: pieces(count), find, keep=1, checked=True))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert rows == 10_000 * count - 1
        return most

    peak(2)  # compiles or loads the kernels, which is memory too
    assert peak(64) < 1.5 * peak(2)
