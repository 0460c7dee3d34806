"""Lines and windows as hashes against strings and dictionaries; what a hash hides stays hidden for all inputs."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import spans as reference
from tests.reference.words import words
from transforms.kernels.spans import _PRIMES, cut_spans, first_of_equal
from transforms.kernels.strings import string_array, string_views
from transforms.runs import buckets
from transforms.spans import anchor_spans, line_spans, repeated_anchors, window_spans

drawn_lines = st.lists(
    st.sampled_from(["one line", "One  LINE!", "two", "\u4e2d\u6587", "...", "", "\xe9t\xe9 one", "a b c d e"]),
    max_size=8,
).map("\n".join)
# The Chinese characters share their first two bytes or their last two: windows begin and end inside of them.
few_bytes = st.lists(st.sampled_from(["a", "b", "ab", "aaaa", "\u4e2d", "\u4e2e", "\u5e2d"]), max_size=40).map("".join)


def rows(texts):
    """The rows of texts in a unit, with gaps."""
    return np.arange(len(texts), dtype=np.uint32) * 2 + 1


@settings(max_examples=100, deadline=None)
@given(st.lists(drawn_lines, max_size=4), st.booleans(), st.integers(1, 3))
def test_lines_are_their_words(texts, paragraphs, min_words):
    """Every line or paragraph with enough words, and two are equal if and only if their words are."""
    found = line_spans(pa.array(texts, pa.string()), rows(texts), paragraphs=paragraphs, min_words=min_words)
    expected = [
        (2 * n + 1, start, stop, tuple(words(content)))
        for n, text in enumerate(texts)
        for start, stop, content in reference.units(text.encode(), paragraphs=paragraphs)
        if len(words(content)) >= min_words
    ]
    assert [tuple(row.values()) for row in found.select(["row", "start", "stop"]).to_pylist()] == [
        span[:3] for span in expected
    ]
    hashes = list(zip(found.column("key").to_pylist(), found.column("check").to_pylist(), strict=True))
    for column in (hashes, found.column("key").to_pylist(), found.column("check").to_pylist()):
        assert [column.index(one) for one in column] == [[s[3] for s in expected].index(s[3]) for s in expected]


@settings(max_examples=150, deadline=None)
@given(st.lists(few_bytes, min_size=1, max_size=4), st.integers(2, 12))
def test_windows_that_are_repeated_have_repeated_anchors(texts, length):
    """All windows that occur twice are hashed, and their hashes are equal if and only if the windows are."""
    array, row_N = pa.array(texts), rows(texts)
    run = anchor_spans(array, row_N, length=length)
    key_E, start_E, dense_E = (column.to_numpy() for column in run.columns)
    assert (np.diff(dense_E.astype(np.int64) << 32 | start_E) > 0).all()
    repeated = repeated_anchors(key_E, start_E, dense_E)
    place_R = (
        repeated.column("dense").to_numpy().astype(np.uint64) << np.uint64(32) | repeated.column("start").to_numpy()
    )
    hashed = window_spans(array, row_N, place_R, length=length).to_pylist()
    encoded = {2 * n + 1: text.encode() for n, text in enumerate(texts)}
    every = [(n, p, text[p : p + length]) for n, text in encoded.items() for p in range(len(text) - length + 1)]
    contents = [window for _, _, window in every]
    twice = {(n, p) for n, p, window in every if contents.count(window) > 1}
    assert twice <= {(row["row"], row["start"]) for row in hashed}
    window_of = {(row["key"], row["check"]): encoded[row["row"]][row["start"] :][:length] for row in hashed}
    assert len(set(window_of.values())) == len(window_of)
    for row in hashed:
        assert window_of[row["key"], row["check"]] == encoded[row["row"]][row["start"] :][:length]


def test_anchors_are_few():
    """One byte in a quarter of the length begins an anchor of random text, so that runs stay small."""
    text = "".join(map(chr, np.random.default_rng(0).integers(33, 127, 100_000)))
    found = anchor_spans(pa.array([text]), rows([text]), length=200).num_rows
    assert found == pytest.approx(100_000 * 2 / 102, rel=0.05)


def test_thue_morse_sequences_are_told_apart():
    """Polynomials modulo 2**64 collide on them, whatever the base; ours are modulo primes."""
    bits = [i.bit_count() & 1 for i in range(4096)]
    texts = ["".join("ab"[bit] for bit in bits), "".join("ba"[bit] for bit in bits)]
    place_R = np.array([1 << 32 | i for i in range(4096)] + [3 << 32 | i for i in range(4096)], np.uint64)
    found = window_spans(pa.array(texts), rows(texts), place_R, length=4096)
    assert found.num_rows == 2
    for name in ("key", "check"):
        assert len(set(found.column(name).to_pylist())) == 2
    assert all(all(int(prime) % factor for factor in range(2, 65536)) for prime in _PRIMES)


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_what_is_kept_of_equal_spans(keep):
    """The first ones; with another check a span is left alone; the first repeats the second where none is kept."""
    check_E = np.array([7, 5, 7, 7, 7, 9], np.uint32)
    key_E = np.array([1, 1, 1, 1, 2, 2], np.uint64)
    offsets_B1, entry_M = buckets(key_E, np.arange(6, dtype=np.uint32))
    first_M = np.empty(6, np.int64)
    first_of_equal(offsets_B1, check_E[entry_M], keep, first_M)
    expected = ([2, -1, 0, 0, -1, -1], [-1, -1, 0, 0, -1, -1], [-1, -1, -1, 0, -1, -1])
    assert first_M.tolist() == expected[keep]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_cut_spans(data):
    """The bytes in no span, of a slice of an array too."""
    texts = data.draw(st.lists(st.text("abc", max_size=12), min_size=1, max_size=5))
    spans = sorted(
        (n, *sorted(data.draw(st.tuples(st.integers(0, len(texts[n])), st.integers(0, len(texts[n]))))))
        for n in data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=5))
    )
    offsets_N1, bytes_M = string_views(pa.array(["zz", *texts]).slice(1))
    row_S, start_S, stop_S = (np.array([span[i] for span in spans], t) for i, t in enumerate((np.int64, "u4", "u4")))
    out_offsets_N1, out_M = np.empty_like(offsets_N1), np.empty(len(bytes_M), np.uint8)
    cut_spans(offsets_N1, bytes_M, row_S, start_S, stop_S, out_offsets_N1, out_M)
    expected = [
        "".join(c for i, c in enumerate(text) if not any(n == m and a <= i < b for m, a, b in spans))
        for n, text in enumerate(texts)
    ]
    assert string_array(out_offsets_N1, out_M).to_pylist() == expected
